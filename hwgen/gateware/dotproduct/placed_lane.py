"""Products of minifloat codes in cells of UltraScale+ placed by hand: sign, significand, and the place it shifts to."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Value

from hwgen.formats import Format
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import product_span
from hwgen.gateware.arith.cells import carry_chain, lut, lut_pair
from hwgen.gateware.arith.pack import LUT_INPUTS, SHARED_INPUTS, Packer
from hwgen.gateware.dotproduct.lane import Form, Product, multiply, short_pair

CODES, DECODED = "of codes", "of decoded codes"
"""Groups of functions that do not depend on each other."""


@dataclass(frozen=True, eq=False)
class Operand:
    """The bits of one code. `special`: bits that are all high where the code is no number; none if all codes are."""

    sign: Value
    mantissa: tuple[Value, ...]
    exponent: tuple[Value, ...]
    normal: Value
    special: tuple[Value, ...]


def takes(a: Format, b: Format) -> bool:
    """Whether `products` makes the products of these formats."""
    return all(
        isinstance(fmt, Minifloat) and fmt.exponent_bits <= SHARED_INPUTS and fmt.magnitude_bits <= 2 * SHARED_INPUTS
        for fmt in (a, b)
    )


def operand(cells: Packer, fmt: Minifloat, code: Sequence[Value], name: str) -> Operand:
    low, high = fmt.mantissa_bits, fmt.magnitude_bits
    mantissa, exponent = tuple(code[:low]), tuple(code[low:high])
    normal: Value = Const(1, 1)
    if fmt.has_subnormals:
        normal = cells.lut(CODES, f"{name}_normal", exponent, lambda *bits: any(bits))
    special: tuple[Value, ...] = ()
    if fmt.special != "none":
        ones = (*exponent, *(reversed(mantissa) if fmt.special == "nan" else ()))
        # As many as share a cell with `normal`.
        head, tail = ones[:SHARED_INPUTS], ones[SHARED_INPUTS:]
        special = (cells.lut(CODES, f"{name}_ones", head, lambda *bits: all(bits)), *tail)
    return Operand(code[high] if fmt.has_sign else Const(0, 1), mantissa, exponent, normal, special)


def products(
    m: Module, cells: Packer, a: Minifloat, b: Minifloat, lanes: Sequence[tuple[Value, Value]]
) -> tuple[list[Product], Value]:
    """(the lanes' products, whether any operand is no number)."""
    pairs = [
        (operand(cells, a, list(x), f"a{n}"), operand(cells, b, list(y), f"b{n}")) for n, (x, y) in enumerate(lanes)
    ]
    made = [_product(m, cells, a, b, x, y, f"lane{n}") for n, (x, y) in enumerate(pairs)]
    return made, any_special(m, cells, [one.special for pair in pairs for one in pair if one.special])


def _product(m: Module, cells: Packer, a: Minifloat, b: Minifloat, x: Operand, y: Operand, name: str) -> Product:
    greatest, none = product_span(a, b).reach, Const(0, 1)
    sign = cells.lut(CODES, f"{name}_sign", [x.sign, y.sign], lambda p, q: p ^ q)
    rows = short_pair(a, b)
    if rows is not None:
        index = [*x.mantissa, *x.exponent, *y.mantissa, *y.exponent]
        word = table(cells, CODES, f"{name}_word", index, [int(row) for row in rows])
        return Product(sign, Cat(*word), none, 0, 0, greatest, none)
    significand = _significand(m, cells, x, y, name)
    sums = exponents(a, b)
    shift = _shift(m, cells, a, b, x, y, name) if sums.most else none
    return Product(sign, significand, shift, sums.most, sums.drop, greatest, none)


def table(cells: Packer, group: str, name: str, index: Sequence[Value], words: Sequence[int]) -> list[Value]:
    """The bits of words[index], one function each."""
    return [
        cells.lut(
            group,
            f"{name}_{place}",
            index,
            lambda *bits, place=place: words[sum(bit << n for n, bit in enumerate(bits))] >> place & 1,
        )
        for place in range(max(1, max(words).bit_length()))
    ]


def _product_words(x: int, y: int) -> list[int]:
    """Products of x and y bits by their packed index."""
    return [(row & ((1 << x) - 1)) * (row >> x) for row in range(1 << (x + y))]


def _significand(m: Module, cells: Packer, x: Operand, y: Operand, name: str) -> Value:
    """The product of both significands, hidden bits included."""
    p, q = (*x.mantissa, x.normal), (*y.mantissa, y.normal)
    if len(p) + len(q) <= LUT_INPUTS:
        return Cat(*table(cells, DECODED, f"{name}_product", [*p, *q], _product_words(len(p), len(q))))
    if len(x.mantissa) + len(y.mantissa) > LUT_INPUTS or len(x.mantissa) != len(y.mantissa):
        return multiply(Cat(*p), Cat(*q))
    # (h * 2**k + m) * (g * 2**k + n) = m * n + (h * n + g * m) * 2**k + h * g * 4**k, h and g being the hidden bits.
    k = len(x.mantissa)
    small = table(cells, CODES, f"{name}_fractions", [*x.mantissa, *y.mantissa], _product_words(k, k))
    halves = [
        lut_pair(
            m,
            f"{name}_cross_{n}",
            [x.mantissa[n], y.normal, y.mantissa[n], x.normal],
            lambda u, g, _v, _h: u & g,
            lambda u, g, v, h: (u & g) ^ (v & h),
        )
        for n in range(k)
    ]
    cross, carries = carry_chain(
        m, f"{name}_cross", Cat(*(six for _, six in halves)), Cat(*(five for five, _ in halves)), Const(0, 1)
    )
    top = carries[k - 1]
    select = [lut(m, f"{name}_upper_{n}", [small[k + n], cross[n]], lambda u, v: u ^ v) for n in range(k)]
    select.append(lut(m, f"{name}_upper_{k}", [top, x.normal, y.normal], lambda t, h, g: t ^ (h & g)))
    upper, carries = carry_chain(m, f"{name}_upper", Cat(*select), Cat(*small[k:], top), Const(0, 1))
    return Cat(*small[:k], upper, carries[k])


@dataclass(frozen=True)
class Exponents:
    """The sum of two exponents, of which each may be the same for all codes.

    varying: whether each of them varies; least and greatest true exponent of those that do, 0 of the others.
    by_table: whether the sum is looked up, less what it is at least.
    """

    varying: tuple[bool, bool]
    least: tuple[int, int]
    greatest: tuple[int, int]
    by_table: bool

    @property
    def drop(self) -> int:
        """Places of the shift that are no shift."""
        return 0 if self.by_table else sum(self.least)

    @property
    def most(self) -> int:
        """The greatest shift."""
        return sum(self.greatest) - (sum(self.least) if self.by_table else 0)


def exponents(a: Minifloat, b: Minifloat) -> Exponents:
    ends = [(int(fmt.has_subnormals), (fmt.max_magnitude >> fmt.mantissa_bits) or 1) for fmt in (a, b)]
    varying = tuple(last > first for first, last in ends)
    least, greatest = (tuple(end[n] * vary for end, vary in zip(ends, varying, strict=True)) for n in (0, 1))
    width = sum(fmt.exponent_bits for fmt, vary in zip((a, b), varying, strict=True) if vary)
    return Exponents((varying[0], varying[1]), (least[0], least[1]), (greatest[0], greatest[1]), width <= LUT_INPUTS)


def form(a: Minifloat, b: Minifloat) -> Form:
    """What the lanes' products are like."""
    greatest, signed = product_span(a, b).reach, a.has_sign or b.has_sign
    rows = short_pair(a, b)
    if rows is not None:
        return Form(int(rows.max()).bit_length(), 0, 0, greatest, signed)
    width = ((2 << a.mantissa_bits) - 1) * ((2 << b.mantissa_bits) - 1)
    shift = exponents(a, b)
    return Form(width.bit_length(), shift.most, shift.drop, greatest, signed)


def _shift(m: Module, cells: Packer, a: Minifloat, b: Minifloat, x: Operand, y: Operand, name: str) -> Value:
    """The sum of the exponents that vary, less what a table takes off."""
    sums = exponents(a, b)
    if sums.by_table:
        fields = [
            (one.exponent, least) for one, vary, least in zip((x, y), sums.varying, sums.least, strict=True) if vary
        ]
        index = [bit for bits, _ in fields for bit in bits]
        words = _exponent_words([(len(bits), least) for bits, least in fields], sum(sums.least), sums.most)
        return Cat(*table(cells, CODES, f"{name}_shift", index, words))
    if len(y.exponent) > len(x.exponent):
        x, y, a, b = y, x, b, a
    # The exponent of a subnormal is 1, not 0.
    p, q = int(a.has_subnormals), int(b.has_subnormals)
    low, low_select = lut_pair(
        m,
        f"{name}_exponent_0",
        [x.exponent[0], x.normal, y.exponent[0], y.normal],
        lambda e, h, _f, _g: e | (p & ~h & 1),
        lambda e, h, f, g: (e | (p & ~h & 1)) ^ (f | (q & ~g & 1)),
    )
    rest = [
        lut(m, f"{name}_exponent_{n}", [e, y.exponent[n]], lambda e, f: e ^ f) if n < len(y.exponent) else e
        for n, e in enumerate(x.exponent)
        if n
    ]
    data = [low, *x.exponent[1 : len(y.exponent)], *[Const(0, 1)] * (len(x.exponent) - len(y.exponent))]
    total, carries = carry_chain(m, f"{name}_exponent", Cat(low_select, *rest), Cat(*data), Const(0, 1))
    return Cat(total, carries[len(x.exponent) - 1])[: sums.most.bit_length()]


def _exponent_words(fields: Sequence[tuple[int, int]], drop: int, most: int) -> list[int]:
    """Sums of exponent fields, none below its `first`, by their packed index; what no number has is cut to the ends."""
    words = []
    for row in range(1 << sum(width for width, _ in fields)):
        total, rest = -drop, row
        for width, first in fields:
            total += max(rest & ((1 << width) - 1), first)
            rest >>= width
        words.append(min(max(total, 0), most))
    return words


def any_special(m: Module, cells: Packer, operands: Sequence[Sequence[Value]]) -> Value:
    """Whether all bits of any operand are high: as many operands a LUT as fit, and a carry chain over the LUTs."""
    if not operands:
        return Const(0, 1)
    each = LUT_INPUTS // max(map(len, operands))
    assert each, "an operand's bits fit in one LUT"
    ends = [*range(0, len(operands), each), len(operands)]
    none = []
    for n, (start, stop) in enumerate(pairwise(ends)):
        sizes = [len(bits) for bits in operands[start:stop]]

        def quiet(*bits: int, sizes: list[int] = sizes) -> int:
            rest, found = list(bits), False
            for size in sizes:
                found, rest = found or all(rest[:size]), rest[size:]
            return not found

        none.append(lut(m, f"finite_{n}", [bit for bits in operands[start:stop] for bit in bits], quiet))
    _, carries = carry_chain(m, "special", Cat(*none), Const(-1, len(none)), Const(0, 1))
    return carries[len(none) - 1]
