"""How the command line talks: progress on stderr, results on stdout, one message for an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console

from hwgen.errors import HwgenError

# A file or a pipe has no width: tables are not cut there.
LOG_WIDTH = 160

out = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else LOG_WIDTH)


def print_json(data: Any) -> None:
    """Machine-readable output: plain JSON on stdout, nothing around it."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


class Tell(Protocol):
    """Says what is being done, which fraction of it is done (None: not known), and a passing detail."""

    def __call__(self, message: str, fraction: float | None = None, detail: str = "") -> None: ...


@contextmanager
def progress(title: str) -> Iterator[Tell]:
    """A line on stderr that shows what goes on: `tell(message, fraction done or None, detail)`.

    On a terminal the line is redrawn; elsewhere (a log) a change is printed once, with a fraction every tenth.
    """
    if not err.is_terminal:
        last = [("", -1)]
        err.print(f"{title} ...", markup=False)

        def tell(message: str, fraction: float | None = None, detail: str = "") -> None:
            del detail  # for terminals only: a log would fill with it
            # With a fraction, a line for every tenth; without, one for every new message.
            step = -1 if fraction is None else int(10 * fraction)
            key = (message, -1) if fraction is None else ("", step)
            if message and key != last[0]:
                last[0] = key
                err.print(f"  {message}", markup=False)

        yield tell
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", markup=False),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(title, total=None, message="")

        def tell_bar(message: str, fraction: float | None = None, detail: str = "") -> None:
            total = None if fraction is None else 1.0
            bar.update(task, message=f"{message} {detail}", completed=fraction or 0.0, total=total)

        yield tell_bar


def guarded(app: Callable[[], Any]) -> None:
    """Run the command line; an HwgenError becomes its message and its exit code, without a traceback."""
    try:
        app()
    except HwgenError as error:
        err.print(f"[bold red]error:[/] {_plain(str(error))}", soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
