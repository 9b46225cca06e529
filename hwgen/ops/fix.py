"""From FP32 to fixed point, by a rounding that another one behind it does not notice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from hwgen.errors import HwgenError
from hwgen.formats import Int
from hwgen.formats.odd import to_integers
from hwgen.ir import Array, Op, TensorType
from hwgen.ops.block_sums import FP32


@dataclass(frozen=True, eq=False)
class Fix(Op):
    """x / 2**lsb of finite FP32 codes, rounded to odd, saturated to -format.max..format.max.

    Rounding to odd keeps x on its side of every even multiple of 2**lsb, and x is such a multiple only where it was
    one: an inexact number becomes odd, and no integer lies between it and its neighbours. A quantizer behind compares
    with boundaries (its ties and its steps); with steps of 2**k, k >= lsb + 2, they are multiples of 2**(k - 1), even
    multiples of 2**lsb. So it gives what it would have given for x itself, ties included: with two or more extra bits
    its rounding is the only one that shows. Boundaries that are no even multiples, as behind factors of a batch
    normalization, are met wrongly only by an x within 2**lsb of them that has bits below 2**lsb.
    format: signed; what saturates must saturate behind too.
    """

    frozen: ClassVar[bool] = True

    lsb: int
    format: Int

    def __post_init__(self) -> None:
        if not self.format.is_signed or self.format.width > 62:
            raise HwgenError(f"fixed point behind FP32 is signed and of 62 bits at most, not {self.format.name}")
        if not -300 <= self.lsb <= 300:
            raise HwgenError(f"a step of fixed point is from 2**-300 to 2**300, not 2**{self.lsb}")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if x.codes_format != FP32:
            raise HwgenError(f"fixed point is made of fp32, not of {x.codes_format.name}")
        return replace(x, format=self.format, scale=tuple(scale * 2.0**self.lsb for scale in x.scale))

    def run(self, *values: Array) -> Array:
        (x,) = values
        significand, exponent = FP32.significand_exponent(x)
        return to_integers(significand, exponent - self.lsb, self.format.max)
