"""Dot products of several outputs on one chain of DSP48E2s: the weights of a few outputs side by side in one operand.

Each output has a field of F bits in the product, wide enough for the sum of a whole chain, so that nothing has to be
put right between the DSPs. Half of a field's range is added to each at the chain's start: no negative sum borrows
from the field above. The weights come packed from the ROM, borrows and all: bits that repeat a sign are stored once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Const, Module, Value

from hwgen.gateware.arith.dsp import dsp48e2
from hwgen.gateware.arith.rows import Term
from hwgen.gateware.pipeline import register
from hwgen.ir import Fold, TensorType
from hwgen.ops import MatVec
from hwgen.ops.cost import DSP_CHAIN, dsp_fields, weight_bits


@dataclass(frozen=True)
class Fields:
    """`count` fields of `width` bits for weights of `size` bits; `chain` DSPs one after the other."""

    count: int
    width: int
    size: int
    chain: int

    @property
    def latency(self) -> int:
        return self.chain + 2

    @property
    def half(self) -> int:
        """What every field has too much."""
        return 1 << (self.width - 1)

    def stored(self, weights: np.ndarray) -> np.ndarray:
        """What a ROM holds of weights (..., count): shape (..., bits) of 0 and 1."""
        packed = (weights << (self.width * np.arange(weights.shape[-1]))).sum(axis=-1)
        return np.stack([(packed >> place) & 1 for place in self._places(weights.shape[-1])], axis=-1)

    def _places(self, count: int) -> list[int]:
        sizes = [self.size + (n > 0) for n in range(count)]
        return [self.width * n + bit for n, size in enumerate(sizes) for bit in range(size)]

    def operand(self, word: list[Value], count: int) -> Value:
        """The packed weights, of what the ROM held, signed."""
        bits: list[Value] = []
        for n in range(count):
            size = self.size + (n > 0)
            field, word = word[:size], word[size:]
            bits += field
            if n + 1 < count:
                bits += [field[-1]] * (self.width - size)
        return Cat(*bits).as_signed()

    def terms(
        self, m: Module, enable: Value, words: Sequence[list[Value]], operands: Sequence[Value], count: int, name: str
    ) -> list[list[Term]]:
        """The sums of each of `count` outputs' chains, `latency` enabled clocks later; `words`, `operands`: by lane."""
        chains = []
        for start in range(0, len(operands), self.chain):
            lanes = range(start, min(start + self.chain, len(operands)))
            chains.append(self._chain(m, enable, [(words[n], operands[n]) for n in lanes], count, f"{name}_{start}"))
        return [[chain[field] for chain in chains] for field in range(count)]

    def _chain(self, m: Module, enable: Value, lanes: Sequence[tuple[list[Value], Value]], count: int, name: str):
        half = sum(self.half << (self.width * n) for n in range(count))
        p, cascade = Const(0, 48), None
        for place, (word, operand) in enumerate(lanes):
            a, b = self.operand(word, count), operand
            # The second DSP waits with the second of its input registers, those behind it in registers of their own.
            for wait in range(place - 1):
                a = register(m, enable, a, f"{name}_a_{place}_{wait}")
                b = register(m, enable, b, f"{name}_b_{place}_{wait}")
            c = Const(half, 48) if place == 0 else None
            p, cascade = dsp48e2(
                m, f"{name}_dsp_{place}", enable, a, b, c=c, cascade=cascade, registers=min(place + 1, 2)
            )
        sums = [p[self.width * n : self.width * (n + 1)] for n in range(count)]
        for late in range(self.chain - len(lanes)):
            sums = [register(m, enable, value, f"{name}_late_{late}_{n}") for n, value in enumerate(sums)]
        return [Term(value, (1 << self.width) - 1) for value in sums]


def fields_of(op: MatVec, x: TensorType, fold: Fold) -> Fields:
    """The most fields for a matrix unit's weights; one or none where they do not fit."""
    count, width = dsp_fields(op, x, fold)
    return Fields(count, width, weight_bits(op), min(fold.simd, DSP_CHAIN))
