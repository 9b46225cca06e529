"""Common subexpressions of a constant matrix: pairs of terms that many rows have are summed once.

The rows are sums of signed digits of the weights times inputs. Of all pairs of terms the one that saves most is made a
value of its own, until none saves anything: the greedy elimination of two-term subexpressions of R. I. Hartley,
Subexpression sharing in filters using canonic signed digit multipliers, IEEE TCAS-II 43 (1996), with a gain counted in
LUTs from the bits that overlap, as C. Sun and others do (da4ml, TRETS 2025), but for adders of three operands where
those are to be had.
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.ops.cost import signed_digits

Key = tuple[int, int]
"""(value, shift) of a term."""

Pair = tuple[int, int, int, int]
"""(value a, value b, shift of b less that of a, sign of b times that of a)."""

Row = dict[Key, int]
"""Terms of a sum, with their signs."""


@dataclass(frozen=True)
class Shared:
    """What rows are sums of. Values below `inputs` are inputs; value `inputs` + n is the sum of `pairs`[n].

    rows: one for each output, sum of sign * (value << shift). pairs use earlier values only.
    """

    inputs: int
    rows: tuple[Row, ...]
    pairs: tuple[Row, ...]


def bits(low: int, high: int) -> int:
    """Bits of a number in low..high, with a sign where it can be negative."""
    return max(high.bit_length(), (-low - 1).bit_length()) + 1 if low < 0 else high.bit_length()


def digits(weights: np.ndarray) -> list[Row]:
    """The rows of a matrix (out, in) as sums of canonical signed digits."""
    return [
        {(place, shift): sign for place, weight in enumerate(row) for shift, sign in signed_digits(int(weight))}
        for row in weights
    ]


def share(weights: np.ndarray, ranges: Sequence[tuple[int, int]], arity: int) -> Shared:
    """The rows of `weights` (out, in) over inputs in `ranges`, with pairs shared where that saves adders of `arity`."""
    return _Search(weights, ranges, arity).run()


class _Search:
    """The rows as they are, how many of them have each pair, and the pairs in the order of what they save."""

    def __init__(self, weights: np.ndarray, ranges: Sequence[tuple[int, int]], arity: int):
        self.arity, self.inputs = arity, weights.shape[1]
        self.rows = digits(weights)
        self.pairs: list[Row] = []
        # Exact bounds need the whole linear form of a value, since its terms share inputs.
        self.low, self.high = (np.array(ends, dtype=object) for ends in zip(*ranges, strict=True))
        self.forms = list(np.eye(self.inputs, dtype=np.int64))
        self.widths = [bits(*ends) for ends in ranges]
        self.count: dict[Pair, int] = defaultdict(int)
        self.heap: list[tuple[float, int, Pair]] = []
        for row in self.rows:
            terms = list(row.items())
            for n, (key, sign) in enumerate(terms):
                for other, sign_of_other in terms[:n]:
                    self.count[_pair(key, sign, other, sign_of_other)] += 1
        for pair in self.count:
            self._offer(pair)

    def run(self) -> Shared:
        while self.heap:
            _, seen, pair = heapq.heappop(self.heap)
            # What was offered with another count is out of date, and was offered again.
            if self.count[pair] == seen:
                self._extract(pair)
        return Shared(self.inputs, tuple(self.rows), tuple(self.pairs))

    def _form(self, pair: Pair) -> np.ndarray:
        a, b, shift, sign = pair
        return (self.forms[a] << max(-shift, 0)) + sign * (self.forms[b] << max(shift, 0))

    def _width(self, pair: Pair) -> int:
        form = self._form(pair)
        used = np.flatnonzero(form)
        low, high, form = self.low[used], self.high[used], form[used]
        return bits(
            int(np.where(form > 0, form * low, form * high).sum()),
            int(np.where(form > 0, form * high, form * low).sum()),
        )

    def _offer(self, pair: Pair) -> None:
        count = self.count[pair]
        if count >= 2:
            gain = self._gain(pair, count)
            if gain > 0:
                heapq.heappush(self.heap, (-gain, count, pair))

    def _gain(self, pair: Pair, count: int) -> float:
        """LUTs that are saved where `count` sums of two terms become one term each, and the sum is made once.

        An adder of three operands takes about as many LUTs as half the bits that it makes disappear, and one more.
        """
        a, b, shift, _ = pair
        width = self._estimate(pair)
        cost = width - abs(shift)
        if self.arity == 3:
            return count * (self.widths[a] + self.widths[b] + 1 - width) / 2 - cost
        return count * max(self.widths[a] + self.widths[b] - width + 1, 0) - cost

    def _estimate(self, pair: Pair) -> int:
        """Bits of the sum, from those of its operands alone."""
        a, b, shift, _ = pair
        return max(self.widths[a] + max(-shift, 0), self.widths[b] + max(shift, 0)) + 1

    def _extract(self, pair: Pair) -> None:
        """Make the pair a value, and put it in its place in every row."""
        a, b, shift, sign = pair
        value = len(self.forms)
        self.widths.append(self._width(pair))
        self.forms.append(self._form(pair))
        self.pairs.append({(a, max(-shift, 0)): 1, (b, max(shift, 0)): sign})
        touched: set[Pair] = set()
        for row in self.rows:
            for key, first in list(row.items()):
                other = (b, key[1] + shift)
                if key[0] != a or row.get(key) != first or row.get(other) != first * sign:
                    continue
                made = (value, key[1] - max(-shift, 0))
                for gone in (key, other):
                    self._recount(row, gone, row.pop(gone), -1, touched)
                self._recount(row, made, first, 1, touched)
                row[made] = first
        for changed in touched:
            self._offer(changed)

    def _recount(self, row: Row, key: Key, sign: int, change: int, touched: set[Pair]) -> None:
        for other, sign_of_other in row.items():
            pair = _pair(key, sign, other, sign_of_other)
            self.count[pair] += change
            touched.add(pair)


def _pair(key: Key, sign: int, other: Key, sign_of_other: int) -> Pair:
    """The same for every two terms that are equal but for a common shift and sign."""
    if key > other:
        key, other = other, key
    return key[0], other[0], other[1] - key[1], sign * sign_of_other
