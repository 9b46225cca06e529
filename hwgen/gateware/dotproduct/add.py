"""Sums of many numbers: trees of adders that subtract for nothing, and with a place for one more bit in each."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Shape, Value, signed, unsigned

from hwgen.gateware.dotproduct.pipe import At, Pipe


@dataclass(frozen=True, eq=False)
class Signed:
    """(-1)**sign * value: `value` may be negative too, and lies in low..high."""

    value: At
    sign: At
    low: int
    high: int


def levels(terms: int) -> int:
    return max(terms - 1, 0).bit_length()


def shape_of(low: int, high: int) -> Shape:
    """The narrowest shape, of one bit at least, that holds low..high, of any width."""
    if low >= 0:
        return unsigned(max(1, high.bit_length()))
    return signed(max(high, -low - 1).bit_length() + 1)


def fit(value: Value, low: int, high: int) -> Value:
    """`value` in the narrowest shape that holds low..high."""
    shape = shape_of(low, high)
    bits = value[: shape.width]
    return bits.as_signed() if shape.signed else bits


def add_with_carry(a: Value, b: Value, carry: Value) -> Value:
    """a + b + carry, one bit wider than the wider of them; signed where both are.

    The carry comes from an adder bit below the others. Two additions would say the same, but synthesis may merge those
    with the adders before and behind into sums of three and more, which take more cells.
    """
    low = [Cat(Const(1, 1), a), Cat(carry, b)]
    if a.shape().signed or b.shape().signed:
        low = [(x if y.shape().signed else Cat(x, Const(0, 1))).as_signed() for x, y in zip(low, (a, b), strict=True)]
        return (low[0] + low[1])[1:].as_signed()
    return (low[0] + low[1])[1:]


def complement_if(value: Value, condition: Value) -> Value:
    """`value`, or -1 - `value` where `condition` is high: signed."""
    bits = value.as_unsigned() if value.shape().signed else Cat(value, Const(0, 1))
    return (bits ^ condition.replicate(len(bits))).as_signed()


def add_or_subtract(pipe: Pipe, segment: int, x: Signed, y: Signed, name: str) -> Signed:
    """x + y, with the sign of x put off: |x| + |y| or |x| - |y| in one carry chain, one cell a bit."""
    sign, other = pipe.use(x.sign, segment), pipe.use(y.sign, segment)
    a, b = pipe.use(x.value, segment), pipe.use(y.value, segment)
    if isinstance(sign, Const) and isinstance(other, Const) and sign.value == other.value:
        low, high = x.low + y.low, x.high + y.high
        total = fit(a + b, low, high)
        return Signed(pipe.made(total, segment, name), At(sign, segment), low, high)
    low, high = x.low + min(y.low, -y.high), x.high + max(y.high, -y.low)
    subtract = sign ^ other
    total = fit(add_with_carry(a, complement_if(b, subtract), subtract), low, high)
    return Signed(pipe.made(total, segment, name), pipe.made(sign, segment, f"{name}_sign"), low, high)


def signed_tree(pipe: Pipe, segment: int, terms: Sequence[Signed], name: str) -> Signed:
    """The sum of `terms`, a level of adders in each segment from `segment` on."""
    level = 0
    while len(terms) > 1:
        pairs = [
            add_or_subtract(pipe, segment, terms[n], terms[n + 1], f"{name}_{level}_{n // 2}")
            for n in range(0, len(terms) - 1, 2)
        ]
        terms = [*pairs, *terms[len(pairs) * 2 :]]
        segment, level = segment + 1, level + 1
    return terms[0]


@dataclass(frozen=True, eq=False)
class Column:
    """Numbers of one weight 2**shift in low..high, and single bits of the same weight that belong to their sum."""

    values: tuple[tuple[At, int, int], ...]
    bits: tuple[At, ...]
    shift: int


def column_tree(pipe: Pipe, segment: int, column: Column, name: str) -> tuple[At, int, int, tuple[At, ...]]:
    """(sum, low, high, bits left over) of a column; each adder takes one of its single bits as carry."""
    values, bits = list(column.values), list(column.bits)
    level = 0
    while len(values) > 1:
        sums = []
        for n in range(0, len(values) - 1, 2):
            (x, x_low, x_high), (y, y_low, y_high) = values[n : n + 2]
            one, other, low, high = pipe.use(x, segment), pipe.use(y, segment), x_low + y_low, x_high + y_high
            if bits:
                total, high = add_with_carry(one, other, pipe.use(bits.pop(0), segment)), high + 1
            else:
                total = one + other
            sums.append((pipe.made(fit(total, low, high), segment, f"{name}_{level}_{n // 2}"), low, high))
        values = sums + values[len(sums) * 2 :]
        segment, level = segment + 1, level + 1
    value, low, high = values[0]
    return value, low, high, tuple(bits)
