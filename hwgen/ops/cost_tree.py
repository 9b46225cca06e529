"""Trees of adders of three on UltraScale+: what is added when, and what it takes. Gateware and cost formulas share it.

A term is a number of 0..high weighted 2**shift: (high, shift).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

Term = tuple[int, int]


def row_terms(size: int, ternary: bool, bits: int) -> list[Term]:
    """The rows of partial products of a weight of `size` bits in two's complement and an operand of `bits` bits: one as
    wide as the operand if weights are -1, 0 and 1 (`ternary`), else one for each two bits of it, a bit wider than the
    weight, and one as wide as it for a bit that is left over."""
    if ternary:
        return [((1 << bits) - 1, 0)]
    whole = [((2 << size) - 1, n) for n in range(0, bits - 1, 2)]
    return whole + [((1 << size) - 1, bits - 1)] * (bits % 2)


def groups(terms: Sequence[Term]) -> list[list[int]]:
    """Which of the terms are added in one level, by threes; none where two are left.

    Terms of one shift first, the widest together, so that leftovers are narrow; if there are no three of one shift,
    the three that reach the least far.
    """
    if len(terms) <= 2:
        return []
    found: list[list[int]] = []
    for shift in sorted({shift for _, shift in terms}):
        same = sorted((n for n, one in enumerate(terms) if one[1] == shift), key=lambda n: -terms[n][0])
        found += [same[n : n + 3] for n in range(0, len(same) - 2, 3)]
    return found or [sorted(range(len(terms)), key=lambda n: (terms[n][0] << terms[n][1]).bit_length())[:3]]


def joined(terms: Sequence[Term]) -> Term:
    """The sum of terms."""
    shift = min(shift for _, shift in terms)
    return sum(high << (own - shift) for high, own in terms), shift


def rest(count: int, made: Sequence[Sequence[int]]) -> list[int]:
    """Which of `count` terms are in none of the groups `made`."""
    return sorted(set(range(count)) - set(itertools.chain(*made)))


def level(terms: Sequence[Term]) -> list[Term]:
    """The terms behind one level of adders: the sums, then what was left out."""
    made = groups(terms)
    return [joined([terms[n] for n in group]) for group in made] + [terms[n] for n in rest(len(terms), made)]


def tree_levels(terms: Sequence[Term]) -> int:
    """Levels of `groups` until two terms are left."""
    count, left = 0, list(terms)
    while len(left) > 2:
        left, count = level(left), count + 1
    return count


def column_bits(terms: Sequence[Term], width: int) -> list[int]:
    """How many of the terms have a bit of weight 2**place, by place."""
    return [sum(shift <= place < shift + high.bit_length() for high, shift in terms) for place in range(width)]


def adder_luts(bits: Sequence[int]) -> int:
    """LUTs of a sum of so many bits a column: one a column, unless it passes on the one bit that it has."""
    luts, saved = 0, 0
    for place, count in enumerate(bits):
        luts += count + saved > 1
        # An adder of two needs nothing but the chain's own carry.
        saved = int(count > 1 and place + 1 < len(bits) and (saved > 0 or count > 2))
    return luts


def tree(terms: Sequence[Term], levels: int) -> tuple[int, int, list[Term]]:
    """(LUTs, flip-flops, the terms that are left) of `levels` levels, with a register behind each."""
    luts = flops = 0
    left = list(terms)
    for _ in range(levels):
        for group in groups(left):
            own = [left[n] for n in group]
            high, shift = joined(own)
            luts += adder_luts(column_bits(own, shift + high.bit_length())[shift:])
        left = level(left)
        flops += sum(high.bit_length() for high, _ in left)
    return luts, flops, left
