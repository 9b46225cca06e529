"""What a product of two codes is: exact, or by L-Mul (Luo and Sun, arXiv 2410.00907) and its relatives.

`MULTIPLIERS` names them. `exact` and `lmul_formula` give a number `significand * 2**exponent` that may need more bits
than the operands have; the others, `lmul`, `lmul_formula_trunc` and `mitchell`, give a code of the operands' format.

With m mantissa bits, xm and ym the mantissas as fractions and l(m) = m for m <= 3, 3 for m = 4, 4 for m > 4:

- `lmul`: the packed exponent and mantissa bits are added as one integer, |x| + |y| - OFF, where
  OFF = (bias << m) - 2**(m - l(m)). One adder; the mantissa's carry runs into the exponent.
- `mitchell`: the same adder without the correction, OFF = bias << m.
- `lmul_formula`: the paper's value (1 + xm + ym + 2**-l(m)) * 2**(xe + ye), exact.
- `lmul_formula_trunc`: the same, normalised and truncated to m mantissa bits (arXiv 2412.18948).

All four: the sign is the xor of the signs; an operand whose exponent field is 0 (zero and subnormals) gives +0. Of
those that give codes: below the least normal number the result is +0, above the greatest normal it is that one; NaN
gives NaN; infinity times infinity or a normal number is infinity, times zero or a subnormal NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats.base import Codes, Format
from hwgen.formats.minifloat import Minifloat

Multiplier = Literal["exact", "lmul", "lmul_formula", "lmul_formula_trunc", "mitchell"]

MULTIPLIERS: tuple[str, ...] = get_args(Multiplier)
CODE_MULTIPLIERS = ("lmul", "lmul_formula_trunc", "mitchell")
"""The multipliers whose product is a code of the operands' format."""

MAX_PRODUCT_BITS = 128
"""The widest exact product, sign included."""


@dataclass(frozen=True)
class Span:
    """Numbers that are integers times 2**exponent, with |integer| <= reach."""

    exponent: int
    reach: int

    @property
    def bits(self) -> int:
        """Bits of the integers, sign included."""
        return self.reach.bit_length() + 1


@lru_cache(maxsize=256)
def span(fmt: Format) -> Span:
    """The span of the finite codes of `fmt`: the exponent of its grid and its greatest magnitude in units of it."""
    return Span(fmt.lsb, int(max(abs(end) for end in fmt.extremes) / Fraction(2) ** fmt.lsb))


@lru_cache(maxsize=256)
def product_span(a_format: Format, b_format: Format, multiplier: str = "exact") -> Span:
    """The span of one product of codes. Raises HwgenError where it needs more than 128 bits, sign included."""
    if check_multiplier(multiplier) == "exact":
        a, b = span(a_format), span(b_format)
        found = Span(a.exponent + b.exponent, a.reach * b.reach)
    else:
        fmt = lmul_format(a_format, b_format, multiplier)
        found = span(fmt)
        if multiplier == "lmul_formula":
            ends = np.array([1 << fmt.mantissa_bits, fmt.max_magnitude])
            significand, exponent = product(ends, ends, fmt, fmt, multiplier)
            found = Span(int(exponent[0]), int(significand[1]) << int(exponent[1] - exponent[0]))
    if found.bits > MAX_PRODUCT_BITS:
        raise HwgenError(
            f"a product of {a_format.name} and {b_format.name} by {multiplier!r} needs {found.bits} bits; "
            f"at most {MAX_PRODUCT_BITS} are summed exactly"
        )
    return found


def check_multiplier(name: str) -> str:
    """`name` itself; raises HwgenError with the known names if it is not one of them."""
    if name not in MULTIPLIERS:
        raise HwgenError(f"unknown multiplier {name!r}: one of {', '.join(MULTIPLIERS)}")
    return name


def lmul_fraction_bits(mantissa_bits: int) -> int:
    """l(m): the correction term is 2**-l(m) (arXiv 2410.00907, eq. 1)."""
    return mantissa_bits if mantissa_bits <= 3 else 3 if mantissa_bits == 4 else 4


def lmul_correction(mantissa_bits: int) -> int:
    """2**-l(m) in units of the mantissa's least bit."""
    return 1 << (mantissa_bits - lmul_fraction_bits(mantissa_bits))


def lmul_offset(fmt: Minifloat, variant: str = "lmul") -> int:
    """OFF of the packed adder |x| + |y| - OFF; `variant` is "lmul" or "mitchell"."""
    if variant not in ("lmul", "mitchell"):
        raise HwgenError(f"{variant!r} is no packed adder: one of lmul, mitchell")
    return (fmt.bias << fmt.mantissa_bits) - (lmul_correction(fmt.mantissa_bits) if variant == "lmul" else 0)


def lmul_format(a: Format, b: Format, variant: str) -> Minifloat:
    """The one format of both operands; raises HwgenError where `variant` does not multiply them."""
    if a != b:
        raise HwgenError(f"{variant} multiplies codes of one format, not {a.name} by {b.name}")
    if not isinstance(a, Minifloat):
        raise HwgenError(f"{variant} multiplies minifloats, not {a.name}")
    if not a.has_subnormals:
        raise HwgenError(f"{variant} needs a format with a zero; {a.name} has none")
    return a


def lmul(a: npt.ArrayLike, b: npt.ArrayLike, fmt: Format, variant: str = "lmul") -> Codes:
    """Codes of the products of the codes `a` and `b` of the minifloat `fmt`, broadcast; see the module's rules.

    variant: "lmul", "lmul_formula_trunc" or "mitchell". Raises HwgenError for "lmul_formula", whose result has no
    code (`product` gives its value), and for a format that is no minifloat or has no zero.
    """
    if check_multiplier(variant) not in CODE_MULTIPLIERS:
        raise HwgenError(f"the result of {variant!r} is no code; `product` gives it as significand and exponent")
    kind = lmul_format(fmt, fmt, variant)
    x, y = np.broadcast_arrays(check_codes(a, kind), check_codes(b, kind))
    mask, least = (1 << kind.magnitude_bits) - 1, 1 << kind.mantissa_bits
    sign = ((x ^ y) >> kind.magnitude_bits) << kind.magnitude_bits
    x, y = x & mask, y & mask
    if variant == "lmul_formula_trunc":
        magnitude = _truncated(*_formula(x, y, kind), kind)
    else:
        magnitude = x + y - lmul_offset(kind, variant)
    flushed = (x < least) | (y < least)
    out = sign | np.clip(magnitude, 0, kind.max_magnitude)
    out = np.where(flushed | (magnitude < least), 0, out)
    if kind.special == "none":
        return out
    special = (x > kind.max_magnitude) | (y > kind.max_magnitude)
    if not special.any():
        return out
    infinity = kind.max_magnitude + 1
    # A format of exponent bits alone has an infinity and no NaN: infinity times zero is then infinity.
    quiet = infinity if kind.nan_code is None else kind.nan_code
    if kind.special == "nan":
        return np.where(special, quiet, out)
    is_nan = (x > infinity) | (y > infinity) | (special & flushed)
    return np.where(is_nan, quiet, np.where(special, sign | infinity, out))


def _formula(x: Codes, y: Codes, fmt: Minifloat) -> tuple[Codes, Codes]:
    """(significand, exponent) of the paper's value for magnitudes of normal numbers."""
    m = fmt.mantissa_bits
    low = (1 << m) - 1
    significand = (1 << m) + (x & low) + (y & low) + lmul_correction(m)
    return significand, (x >> m) + (y >> m) - 2 * fmt.bias - m


def _truncated(significand: Codes, exponent: Codes, fmt: Minifloat) -> Codes:
    """The magnitude, not yet limited to the format's range, of a significand below 4 * 2**m cut to m mantissa bits."""
    m = fmt.mantissa_bits
    carry = (significand >> (m + 1)).astype(np.int64)
    field = exponent + m + fmt.bias + carry
    return (field << m) + (significand >> carry) - (1 << m)


def lmul_by_definition(a: int, b: int, fmt: Minifloat, variant: str = "lmul") -> int:
    """One product of `lmul`, in the words of the module's rules and by fractions; slow, for comparison."""
    m, bias, least = fmt.mantissa_bits, fmt.bias, 1 << fmt.mantissa_bits
    signs, magnitudes = zip(*(divmod(code, 1 << fmt.magnitude_bits) for code in (a, b)), strict=True)
    sign = (signs[0] ^ signs[1]) << fmt.magnitude_bits
    flushed = any(magnitude < least for magnitude in magnitudes)
    infinity = fmt.max_magnitude + 1 if fmt.special == "ieee" else None
    if any(magnitude > fmt.max_magnitude and magnitude != infinity for magnitude in magnitudes):
        assert fmt.nan_code is not None
        return fmt.nan_code
    if infinity in magnitudes:
        assert infinity is not None
        return sign | infinity if not flushed else infinity if fmt.nan_code is None else fmt.nan_code
    if flushed:
        return 0
    correction = Fraction(0) if variant == "mitchell" else Fraction(1, 1 << lmul_fraction_bits(m))
    (ex, mx), (ey, my) = (divmod(magnitude, least) for magnitude in magnitudes)
    fraction, exponent = Fraction(mx + my, least) + correction, (ex - bias) + (ey - bias)
    if variant == "lmul_formula_trunc":
        # The value itself, normalised: halve it until its leading bit is 1.
        carries = 1 if fraction >= 1 else 0
        fraction = (1 + fraction) / 2**carries - 1
    else:
        # The mantissa's carries run into the exponent: 1 + f with f >= 1 becomes 2 * (1 + (f - 1)).
        carries = fraction.numerator // fraction.denominator
        fraction -= carries
    magnitude = ((exponent + carries + bias) << m) + int(fraction * least)
    return 0 if magnitude < least else sign | min(magnitude, fmt.max_magnitude)


def product(
    a: npt.ArrayLike, b: npt.ArrayLike, a_format: Format, b_format: Format, multiplier: str = "exact"
) -> tuple[Codes, Codes]:
    """(significand, exponent), int64, broadcast: each product is worth significand * 2**exponent.

    multiplier: one of MULTIPLIERS; all but "exact" want one minifloat format for both. Raises HwgenError for NaN or
    infinite codes, which have no such value, and for operands whose significands together exceed 63 bits.
    """
    check_multiplier(multiplier)
    if multiplier in CODE_MULTIPLIERS:
        fmt = lmul_format(a_format, b_format, multiplier)
        _numbers(a, fmt), _numbers(b, fmt)
        return fmt.significand_exponent(lmul(a, b, fmt, multiplier))
    if multiplier == "lmul_formula":
        fmt = lmul_format(a_format, b_format, multiplier)
        x, y = np.broadcast_arrays(_numbers(a, fmt), _numbers(b, fmt))
        mask, least = (1 << fmt.magnitude_bits) - 1, 1 << fmt.mantissa_bits
        significand, exponent = _formula(x & mask, y & mask, fmt)
        flushed = ((x & mask) < least) | ((y & mask) < least)
        negative = ((x ^ y) >> fmt.magnitude_bits) == 1
        return np.where(flushed, 0, np.where(negative, -significand, significand)), exponent
    width = significand_bits(a_format) + significand_bits(b_format)
    if width > 63:
        raise HwgenError(f"a product of {a_format.name} and {b_format.name} needs {width} bits and a sign; 63 are had")
    sa, ea = a_format.significand_exponent(_numbers(a, a_format))
    sb, eb = b_format.significand_exponent(_numbers(b, b_format))
    return sa * sb, ea + eb


def significand_bits(fmt: Format) -> int:
    """Bits of the greatest significand's magnitude."""
    if isinstance(fmt, Minifloat):
        return fmt.mantissa_bits + 1
    return max(abs(end).bit_length() for end in fmt.code_range)


def check_codes(codes: npt.ArrayLike, fmt: Format) -> Codes:
    """`codes` as int64; raises HwgenError where they are no integers or no codes of `fmt`."""
    return check_range(codes, fmt).astype(np.int64)


def check_range(codes: npt.ArrayLike, fmt: Format) -> npt.NDArray[np.integer]:
    """`codes` as an array of integers; raises HwgenError where they are no integers or no codes of `fmt`."""
    array = np.asarray(codes)
    if array.dtype.kind not in "iu":
        raise HwgenError(f"codes of {fmt.name} are integers, not {array.dtype}")
    low, high = fmt.code_range
    limits = np.iinfo(array.dtype)
    if array.size and (limits.min < low or limits.max > high):
        least, greatest = int(array.min()), int(array.max())
        if least < low or greatest > high:
            raise HwgenError(f"the codes {least}..{greatest} leave the range {low}..{high} of {fmt.name}")
    return array


def _numbers(codes: npt.ArrayLike, fmt: Format) -> Codes:
    array = check_codes(codes, fmt)
    if not fmt.is_number(array).all():
        raise HwgenError(f"the codes of {fmt.name} hold NaN or infinity, which has no exact product")
    return array
