"""One adder of a plan: a sum for synthesis to make, or three summands in cells of UltraScale+.

Three summands take one LUT6_2 and one bit of a carry chain for each bit, as two do: O5 is the carry of the three bits,
O6 the chain's select. Complements of negative operands and constants are in the LUTs' tables; the ones that make
complements negative numbers go into the two places below the lowest bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from amaranth.hdl import Cat, Const, Module, Signal, Value

from hwgen.gateware.arith.cells import carry_chain, lut, lut_pair
from hwgen.gateware.pipeline import range_shape
from hwgen.gateware.unrolled.plan import Adder, first_bit
from hwgen.gateware.unrolled.share import bits

Bit: TypeAlias = Value | int
"""A bit, or the constant that it is."""


@dataclass(frozen=True, eq=False)
class Summand:
    """sign * (value << shift); a negative shift drops bits."""

    value: Value
    shift: int
    sign: int

    @property
    def number(self) -> Value:
        moved = self.value.shift_left(self.shift) if self.shift >= 0 else self.value.shift_right(-self.shift)
        return -moved if self.sign < 0 else moved

    def bit(self, place: int) -> Bit:
        """Bit `place` of value << shift."""
        place -= self.shift
        if place < 0 or (place >= len(self.value) and not self.value.shape().signed):
            return 0
        return self.value[min(place, len(self.value) - 1)]


def add(m: Module, adder: Adder, values: Sequence[Value], name: str, *, placed: bool) -> Signal:
    """The sum of an adder whose operands have these values; `placed`: in cells of UltraScale+ where there are three."""
    start = first_bit(adder.operands, adder.constant)
    summands = [Summand(v, one.shift - start, one.sign) for v, one in zip(values, adder.operands, strict=True)]
    constant, width = adder.constant >> start, bits(adder.low, adder.high) - start
    # Bits below the first that has to be added are those of the lowest operand, which is positive.
    lowest = min(summands, key=lambda one: one.shift)
    passed = [_value(lowest.bit(place - start)) for place in range(start)]
    if placed and len(summands) + bool(constant) == 3:
        upper: Value = three(m, summands, constant, width, name)
    else:
        upper = Signal(range_shape(adder.low >> start, adder.high >> start), name=f"{name}_upper")
        m.d.comb += upper.eq(_sum(summands, constant))
    out = Signal(range_shape(adder.low, adder.high), name=name)
    m.d.comb += out.eq(Cat(*passed, upper))
    return out


def _sum(summands: Sequence[Summand], constant: int) -> Value:
    """The sum as an expression: from a positive summand or the constant on, so that nothing is negated alone."""
    first, *rest = sorted(summands, key=lambda one: -one.sign)
    if first.sign < 0 and constant:
        rest, total = [first, *rest], Const(constant)
    else:
        total = first.number + constant if constant else first.number
    for one in rest:
        positive = Summand(one.value, one.shift, 1).number
        total = total - positive if one.sign < 0 else total + positive
    return total


def three(m: Module, summands: Sequence[Summand], constant: int, width: int, name: str) -> Signal:
    """The lowest `width` bits of a sum of three summands, or of two and a constant, in placed cells."""
    negative = sum(one.sign < 0 for one in summands)
    if constant:
        constant, negative = constant + negative, 0
    select: list[Value] = []
    data: list[Value] = []
    saved: Bit = int(negative > 0)
    for place in range(width):
        found = [(one.bit(place), int(one.sign < 0)) for one in summands]
        found.append((constant >> place & 1, 0))
        carry, both = _column(m, found, saved, f"{name}_{place}", last=place == width - 1)
        select.append(both)
        data.append(_value(saved))
        saved = carry
    total, _ = carry_chain(m, name, Cat(*select), Cat(*data), Const(int(negative > 1), 1))
    return total


def _column(m: Module, found: list[tuple[Bit, int]], saved: Bit, name: str, *, last: bool) -> tuple[Bit, Value]:
    """(carry, select) of one bit of three summands, each with what its bit is flipped by, and the carry before it."""
    fixed = sum(bit ^ turn for bit, turn in found if isinstance(bit, int))
    inputs = [(bit, turn) for bit, turn in found if not isinstance(bit, int)]
    turns = [turn for _, turn in inputs]
    bits_in = [bit for bit, _ in inputs]
    before: list[Value] = [] if isinstance(saved, int) else [saved]

    def ones(bits_of: Sequence[int]) -> int:
        return fixed + sum(bit ^ turn for bit, turn in zip(bits_of, turns, strict=True))

    def both(*now: int) -> int:
        return (ones(now[: len(turns)]) + (saved if isinstance(saved, int) else now[-1])) & 1

    def carry(*now: int) -> int:
        return ones(now[: len(turns)]) >= 2

    # Without inputs, or with none that can reach two, the carry is known.
    known = last or not fixed <= 1 < fixed + len(inputs)
    select = _one(m, [*bits_in, *before], both, name) if known else None
    if select is not None:
        return (0 if last else int(fixed >= 2)), select
    five, six = lut_pair(m, name, [*bits_in, *before], carry, both)
    return five, six


def _one(m: Module, inputs: list[Value], function: Callable[..., int], name: str) -> Value:
    """A function of up to four bits: none for a constant or a bit as it is."""
    if not inputs:
        return Const(int(function()), 1)
    if len(inputs) == 1 and function(1) and not function(0):
        return inputs[0]
    return lut(m, name, inputs, function)


def _value(bit: Bit) -> Value:
    return Const(bit, 1) if isinstance(bit, int) else bit
