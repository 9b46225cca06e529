"""Exact products of two codes, of one format or of two: unnormalised, or in fixed point."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import UnsupportedError
from hwgen.formats import Format
from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.arith.decode import fixed_bits, reach, unpack
from hwgen.gateware.arith.fields import fields, minifloat
from hwgen.gateware.arith.product import MAX_FIXED_BITS, Product, fixed, shifted
from hwgen.gateware.pipeline import register


def product_bits(a: Format, b: Format) -> int:
    """Bits of the exact products in two's complement, in units of 2**(a.lsb + b.lsb).

    Raises UnsupportedError where that needs more than 128 bits, or for formats that no gateware decodes.
    """
    fixed_bits(a), fixed_bits(b)
    bits = (reach(a) * reach(b)).bit_length() + 1
    if bits > MAX_FIXED_BITS:
        raise UnsupportedError(
            f"an exact product of {a.name} and {b.name} needs {bits} bits; gateware takes at most {MAX_FIXED_BITS}"
        )
    return bits


def exponent_shape(a: Minifloat, b: Minifloat) -> Shape:
    """The shape of the sum of two exponent fields."""
    return Shape.cast(range((1 << a.exponent_bits) + (1 << b.exponent_bits) - 1))


def multiply(m: Module, a_format: Minifloat, b_format: Minifloat, a: Value, b: Value, name: str = "product") -> Product:
    """The exact product of two minifloat codes, unnormalised, combinational: significands multiply, exponents add."""
    x, y = unpack(a_format, a), unpack(b_format, b)
    significand = Signal(len(x.significand) + len(y.significand), name=f"{name}_significand")
    exponent = Signal(exponent_shape(a_format, b_format), name=f"{name}_exponent")
    m.d.comb += [significand.eq(x.significand * y.significand), exponent.eq(x.exponent + y.exponent)]
    return Product(x.sign ^ y.sign, significand, exponent, x.base + y.base, x.least + y.least, x.finite & y.finite)


def multiply_fixed(m: Module, a_format: Format, b_format: Format, a: Value, b: Value, name: str = "product") -> Value:
    """The exact product of two codes of any scalar formats in fixed point, `product_bits` wide; combinational.

    Its unit is 2**(a_format.lsb + b_format.lsb). It has no meaning where a code is NaN or infinity.
    """
    width = product_bits(a_format, b_format)
    if isinstance(a_format, Minifloat) and isinstance(b_format, Minifloat):
        return fixed(m, multiply(m, a_format, b_format, a, b, name), width, f"{name}_fixed")
    worth: Value = Const(1, signed(2))
    exponent, least = Const(0, 1), 0
    for fmt, code in ((a_format, a), (b_format, b)):
        if isinstance(fmt, Minifloat):
            number = unpack(fmt, code)
            own = Mux(number.sign, -number.significand, number.significand)
            exponent, least = number.exponent, number.least
        else:
            own = code.as_signed() if fmt.signed else code.as_unsigned()
        worth = own if isinstance(worth, Const) else worth * own
    exact = Signal(worth.shape(), name=f"{name}_worth")
    m.d.comb += exact.eq(worth)
    return shifted(m, exact, exponent, least, width, f"{name}_fixed")


class Multiply(wiring.Component):
    """Exact product of two minifloats: (-1)**sign * significand * 2**(exponent - biases - mantissa bits of both).

    Parameters: `a_format`, `b_format`, which may differ.
    Ports: `a`, `b`; `sign`, `significand` (not normalised), `exponent` (the sum of both, each 1 for subnormals),
    `special` (an operand is NaN or infinity). Latency: 0. Interval: 1. Raises UnsupportedError for other formats.
    """

    def __init__(self, a_format: Format, b_format: Format):
        self.a_format, self.b_format = (minifloat(fmt, "the multiplier") for fmt in (a_format, b_format))
        self.latency, self.interval = 0, 1
        ports = {
            "a": In(a_format.bits),
            "b": In(b_format.bits),
            "sign": Out(1),
            "significand": Out(a_format.mantissa_bits + b_format.mantissa_bits + 2),
            "exponent": Out(exponent_shape(self.a_format, self.b_format)),
            "special": Out(1),
        }
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        product = multiply(m, self.a_format, self.b_format, self.a, self.b)
        m.d.comb += [
            self.sign.eq(product.sign),
            self.significand.eq(product.significand),
            self.exponent.eq(product.exponent),
            self.special.eq(~product.finite),
        ]
        return m


class MultiplyFixed(wiring.Component):
    """Exact product of two codes in fixed point.

    Parameters: `a_format`, `b_format`: minifloats, integers or fixed point, which may differ; `registered`: whether
    the outputs are held in registers.
    Ports: `a`, `b`; `o`, two's complement in units of 2**(a_format.lsb + b_format.lsb); `special`: an operand is NaN
    or infinity, and `o` has no meaning; `enable`, only if registered, the registers' clock enable.
    Latency: 1 clock if registered, else 0. Interval: 1.
    Raises UnsupportedError for formats without a decoder and products of more than 128 bits.
    """

    def __init__(self, a_format: Format, b_format: Format, *, registered: bool = False):
        self.a_format, self.b_format = a_format, b_format
        self.latency, self.interval = int(registered), 1
        shape = signed(product_bits(a_format, b_format))
        ports = {"a": In(a_format.bits), "b": In(b_format.bits), "o": Out(shape), "special": Out(1)}
        super().__init__(ports | ({"enable": In(1)} if registered else {}))

    def elaborate(self, platform):
        m = Module()
        out: Value = multiply_fixed(m, self.a_format, self.b_format, self.a, self.b)
        bad: Value = Signal(name="bad")
        operands = ((self.a_format, self.a), (self.b_format, self.b))
        finite = [fields(fmt, code).finite for fmt, code in operands if isinstance(fmt, Minifloat)]
        m.d.comb += bad.eq(~Cat(*finite, Const(1, 1)).all())
        if self.latency:
            out, bad = register(m, self.enable, out, "held"), register(m, self.enable, bad, "held_special")
        m.d.comb += [self.o.eq(out), self.special.eq(bad)]
        return m
