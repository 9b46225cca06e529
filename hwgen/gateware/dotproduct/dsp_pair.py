"""Two lanes of integers on one DSP48E2, though all four operands differ.

Of (a1 * 2**k + a0) * (b1 * 2**j + b0) the products a0 * b0, at the bottom, and a1 * b1, at the top, are wanted; a0 * b1
at j and a1 * b0 at k lie across some of their bits. What they cover is little, and it is known from a few low bits:

- the bits of a0 * b0 from j on are those of the DSP less the low bits of a0 * b1;
- the DSP's bits from j + k on are a1 * b1 plus a number u of a few bits. The low bits of a1 * b1, as many, are found
  from those of a1 and b1; there is one u in its range that leaves them.

For INT8 without -128 that is j = 10, k = 19 and five bits of each.
"""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Value

from hwgen.formats import Fixed, Format, Int
from hwgen.gateware.arith.dsp import DEVICES, dsp48e2, packed_bits
from hwgen.gateware.dotproduct.dsp_decode import signal
from hwgen.gateware.pipeline import register

# More bits than this would take more LUTs than a multiplier of LUTs saves.
MOST_BITS = 7
# Clocks from the operands to the products.
LATENCY = 5


@dataclass(frozen=True)
class PairPlan:
    """The places `j` and `k`; `product`: bits of a product; `low`, `top`: bits to find of either product.

    upper: bits of the upper product before its borrow is taken off.
    """

    j: int
    k: int
    product: int
    low: int
    top: int
    upper: int


def pair_plan(a: Format, b: Format) -> PairPlan | None:
    """None where two lanes do not fit: for other formats than signed integers and fixed point, and long ones."""
    if not (isinstance(a, Int | Fixed) and isinstance(b, Int | Fixed) and a.signed and b.signed):
        return None
    a_width, b_width, _ = DEVICES["xcup"]
    j = max((n for n in range(1, b_width) if packed_bits(b, 2, n) <= b_width), default=0)
    k = max((n for n in range(1, a_width) if packed_bits(a, 2, n) <= a_width), default=0)
    corners = [x * y for x in a.code_range for y in b.code_range]
    greatest, product = max(map(abs, corners)), max(max(corners).bit_length(), (-min(corners) - 1).bit_length()) + 1
    if j < b.bits or k < product:
        return None
    # u is the floor of what lies below in units of 2**(j + k).
    below = greatest * ((1 << k) + (1 << j) + 1)
    top = (below >> (j + k)).bit_length() + 1
    low = max(0, product - j)
    upper = (greatest + (1 << top)).bit_length() + 1
    return None if max(low, top) > MOST_BITS else PairPlan(j, k, product, low, top, upper)


def pair_products(
    m: Module, enable: Value, lanes: list[tuple[Value, Value]], plan: PairPlan, name: str
) -> tuple[list[Value], Value]:
    """(terms, borrow) whose sum less borrow * 2**plan.top is a0 * b0 + a1 * b1, LATENCY clocks later."""

    def held(value: Value, label: str, clocks: int = 1) -> Value:
        value = signal(m, value, f"{name}_{label}")
        for clock in range(clocks):
            value = register(m, enable, value, f"{name}_{label}_{clock}")
        return value

    (a0, b0), (a1, b1) = ((x.as_signed(), y.as_signed()) for x, y in lanes)
    j, k, bits = plan.j, plan.k, max(plan.low, plan.top)
    # The upper number takes the sign of the lower one, which fills the bits between.
    packed = Cat(_widened(b0, j), (b1 - b0[-1])[: DEVICES["xcup"][1] - j]).as_signed()
    # Half a range above the top number's lowest bits, so that u is not negative.
    half = Const(1 << (j + k + plan.top - 1), 48)
    p, _ = dsp48e2(m, f"{name}_dsp", enable, a0, packed, d=a1.shift_left(k), c=half)
    short = [held(value[:bits], label, 2) for value, label in ((a0, "a0"), (a1, "a1"), (b1, "b1"))]
    if plan.low:
        across = held(_parts(short[0], short[2], plan.low), "across")
        cover = held(_sum(across, plan.low), "cover")
        lowest = held(Cat(p[:j], (p[j : plan.product] - cover)[: plan.low]), "low")
    else:
        lowest = held(p[: plan.product], "low")
    own = held(_parts(short[1], short[2], plan.top), "own")
    own = held(_sum(own, plan.top), "known")
    field = p[j + k :]
    borrow = held(field[: plan.top] < own, "borrow")
    upper = held(Cat(own, field[plan.top :])[: plan.upper], "top")
    return [lowest.as_signed(), upper.as_signed()], borrow


def _widened(value: Value, width: int) -> Value:
    return Cat(value, value[-1].replicate(width - len(value))) if width > len(value) else value[:width]


def _parts(a: Value, b: Value, bits: int) -> Value:
    """Numbers of `bits` bits each whose sum is the low bits of a * b: two rows of partial products in each."""
    rows = []
    for row in range(0, bits, 2):
        one = (a & b[row].replicate(len(a))).shift_left(row)
        if row + 1 < bits:
            one = one + (a & b[row + 1].replicate(len(a))).shift_left(row + 1)
        rows.append(one[:bits])
    return Cat(*rows)


def _sum(parts: Value, bits: int) -> Value:
    total: Value = Const(0, bits)
    for start in range(0, len(parts), bits or 1):
        total = total + parts[start : start + bits]
    return total[:bits]
