"""Multipliers that look the product up: every output bit is a table over the bits of both operands.

Signs stay out of the table, so that a pair of four-bit minifloats has six inputs to it, as many as one LUT.
"""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import UnsupportedError
from hwgen.formats import Format, Int
from hwgen.formats.fixed import Fixed
from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.arith.cells import lut
from hwgen.gateware.arith.fields import fields, minifloat
from hwgen.gateware.arith.multiply import product_bits

MAX_TABLE_BITS = 10
"""The most input bits of a table: beyond that a multiplier is smaller."""


def _split(fmt: Format, code: Value) -> tuple[Value, Value, list[int]]:
    """(sign, index of the table, worth of each index in units of 2**fmt.lsb)."""
    if isinstance(fmt, Minifloat):
        bits = fields(fmt, code)
        size = 1 << fmt.magnitude_bits
        significands, exponents = fmt.significand_exponent(range(size))
        worths = [
            int(s) << int(e - fmt.lsb) if bool(number) else 0
            for s, e, number in zip(significands, exponents, fmt.is_number(range(size)), strict=True)
        ]
        return bits.sign, bits.magnitude, worths
    size = 1 << fmt.bits
    worths = [n - size if fmt.signed and n >> (fmt.bits - 1) else n for n in range(size)]
    return Const(0, 1), code[: fmt.bits], worths


def table_bits(fmt: Format) -> int:
    """Bits of a code that go into a table."""
    return fmt.magnitude_bits if isinstance(fmt, Minifloat) else int(fmt.bits)


def check_table(a_format: Format, b_format: Format) -> None:
    """Raises UnsupportedError for a table of products that would be too large, and for other formats."""
    for fmt in (a_format, b_format):
        if not isinstance(fmt, Minifloat | Int | Fixed):
            raise UnsupportedError(f"no table multiplies {fmt.name} codes")
    inputs = table_bits(a_format) + table_bits(b_format)
    if inputs > MAX_TABLE_BITS:
        raise UnsupportedError(
            f"a table of products of {a_format.name} and {b_format.name} has {inputs} inputs; at most "
            f"{MAX_TABLE_BITS} are looked up"
        )


def look_up(m: Module, index: Value, words: list[int], width: int, name: str, family: str = "") -> Signal:
    """The `width` bits of words[index], combinational; on "xcup" a table of 64 words takes one LUT a bit."""
    out = Signal(width, name=name)
    for bit in range(width):
        column = [(word >> bit) & 1 for word in words]
        if family == "xcup" and len(index) <= 6 and any(column):
            found = lut(
                m,
                f"{name}_{bit}",
                list(index),
                lambda *bits, column=column: column[sum(b << n for n, b in enumerate(bits))],
            )
        else:
            truth = sum(value << row for row, value in enumerate(column))
            found = Const(truth, 1 << len(index)).bit_select(index, 1)
        m.d.comb += out[bit].eq(found)
    return out


def multiply_by_table(
    m: Module, a_format: Format, b_format: Format, a: Value, b: Value, name: str = "table", family: str = ""
) -> tuple[Value, Value]:
    """(sign, word): the product in units of 2**(a_format.lsb + b_format.lsb), to be negated where `sign` is high.

    The word is unsigned if both formats are minifloats or unsigned, else in two's complement. NaN and infinity count
    as 0. Raises UnsupportedError where the table would have more than `MAX_TABLE_BITS` inputs.
    """
    check_table(a_format, b_format)
    a_sign, a_index, a_worths = _split(a_format, a)
    b_sign, b_index, b_worths = _split(b_format, b)
    products = [x * y for y in b_worths for x in a_worths]
    is_signed = min(products) < 0
    bits = max(max(abs(p) for p in products).bit_length(), 1) + is_signed
    word = look_up(m, Cat(a_index, b_index), products, bits, name, family)
    return a_sign ^ b_sign, word.as_signed() if is_signed else word


def _worth(fmt: Minifloat, magnitude: int) -> int:
    """What a magnitude's bits are worth in units of 2**fmt.lsb."""
    significand, exponent = fmt.significand_exponent(magnitude)
    return int(significand) << int(exponent - fmt.lsb)


def rounded_word(fmt: Minifloat, x: int, y: int) -> int:
    """The magnitude nearest to the product of two; of two that are as near the even one. Saturates."""
    # In units of 2**(2 * lsb), and twice that, so that midpoints are integers.
    exact = 2 * _worth(fmt, x) * _worth(fmt, y)
    unit = -fmt.lsb
    for word in range(fmt.max_magnitude):
        middle = _worth(fmt, word) + _worth(fmt, word + 1)
        scaled = middle << unit if unit >= 0 else middle / (1 << -unit)
        if exact < scaled or (exact == scaled and word % 2 == 0):
            return word
    return fmt.max_magnitude


def multiply_codes_by_table(
    m: Module,
    fmt: Minifloat,
    a: Value,
    b: Value,
    word: Callable[[int, int], int],
    *,
    signed_zero: bool,
    name: str = "table",
    family: str = "",
) -> Value:
    """A code whose bits below the sign are `word` of those of both operands; the sign is the operands' xor.

    signed_zero: whether a zero keeps that sign. Raises UnsupportedError for a table that is too large.
    """
    check_table(fmt, fmt)
    x, y = fields(fmt, a), fields(fmt, b)
    size = range(1 << fmt.magnitude_bits)
    words = [word(p, q) for q in size for p in size]
    magnitude = look_up(m, Cat(x.magnitude, y.magnitude), words, fmt.magnitude_bits, name, family)
    if not fmt.has_sign:
        return magnitude
    sign = x.sign ^ y.sign
    return Cat(magnitude, sign if signed_zero else sign & magnitude.any())


class MultiplyByTable(wiring.Component):
    """Exact product of two small codes, looked up.

    Parameters: `a_format`, `b_format`: minifloats, integers or fixed point, with 10 bits together, signs of minifloats
    not counted; `family`: "xcup" places the LUTs of tables with six inputs by hand.
    Ports: `a`, `b`; `o`, two's complement in units of 2**(a_format.lsb + b_format.lsb), 0 for NaN and infinity.
    Latency: 0. Interval: 1. Raises UnsupportedError for larger tables and other formats.
    """

    def __init__(self, a_format: Format, b_format: Format, *, family: str = ""):
        check_table(a_format, b_format)
        self.a_format, self.b_format, self.family = a_format, b_format, family
        self.latency, self.interval = 0, 1
        shape = signed(product_bits(a_format, b_format))
        super().__init__({"a": In(a_format.bits), "b": In(b_format.bits), "o": Out(shape)})

    def elaborate(self, platform):
        m = Module()
        sign, word = multiply_by_table(m, self.a_format, self.b_format, self.a, self.b, family=self.family)
        m.d.comb += self.o.eq(Mux(sign, -word, word))
        return m


class RoundByTable(wiring.Component):
    """The product of two codes of one small minifloat, rounded half to even to a code of it, looked up.

    Parameters: `fmt`, a minifloat without NaN and infinity whose codes have five bits below the sign at most; `family`
    as for `MultiplyByTable`. Ports: `a`, `b`, `o`. Zeros keep the sign of the product.
    Latency: 0. Interval: 1. Raises UnsupportedError for other formats.
    """

    def __init__(self, fmt: Format, *, family: str = ""):
        self.format, self.family = minifloat(fmt, "the table of rounded products"), family
        check_table(fmt, fmt)
        if self.format.special != "none" or not self.format.has_subnormals:
            raise UnsupportedError(
                f"no table of rounded products is made for {fmt.name}, which has codes that are no numbers or no zero"
            )
        self.latency, self.interval = 0, 1
        super().__init__({"a": In(fmt.bits), "b": In(fmt.bits), "o": Out(fmt.bits)})

    def elaborate(self, platform):
        m = Module()

        def word(x: int, y: int) -> int:
            return rounded_word(self.format, x, y)

        code = multiply_codes_by_table(m, self.format, self.a, self.b, word, signed_zero=True, family=self.family)
        m.d.comb += self.o.eq(code)
        return m
