"""Converters between minifloats, and multipliers whose exact product is rounded to a minifloat."""

from amaranth.hdl import Const, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.formats import Format
from hwgen.formats.stochastic import Rounding
from hwgen.gateware.arith.decode import special, unpack
from hwgen.gateware.arith.encode import beyond, check_encoder, encode_product
from hwgen.gateware.arith.fields import fields, minifloat
from hwgen.gateware.arith.multiply import multiply
from hwgen.gateware.arith.rounding import named


class Convert(wiring.Component):
    """Converts codes of one minifloat to another, bf16 or fp32 to E4M3 for instance, rounding once.

    Parameters: `source`, `target`; `rounding` (not stochastic); `overflow`, as for `Encode`.
    Ports: `i`, `o`. NaN becomes the target's NaN where it has one, else 0; infinity overflows.
    Latency: 0. Interval: 1. Raises UnsupportedError for formats without gateware, HwgenError for unknown names.
    """

    def __init__(self, source: Format, target: Format, rounding: Rounding = "half_even", overflow: str = "saturate"):
        self.source, self.target = minifloat(source, "the converter"), minifloat(target, "the converter")
        check_encoder(target, overflow)
        self.rounding, self.overflow = named(rounding), overflow
        self.latency, self.interval = 0, 1
        super().__init__({"i": In(source.bits), "o": Out(target.bits)})

    def elaborate(self, platform):
        m = Module()
        nan, infinite = special(self.source, self.i)
        number = unpack(self.source, self.i)
        code = encode_product(m, self.target, number, self.rounding, self.overflow)
        fmt, limit = self.target, beyond(self.target, number.sign, self.overflow)
        m.d.comb += self.o.eq(Mux(nan, fmt.nan_code or 0, Mux(infinite, limit, code)))
        return m


class MultiplyRounded(wiring.Component):
    """The exact product of two minifloats rounded once to a code of a third.

    Parameters: `a_format`, `b_format`, `fmt` of the result; `rounding` (not stochastic), `overflow` as for `Encode`.
    Ports: `a`, `b`, `o`. NaN in, and infinity times zero, give NaN (0 where `fmt` has none); infinity overflows.
    Latency: 0. Interval: 1. Raises UnsupportedError for formats without gateware, HwgenError for unknown names.
    """

    def __init__(
        self,
        a_format: Format,
        b_format: Format,
        fmt: Format,
        rounding: Rounding = "half_even",
        overflow: str = "saturate",
    ):
        self.a_format, self.b_format, self.format = (
            minifloat(each, "the rounding multiplier") for each in (a_format, b_format, fmt)
        )
        check_encoder(fmt, overflow)
        self.rounding, self.overflow = named(rounding), overflow
        self.latency, self.interval = 0, 1
        super().__init__({"a": In(a_format.bits), "b": In(b_format.bits), "o": Out(fmt.bits)})

    def elaborate(self, platform):
        m = Module()
        exact = multiply(m, self.a_format, self.b_format, self.a, self.b)
        code = encode_product(m, self.format, exact, self.rounding, self.overflow)
        a_nan, a_infinite = special(self.a_format, self.a)
        b_nan, b_infinite = special(self.b_format, self.b)
        a_zero, b_zero = (
            ~fields(fmt, bits).magnitude.any() if fmt.has_subnormals else Const(0, 1)
            for fmt, bits in ((self.a_format, self.a), (self.b_format, self.b))
        )
        nan = a_nan | b_nan | (a_infinite & b_zero) | (b_infinite & a_zero)
        limit = beyond(self.format, exact.sign, self.overflow)
        m.d.comb += self.o.eq(Mux(nan, self.format.nan_code or 0, Mux(a_infinite | b_infinite, limit, code)))
        return m
