"""Dot products of blocks that carry a scale each: the exact sum of the elements' products, and its exponent."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError
from hwgen.formats import Block, Format
from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.arith.fields import fields, significand, true_exponent
from hwgen.gateware.dotproduct.add import shape_of
from hwgen.gateware.dotproduct.dot import DEFAULT_MEGAHERTZ, check_element, code_shape
from hwgen.gateware.dotproduct.dsp import dot_unit
from hwgen.gateware.pipeline import register
from hwgen.tools.resources import Family


@dataclass(frozen=True)
class ScaleRange:
    """What scales of one operand can be: significand 0..reach times 2**exponent, exponent in low..high."""

    low: int
    high: int
    reach: int

    @staticmethod
    def of(fmt: Block | Format) -> "ScaleRange":
        if not isinstance(fmt, Block):
            return ScaleRange(0, 0, 1)
        scale = fmt.scale
        first = int(scale.has_subnormals) - scale.bias - scale.mantissa_bits
        last = ((1 << scale.exponent_bits) - 1) - scale.bias - scale.mantissa_bits
        return ScaleRange(first, last, (2 << scale.mantissa_bits) - 1)


def element_of(fmt: Block | Format) -> Format:
    """The format of the elements; a scalar format is its own, with a scale of one."""
    return fmt.element if isinstance(fmt, Block) else fmt


class BlockDot(wiring.Component):
    """sum * 2**exponent = (sum of a[i] * b[i]) * scale of a * scale of b, exact, a new pair of blocks each clock.

    Parameters: `a`, `b`, block formats with equal block sizes, or one of them a scalar format, whose scale is one;
    `multiplier`, `pipeline`, `megahertz`, `family`, `placed` as for `DotProduct`, or the multiplier "dsp", for a
    `DspDot`. A format's tensor scale is left to the host.
    Ports: `enable`, `valid`; `a`, `b`, element codes; `a_scale`, `b_scale`, scale codes (of block formats only). Out:
    `sum`, two's complement, with the significands of scales that have a mantissa multiplied in; `exponent`, signed;
    `nan`, whether a scale was NaN or an element NaN or infinite; `valid_out`.
    Latency: `latency` enabled clocks: that of the dot product, and one more where scales have a mantissa and
    `pipeline` is not 0. Initiation interval: 1.
    Raises HwgenError for formats without blocks and for blocks of different sizes.
    """

    def __init__(
        self,
        a: Block | Format,
        b: Block | Format,
        multiplier: str = "exact",
        pipeline: int | str = "auto",
        megahertz: float = DEFAULT_MEGAHERTZ,
        family: Family = "xcup",
        *,
        placed: bool = False,
    ):
        self.lanes = block_size(a, b)
        self.a_format, self.b_format, self.multiplier = a, b, multiplier
        elements = (element_of(a), element_of(b))
        self.dot = dot_unit(*elements, self.lanes, multiplier, pipeline, megahertz, family, placed=placed)
        self.scales = (ScaleRange.of(a), ScaleRange.of(b))
        self.significand_bits = sum(one.reach.bit_length() for one in self.scales if one.reach > 1)
        self.signed_scale = any(isinstance(fmt, Block) and fmt.scale.has_sign for fmt in (a, b))
        extra = self.significand_bits + int(self.signed_scale)
        self.shape = signed(self.dot.bits + extra) if extra else self.dot.shape
        self.low = self.dot.lsb + sum(one.low for one in self.scales)
        self.high = self.dot.lsb + sum(one.high for one in self.scales)
        self.latency = self.dot.latency + int(bool(extra and self.dot.latency))
        ports = {
            "enable": In(1, init=1),
            "valid": In(1),
            **{
                name: In(data.ArrayLayout(code_shape(element_of(fmt)), self.lanes))
                for name, fmt in (("a", a), ("b", b))
            },
            **{f"{n}_scale": In(fmt.scale.bits) for n, fmt in (("a", a), ("b", b)) if isinstance(fmt, Block)},
            "sum": Out(self.shape),
            "exponent": Out(shape_of(min(self.low, -1), self.high)),
            "nan": Out(1),
            "valid_out": Out(1),
        }
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dot = dot = self.dot
        m.d.comb += [
            dot.enable.eq(self.enable),
            dot.valid.eq(self.valid),
            Value.cast(dot.a).eq(Value.cast(self.a)),
            Value.cast(dot.b).eq(Value.cast(self.b)),
        ]
        exponent, nan = Const(self.dot.lsb), Const(0, 1)
        factor, negative = Const(1, 1), Const(0, 1)
        for name, fmt in (("a", self.a_format), ("b", self.b_format)):
            if not isinstance(fmt, Block):
                continue
            part = scale_parts(fmt.scale, getattr(self, f"{name}_scale"))
            exponent, nan = exponent + part.exponent, nan | part.nan
            factor = factor * part.significand if fmt.scale.mantissa_bits else factor
            negative = negative ^ part.sign
        exponent = self._delayed(m, exponent, "exponent", self.dot.latency, self.exponent.shape())
        nan = self._delayed(m, nan, "nan", self.dot.latency)
        total, valid = dot.sum, dot.valid_out
        nan = nan | dot.nan
        if self.shape != dot.shape:
            factor = self._delayed(m, factor, "factor", self.dot.latency)
            negative = self._delayed(m, negative, "negative", self.dot.latency)
            worth = (Cat(factor, Const(0, 1)) ^ negative.replicate(len(factor) + 1)).as_signed() + negative
            total = (total * worth)[: self.shape.width].as_signed()
            if self.dot.latency:
                total, exponent, nan = (
                    register(m, self.enable, value, f"{name}_scaled")
                    for value, name in ((total, "sum"), (exponent, "exponent"), (nan, "nan"))
                )
                valid = register(m, self.enable, valid, "valid_scaled", reset_less=False)
        m.d.comb += [self.sum.eq(total), self.exponent.eq(exponent), self.nan.eq(nan), self.valid_out.eq(valid)]
        return m

    def _delayed(self, m, value, name, clocks, shape=None) -> Value:
        if isinstance(value, Const):
            return value
        made = Signal(value.shape() if shape is None else shape, name=f"{name}_0")
        m.d.comb += made.eq(value)
        value = made
        for clock in range(clocks):
            value = register(m, self.enable, value, f"{name}_{clock + 1}")
        return value


@dataclass(frozen=True, eq=False)
class ScaleParts:
    """(-1)**sign * significand * 2**exponent, unless `nan`."""

    sign: Value
    significand: Value
    exponent: Value
    nan: Value


def scale_parts(scale: Minifloat, code: Value) -> ScaleParts:
    parts = fields(scale, code)
    exponent = true_exponent(scale, parts) - (scale.bias + scale.mantissa_bits)
    return ScaleParts(parts.sign, significand(scale, parts), exponent, ~parts.finite)


def block_size(a: Block | Format, b: Block | Format) -> int:
    """The lanes of a block dot product; raises HwgenError where the formats give none or two different ones."""
    for fmt in (a, b):
        if not isinstance(fmt, Block):
            check_element(fmt)
    sizes = [fmt.size for fmt in (a, b) if isinstance(fmt, Block)]
    if not sizes:
        raise HwgenError(f"neither {a.name} nor {b.name} is a block format: use a plain dot product")
    if len(set(sizes)) > 1:
        raise HwgenError(f"blocks of {sizes[0]} ({a.name}) do not meet blocks of {sizes[1]} ({b.name})")
    return sizes[0]
