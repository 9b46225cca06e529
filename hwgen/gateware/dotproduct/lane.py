"""One lane of a dot product: two codes to a sign, a short significand and the place that it is shifted to."""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Const, Mux, Value

from hwgen.formats import Bipolar, Fixed, Format, Int
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import lmul_correction, lmul_format, lmul_offset, product_span
from hwgen.gateware.arith.fields import Fields, fields, significand, true_exponent

TABLE_INPUTS = 6


@dataclass(frozen=True, eq=False)
class Product:
    """(-1)**sign * significand * 2**(shift - drop) in units of a product's least bit.

    The shift is `drop` at least, if the significand is not zero. greatest: the greatest product in these units;
    greatest_shift: 0 where there is no shift. nan: an operand was no finite number, and the rest means nothing.
    """

    sign: Value
    significand: Value
    shift: Value
    greatest_shift: int
    drop: int
    greatest: int
    nan: Value


@dataclass(frozen=True)
class Form:
    """What all products of two formats have in common: the significand's width, and the rest as of `Product`."""

    width: int
    greatest_shift: int
    drop: int
    greatest: int
    signed: bool

    @staticmethod
    def of(one: Product) -> "Form":
        return Form(len(one.significand), one.greatest_shift, one.drop, one.greatest, not isinstance(one.sign, Const))


def table(inputs: Value, values: np.ndarray) -> Value:
    """values[inputs], the truth table of each bit stated outright: integers >= 0, one for each value of `inputs`."""
    width = max(1, int(values.max()).bit_length())
    bits = []
    for bit in range(width):
        truth = sum(((int(value) >> bit) & 1) << row for row, value in enumerate(values))
        bits.append(_truth(inputs, truth, len(values)))
    return Cat(*bits)


def _truth(inputs: Value, truth: int, rows: int) -> Value:
    """One bit as a tree of multiplexers, which synthesis maps to one cell where there are few inputs."""
    if truth == 0 or truth == (1 << rows) - 1:
        return Const(truth & 1, 1)
    half = rows // 2
    low, high = truth & ((1 << half) - 1), truth >> half
    top = inputs[rows.bit_length() - 2]
    if low == high:
        return _truth(inputs, low, half)
    return Mux(top, _truth(inputs, high, half), _truth(inputs, low, half))


@dataclass(frozen=True, eq=False)
class Scaled:
    """A decoded code: (-1)**sign * significand * 2**(exponent - first) in units of the format's least bit."""

    sign: Value
    significand: Value
    exponent: Value | None
    first: int
    last: int
    special: Value


def scaled(fmt: Format, code: Value) -> Scaled:
    if isinstance(fmt, Minifloat):
        parts = fields(fmt, code)
        last = (fmt.max_magnitude >> fmt.mantissa_bits) or 1
        first = int(fmt.has_subnormals)
        return Scaled(
            parts.sign,
            significand(fmt, parts),
            true_exponent(fmt, parts) if last > first else None,
            first,
            last,
            ~parts.finite,
        )
    if isinstance(fmt, Bipolar):
        return Scaled(~code[0], Const(1, 1), None, 0, 0, Const(0, 1))
    assert isinstance(fmt, Int | Fixed)
    if not fmt.signed:
        return Scaled(Const(0, 1), code, None, 0, 0, Const(0, 1))
    negative = code[-1]
    magnitude = ((code ^ negative.replicate(len(code))) + negative)[: fmt.bits]
    return Scaled(negative, magnitude, None, 0, 0, Const(0, 1))


def multiply(a: Value, b: Value) -> Value:
    """The product of two short unsigned numbers, in cells: a table, or digits of two bits and adders."""
    if len(a) == 1 or len(b) == 1:
        return (b & a.replicate(len(b))) if len(a) == 1 else (a & b.replicate(len(a)))
    if len(a) + len(b) <= TABLE_INPUTS:
        rows = np.arange(1 << (len(a) + len(b)))
        return table(Cat(a, b), (rows & ((1 << len(a)) - 1)) * (rows >> len(a)))
    if len(b) > len(a):
        a, b = b, a
    parts: list[tuple[Value, int]] = []
    for low in range(0, len(b), 2):
        digit = b[low : low + 2]
        part = a & digit[0].replicate(len(a))
        if len(digit) == 2:
            part = part + (a & digit[1].replicate(len(a))).shift_left(1)
        parts.append((part, low))
    while len(parts) > 1:
        sums = [(x + y.shift_left(j - i), i) for (x, i), (y, j) in zip(parts[::2], parts[1::2], strict=False)]
        parts = sums + parts[len(sums) * 2 :]
    return parts[0][0][: len(a) + len(b)]


def exact_product(a_format: Format, b_format: Format, a: Value, b: Value) -> Product:
    """The exact product of one lane's codes."""
    greatest = product_span(a_format, b_format).reach
    x, y = scaled(a_format, a), scaled(b_format, b)
    sign, nan = x.sign ^ y.sign, x.special | y.special
    if (rows := short_pair(a_format, b_format)) is not None:
        significands = table(Cat(_magnitude(a_format, a), _magnitude(b_format, b)), rows)
        return Product(sign, significands, Const(0, 1), 0, 0, greatest, nan)
    product = multiply(x.significand, y.significand)
    exponents = [one for one in (x, y) if one.exponent is not None]
    drop, last = sum(one.first for one in exponents), sum(one.last for one in exponents)
    if not exponents:
        return Product(sign, product, Const(0, 1), 0, 0, greatest, nan)
    if len(exponents) == 1:
        return Product(sign, product, exponents[0].exponent, last, drop, greatest, nan)
    if len(x.exponent) + len(y.exponent) <= TABLE_INPUTS:
        ends = [np.arange(1 << len(one.exponent)) for one in (x, y)]
        sums = sum(np.maximum(end, one.first) for end, one in zip(np.meshgrid(*ends), (x, y), strict=True))
        field = Cat(fields(a_format, a).exponent, fields(b_format, b).exponent)
        shift = table(field, np.clip(sums - drop, 0, last - drop).ravel())
        return Product(sign, product, shift, last - drop, 0, greatest, nan)
    return Product(sign, product, x.exponent + y.exponent, last, drop, greatest, nan)


def _magnitude(fmt: Format, code: Value) -> Value:
    return fields(fmt, code).magnitude if isinstance(fmt, Minifloat) else code


def short_pair(a: Format, b: Format) -> np.ndarray | None:
    """Magnitudes of all products of two minifloats with six bits of magnitude between them, else None."""
    if not (isinstance(a, Minifloat) and isinstance(b, Minifloat)) or {a.special, b.special} != {"none"}:
        return None
    if a.magnitude_bits + b.magnitude_bits > TABLE_INPUTS:
        return None
    unit = a.lsb + b.lsb
    x, y = np.meshgrid(*(np.arange(1 << fmt.magnitude_bits) for fmt in (a, b)))
    (p, e), (q, f) = a.significand_exponent(x.ravel()), b.significand_exponent(y.ravel())
    return np.asarray((p * q) << (e + f - unit))


def lmul_product(fmt: Minifloat, variant: str, a: Value, b: Value) -> Product:
    """The product of one lane's codes by L-Mul or a relative: the packed codes are added."""
    x, y = fields(fmt, a), fields(fmt, b)
    m = fmt.mantissa_bits
    sign, nan = x.sign ^ y.sign, ~(x.finite & y.finite)
    span = product_span(fmt, fmt, variant)
    both = x.normal & y.normal
    if variant == "lmul_formula":
        whole = x.mantissa + y.mantissa + ((1 << m) + lmul_correction(m))
        last = 2 * (fmt.max_magnitude >> m)
        return Product(sign, whole & both.replicate(len(whole)), x.exponent + y.exponent, last, 2, span.reach, nan)
    if variant == "lmul_formula_trunc":
        packed = _truncated_sum(fmt, x, y)
    else:
        packed = x.magnitude + y.magnitude - lmul_offset(fmt, variant)
    too_small = packed < (1 << m)
    too_large = packed > fmt.max_magnitude
    code = Mux(too_large, fmt.max_magnitude, packed[: m + fmt.exponent_bits])
    zero = ~both | too_small
    significant = Cat(code[:m] & (~zero).replicate(m), ~zero)
    return Product(sign, significant, code[m:], fmt.max_magnitude >> m, 1, span.reach, nan)


def _truncated_sum(fmt: Minifloat, x: Fields, y: Fields) -> Value:
    """1 + xm + ym + 2**-l at the exponents' sum, normalised and cut to m bits: the packed exponent and mantissa."""
    m = fmt.mantissa_bits
    whole = x.mantissa + y.mantissa + ((1 << m) + lmul_correction(m))
    # The sum lies below 4: it takes one step right, or none. Its leading one is the packed exponent's last carry.
    carry = whole[m + 1 :].any()
    mantissa = Mux(carry, whole[1 : m + 1], whole[:m])
    exponent = x.exponent + y.exponent - fmt.bias + carry
    return Cat(mantissa, exponent).as_signed()


def product(a_format: Format, b_format: Format, multiplier: str, a: Value, b: Value) -> Product:
    if multiplier == "exact":
        return exact_product(a_format, b_format, a, b)
    return lmul_product(lmul_format(a_format, b_format, multiplier), multiplier, a, b)
