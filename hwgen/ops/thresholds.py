"""Requantization by thresholds: any monotonic function of the accumulator, exactly (NUMERICS: requantisation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Format, Int
from hwgen.formats.grid import ladder
from hwgen.ir import Array, Op, TensorType, freeze
from hwgen.ops.matvec import integer_range


@dataclass(frozen=True, eq=False)
class Thresholds(Op):
    """code[c] = as many steps above `first` as there are thresholds t of channel c with x[c] >= t.

    A step goes to the next greater number of `format` (its `ladder`): for integers code = first + count, for
    minifloats through the negative codes down to zero and up the positive ones.
    thresholds: integers of shape (channels or 1, steps), increasing along the last axis; `first` is the code of an
    input below all of them. Every threshold lies in the input's range extended by one above: a threshold at the least
    input always counts, one above the greatest never does.
    format, scale, zero_point: those of the output.
    """

    frozen: ClassVar[bool] = True

    thresholds: npt.NDArray[np.int64]
    first: int
    format: Format
    scale: tuple[float, ...] = (1.0,)
    zero_point: int = 0

    def __post_init__(self) -> None:
        table = np.asarray(self.thresholds, dtype=np.int64)
        if table.ndim != 2 or 0 in table.shape:
            raise HwgenError(f"thresholds have shape (channels, steps), not {table.shape}")
        if (np.diff(table, axis=1) < 0).any():
            channel = int(np.argwhere(np.diff(table, axis=1) < 0)[0, 0])
            raise HwgenError(f"thresholds must not decrease; those of channel {channel} do")
        rungs = ladder(self.format)
        if self.first not in rungs or self.base + table.shape[1] >= rungs.size:
            raise HwgenError(
                f"{table.shape[1]} steps from code {self.first} leave {self.format.name}, "
                f"which has {rungs.size} numbers from code {rungs[0]} to {rungs[-1]}"
            )
        freeze(self, thresholds=table)

    @property
    def base(self) -> int:
        """Numbers of the format below `first`."""
        return int(np.flatnonzero(ladder(self.format) == self.first)[0])

    @property
    def steps(self) -> int:
        return int(self.thresholds.shape[1])

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if not isinstance(x.codes_format, Int):
            raise HwgenError(f"thresholds compare integers, not {x.codes_format.name}")
        if self.thresholds.shape[0] not in (1, x.channels):
            raise HwgenError(f"{self.thresholds.shape[0]} rows of thresholds for {x.channels} channels")
        low, high = integer_range(x)
        if self.thresholds.min() < low or self.thresholds.max() > high + 1:
            raise HwgenError(f"thresholds must lie in the input's range {low}..{high} or one above")
        return TensorType(x.shape, self.format, self.scale, self.zero_point)

    def run(self, *values: Array) -> Array:
        (x,) = values
        return np.asarray(ladder(self.format)[self.base + (x[..., None] >= self.thresholds).sum(axis=-1)])
