"""Blocks whose scales have a mantissa, on exact numbers: where the codes of scales and of elements change.

NVFP4 and its relatives are defined by steps in FP32 (`Block.encode`). On exact numbers these are two roundings: the
scale is max|x| / greatest element, rounded half to even; an element is x / scale, rounded once. Both are comparisons
with constants, so that nothing is divided: max|x| with the midpoints of neighbouring scales times the greatest element,
|x| with those of neighbouring elements times the scale.

Under a tensor scale of 1 the steps in FP32 give the same codes for every x of 24 bits: both divisors, the greatest
element and a scale's significand, are 15 at most, and a quotient that is not a midpoint differs from it by more than
half an ulp. (x - midpoint * d is a whole number of ulps of x, the quotient's ulp is smaller by the power of two at or
below d, and the difference is divided by d, less than twice that power.)
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hwgen.errors import HwgenError
from hwgen.formats.block import Block
from hwgen.formats.minifloat import Minifloat

SYMMETRIC = ("half_even", "half_away", "half_zero")
"""Roundings to the nearest that treat both signs alike."""

MAX_ELEMENT_STEPS = 31
"""The most positive elements: each is a comparison."""

Step = tuple[Fraction, bool]
"""(bound, inclusive): what is above the bound has the next code, and what is equal to it if it is inclusive."""


def check_steps(block: Block, rounding: str) -> None:
    """Raises HwgenError unless the codes of `block` change at such steps, and those of both signs alike."""
    if rounding not in SYMMETRIC:
        known = ", ".join(SYMMETRIC)
        raise HwgenError(f"elements of {block.name} are rounded to the nearest: one of {known}, not {rounding}")
    low, high = block.element.extremes
    if low != -high:
        raise HwgenError(f"elements under scales with a mantissa are symmetric, and {block.element.name} is not")
    if len(positive(block)) > MAX_ELEMENT_STEPS:
        raise HwgenError(
            f"elements under scales with a mantissa have {MAX_ELEMENT_STEPS} magnitudes at most, and "
            f"{block.element.name} has more"
        )


def positive(block: Block) -> list[Fraction]:
    """The elements from the least positive one on: code k, without its sign, is worth number k - 1 of these."""
    element = block.element
    count = element.max_magnitude if isinstance(element, Minifloat) else element.code_range[1]
    significands, exponents = element.significand_exponent(range(1, min(count, MAX_ELEMENT_STEPS + 1) + 1))
    return [Fraction(int(s)) * Fraction(2) ** int(e) for s, e in zip(significands, exponents, strict=True)]


def scale_steps(block: Block) -> list[Step]:
    """Of max|x|: where scale code k + 1 begins, for every k."""
    scale, greatest = block.scale, block.element.extremes[1]
    significands, exponents = scale.significand_exponent(range(scale.max_magnitude + 1))
    worths = [Fraction(int(s)) * Fraction(2) ** int(e) for s, e in zip(significands, exponents, strict=True)]
    return [((low + high) / 2 * greatest, code % 2 == 1) for code, (low, high) in enumerate(pairwise(worths))]


def element_steps(block: Block, rounding: str) -> list[Step]:
    """Of |x| under a scale of 1: where the element k + 1 begins, for every k, counted from 0."""
    worths = [Fraction(0), *positive(block)]
    return [
        ((low + high) / 2, rounding == "half_away" or (rounding == "half_even" and code % 2 == 1))
        for code, (low, high) in enumerate(pairwise(worths))
    ]


def least_integer(step: Step) -> int:
    """The least integer that has the next code."""
    bound, inclusive = step
    whole = bound.numerator // bound.denominator
    return whole if inclusive and whole == bound else whole + 1
