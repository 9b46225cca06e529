"""Everything around the accelerator: the board's top and the shell, as sources."""

from __future__ import annotations

import re

import jinja2

from hwgen.errors import HwgenError
from hwgen.flow.boards import Board
from hwgen.flow.pll import ecp5_pll, ice40_pll
from hwgen.ir.beats import Beats
from hwgen.tools.files import share

# Name of the module that a board's flow synthesises.
TOP = "board"

UART_FILES = (
    "uart_crc16.sv",
    "uart_ram.sv",
    "uart_rx.sv",
    "uart_tx.sv",
    "uart_request.sv",
    "uart_reply.sv",
    "uart_shell.sv",
    "uart_top.sv",
)
AXIS_FILES = ("axis_shell.sv",)
_SHELLS = {"uart": (UART_FILES, f"{TOP}.sv"), "axis": (AXIS_FILES, f"{TOP}.v")}


def shell_sources(
    board: Board,
    input: Beats,  # noqa: A002 - the field's word, beside `output`
    output: Beats,
    graph_id: str,
    *,
    watchdog: int = 1 << 20,
) -> dict[str, str]:
    """All sources but the accelerator (module `accel`): file name to text. The top module is `board`.

    `graph_id`: 16 hexadecimal digits that the host compares. `watchdog`: clock cycles that a frame may take.
    Raises HwgenError for another graph_id, and when no PLL setting makes the board's design clock.
    """
    if not re.fullmatch(r"[0-9a-f]{16}", graph_id):
        raise HwgenError(f"a graph id is 16 hexadecimal digits, not {graph_id!r}")
    files, top = _SHELLS[board.shell]
    sources = {name: share("rtl", name).read_text(encoding="utf-8") for name in files}
    same = board.clock.mhz == board.clock.design_mhz
    rates = (board.clock.mhz, board.clock.design_mhz)
    sources[top] = _render(
        f"{top.replace(TOP, f'{TOP}_{board.shell}')}.j2",
        board=board,
        input=input,
        output=output,
        graph_id=graph_id,
        watchdog=watchdog,
        divisor=board.divisor() if board.shell == "uart" else None,
        ecp5_pll=ecp5_pll(*rates) if board.family == "ecp5" and not same else None,
        ice40_pll=ice40_pll(*rates) if board.family == "ice40" and not same else None,
    )
    return sources


def _render(template: str, **values: object) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(share("rtl", template).read_text(encoding="utf-8")).render(**values)
