"""A measured or estimated number together with where it came from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from hwgen.errors import HwgenError

Source = Literal["estimate", "synthesis", "route", "simulation", "board"]


@dataclass(frozen=True)
class Figure:
    """One figure of a report.

    `value`: None means unknown, never 0. `source`: what it was taken from. `unit`: such as "LUT" or "MHz".
    `available`: of a resource, how much the device has. `command`: what produced it. `note`: what to say beside it.
    Raises HwgenError for another source.
    """

    value: float | None
    source: Source
    unit: str = ""
    available: float | None = None
    command: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.source not in get_args(Source):
            raise HwgenError(f"a figure comes from {', '.join(get_args(Source))}, not from {self.source!r}")

    def to_json(self) -> dict[str, float | str | None]:
        return asdict(self)
