"""From shared rows to adders: trees of two or three operands, with exact ranges, levels and pipeline stages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.gateware.unrolled.share import Row, bits, share


@dataclass(frozen=True)
class Operand:
    """sign * (value << shift)."""

    value: int
    shift: int
    sign: int


@dataclass(frozen=True)
class Adder:
    """One adder: the sum of its operands and `constant`, in low..high, behind `level` - 1 others."""

    operands: tuple[Operand, ...]
    constant: int
    low: int
    high: int
    level: int


@dataclass(frozen=True)
class Plan:
    """Adders over inputs: values below len(`ranges`) are inputs, value len(`ranges`) + n is the sum of `adders`[n].

    outputs: what each output is: an operand of sign 1, or a constant where no input counts.
    """

    ranges: tuple[tuple[int, int], ...]
    adders: tuple[Adder, ...]
    outputs: tuple[Operand | int, ...]

    @property
    def levels(self) -> int:
        """Adders on the longest path."""
        return max((adder.level for adder in self.adders), default=0)

    def bounds(self, value: int) -> tuple[int, int]:
        """(least, greatest) number that a value can be."""
        inputs = len(self.ranges)
        if value < inputs:
            return self.ranges[value]
        return self.adders[value - inputs].low, self.adders[value - inputs].high

    @property
    def luts(self) -> int:
        """LUTs of the adders, one for each bit at which more than one operand or a carry comes in."""
        return sum(lut_bits(adder, self.bounds) for adder in self.adders)


def first_bit(operands: Sequence[Operand], constant: int) -> int:
    """The lowest bit at which anything has to be added; those below are the lowest operand's."""
    ends = sorted([*(one.shift for one in operands), *([_lowest(constant)] if constant else [])])
    first = ends[0]
    negative = any(one.sign < 0 for one in operands if one.shift == first)
    if len(ends) == 1 or negative or ends[1] == first or (constant and _lowest(constant) == first):
        return first
    return ends[1]


def lut_bits(adder: Adder, bounds) -> int:
    """Bits of an adder that take a LUT; `bounds` gives the range of a value."""
    top = bits(adder.low, adder.high)
    ends = []
    for one in adder.operands:
        low, high = bounds(one.value)
        # A sign goes up to the top; ones above a positive number that is complemented are constants.
        ends.append(top if low < 0 else one.shift + bits(low, high))
    data = min(max(ends), top)
    return max(0, data - first_bit(adder.operands, adder.constant))


def _lowest(number: int) -> int:
    return (number & -number).bit_length() - 1


Order = Callable[[int, int, int], tuple[int, ...]]
"""A key to sort terms by, from their level, shift and bits."""

ORDERS: tuple[Order, ...] = (
    lambda level, shift, width: (level, shift + width, shift),
    lambda level, shift, width: (level, shift, width),
    lambda level, shift, width: (shift + width, level),
    lambda level, shift, width: (shift, width, level),
)


Form = tuple[np.ndarray, int]
"""A value as a linear form: coefficients of the inputs, and a constant."""


class _Builder:
    """Adders as they are made."""

    def __init__(self, ranges: Sequence[tuple[int, int]], arity: int):
        self.ranges, self.arity = tuple(ranges), arity
        self.low, self.high = (np.array(ends, dtype=object) for ends in zip(*ranges, strict=True))
        self.forms: list[Form] = [(row, 0) for row in np.eye(len(ranges), dtype=np.int64)]
        self.adders: list[Adder] = []
        self.level = [0] * len(ranges)

    def bounds(self, value: int) -> tuple[int, int]:
        if value < len(self.ranges):
            return self.ranges[value]
        adder = self.adders[value - len(self.ranges)]
        return adder.low, adder.high

    def form_of(self, one: Operand) -> Form:
        """The linear form of an operand."""
        terms, offset = self.forms[one.value]
        return one.sign * (terms << one.shift), one.sign * (offset << one.shift)

    def add(self, operands: Sequence[Operand], constant: int) -> int:
        """The value of a new adder."""
        form = np.zeros(len(self.ranges), dtype=np.int64)
        offset = constant
        for one in operands:
            terms, more = self.form_of(one)
            form, offset = form + terms, offset + more
        used = np.flatnonzero(form)
        ends = form[used] * self.low[used], form[used] * self.high[used]
        low, high = int(np.minimum(*ends).sum()) + offset, int(np.maximum(*ends).sum()) + offset
        level = 1 + max(self.level[one.value] for one in operands)
        self.adders.append(Adder(tuple(operands), constant, low, high, level))
        self.forms.append((form, offset))
        self.level.append(level)
        return len(self.forms) - 1

    def tree(self, terms: Sequence[Operand], constant: int, *, signed: bool) -> Operand:
        """One operand that is the sum of `terms` and `constant`; of sign 1 unless `signed` allows -1.

        Of several orders the one with the fewest levels is taken, of those with as many the one with the fewest LUTs.
        """
        found: list[tuple[int, int, int, Operand, list[Adder], list[Form]]] = []
        for order in ORDERS:
            for positive in (False, True):
                start = len(self.adders)
                one = self._tree(terms, constant, order, positive=positive, signed=signed)
                made = self.adders[start:]
                luts = sum(lut_bits(adder, self.bounds) for adder in made)
                forms = self.forms[len(self.ranges) + start :]
                found.append((self.level[one.value], luts, len(found), one, made, forms))
                self._forget(start)
        *_, one, made, forms = min(found, key=lambda item: item[:3])
        self.adders += made
        self.forms += forms
        self.level += [adder.level for adder in made]
        return one

    def _forget(self, start: int) -> None:
        """Take back the adders from `start` on."""
        del self.adders[start:], self.forms[len(self.ranges) + start :], self.level[len(self.ranges) + start :]

    def _tree(self, terms: Sequence[Operand], constant: int, order: Order, *, positive: bool, signed: bool) -> Operand:
        """`tree` in one order: the first are added first, two where otherwise an adder of two would be left over for
        wider ones; the constant last. positive: the operands of the last adder are made to be positive."""
        items = list(terms)
        count = len(items) + bool(constant)
        while len(items) > 1 or (constant and count > 1):
            items.sort(key=lambda one: order(self.level[one.value], one.shift, bits(*self.bounds(one.value))))
            size = 2 if self.arity == 2 or count % 2 == 0 else 3
            here = constant if count <= size else 0
            group, items = items[: size - bool(here)], items[size - bool(here) :]
            count -= size - 1
            items.append(self._combined(group, here, last=not signed and (count == 1 or (positive and count <= 3))))
        (last,) = items
        if last.sign < 0 and not signed:
            return Operand(self.add([last], 0), 0, 1)
        return last

    def _combined(self, group: list[Operand], constant: int, *, last: bool) -> Operand:
        """The sum of a group and a constant as an operand; `last`: of sign 1 if that can be."""
        shift = min(one.shift for one in group)
        if constant:
            shift = min(shift, _lowest(constant))
        operands = [Operand(one.value, one.shift - shift, one.sign) for one in group]
        here = constant >> shift
        # What is left over of the last adder's sign has to be put right by another one.
        all_negative = len(operands) == 3 and all(one.sign < 0 for one in operands)
        sign = 1 if last and not all_negative else self._sign(operands, here)
        if sign < 0:
            operands = [Operand(one.value, one.shift, -one.sign) for one in operands]
            here = -here
        return Operand(self.add(operands, here), shift, sign)

    @staticmethod
    def _sign(operands: Sequence[Operand], constant: int) -> int:
        """The sign with which a sum is cheapest: its lowest operand's, whose low bits then need no LUTs."""
        lowest = [one for one in operands if one.shift == 0]
        if len(lowest) == 1 and (constant == 0 or constant & 1 == 0):
            return lowest[0].sign
        return -1 if sum(one.sign for one in operands) < 0 else 1


def plan(weights: np.ndarray, bias: np.ndarray, ranges: Sequence[tuple[int, int]], arity: int = 2) -> Plan:
    """Adders of `arity` operands at most for bias + weights @ x, x[i] in `ranges`[i]; weights (out, in), bias (out,).

    An adder of three has no more than two negative operands, or takes a constant instead of one.
    """
    shared, builder = share(weights, ranges, arity), _Builder(ranges, arity)
    # Where each value of `shared` stands among the adders'.
    place = [Operand(n, 0, 1) for n in range(len(ranges))]

    def operands(row: Row) -> list[Operand]:
        places = ((place[value], shift, sign) for (value, shift), sign in row.items())
        return [Operand(one.value, one.shift + shift, one.sign * sign) for one, shift, sign in places]

    for row in shared.sums:
        place.append(builder.tree(operands(row), 0, signed=True))
    outputs: list[Operand | int] = []
    for row, constant in zip(shared.rows, bias.tolist(), strict=True):
        outputs.append(builder.tree(operands(row), constant, signed=False) if row else constant)
    for output, row, constant in zip(outputs, weights, bias.tolist(), strict=True):
        form, offset = (0 * row, output) if isinstance(output, int) else builder.form_of(output)
        assert offset == constant, "an output's constant is not its bias"
        assert (form == row).all(), "an output's form is not its row of weights"
    return Plan(builder.ranges, tuple(builder.adders), tuple(outputs))
