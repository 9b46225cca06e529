"""Dot products of lanes of codes, exact, with a new one each clock."""

from amaranth.hdl import Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Bipolar, Fixed, Format, Int
from hwgen.formats.base import product_width
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import product_span
from hwgen.gateware.arith.pack import Packer
from hwgen.gateware.dotproduct import booth, lane, placed, placed_lane, shifted
from hwgen.gateware.dotproduct.pipe import At, Pipe, Segment, choose_registers, levels_for
from hwgen.tools.resources import Family

DEFAULT_MEGAHERTZ = 200.0


class DotProduct(wiring.Component):
    """sum = a[0] * b[0] + ... + a[lanes - 1] * b[lanes - 1] of codes of `a` and `b`, exact, in units of 2**lsb.

    Parameters: `a`, `b`, element formats: minifloats, integers, fixed point, bipolar, in any pair whose products have
    128 bits or fewer. `multiplier`: "exact", or of two equal minifloats "lmul", "lmul_formula", "lmul_formula_trunc"
    or "mitchell". `pipeline`: registers on the way, or "auto": as many as an estimate says that `megahertz` takes on
    `family`. `placed`: cells of UltraScale+ placed by hand, which are fewer (`rtl/cells_xcup.sv` models them), for
    products that are not of integers alone; else logic for any family.
    Ports: `enable` lets all registers move; `a`, `b`, the lanes' codes; `valid`, whether they count. Out: `sum`, two's
    complement of `bits` bits; `nan`, whether an operand was NaN or infinite (then `sum` means nothing); `valid_out`.
    Latency: `latency` enabled clocks, the number of registers. Initiation interval: 1.
    Raises HwgenError for no lanes or an impossible pipeline, UnsupportedError for a format that it does not know.
    """

    def __init__(
        self,
        a: Format,
        b: Format,
        lanes: int,
        multiplier: str = "exact",
        pipeline: int | str = "auto",
        megahertz: float = DEFAULT_MEGAHERTZ,
        family: Family = "xcup",
        *,
        placed: bool = False,
    ):
        check_element(a)
        check_element(b)
        if lanes < 1:
            raise HwgenError(f"a dot product has 1 lane or more, not {lanes}")
        self.a_format, self.b_format, self.lanes, self.multiplier = a, b, lanes, multiplier
        span = product_span(a, b, multiplier)
        self.lsb = span.exponent
        self.shape = _sum_shape(a, b, lanes, multiplier)
        self.placed = placed
        if placed:
            _check_placed(a, b, family)
        self.bits = self.shape.width
        self.segments = self._segments()
        self.registers = registers_for(self.segments, pipeline, megahertz, family)
        self.latency = sum(self.registers)
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

    @property
    def integers(self) -> bool:
        """Whether both operands are integers, which take Booth digits."""
        return not isinstance(self.a_format, Minifloat) and not isinstance(self.b_format, Minifloat)

    def _segments(self) -> list[Segment]:
        if self.integers:
            digits = booth.digit_count(_factor(self.b_format, Signal(self.b_format.bits)))
            return booth.segments(digits, self.lanes, self.bits)
        if self.placed and self._placed_lanes:
            return placed.segments(placed_lane.form(self.a_format, self.b_format), self.lanes, self.bits)
        probe = self._product(Signal(self.a_format.bits), Signal(self.b_format.bits))
        if self.placed:
            return placed.segments(lane.Form.of(probe), self.lanes, self.bits)
        return shifted.segments(len(probe.significand), probe.greatest_shift, self.lanes, self.bits)

    def _product(self, a: Value, b: Value) -> lane.Product:
        return lane.product(self.a_format, self.b_format, self.multiplier, a, b)

    @property
    def _placed_lanes(self) -> bool:
        """Whether the cells of the products are placed too, not only those behind them."""
        return self.multiplier == "exact" and placed_lane.takes(self.a_format, self.b_format)

    def _placed_sums(self, pipe: Pipe, lanes: list[tuple[Value, Value]]) -> tuple[At, At]:
        cells = Packer(pipe.m)
        if self._placed_lanes:
            made, bad = placed_lane.products(pipe.m, cells, self.a_format, self.b_format, lanes)
        else:
            made = [self._product(a, b) for a, b in lanes]
            bad = shifted.any_of([one.nan for one in made])
        total = placed.placed_dot(pipe, cells, made)
        cells.place()
        return total, pipe.made(bad, 0, "nan")

    def elaborate(self, platform):
        m = Module()
        pipe = Pipe(m, self.enable, self.registers)
        total, nan = self.sums(pipe, [Value.cast(x) for x in self.a], [Value.cast(x) for x in self.b])
        end = len(self.segments)
        m.d.comb += [
            self.sum.eq(pipe.use(total, end)),
            self.nan.eq(pipe.use(nan, end)),
            self.valid_out.eq(pipe.use(At(self.valid, 0), end, reset_less=False)),
        ]
        return m

    def sums(self, pipe: Pipe, a: list[Value], b: list[Value]) -> tuple[At, At]:
        """(sum, nan) of the lanes, both made in the last segment of `pipe` or before."""
        if self.integers:
            lanes = [(_factor(self.a_format, x), _factor(self.b_format, y)) for x, y in zip(a, b, strict=True)]
            low, high = _bounds(self.shape)
            return booth.booth_dot(pipe, lanes, low, high), At(0 * Signal(1, name="none"), 0)
        if self.placed:
            return self._placed_sums(pipe, list(zip(a, b, strict=True)))
        products = [lambda x=x, y=y: self._product(x, y) for x, y in zip(a, b, strict=True)]
        total, nan = shifted.shifted_dot(pipe, products)
        return shifted.without_sign(pipe, len(self.segments) - 1, total, self.shape), nan


def _check_placed(a: Format, b: Format, family: Family) -> None:
    if family != "xcup":
        raise HwgenError(f"cells are placed by hand on xcup only, not on {family}")
    if not isinstance(a, Minifloat) and not isinstance(b, Minifloat):
        raise UnsupportedError(f"no cells are placed by hand for {a.name} times {b.name}: one must be a minifloat")


def check_element(fmt: Format) -> None:
    """Raises UnsupportedError for a format that has no dot products in gateware."""
    if not isinstance(fmt, Minifloat | Int | Fixed | Bipolar):
        raise UnsupportedError(f"dot products take minifloats, integers, fixed point and bipolar codes, not {fmt.name}")


def code_shape(fmt: Format) -> Shape:
    return signed(fmt.bits) if fmt.signed else unsigned(fmt.bits)


def registers_for(segments: list[Segment], pipeline: int | str, megahertz: float, family: Family) -> tuple[bool, ...]:
    """Where the registers go; `pipeline` is their number or "auto"."""
    if pipeline == "auto":
        return choose_registers(segments, levels_for(segments, megahertz, family), family)
    if not isinstance(pipeline, int):
        raise HwgenError(f'pipeline is a number of registers or "auto", not {pipeline!r}')
    return choose_registers(segments, pipeline, family)


def _sum_shape(a: Format, b: Format, lanes: int, multiplier: str) -> Shape:
    if multiplier == "exact":
        low = min(x * y for x in a.extremes for y in b.extremes)
        bits = product_width(a, b, lanes)[1]
        return signed(bits) if low < 0 else unsigned(bits)
    reach = product_span(a, b, multiplier).reach * lanes
    return signed(reach.bit_length() + 1) if a.extremes[0] < 0 else unsigned(reach.bit_length())


def _bounds(shape: Shape) -> tuple[int, int]:
    if shape.signed:
        return -(1 << (shape.width - 1)), (1 << (shape.width - 1)) - 1
    return 0, (1 << shape.width) - 1


def _factor(fmt: Format, code: Value) -> booth.Factor:
    if isinstance(fmt, Bipolar):
        from amaranth.hdl import Cat

        return booth.Factor(Cat(1, ~code[0]), True, -1, 1)
    low, high = fmt.code_range
    return booth.Factor(code[: fmt.bits], fmt.signed, low, high)
