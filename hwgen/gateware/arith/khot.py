"""Products without a multiplier: weights that are sums of a few signed powers of two (K-hot)."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Format, Int
from hwgen.formats.fixed import Fixed


def weight_layout(terms: int, shifts: int) -> data.ArrayLayout:
    """A weight: `terms` fields of `shift`, `negative` and `active`, worth (-1)**negative * 2**shift if active."""
    field = data.StructLayout({"shift": max(1, (shifts - 1).bit_length()), "negative": 1, "active": 1})
    return data.ArrayLayout(field, terms)


def shift_add(m: Module, x: Value, weight: data.View, width: int, name: str = "khot") -> Signal:
    """x * weight, combinational, in two's complement of `width` bits (`product_bits`)."""
    terms = len(weight)
    out = Signal(signed(width), name=name)
    total: Value = Const(0, signed(1))
    for term in range(terms):
        field = weight[term]
        part = Signal(signed(width), name=f"{name}_{term}")
        m.d.comb += part.eq(Mux(field.active, x << field.shift, 0))
        # Inverted and one added where the term is negative: the ones go in as carries.
        total = total + Mux(field.negative, ~part, part) + field.negative
    m.d.comb += out.eq(total)
    return out


def product_bits(fmt: Int | Fixed, terms: int, shifts: int) -> int:
    """Bits of a product in two's complement, shifts being below `shifts`."""
    greatest = max(abs(end) for end in fmt.code_range)
    return ((greatest * terms) << (shifts - 1)).bit_length() + 1


class KHotMultiply(wiring.Component):
    """Multiplies an integer by a weight that is a sum of K signed powers of two.

    Parameters: `fmt` of the input, an integer or fixed point; `terms`, K; `shifts`, how many powers of two, from 2**0.
    Ports: `x`; `weight`, an array of K fields {shift, negative, active}, the first lowest; `o`, the product in units
    of the input's. Latency: 0. Interval: 1.
    Raises UnsupportedError for a format that is no integer or fixed point, HwgenError for no terms or shifts.
    """

    def __init__(self, fmt: Format, terms: int, shifts: int):
        if not isinstance(fmt, Int | Fixed):
            raise UnsupportedError(f"shift-add products take integers or fixed point, not {fmt.name}")
        if terms < 1 or not 1 <= shifts <= 32:
            raise HwgenError(f"a K-hot weight has 1 term or more and 1 to 32 shifts, not {terms} and {shifts}")
        self.format, self.terms, self.shifts = fmt, terms, shifts
        self.latency, self.interval = 0, 1
        self.width = product_bits(fmt, terms, shifts)
        ports = {"x": In(fmt.bits), "weight": In(weight_layout(terms, shifts)), "o": Out(signed(self.width))}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        x = self.x.as_signed() if self.format.signed else self.x
        m.d.comb += self.o.eq(shift_add(m, x, self.weight, self.width))
        return m
