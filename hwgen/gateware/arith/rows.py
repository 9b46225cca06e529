"""Rows: what a weight of a ROM and two bits of an operand, or a weight of -1, 0 and 1, come to, in LUTs placed by hand.

An unsigned operand u is cut into digits of two bits, u = sum of 4**j * (d_j + 1), where d_j is one of -1, 0, 1 and 2. A
weight times such a digit is its negative, nothing, itself or its double: one bit more than the weight has, and two bits
of it fit into one LUT6_2. A single bit that is left over at the top is a digit of 0 or 1. A weight of -1, 0 and 1 gives
one row: the operand, its complement or nothing. Rows are made unsigned. What that adds, and the one that every digit
lacks, are constants for each output: `corrections`.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from amaranth.hdl import Cat, Value

from hwgen.gateware.arith.columns import Bit
from hwgen.gateware.arith.pack import Packer
from hwgen.ops.cost import PLACED_WEIGHT_BITS
from hwgen.ops.cost_tree import row_terms

DIGIT = 2
"""Bits of a digit."""

WEIGHT_BITS = PLACED_WEIGHT_BITS
"""Bits of the widest weight, in two's complement, whose rows take five inputs a bit."""


@dataclass(frozen=True, eq=False)
class Term:
    """A number of 0..high, weighted 2**shift."""

    value: Value
    high: int
    shift: int = 0

    def bit(self, place: int) -> list[Bit]:
        """The bit of weight 2**place, if there is one."""
        place -= self.shift
        return [Bit((self.value[place],))] if 0 <= place < self.high.bit_length() else []


@dataclass(frozen=True)
class Rows:
    """The rows of one product: weights of `size` bits in two's complement, or of -1, 0 and 1 if `ternary`, times an
    unsigned operand of `bits` bits."""

    size: int
    ternary: bool
    bits: int

    @property
    def terms(self) -> list[tuple[int, int]]:
        """(greatest number, shift) of each row."""
        return row_terms(self.size, self.ternary, self.bits)

    def stored(self, weights: np.ndarray) -> np.ndarray:
        """What a ROM holds for integer weights: their bits, and of four bits also whether one of three lower is set.

        Shape (..., bits) of 0 and 1.
        """
        if self.ternary:
            return np.stack([weights != 0, weights < 0], axis=-1).astype(int)
        found = [(weights >> n) & 1 for n in range(self.size)]
        if self.size == WEIGHT_BITS:
            found.append(((weights & 7) > 0).astype(int))
        return np.stack(found, axis=-1)

    def corrections(self, weights: np.ndarray) -> np.ndarray:
        """What the rows have too little of the sum of weight * u, by output: shape (out,) for weights (out, in)."""
        if self.ternary:
            return -(weights < 0).sum(axis=1) * ((1 << self.bits) - 1)
        lacking = sum(1 << n for n in range(0, self.bits - 1, DIGIT))
        offsets = sum((high + 1) // 2 << shift for high, shift in self.terms)
        return weights.sum(axis=1) * lacking - weights.shape[1] * offsets

    def of(self, cells: Packer, word: list[Value], operand: list[Value], name: str) -> list[Term]:
        """The rows of a stored weight and an operand, both by bits."""
        if self.ternary:
            made = [
                cells.lut(name, f"{name}_{place}", [bit, *word], lambda bit, used, less: used & (bit ^ less))
                for place, bit in enumerate(operand)
            ]
            return [Term(Cat(*made), (1 << self.bits) - 1)]
        return [
            Term(Cat(*self._row(cells, word, operand[shift : shift + DIGIT], name, shift)), high, shift)
            for high, shift in self.terms
        ]

    def _row(self, cells: Packer, word: list[Value], digit: list[Value], name: str, shift: int) -> list[Value]:
        made = []
        for place in range(self.size + len(digit) - 1):
            pins, table = _row_bit(self.size, len(digit), place)
            inputs = [*(word[pin] for pin in pins), *digit]
            made.append(
                cells.lut(name, f"{name}_{shift}_{place}", inputs, lambda *values, table=table: table.get(values, 0))
            )
        return made


@lru_cache(maxsize=64)
def _row_bit(size: int, digits: int, place: int) -> tuple[tuple[int, ...], dict[tuple[int, ...], int]]:
    """Which bits of a stored weight decide bit `place` of its row, and the bit by them and those of the digit."""
    top = size + digits - 2
    if digits == 1:
        pins: tuple[int, ...] = (place,)
    elif size == WEIGHT_BITS and place == top - 1:
        pins = (2, 3, 4)
    elif size == WEIGHT_BITS and place == top:
        pins = (3, 4)
    else:
        pins = tuple(range(min(place + 1, size)))
    table: dict[tuple[int, ...], int] = {}
    stored = Rows(size, False, DIGIT)
    for weight in range(-(1 << (size - 1)), 1 << (size - 1)):
        bits = stored.stored(np.array(weight)).tolist()
        for code in range(1 << digits):
            row = weight * (code - (digits == DIGIT)) + (1 << top)
            key = (*(bits[pin] for pin in pins), *((code >> n) & 1 for n in range(digits)))
            bit = row >> place & 1
            assert table.setdefault(key, bit) == bit, f"bit {place} of a row depends on more than {pins}"
    return pins, table
