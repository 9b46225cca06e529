"""Requantization by multiply and shift: dyadic scales (HAWQ-V3, arXiv 2011.10680), powers of two as the case m = 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Int, check_rounding, round_shift
from hwgen.ir import Array, Op, TensorType, freeze
from hwgen.ops.matvec import integer_range


@dataclass(frozen=True, eq=False)
class Requantize(Op):
    """code[c] = clip(round((x[c] * multiplier[c] + offset[c]) / 2**shift[c]) + zero_point, low, high).

    multiplier, offset, shift: integers, one or one per channel; shift from 0 to 62. Behind a negative multiplier codes
    fall as x rises.
    rounding: a name of `hwgen.formats.ROUNDING`, applied once. low, high: codes of `format`; a ReLU raises `low`.
    """

    frozen: ClassVar[bool] = True

    multiplier: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    rounding: str
    low: int
    high: int
    format: Int
    scale: tuple[float, ...] = (1.0,)
    zero_point: int = 0

    def __post_init__(self) -> None:
        check_rounding(self.rounding)
        arrays = {
            name: np.atleast_1d(np.asarray(getattr(self, name), dtype=np.int64))
            for name in ("multiplier", "offset", "shift")
        }
        if arrays["shift"].min() < 0 or arrays["shift"].max() > 62:
            raise HwgenError(f"a shift is from 0 to 62, not {arrays['shift'].min()}..{arrays['shift'].max()}")
        if not self.format.min <= self.low <= self.high <= self.format.max:
            raise HwgenError(f"the bounds {self.low}..{self.high} must be ordered codes of {self.format.name}")
        freeze(self, **arrays)

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        low, high = integer_range(x)
        for name in ("multiplier", "offset", "shift"):
            size = getattr(self, name).shape[0]
            if size not in (1, x.channels):
                raise HwgenError(f"{size} values of {name} for {x.channels} channels")
        # Python integers: the bound itself may leave int64.
        worst = max(
            max(abs(low), abs(high)) * abs(int(m)) + abs(int(b)) for m, b in np.broadcast(self.multiplier, self.offset)
        )
        if worst >= 1 << 62:
            raise HwgenError(f"the product needs {worst.bit_length() + 1} bits; at most 63 are proven")
        return TensorType(x.shape, self.format, self.scale, self.zero_point)

    def run(self, *values: Array) -> Array:
        (x,) = values
        rounded = round_shift(x * self.multiplier + self.offset, self.shift, self.rounding)
        return np.clip(rounded + self.zero_point, self.low, self.high)
