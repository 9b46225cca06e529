"""The formats once more, one number at a time and on exact fractions, to be read beside their specifications.

Nothing computes with this: it is what the vectorised `encode` and `decode` are tested against. OCP OFP8 v1.0, OCP
Microscaling v1.0 (sec. 5 and 6.3), IEEE 754-2019 (sec. 4.3 and 7.4) and the manual of ap_fixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from hwgen.errors import HwgenError
from hwgen.formats.block import Block
from hwgen.formats.fixed import Fixed
from hwgen.formats.integer import Int
from hwgen.formats.minifloat import Minifloat

HALF = Fraction(1, 2)
Number = float | Fraction


def round_fraction(x: Fraction, rounding: str, random: Fraction = Fraction(0)) -> int:
    """`x` rounded to an integer by a name of `ENCODE_ROUNDING`; `random` in 0..1 decides a "stochastic" one."""
    low, high = math.floor(x), math.ceil(x)
    toward_zero, away = (low, high) if x >= 0 else (high, low)
    even, odd = (low, high) if low % 2 == 0 else (high, low)
    always = {"down": low, "up": high, "zero": toward_zero, "away": away, "odd": odd}
    on_tie = {"half_even": even, "half_away": away, "half_zero": toward_zero, "half_up": high, "half_down": low}
    if low == high:
        return low
    if rounding == "stochastic":
        return math.floor(x + random)
    if rounding in always:
        return always[rounding]
    if x - low == HALF:
        return on_tie[rounding]
    return low if x - low < HALF else high


def floor_log2(x: Fraction) -> int:
    """The greatest e with 2**e <= x."""
    # 2**(a-1) <= numerator < 2**a and 2**(b-1) <= denominator < 2**b: the quotient lies within a factor 2 of 2**(a-b).
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if Fraction(2) ** e <= x else e - 1


def decode_minifloat(fmt: Minifloat, code: int) -> Number:
    """What a code is worth: an exact Fraction, or a float that is NaN, infinite or minus zero."""
    m, bias = fmt.mantissa_bits, fmt.bias
    sign = -1 if fmt.has_sign and code >> (fmt.exponent_bits + m) else 1
    exponent = (code >> m) % (1 << fmt.exponent_bits)
    mantissa = Fraction(code % (1 << m), 1 << m)
    all_ones = (1 << fmt.exponent_bits) - 1
    if fmt.special == "ieee" and exponent == all_ones:
        return math.nan if mantissa else sign * math.inf
    if fmt.special == "nan" and exponent == all_ones and code % (1 << m) == (1 << m) - 1:
        return math.nan
    if exponent == 0 and fmt.has_subnormals:
        worth = sign * Fraction(2) ** (1 - bias) * mantissa
        return worth if worth or sign > 0 else -0.0
    return sign * Fraction(2) ** (exponent - bias) * (1 + mantissa)


def encode_minifloat(
    fmt: Minifloat, x: Number, rounding: str = "half_even", overflow: str = "saturate", random: Fraction = Fraction(0)
) -> int:
    """The code of one number. Raises HwgenError for NaN or an overflow that the format cannot express.

    The magnitude is rounded, so that "down" is "zero" for positive and "away" for negative numbers, and so on.
    """
    sign_bit = 1 << (fmt.exponent_bits + fmt.mantissa_bits)
    negative = x < 0 or str(x) == "-0.0"
    if x != x:
        return _special(fmt, "NaN")
    if negative and x and not fmt.has_sign:
        return 0 if overflow == "saturate" else _special(fmt, "NaN")
    sign = sign_bit if negative and fmt.has_sign else 0
    greatest = fmt.extremes[1]
    if x in (math.inf, -math.inf):
        return sign + (_magnitude_code(fmt, greatest) if overflow == "saturate" else _special(fmt, "infinity"))
    mirrored = {"down": "up", "up": "down", "half_up": "half_down", "half_down": "half_up"}
    by = mirrored.get(rounding, rounding) if negative else rounding
    size = _round_magnitude(fmt, abs(Fraction(x)), by, random)
    if size > greatest:
        # IEEE 754 sec. 7.4: what is rounded toward zero does not overflow.
        if overflow == "saturate" or by in ("zero", "down", "odd"):
            size = greatest
        else:
            return sign + _special(fmt, "infinity")
    return sign + _magnitude_code(fmt, size)


def _round_magnitude(fmt: Minifloat, x: Fraction, rounding: str, random: Fraction) -> Fraction:
    """`x` rounded to a number of the format, as if its exponent had no upper end."""
    if not fmt.has_subnormals:
        x = max(x, Fraction(2) ** -fmt.bias)
    least = 1 - fmt.bias if fmt.has_subnormals else -fmt.bias
    exponent = max(floor_log2(x), least) if x else least
    step = Fraction(2) ** (exponent - fmt.mantissa_bits)
    if fmt.mantissa_bits == 0:
        # All significands are odd here: the even neighbour is the one with the even code.
        field = exponent + fmt.bias
        return step * (round_fraction(x / step - 1 + field, rounding, random) - field + 1)
    return step * round_fraction(x / step, rounding, random)


def _magnitude_code(fmt: Minifloat, size: Fraction) -> int:
    """The code of a positive number that the format has."""
    if fmt.has_subnormals and size < Fraction(2) ** (1 - fmt.bias):
        return int(size / Fraction(2) ** (1 - fmt.bias - fmt.mantissa_bits))
    exponent = floor_log2(size)
    mantissa = size / Fraction(2) ** exponent - 1
    return ((exponent + fmt.bias) << fmt.mantissa_bits) + int(mantissa * (1 << fmt.mantissa_bits))


def _special(fmt: Minifloat, what: str) -> int:
    """The magnitude bits of NaN, or of infinity, which is NaN where there is none."""
    all_ones = ((1 << fmt.exponent_bits) - 1) << fmt.mantissa_bits
    if fmt.special == "ieee" and what == "infinity":
        return all_ones
    if fmt.special == "ieee" and fmt.mantissa_bits:
        return all_ones + (1 << (fmt.mantissa_bits - 1))
    if fmt.special == "nan":
        return all_ones + (1 << fmt.mantissa_bits) - 1
    raise HwgenError(f"{what} has no code in {fmt.name}")


def encode_fixed(
    fmt: Fixed | Int, x: Number, rounding: str = "half_even", overflow: str = "saturate", random: Fraction = Fraction(0)
) -> int:
    """The code of one finite number in fixed point: round(x * 2**(w - i)), brought into w bits by ap_fixed's rules."""
    code = round_fraction(Fraction(x) / Fraction(2) ** fmt.lsb, rounding, random)
    low, high = fmt.code_range
    if low <= code <= high and not (overflow == "saturate_symmetric" and code < -high and low):
        return code
    limit = high if code > high else low
    if overflow == "saturate":
        return limit
    if overflow == "saturate_zero":
        return 0
    if overflow == "saturate_symmetric":
        return max(limit, -high) if low else limit
    # The code's own bits, sign extended without end; the low w of them are kept.
    width = fmt.bits
    kept = [(code >> place) & 1 for place in range(width)]
    if overflow == "wrap_sign_magnitude":
        lost = (code >> width) & 1
        if kept[-1] != lost:
            kept = [1 - bit for bit in kept]
    weights = [1 << place for place in range(width - 1)] + [-(1 << (width - 1)) if low else 1 << (width - 1)]
    return sum(bit * weight for bit, weight in zip(kept, weights, strict=True))


def shared_exponent(fmt: Block, xs: Sequence[Number], scale_mode: str = "floor") -> int:
    """The exponent of a block's power-of-two scale (OCP MX sec. 6.3), of finite numbers that are not all zero."""
    greatest = max(abs(Fraction(x)) for x in xs)
    exponent = floor_log2(greatest)
    if scale_mode == "even":
        step = Fraction(2) ** (exponent + 1 - fmt.element.significand_bits)
        exponent = floor_log2(step * math.floor(greatest / step + HALF))
    if scale_mode == "ceil" and greatest > Fraction(2) ** exponent:
        exponent += 1
    low, high = (floor_log2(end) for end in fmt.scale.extremes)
    return min(max(exponent - floor_log2(fmt.element.extremes[1]), low), high)


def encode_block(
    fmt: Block, xs: Sequence[Number], rounding: str = "half_even", scale_mode: str = "floor"
) -> tuple[int, list[int]]:
    """(scale code, element codes) of one block with a power-of-two scale."""
    if any(not math.isfinite(x) for x in xs):
        return _special(fmt.scale, "NaN"), [0] * len(xs)
    shared = shared_exponent(fmt, xs, scale_mode) if any(xs) else -fmt.scale.bias
    return shared + fmt.scale.bias, _elements(fmt, xs, Fraction(2) ** shared, rounding)


def encode_scaled_block(fmt: Block, xs: Sequence[Number], rounding: str = "half_even") -> tuple[int, list[int]]:
    """(scale code, element codes) of one block of exact numbers whose scale has a mantissa; its tensor scale is 1."""
    code = encode_minifloat(fmt.scale, max(abs(Fraction(x)) for x in xs) / fmt.element.extremes[1])
    scale = Fraction(decode_minifloat(fmt.scale, code))
    return code, _elements(fmt, xs, scale, rounding) if scale else [0] * len(xs)


def _elements(fmt: Block, xs: Sequence[Number], scale: Fraction, rounding: str) -> list[int]:
    """Codes of x / scale."""
    codes = []
    for x in xs:
        # A zero keeps its sign, which a Fraction does not have.
        scaled = Fraction(x) / scale if x else x
        if isinstance(fmt.element, Minifloat):
            codes.append(encode_minifloat(fmt.element, scaled, rounding))
        elif isinstance(fmt.element, Fixed | Int):
            codes.append(encode_fixed(fmt.element, scaled, rounding))
    return codes
