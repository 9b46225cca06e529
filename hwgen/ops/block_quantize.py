"""Quantization of integers to blocks that share a scale (OCP Microscaling v1.0, sec. 6.3; NVFP4 and relatives)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

import numpy as np

from hwgen.errors import HwgenError
from hwgen.formats import Blocked, Codes, Int, Minifloat, check_rounding
from hwgen.formats.block_steps import Step, check_steps, element_steps, least_integer, scale_steps
from hwgen.formats.odd import to_float64
from hwgen.ir import Array, Op, TensorType
from hwgen.ops.matvec import MAX_ACCUMULATOR_BITS, integer_range

NEVER = 1 << 62
"""More than any number that is quantized."""


@dataclass(frozen=True, eq=False)
class BlockQuantize(Op):
    """Blocks of channels of x * 2**lsb: a scale each, and elements rounded once; codes of `format`.

    A block's scale is 2**(floor(log2(max|x|)) - emax), taken to the nearest that the scale's format has: a format of
    few scales is the window of exponents that a network can meet. Where scales have a mantissa it is
    max|x| / greatest element, rounded half to even. Elements, x / scale, saturate; under a scale of 0 they are code 0.
    All of this is exact: nothing is rounded but scales and elements, once each.
    scale: of the output, one number. rounding: a name of `hwgen.formats.ROUNDING`; where scales have a mantissa, one to
    the nearest that treats both signs alike.
    The channels must be whole blocks.
    """

    frozen: ClassVar[bool] = True

    format: Blocked
    lsb: int
    rounding: str = "half_even"
    scale: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        check_rounding(self.rounding)
        if not self.format.block.power_scale:
            check_steps(self.format.block, self.rounding)

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
        if not self.format.block.power_scale:
            return self._by_comparison(x)
        # Rounded to odd where float64 does not hold x: the power of two below it stays the same, and elements have far
        # fewer bits, so that the encoder's rounding is the only one that shows.
        return self.format.encode(to_float64(x, self.lsb), self.rounding)

    @cached_property
    def scale_bounds(self) -> Codes:
        """The least |x| whose block has scale code k + 1, for every k."""
        return _bounds(scale_steps(self.format.block), Fraction(2) ** self.lsb)

    @cached_property
    def element_bounds(self) -> Codes:
        """By scale code, the least |x| whose element has magnitude k + 1, for every k."""
        block = self.format.block
        significands, exponents = block.scale.significand_exponent(range(block.scale.max_magnitude + 1))
        steps = element_steps(block, self.rounding)
        rows = []
        for significand, exponent in zip(significands, exponents, strict=True):
            scale = int(significand) * Fraction(2) ** int(exponent)
            unit = Fraction(2) ** self.lsb / scale if scale else None
            rows.append(np.full(len(steps), NEVER) if unit is None else _bounds(steps, unit))
        return np.array(rows)

    def _by_comparison(self, x: Array) -> Array:
        block = self.format.block
        blocks = np.asarray(x, dtype=np.int64).reshape(*np.shape(x)[:-1], -1, block.size)
        magnitudes = np.abs(blocks)
        scales = np.searchsorted(self.scale_bounds, magnitudes.max(axis=-1), side="right")
        levels = np.zeros_like(magnitudes)
        for bounds in self.element_bounds.T:
            levels += magnitudes >= bounds[scales][..., None]
        negative = (blocks < 0) & (scales > 0)[..., None]
        if isinstance(block.element, Minifloat):
            # A number that is rounded to zero keeps its sign.
            elements = levels | negative.astype(np.int64) << block.element.magnitude_bits
        else:
            elements = np.where(negative, -levels, levels)
        return self.format.join(scales[..., None], elements).reshape(np.shape(x))


def _bounds(steps: list[Step], unit: Fraction) -> Codes:
    """The least multiple of `unit` that reaches each step, in units."""
    return np.array([min(least_integer((bound / unit, inclusive)), NEVER) for bound, inclusive in steps])
