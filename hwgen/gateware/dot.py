"""Dot products of input lanes with weights: partial products, and their sum in a pipelined tree.

Narrow weights take no multiplier. With x = step * u + offset, u unsigned of n bits and ~u = 2**n - 1 - u,

    w * x = |w| * step * u + w * offset                            for w >= 0
    w * x = |w| * step * ~u + w * offset - |w| * step * (2**n - 1)  for w < 0

so a product is the sum of u or ~u at the set bits of |w|, all unsigned, and a constant that goes into the bias.
"""

from dataclasses import dataclass, replace

import numpy as np
from amaranth.hdl import Const, Module, Shape, Signal, Value, unsigned

from hwgen.gateware.decode import Operand
from hwgen.gateware.pipeline import register
from hwgen.ops.cost import magnitude_bits


@dataclass(frozen=True)
class Term:
    """A summand value * 2**shift, and the bounds of value for each row of weights: integer arrays of shape (rows,)."""

    value: Value
    low: np.ndarray
    high: np.ndarray
    shift: int = 0

    @property
    def shape(self) -> Shape:
        return Shape.cast(range(min(int(self.low.min()), 0), int(self.high.max()) + 1))

    @property
    def full(self) -> Value:
        return self.value.shift_left(self.shift)

    def down_to(self, shift: int) -> "Term":
        """The same summand with a smaller shift."""
        up = self.shift - shift
        return Term(self.value.shift_left(up), self.low << up, self.high << up, shift)

    @property
    def is_zero(self) -> bool:
        return not (self.low.any() or self.high.any())


def tree_depth(terms: int) -> int:
    """Levels of a tree that adds `terms` values two by two."""
    return max(terms - 1, 0).bit_length()


def offset_correction(weights: np.ndarray, step: int, offset: int, greatest: int) -> np.ndarray:
    """What the partial products of each output leave out, per output: shape (out,) for weights (out, in).

    `greatest` is 2**n - 1.
    """
    return (weights * offset - np.maximum(-weights, 0) * step * greatest).sum(axis=1)


def partial_terms(x: Operand, word: Value, bits: int, column: np.ndarray) -> list[Term]:
    """Summands of |w| * u (or ~u where w is negative), one for each bit of the magnitude.

    word: |w| in its lowest `bits` bits, then whether w is negative. column: the weights that it can be, for bounds.
    """
    terms = []
    negative = word.bit_select(bits, 1)
    u = x.bits ^ negative.replicate(len(x.bits))
    for shift in range(magnitude_bits(column)):
        used = (np.abs(column) >> shift) & 1
        value = u & word[shift].replicate(len(u))
        high = used * ((1 << len(u)) - 1)
        terms.append(Term(value, 0 * high, high, shift))
    return terms


def add_tree(m: Module, enable: Value, terms: list[Term], levels: int, width: int, name: str) -> Term:
    """The sum of `terms` modulo 2**width, each level of two-operand adders followed by a register; `levels` in all.

    A register behind each adder costs no extra cell, and keeps synthesis from merging the tree into carry-save form,
    which is larger on devices with carry chains.
    """
    terms = [term for term in terms if not term.is_zero]
    if not terms:
        return Term(Const(0, 1), np.zeros(1, int), np.zeros(1, int))
    for level in range(levels):
        sums = []
        for index in range(0, len(terms), 2):
            pair = terms[index : index + 2]
            shift = min(term.shift for term in pair)
            pair = [term.down_to(shift) for term in pair]
            both = Term(sum(t.value for t in pair), sum(t.low for t in pair), sum(t.high for t in pair), shift)
            place = f"{name}_{level}_{index // 2}"
            shape = both.shape if both.shape.width <= width - shift else unsigned(max(width - shift, 1))
            total = Signal(shape, name=f"{place}_sum")
            m.d.comb += total.eq(both.value)
            sums.append(replace(both, value=register(m, enable, total, place)))
        terms = sums
    return terms[0]
