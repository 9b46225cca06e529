"""Products of input lanes by constants or by weights from a ROM, and their sum in a pipelined tree."""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Const, Module, Shape, Signal, Value

from hwgen.gateware.pipeline import register


@dataclass(frozen=True)
class Term:
    """A value of the dot product and its bounds for each row of weights: integer arrays of shape (rows,)."""

    value: Value
    low: np.ndarray
    high: np.ndarray

    @property
    def shape(self) -> Shape:
        return Shape.cast(range(int(self.low.min()), int(self.high.max()) + 1))


def product_bounds(weights: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of weight * x for x from `low` to `high`, of the weights' shape."""
    return np.minimum(weights * low, weights * high), np.maximum(weights * low, weights * high)


def tree_depth(terms: int) -> int:
    """Levels of a tree that adds `terms` values two by two."""
    return (terms - 1).bit_length()


def add_tree(m: Module, enable: Value, terms: list[Term], levels: int, name: str) -> Term:
    """The sum of `terms`, each level of two-operand adders followed by a register; `levels` registers in all.

    A register behind each adder costs no extra cell, and keeps synthesis from merging the tree into carry-save form,
    which is larger on devices with carry chains.
    """
    rows = len(terms[0].low) if terms else 1
    terms = [term for term in terms if term.low.any() or term.high.any()]
    if not terms:
        return Term(Const(0, 1), np.zeros(rows, int), np.zeros(rows, int))
    for level in range(levels):
        sums = []
        for index in range(0, len(terms), 2):
            pair = terms[index : index + 2]
            low, high = sum(t.low for t in pair), sum(t.high for t in pair)
            bare = Term(Const(0), low, high)
            total = Signal(bare.shape, name=f"{name}_{level}_{index // 2}_sum")
            m.d.comb += total.eq(sum(t.value for t in pair[1:]) + pair[0].value if pair[1:] else pair[0].value)
            sums.append(Term(register(m, enable, total, f"{name}_{level}_{index // 2}"), low, high))
        terms = sums
    return terms[0]


def signed_digits(value: int) -> list[tuple[int, int]]:
    """(shift, sign) of the canonical signed digits of `value`, lowest first: value = sum of sign * 2**shift."""
    digits, shift = [], 0
    while value:
        if value & 1:
            sign = 2 - (value & 3)
            digits.append((shift, sign))
            value -= sign
        value >>= 1
        shift += 1
    return digits


def times_constant(x: Value, constant: int) -> Value:
    """x * constant as shifts, additions and subtractions: no multiplier."""
    total: Value = Const(0)
    for shift, sign in reversed(signed_digits(constant)):
        total = total + (x << shift) if sign > 0 else total - (x << shift)
    return total
