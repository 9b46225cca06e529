"""Writing a bitstream to a connected board."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from hwgen.errors import HwgenError, ToolMissingError
from hwgen.flow.boards import Board
from hwgen.tools import child


def flash(board: Board, bitstream: Path | str, on_line: child.OnLine | None = None) -> None:
    """Write `bitstream` to the board with the first of its loaders that is on the PATH.

    Raises HwgenError for a missing file or a board without a loader, ToolMissingError with the exact commands when
    no loader is installed, and ToolFailedError when the loader fails.
    """
    path = Path(bitstream)
    if not path.is_file():
        raise HwgenError(f"cannot flash {path}: there is no such file")
    commands = [[word.replace("{bitstream}", str(path)) for word in words] for words in board.flash]
    if not commands:
        raise HwgenError(f"hwgen has no loader for {board.name}; its bitstream is {path}")
    for command in commands:
        if shutil.which(command[0]):
            child.run(command, timeout=300, on_line=on_line)
            return
    choices = " or ".join(shlex.join(command) for command in commands)
    raise ToolMissingError(f"no loader for {board.name} is on the PATH; install one and run: {choices}")
