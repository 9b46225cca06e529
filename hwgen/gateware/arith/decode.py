"""Decoders: minifloat codes as sign, significand and exponent, and every scalar code as fixed point."""

from fractions import Fraction

from amaranth.hdl import Const, Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hwgen.errors import UnsupportedError
from hwgen.formats import Format, Int
from hwgen.formats.fixed import Fixed
from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.arith.fields import fields, minifloat, significand, true_exponent
from hwgen.gateware.arith.product import MAX_FIXED_BITS, Product, fixed

FAMILIES = (Minifloat, Int, Fixed)


def reach(fmt: Format) -> int:
    """The greatest magnitude of a number of `fmt` in units of 2**fmt.lsb."""
    return int(max(abs(end) for end in fmt.extremes) / Fraction(2) ** fmt.lsb)


def fixed_bits(fmt: Format) -> int:
    """Bits of the numbers of `fmt` in two's complement. Raises UnsupportedError beyond 128, or for another family."""
    if not isinstance(fmt, FAMILIES):
        raise UnsupportedError(f"no arithmetic gateware decodes {fmt.name} codes")
    bits = reach(fmt).bit_length() + 1
    if bits > MAX_FIXED_BITS:
        raise UnsupportedError(f"{fmt.name} in fixed point needs {bits} bits; gateware takes at most {MAX_FIXED_BITS}")
    return bits


def unpack(fmt: Minifloat, code: Value) -> Product:
    """Sign, significand and exponent of one code: a product with one factor."""
    bits = fields(fmt, code)
    base = -fmt.bias - fmt.mantissa_bits
    least = int(fmt.has_subnormals)
    return Product(bits.sign, significand(fmt, bits), true_exponent(fmt, bits), base, least, bits.finite)


def special(fmt: Minifloat, code: Value) -> tuple[Value, Value]:
    """(is NaN, is infinity) of a code."""
    bits = fields(fmt, code)
    if fmt.special != "ieee":
        return ~bits.finite, Const(0, 1)
    return ~bits.finite & bits.mantissa.any(), ~bits.finite & ~bits.mantissa.any()


def to_fixed(m: Module, fmt: Format, code: Value, name: str = "fixed") -> Value:
    """What `code` is worth in units of 2**fmt.lsb, two's complement, `fixed_bits(fmt)` wide; no meaning for NaN."""
    width = fixed_bits(fmt)
    if isinstance(fmt, Minifloat):
        return fixed(m, unpack(fmt, code), width, name)
    out = Signal(signed(width), name=name)
    m.d.comb += out.eq(code.as_signed() if fmt.signed else code.as_unsigned())
    return out


class Decode(wiring.Component):
    """Takes a minifloat code apart; a number is (-1)**sign * significand * 2**(exponent - bias - mantissa_bits).

    Parameter: `fmt`.
    Ports: `code`; `sign`, `significand` (hidden bit included), `exponent` (1 for subnormals), `nan`, `infinite`.
    Latency: 0. Interval: 1. Raises UnsupportedError for a format that is no minifloat.
    """

    def __init__(self, fmt: Format):
        self.format = minifloat(fmt, "the decoder")
        self.latency, self.interval = 0, 1
        ports = {
            "code": wiring.In(fmt.bits),
            "sign": Out(1),
            "significand": Out(self.format.mantissa_bits + 1),
            "exponent": Out(self.format.exponent_bits),
            "nan": Out(1),
            "infinite": Out(1),
        }
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        number = unpack(self.format, self.code)
        nan, infinite = special(self.format, self.code)
        m.d.comb += [
            self.sign.eq(number.sign),
            self.significand.eq(number.significand),
            self.exponent.eq(number.exponent),
            self.nan.eq(nan),
            self.infinite.eq(infinite),
        ]
        return m


class DecodeFixed(wiring.Component):
    """Decodes a scalar code to fixed point.

    Parameter: `fmt`, a minifloat, an integer or a fixed-point format.
    Ports: `code`; `o`, two's complement in units of 2**fmt.lsb; `special`, high for NaN and infinity, whose `o` has no
    meaning. Latency: 0. Interval: 1. Raises UnsupportedError for other families and numbers of more than 128 bits.
    """

    def __init__(self, fmt: Format):
        self.format, self.latency, self.interval = fmt, 0, 1
        width = signed(fixed_bits(fmt))
        super().__init__({"code": wiring.In(fmt.bits), "o": Out(width), "special": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(to_fixed(m, self.format, self.code))
        if isinstance(self.format, Minifloat):
            m.d.comb += self.special.eq(~fields(self.format, self.code).finite)
        return m
