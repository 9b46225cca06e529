"""What a build gives: figures with their sources, and the two judgements on them, size and timing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen.errors import DoesNotFitError, HwgenError, ToolMissingError
from hwgen.flow.boards import Board
from hwgen.flow.reports import ClockTiming
from hwgen.ir.figure import Figure
from hwgen.tools.yosys import Resources

COMPONENTS = "components.json"
"""The file in an accelerator's folder that holds the sizes of its components."""

UNITS = {"lut": "LUT", "ff": "FF", "bram": "BRAM", "dsp": "DSP"}


@dataclass(frozen=True)
class Usage:
    """What a design takes of one resource, and how many the device has."""

    used: Figure
    available: int


@dataclass(frozen=True)
class FlowResult:
    """A build. `bitstream` is None where the vendor's tool was missing.

    `resources`: by kind (lut, ff, bram, dsp), each from the last step that tells. `synthesis`: the same, from
    synthesis alone. `modules`: from synthesis, of the modules that the plan keeps apart, with all they contain.
    `fmax`: by clock; `target`: what the board asks of it, in MHz; `timing_met`: None where nothing was routed.
    `reused`: steps that were not run again. `note`: what to say beside the figures of synthesis.
    """

    board: str
    folder: Path
    bitstream: Path | None
    resources: Mapping[str, Usage]
    synthesis: Mapping[str, Usage]
    modules: Mapping[str, Resources]
    fmax: Mapping[str, Figure]
    target: Mapping[str, float]
    timing_met: bool | None
    reused: tuple[str, ...]
    note: str

    def to_json(self) -> dict[str, Any]:
        def usage(table: Mapping[str, Usage]) -> dict[str, Any]:
            return {kind: {**one.used.to_json(), "available": one.available} for kind, one in table.items()}

        return {
            "board": self.board,
            "bitstream": self.bitstream.name if self.bitstream else None,
            "resources": usage(self.resources),
            "synthesis": usage(self.synthesis),
            "modules": {name: resources.to_json() for name, resources in self.modules.items()},
            "fmax": {clock: figure.to_json() for clock, figure in self.fmax.items()},
            "target": dict(self.target),
            "timing_met": self.timing_met,
            "reused": list(self.reused),
            "note": self.note,
        }


class VendorToolMissingError(ToolMissingError):
    """A build that is complete but for its vendor's tool; `result` has what is known."""

    def __init__(self, message: str, result: FlowResult) -> None:
        super().__init__(message)
        self.result = result


def check_fits(board: Board, used: Mapping[str, float | None], source: str) -> None:
    """Raises DoesNotFitError with every resource (lut, ff, bram, dsp) of which more is used than the board has.

    `used`: None means unknown and is not judged. `source`: what the figures are from, for the message.
    """
    over = []
    for kind, unit in UNITS.items():
        value, available = used.get(kind), getattr(board.resources, kind)
        if value is not None and value > available:
            extra = value - available
            share = f"{100 * value / available:.0f} %" if available else "there are none"
            over.append(f"{unit} {value:g} of {available}, {extra:g} too many ({share})")
    if over:
        raise DoesNotFitError(f"the design does not fit {board.name}, by {source}: {'; '.join(over)}")


def check_timing(clocks: Iterable[ClockTiming]) -> None:
    """Raises HwgenError with every clock that misses its target, and by how much."""
    missed = [
        f"{one.clock} reaches {one.fmax:.1f} MHz of {one.target:g} MHz, {-one.slack:.2f} ns short"
        for one in clocks
        if not one.met
    ]
    if missed:
        raise HwgenError(f"timing is not met: {'; '.join(missed)}")
