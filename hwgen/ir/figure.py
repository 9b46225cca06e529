"""A figure: a number together with where it came from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from hwgen.errors import HwgenError

Source = Literal["estimate", "synthesis", "simulation", "route", "board"]

SOURCES: tuple[Source, ...] = get_args(Source)
"""From the weakest to the strongest: a figure made of two others is as good as the weaker."""


@dataclass(frozen=True)
class Figure:
    """One number of a report.

    value: finite, or None where it is not known; an unknown is never 0.
    source: what gave the number (or, where it is not known, what would give it).
    unit: such as "LUT", "MHz", "cycles"; empty for plain counts.
    how: the command, tool or formula, in one line.
    """

    value: float | None
    source: Source
    unit: str = ""
    how: str = ""

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise HwgenError(f"a figure's source is one of {', '.join(SOURCES)}, not {self.source!r}")
        if self.value is not None and not math.isfinite(self.value):
            raise HwgenError(f"a figure is a finite number or None where it is not known, not {self.value}")

    @property
    def known(self) -> bool:
        return self.value is not None

    def text(self) -> str:
        """The number for people, with its unit: at most four significant digits below 1,000; "not known" for None."""
        if self.value is None:
            return "not known"
        whole = float(self.value).is_integer() or abs(self.value) >= 1000
        number = f"{self.value:,.0f}" if whole else f"{self.value:.4g}"
        return f"{number} {self.unit}".rstrip()

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "source": self.source, "unit": self.unit, "how": self.how}


def weakest(*figures: Figure) -> Source:
    """The source of a figure that is computed from `figures`: the weakest of theirs."""
    return min((figure.source for figure in figures), key=SOURCES.index)
