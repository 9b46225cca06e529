"""Boards: TOML files that say which FPGA, clock, pins and shell there are. A board is data."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hwgen.errors import HwgenError
from hwgen.tools.files import share
from hwgen.tools.yosys import Family


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pin(_Strict):
    """One port of the board's top: `sites` (one per bit, the least significant first) and how they are driven.

    `inverted`: the board's signal is active low. `constant`: the level at which an output of no other use is held.
    """

    sites: tuple[str, ...] = Field(min_length=1)
    inverted: bool = False
    pull: Literal["up", "down", "none"] | None = None
    drive: int | None = None
    constant: Literal[0, 1] | None = None


class Clock(_Strict):
    """`mhz`: the oscillator on the port `clk`. `design_mhz`: the design's clock, made by a PLL if they differ."""

    mhz: float = Field(gt=0)
    design_mhz: float = Field(gt=0)


class Resources(_Strict):
    """What the device has, counted as `hwgen.tools.resources.Resources` counts what a design takes."""

    lut: int = Field(ge=0)
    ff: int = Field(ge=0)
    bram: int = Field(ge=0)
    dsp: int = Field(ge=0)


class Board(_Strict):
    """A board. Every field is described in docs/boards.md."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    description: str
    vendor: Literal["lattice", "amd"]
    family: Family
    part: str
    device: str
    package: str
    speed: str
    shell: Literal["uart", "axis"]
    baud: int | None = Field(default=None, ge=9600)
    io_standard: str = "LVCMOS33"
    default_interval: int = Field(ge=1)
    clock: Clock
    resources: Resources
    pins: dict[str, Pin] = {}
    flash: tuple[tuple[str, ...], ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Board:
        if self.shell == "axis":
            if self.pins:
                raise ValueError("a board with the shell axis has no pins of its own")
            return self
        missing = [port for port in ("clk", "uart_rx", "uart_tx") if port not in self.pins]
        if missing:
            raise ValueError(f"the shell uart needs pins for {', '.join(missing)}")
        if "leds" in self.pins and len(self.pins["leds"].sites) not in (1, 2, 4):
            raise ValueError(f"the shell uart shows its state on 1, 2 or 4 leds, not {len(self.pins['leds'].sites)}")
        known = {"clk", "uart_rx", "uart_tx", "button", "leds"}
        loose = [port for port, pin in self.pins.items() if port not in known and pin.constant is None]
        if loose:
            raise ValueError(f"the shell uart drives only {', '.join(sorted(known))}; {loose[0]} needs a constant")
        if self.baud is None:
            raise ValueError("the shell uart needs a baud rate")
        self.divisor()
        return self

    def at(self, design_mhz: float) -> Board:
        """The same board with another design clock, in MHz. Raises HwgenError for one that its UART cannot use."""
        clock = {**self.clock.model_dump(), "design_mhz": design_mhz}
        try:
            return Board.model_validate({**self.model_dump(), "clock": clock})
        except ValidationError as error:
            raise HwgenError(f"{self.name} cannot run at {design_mhz:g} MHz: {_faults(error)}") from error

    def divisor(self) -> int:
        """Design clock cycles per bit of the UART; the rate must come out within one percent."""
        if self.baud is None:
            raise ValueError(f"the board {self.name} has no UART")
        exact = self.clock.design_mhz * 1e6 / self.baud
        divisor = round(exact)
        if divisor < 4 or abs(divisor / exact - 1) > 0.01:
            raise ValueError(f"{self.clock.design_mhz:g} MHz cannot make {self.baud} baud within one percent")
        return divisor


def _faults(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'board'}: {e['msg']}" for e in error.errors())


def list_boards() -> tuple[str, ...]:
    """Names of the boards that ship with hwgen, sorted."""
    return tuple(sorted(path.stem for path in share("boards").glob("*.toml")))


def load_board(name_or_path: str | Path) -> Board:
    """A board by its name, or from a TOML file of the user's own (a path that ends in .toml).

    Raises HwgenError for an unknown name (with the known ones and the nearest), a missing or broken file, and for
    every field that is missing, unknown or out of range.
    """
    text = str(name_or_path)
    if text.endswith(".toml"):
        return _read(Path(text))
    known = list_boards()
    if text not in known:
        nearest = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]}?" if nearest else "."
        raise HwgenError(f"unknown board {text!r}{hint} Known boards: {', '.join(known)}, or a path to a .toml file")
    return _read(share("boards", f"{text}.toml"))


def _read(path: Path) -> Board:
    try:
        return Board.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise HwgenError(f"cannot read the board file {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HwgenError(f"the board file {path} is not TOML: {error}") from error
    except ValidationError as error:
        raise HwgenError(f"the board file {path} is wrong: {_faults(error)}") from error
