"""Constraint files: the pins and the input clock of a board, as each family's tool reads them."""

from __future__ import annotations

from collections.abc import Iterator

from hwgen.flow.boards import Board, Pin


def _bits(board: Board) -> Iterator[tuple[str, str, Pin]]:
    """Every bit of every port: its name, its site and its pin."""
    for port, pin in board.pins.items():
        for index, site in enumerate(pin.sites):
            yield (f"{port}[{index}]" if len(pin.sites) > 1 else port), site, pin


def lpf(board: Board) -> str:
    """Constraints for nextpnr-ecp5."""
    lines = [f'FREQUENCY PORT "clk" {board.clock.mhz:g} MHZ;']
    for name, site, pin in _bits(board):
        options = f"IO_TYPE={board.io_standard}"
        options += f" PULLMODE={pin.pull.upper()}" if pin.pull else ""
        options += f" DRIVE={pin.drive}" if pin.drive is not None else ""
        lines += [f'LOCATE COMP "{name}" SITE "{site}";', f'IOBUF PORT "{name}" {options};']
    return "\n".join(lines) + "\n"


def pcf(board: Board) -> str:
    """Constraints for nextpnr-ice40."""
    lines = [f"set_frequency clk {board.clock.mhz:g}"]
    for name, site, pin in _bits(board):
        lines.append(f"set_io {'-pullup yes ' if pin.pull == 'up' else ''}{name} {site}")
    return "\n".join(lines) + "\n"


def xdc(board: Board) -> str:
    """Constraints for Vivado: the clock, and the I/O standard of the pins that the design has."""
    period = 1000 / board.clock.design_mhz
    return (
        f"create_clock -name aclk -period {period:.3f} [get_ports aclk]\n"
        f"set_property IOSTANDARD {board.io_standard} [get_ports *]\n"
    )
