"""The fields of a minifloat code, and the rule that a format must have them."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Value

from hwgen.errors import UnsupportedError
from hwgen.formats import Format
from hwgen.formats.minifloat import Minifloat


def minifloat(fmt: Format, what: str) -> Minifloat:
    """`fmt` as a minifloat; raises UnsupportedError, which names `what`, for another family."""
    if not isinstance(fmt, Minifloat):
        raise UnsupportedError(f"{what} takes minifloat codes, not those of {fmt.name}")
    return fmt


@dataclass(frozen=True)
class Fields:
    """Bits of one code: `sign` (0 for an unsigned format), `exponent`, `mantissa`; `magnitude` is the latter two.

    `normal`: the exponent field is not 0, or the format has no subnormals. `finite`: the code is a number.
    """

    sign: Value
    exponent: Value
    mantissa: Value
    magnitude: Value
    normal: Value
    finite: Value


def fields(fmt: Minifloat, code: Value) -> Fields:
    """The fields of `code`, `fmt.bits` wide."""
    m, e = fmt.mantissa_bits, fmt.exponent_bits
    mantissa, exponent, magnitude = code[:m], code[m : m + e], code[: m + e]
    sign = code[m + e] if fmt.has_sign else Const(0, 1)
    normal = exponent.any() if fmt.has_subnormals else Const(1, 1)
    finite = {
        "none": Const(1, 1),
        "nan": ~magnitude.all(),
        "ieee": ~exponent.all(),
    }[fmt.special]
    return Fields(sign, exponent, mantissa, magnitude, normal, finite)


def significand(fmt: Minifloat, bits: Fields) -> Value:
    """The significand with its hidden bit, unsigned, mantissa_bits + 1 wide."""
    return Cat(bits.mantissa, bits.normal)


def true_exponent(fmt: Minifloat, bits: Fields) -> Value:
    """The exponent field, 1 instead of 0 where there are subnormals: a code is significand * 2**(it - bias - m)."""
    if not fmt.has_subnormals:
        return bits.exponent
    return Cat(bits.exponent[0] | ~bits.normal, bits.exponent[1:])
