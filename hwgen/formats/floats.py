"""Real numbers rounded to a floating-point grid, on the bits of float64 and integers alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hwgen.formats.rounding import check_encode_rounding
from hwgen.formats.stochastic import Rounding, as_stochastic

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

FRACTION_BITS = 52
FRACTION = (1 << FRACTION_BITS) - 1
EXPONENT_MASK = 0x7FF
BIAS = 1023
# What is shifted right by more than this counts as "not zero, and next to nothing".
MAX_SHIFT = 62


def round_magnitude(magnitude: Ints, shift: Ints, negative: Bools, rounding: Rounding) -> Ints:
    """`magnitude / 2**shift` rounded to an integer, for the number -magnitude / 2**shift where `negative`.

    magnitude is not negative, shift is 0 to 62 (with 62 for a magnitude that is next to nothing); same shapes.
    """
    check_encode_rounding(rounding)
    random = as_stochastic(rounding)
    if random:
        r = random.numbers(magnitude.size).reshape(magnitude.shape) << np.maximum(shift - random.bits, 0)
        return np.asarray((magnitude + r) >> shift)
    floor = magnitude >> shift
    rest = magnitude - (floor << shift)
    half = (np.int64(1) << shift) >> 1
    match rounding:
        case "half_even":
            up = (rest > half) | ((rest == half) & (rest > 0) & ((floor & 1) == 1))
        case "half_away":
            up = (rest >= half) & (rest > 0)
        case "half_zero":
            up = rest > half
        case "half_up":
            up = (rest > half) | ((rest == half) & (rest > 0) & ~negative)
        case "half_down":
            up = (rest > half) | ((rest == half) & (rest > 0) & negative)
        case "down":
            up = (rest > 0) & negative
        case "up":
            up = (rest > 0) & ~negative
        case "away":
            up = rest > 0
        case "odd":
            up = (rest > 0) & ((floor & 1) == 0)
        case _:
            return floor
    return np.asarray(floor + up)


def round_to_grid(
    x: npt.NDArray[np.float64],
    mantissa_bits: int,
    bias: npt.ArrayLike,
    max_field: int,
    has_subnormals: bool,
    rounding: Rounding,
) -> Ints:
    """The packed exponent and mantissa bits of |x|, rounded; infinity and whatever lies above `max_field` give more.

    `bias` broadcasts against `x`, so that blocks with an exponent each are numbers with a bias each. NaN gives no
    meaning. The exponent field is not bounded above: the caller compares with its greatest code.
    """
    bits = x.view(np.int64)
    negative = bits < 0
    fraction = bits & FRACTION
    source = (bits >> FRACTION_BITS) & EXPONENT_MASK
    field = source - BIAS + np.asarray(bias, dtype=np.int64)
    # An infinity has the greatest field and fraction 0: it stays above every finite number.
    wide = (np.minimum(field, max_field + 1) << FRACTION_BITS) | np.where(field > max_field, 0, fraction)
    shift = np.full(x.shape, FRACTION_BITS - mantissa_bits, dtype=np.int64)
    low = field < (1 if has_subnormals else 0)
    if not low.any():
        return round_magnitude(wide, shift, negative, rounding)
    if not has_subnormals:
        # Nothing lies between the least number and zero, and there is no zero: the least code stands for both.
        return round_magnitude(np.where(low, 0, wide), shift, negative, rounding)
    by = FRACTION_BITS + 1 - mantissa_bits - field
    tiny = by > MAX_SHIFT
    significand = np.where(tiny, (bits & ~(np.int64(-1) << 63)) != 0, fraction | (1 << FRACTION_BITS))
    wide = np.where(low, significand, wide)
    shift = np.where(low, np.minimum(by, MAX_SHIFT), shift)
    return round_magnitude(wide, shift, negative, rounding)
