"""Matrix-vector product on codes, with an exact accumulator sized from the real weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Codes, Format, Int
from hwgen.ir import Array, Fold, Op, TensorType, freeze


@dataclass(frozen=True, eq=False)
class MatVec(Op):
    """acc[o] = bias[o] + sum over i of worth(weight[o, i]) * worth(x[i]); exact integers, no rounding.

    weight: codes of `weight_format`, shape (out, in).
    bias: integers in units of the accumulator, shape (out,); input zero points are folded into it.
    scale: real value of one accumulator unit, one number or one per output channel (for decoding only).
    input_format: the format of x; None reads Int codes, which are their own worth.
    The output format is the narrowest signed integer that holds every sum that these weights can make.
    """

    frozen: ClassVar[bool] = True

    weight: npt.NDArray[np.int64]
    weight_format: Format
    bias: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    scale: tuple[float, ...] = (1.0,)
    input_format: Format | None = None

    def __post_init__(self) -> None:
        weight = np.asarray(self.weight, dtype=np.int64)
        if weight.ndim != 2 or 0 in weight.shape:
            raise HwgenError(f"a weight matrix has shape (out, in), not {weight.shape}")
        if self.weight_format.integer_range is None:
            raise HwgenError(f"weights in {self.weight_format.name} are not integers")
        bias = np.broadcast_to(np.asarray(self.bias, dtype=np.int64), (weight.shape[0],))
        freeze(self, weight=weight, bias=bias)

    @property
    def worth(self) -> Codes:
        """Integer worth of the weights, shape (out, in)."""
        significand, exponent = self.weight_format.significand_exponent(self.weight)
        return significand << exponent

    def accumulator_range(self, x: TensorType) -> tuple[int, int]:
        """(least, greatest) final sum over all channels, for any input codes of type `x`."""
        low, high = integer_range(x)
        worth = self.worth
        # The bias of a channel moves both of its bounds; zero stays inside since an empty sum starts there.
        least = np.minimum(worth * low, worth * high).sum(axis=1) + self.bias
        greatest = np.maximum(worth * low, worth * high).sum(axis=1) + self.bias
        return int(min(least.min(), 0)), int(max(greatest.max(), 0))

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if x.channels != self.weight.shape[1]:
            raise HwgenError(f"weights take {self.weight.shape[1]} inputs, the tensor has {x.channels}")
        if x.format != self.input_format and not (self.input_format is None and isinstance(x.codes_format, Int)):
            expected = self.input_format.name if self.input_format else "integer"
            raise HwgenError(f"it reads {expected} codes, the tensor has {x.codes_format.name} (input_format)")
        low, high = self.accumulator_range(x)
        width = max(low.bit_length(), high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1
        if width > 53:
            raise HwgenError(f"the accumulator needs {width} bits; the golden model proves sums up to 53")
        fmt = Int(max(2, Int.holding(min(low, -1), high).width))
        return TensorType((*x.shape[:-1], self.weight.shape[0]), fmt, self.scale)

    def run(self, *values: Array) -> Array:
        (x,) = values
        if self.input_format is not None:
            significand, exponent = self.input_format.significand_exponent(x)
            x = significand << exponent
        return np.asarray(x @ self.worth.T + self.bias)

    def cycles(self, x: TensorType, fold: Fold) -> int:
        """Clock cycles a frame: (out / PE) * (in / SIMD) * positions. Raises HwgenError if the fold does not divide."""
        out, inner = self.weight.shape
        if out % fold.pe or inner % fold.simd:
            raise HwgenError(
                f"folding must divide the layer: PE={fold.pe} into {out} outputs, SIMD={fold.simd} into {inner} inputs"
            )
        return int(out // fold.pe) * int(inner // fold.simd) * (x.size // int(inner))


def integer_range(x: TensorType) -> tuple[int, int]:
    """(least, greatest) worth of the codes of `x`; raises HwgenError if they are not integers."""
    worth = x.codes_format.integer_range
    if worth is None:
        raise HwgenError(f"{x.codes_format.name} codes are not worth integers")
    return worth
