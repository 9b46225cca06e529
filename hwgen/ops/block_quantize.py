"""Quantization of integers to blocks that share a power-of-two scale (OCP Microscaling v1.0, sec. 6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwgen.errors import HwgenError
from hwgen.formats import Blocked, Int, check_rounding
from hwgen.formats.odd import to_float64
from hwgen.ir import Array, Op, TensorType
from hwgen.ops.matvec import MAX_ACCUMULATOR_BITS, integer_range


@dataclass(frozen=True, eq=False)
class BlockQuantize(Op):
    """Blocks of channels of x * 2**lsb: a scale each, and elements rounded once; codes of `format`.

    A block's scale is 2**(floor(log2(max|x|)) - emax), taken to the nearest that the scale's format has: a format of
    few scales is the window of exponents that a network can meet. Elements saturate.
    scale: of the output, one number. rounding: a name of `hwgen.formats.ROUNDING`.
    The channels must be whole blocks.
    """

    frozen: ClassVar[bool] = True

    format: Blocked
    lsb: int
    rounding: str = "half_even"
    scale: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        check_rounding(self.rounding)

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if not isinstance(x.codes_format, Int):
            raise HwgenError(f"blocks are made of integers, not of {x.codes_format.name}")
        size = self.format.block.size
        if x.channels % size:
            raise HwgenError(f"blocks of {size} do not divide {x.channels} channels")
        width = max(abs(end) for end in integer_range(x)).bit_length()
        if width > MAX_ACCUMULATOR_BITS:
            raise HwgenError(
                f"numbers of {width} bits cannot be made blocks; at most {MAX_ACCUMULATOR_BITS} are proven"
            )
        return TensorType(x.shape, self.format, self.scale)

    def run(self, *values: Array) -> Array:
        (x,) = values
        # Rounded to odd where float64 does not hold x: the power of two below it stays the same, and elements have far
        # fewer bits, so that the encoder's rounding is the only one that shows.
        return self.format.encode(to_float64(x, self.lsb), self.rounding)
