"""Dot products on the DSPs of UltraScale+: one DSP48E2 a lane, or one for two lanes of short integers."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Fixed, Format, Int
from hwgen.formats.base import product_width
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import product_span
from hwgen.gateware.arith.pack import Packer
from hwgen.gateware.arith.tree import add_all
from hwgen.gateware.arith.tree import levels as tree_levels
from hwgen.gateware.dotproduct.dot import DEFAULT_MEGAHERTZ, DotProduct, check_element, code_shape
from hwgen.gateware.dotproduct.dsp_lane import CHAIN, SUM_BITS, chain_sum, lane_plan
from hwgen.gateware.dotproduct.dsp_pair import LATENCY as PAIR_LATENCY
from hwgen.gateware.dotproduct.dsp_pair import pair_plan, pair_products
from hwgen.gateware.dotproduct.lane import TABLE_INPUTS, table
from hwgen.gateware.dotproduct.pipe import Segment, slowest
from hwgen.gateware.pipeline import register
from hwgen.tools.resources import Family

ARITY = 3


class DspDot(wiring.Component):
    """The same sum as `DotProduct`, exact, on DSP48E2s; sums of DSPs are added in LUTs, three at a time.

    Parameters: `a`, `b`, element formats: minifloats, integers and fixed point that fit into the operands of a DSP and
    whose sums have 48 bits or fewer; `lanes`; `pipeline`, "auto": registers stand where the DSPs have theirs;
    `megahertz`, that the parts between them are to reach by an estimate; `family`, "xcup".
    Ports as of `DotProduct`. `dsps`: how many DSPs it takes.
    Latency: `latency` enabled clocks. Initiation interval: 1.
    Raises UnsupportedError for formats that do not fit and other families, HwgenError for no lanes, a number of
    registers and a clock that is too fast.
    """

    multiplier = "exact"

    def __init__(
        self,
        a: Format,
        b: Format,
        lanes: int,
        pipeline: int | str = "auto",
        megahertz: float = DEFAULT_MEGAHERTZ,
        family: Family = "xcup",
    ):
        check_element(a)
        check_element(b)
        if lanes < 1:
            raise HwgenError(f"a dot product has 1 lane or more, not {lanes}")
        if family != "xcup":
            raise UnsupportedError(f"dot products on DSPs are made of DSP48E2, for xcup, not for {family}")
        self.a_format, self.b_format, self.lanes = a, b, lanes
        self.lsb = product_span(a, b).exponent
        self.bits = product_width(a, b, lanes)[1]
        negative = any(fmt.extremes[0] < 0 for fmt in (a, b))
        self.shape = signed(self.bits) if negative else unsigned(self.bits)
        self.pair = pair_plan(a, b)
        fits = all(isinstance(fmt, Minifloat | Int | Fixed) for fmt in (a, b)) and self.bits <= SUM_BITS
        if not fits or (self.pair is None and lane_plan(a, b) is None):
            raise UnsupportedError(
                f"products of {a.name} and {b.name} do not fit a DSP48E2 of 27 by 18 bits with sums of {SUM_BITS}"
            )
        self.dsps = -(-lanes // 2) if self.pair else lanes
        if self.pair:
            # One level of adders, beside which borrows are counted, and a tree of its sums and of that.
            self.latency = PAIR_LATENCY + 1 + tree_levels(-(-2 * self.dsps // ARITY) + 1, ARITY)
        else:
            self.latency = CHAIN + 2 + tree_levels(-(-lanes // CHAIN), ARITY)
        if pipeline != "auto":
            raise HwgenError(
                f"a dot product on DSPs has {self.latency} registers here, where the DSPs have theirs: "
                f'pipeline is "auto", not {pipeline!r}'
            )
        # The longest parts: a decoder before a DSP, or an adder.
        parts = [Segment("decode", 3), Segment("add", 1, self.bits)]
        reached = 1000 / slowest(parts, (True, True), family)
        if reached < megahertz:
            raise HwgenError(f"a dot product on DSPs reaches {reached:.0f} MHz by an estimate, not {megahertz:g}")
        super().__init__(
            {
                "enable": In(1, init=1),
                "a": In(data.ArrayLayout(code_shape(a), lanes)),
                "b": In(data.ArrayLayout(code_shape(b), lanes)),
                "valid": In(1),
                "sum": Out(self.shape),
                "nan": Out(1),
                "valid_out": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        codes = [(Value.cast(self.a[n]), Value.cast(self.b[n])) for n in range(self.lanes)]
        total, nan = self._pairs(m, codes) if self.pair else self._chains(m, codes)
        valid = self.valid
        for clock in range(self.latency):
            valid = register(m, self.enable, valid, f"valid_{clock}", reset_less=False)
            nan = nan if isinstance(nan, Const) else register(m, self.enable, nan, f"nan_{clock}")
        m.d.comb += [self.sum.eq(total), self.nan.eq(nan), self.valid_out.eq(valid)]
        return m

    def _held(self, m: Module):
        return lambda value, name: register(m, self.enable, value, name)

    def _chains(self, m: Module, codes: list[tuple[Value, Value]]) -> tuple[Value, Value]:
        sums, nan, cells = [], Const(0, 1), Packer(m)
        formats = (self.a_format, self.b_format)
        for start in range(0, self.lanes, CHAIN):
            group = codes[start : start + CHAIN]
            total, bad = chain_sum(m, cells, self.enable, group, formats, f"chain_{start // CHAIN}")
            width = product_width(self.a_format, self.b_format, len(group))[1]
            sums.append(total[:width].as_signed() if self.shape.signed else total[:width])
            nan = nan | bad
        cells.place()
        return add_all(m, sums, arity=ARITY, stage=self._held(m)), nan

    def _pairs(self, m: Module, codes: list[tuple[Value, Value]]) -> tuple[Value, Value]:
        zero = (Const(0, self.a_format.bits), Const(0, self.b_format.bits))
        codes = [*codes, zero] if self.lanes % 2 else codes
        terms, borrows = [], []
        for number in range(self.dsps):
            pair = codes[2 * number : 2 * number + 2]
            found, borrow = pair_products(m, self.enable, pair, self.pair, f"pair_{number}")
            terms += found
            borrows.append(borrow)
        held = self._held(m)
        level = _threes(m, terms, held)
        counted = held(-count(m, Cat(*borrows)).shift_left(self.pair.top), "borrowed")
        return add_all(m, [*level, counted], arity=ARITY, stage=held), Const(0, 1)


def _threes(m: Module, terms: list[Value], held) -> list[Value]:
    groups = [terms[start : start + ARITY] for start in range(0, len(terms), ARITY)]
    return [held(add_all(m, group, arity=ARITY, name=f"first_{n}"), f"first_{n}") for n, group in enumerate(groups)]


def count(m: Module, bits: Value) -> Value:
    """How many bits are high: tables of six, added up."""
    rows = [row.bit_count() for row in range(1 << TABLE_INPUTS)]
    tables = []
    for start in range(0, len(bits), TABLE_INPUTS):
        part = bits[start : start + TABLE_INPUTS]
        tables.append(table(part, np.array(rows[: 1 << len(part)])))
    return add_all(m, tables, arity=ARITY, name="count")


def dot_unit(
    a: Format,
    b: Format,
    lanes: int,
    multiplier: str = "exact",
    pipeline: int | str = "auto",
    megahertz: float = DEFAULT_MEGAHERTZ,
    family: Family = "xcup",
    *,
    placed: bool = False,
) -> DotProduct | DspDot:
    """A dot product by `multiplier`: "dsp" for exact products on DSPs, or one of `DotProduct`'s.

    placed: as for `DotProduct`. Raises HwgenError for "dsp" with it, and what both raise.
    """
    if multiplier != "dsp":
        return DotProduct(a, b, lanes, multiplier, pipeline, megahertz, family, placed=placed)
    if placed:
        raise HwgenError("a dot product on DSPs has its cells placed already: placed is for products in LUTs")
    return DspDot(a, b, lanes, pipeline, megahertz, family)
