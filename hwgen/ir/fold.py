"""Folding: how many lanes of a layer exist in hardware. It stands beside the graph and never changes a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwgen.errors import HwgenError


@dataclass(frozen=True)
class Fold:
    """PE output lanes and SIMD input lanes of one matrix unit.

    dsp: whether narrow weights, which LUTs multiply otherwise, go on DSPs where the device has them.
    """

    pe: int = 1
    simd: int = 1
    dsp: bool = False

    def __post_init__(self) -> None:
        if self.pe < 1 or self.simd < 1:
            raise HwgenError(f"PE and SIMD are at least 1, not PE={self.pe} SIMD={self.simd}")

    def to_json(self) -> list[int | str]:
        """[PE, SIMD] or [PE, SIMD, "dsp"], as in files of folds."""
        return [self.pe, self.simd, *(["dsp"] if self.dsp else [])]


Folding = Mapping[str, Fold]
"""Fold of each matrix unit, by node name."""
