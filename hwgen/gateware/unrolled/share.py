"""Common subexpressions of a constant matrix: pairs of terms that many rows have are summed once.

The rows are sums of signed digits of the weights times inputs. Of all pairs of terms the one that saves most is made a
value of its own, until none saves anything: the greedy elimination of two-term subexpressions of R. I. Hartley,
Subexpression sharing in filters using canonic signed digit multipliers, IEEE TCAS-II 43 (1996), with a gain counted in
LUTs from the bits that overlap, as C. Sun and others do (da4ml, TRETS 2025), but for adders of three operands where
those are to be had.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.ops.cost import signed_digits

Key = tuple[int, int]
"""(value, shift) of a term."""

Pair = tuple[int, int, int, int]
"""(value a, value b, shift of b less that of a, sign of b times that of a)."""

Row = dict[Key, int]
"""Terms of a sum, with their signs."""


MAX_PAIRS = 1_000_000
"""Pairs of terms, in both orders, up to which a matrix is looked at as a whole: some ten seconds."""

SLACK = 1
"""Levels of adders that sharing may add to those of the longest sum without sharing."""

LEAST_COMMON = 3
"""Terms that two rows have in common where it saves adders of three operands to add them once."""


@dataclass(frozen=True)
class Shared:
    """What rows are sums of. Values below `inputs` are inputs; value `inputs` + n is the sum of `sums`[n].

    rows: one for each output, sum of sign * (value << shift). sums use earlier values only.
    """

    inputs: int
    rows: tuple[Row, ...]
    sums: tuple[Row, ...]


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
    """The rows of `weights` (out, in) over inputs in `ranges`, with sums shared where that saves adders of `arity`.

    Matrices that would take long are cut into halves of their columns.
    """
    rows, inner = digits(weights), len(ranges)
    if sum(len(row) ** 2 for row in rows) > MAX_PAIRS and inner > 1:
        half = inner // 2
        return _joined(share(weights[:, :half], ranges[:half], arity), share(weights[:, half:], ranges[half:], arity))
    heights = _Heights(rows, inner, arity)
    found = without(_Search(rows, ranges, heights).run(), arity - 1)
    if arity == 2:
        return found
    return share_between_rows(found, _Heights.of_shared(found, arity, heights.most))


def _joined(left: Shared, right: Shared) -> Shared:
    """The rows of two halves of the columns, added."""
    inputs, sums = left.inputs + right.inputs, len(left.sums)

    def of_left(row: Row) -> Row:
        return {(v if v < left.inputs else v + right.inputs, place): sign for (v, place), sign in row.items()}

    def of_right(row: Row) -> Row:
        moved = {v: v + left.inputs + (0 if v < right.inputs else sums) for v, _ in row}
        return {(moved[v], place): sign for (v, place), sign in row.items()}

    rows = (of_left(a) | of_right(b) for a, b in zip(left.rows, right.rows, strict=True))
    return Shared(inputs, tuple(rows), (*map(of_left, left.sums), *map(of_right, right.sums)))


def without(shared: Shared, uses: int) -> Shared:
    """The same, without sums that are used `uses` times or less."""
    rows, sums = [dict(row) for row in shared.rows], {n + shared.inputs: dict(row) for n, row in enumerate(shared.sums)}
    for value in sorted(sums, reverse=True):
        users = [row for row in (*rows, *sums.values()) if any(key[0] == value for key in row)]
        places = [(row, key) for row in users for key in row if key[0] == value]
        # Where its terms would come; two in one place would have to be added.
        new = [(id(row), v, s + key[1]) for row, key in places for v, s in sums[value]]
        taken = any((v, s + key[1]) in row for row, key in places for v, s in sums[value])
        if len(places) > uses or taken or len(set(new)) < len(new):
            continue
        terms = sums.pop(value)
        for row, key in places:
            sign = row.pop(key)
            for (one, place), sign_of_one in terms.items():
                row[one, place + key[1]] = sign * sign_of_one
    names = {value: n for n, value in enumerate([*range(shared.inputs), *sums])}

    def renamed(row: Row) -> Row:
        return {(names[value], place): sign for (value, place), sign in row.items()}

    return Shared(shared.inputs, tuple(map(renamed, rows)), tuple(map(renamed, sums.values())))


class _Heights:
    """Levels of adders below values and rows, and how many there may be.

    A tree of `arity` operands has so many levels that the sum of arity**level over its terms is at most
    arity**levels.
    """

    def __init__(self, rows: Sequence[Row], inputs: int, arity: int):
        self.arity = arity
        self.values = [0] * inputs
        # Sums of arity**level over the terms of each row.
        self.rows = [len(row) for row in rows]
        self.most = arity ** (self.of(max(self.rows, default=0)) + SLACK)

    @classmethod
    def of_shared(cls, shared: Shared, arity: int, most: int) -> "_Heights":
        made = cls([], shared.inputs, arity)
        made.most = most
        for row in shared.sums:
            made.values.append(made.of(made.total(value for value, _ in row)))
        made.rows = [made.total(value for value, _ in row) for row in shared.rows]
        return made

    def of(self, total: int) -> int:
        """Levels of a tree whose terms sum up to `total`."""
        levels = 0
        while self.arity**levels < total:
            levels += 1
        return levels

    def total(self, values: Iterable[int]) -> int:
        return sum(self.arity ** self.values[value] for value in values)

    def fits(self, row: int, gone: Sequence[int], level: int) -> bool:
        """Whether a row may have a value of `level` in place of the values `gone`."""
        return self.rows[row] - self.total(gone) + self.arity**level <= self.most

    def replace(self, row: int, gone: Sequence[int], value: int) -> None:
        self.rows[row] += self.total([value]) - self.total(gone)


def share_between_rows(shared: Shared, heights: _Heights) -> Shared:
    """Terms that two rows have in common, but for a shift and a sign, are added once, the most of them first."""
    rows, sums = [dict(row) for row in shared.rows], list(shared.sums)
    pairs = [(a, b) for a in range(len(rows)) for b in range(a)]
    heap = [(-len(_common(rows[a], rows[b])[0]), a, b) for a, b in pairs]
    heapq.heapify(heap)
    while heap and -heap[0][0] >= LEAST_COMMON:
        count, a, b = heapq.heappop(heap)
        keys, shift, sign = _common(rows[a], rows[b])
        if len(keys) != -count:
            heapq.heappush(heap, (-len(keys), a, b))
            continue
        values = [value for value, _ in keys]
        level = heights.of(heights.total(values))
        if not all(heights.fits(row, values, level) for row in (a, b)):
            continue
        value, lowest = shared.inputs + len(sums), min(place for _, place in keys)
        heights.values.append(level)
        for row in (a, b):
            heights.replace(row, values, value)
        sums.append({(one, place - lowest): rows[a][one, place] for one, place in keys})
        for one, place in keys:
            del rows[a][one, place], rows[b][one, place + shift]
        rows[a][value, lowest], rows[b][value, lowest + shift] = 1, sign
    return Shared(shared.inputs, tuple(rows), tuple(sums))


def _common(row: Row, other: Row) -> tuple[list[Key], int, int]:
    """(terms of `row`, shift, sign): the most terms that `other` has too, shifted and with the sign."""
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for (value, place), sign in other.items():
        places[value].append((place, sign))
    found: dict[tuple[int, int], list[Key]] = defaultdict(list)
    for (value, place), sign in row.items():
        for place_of_other, sign_of_other in places[value]:
            found[place_of_other - place, sign * sign_of_other].append((value, place))
    if not found:
        return [], 0, 1
    (shift, sign), keys = max(found.items(), key=lambda item: len(item[1]))
    return keys, shift, sign


class _Search:
    """The rows as they are, how many of them have each pair, and the pairs in the order of what they save."""

    def __init__(self, rows: list[Row], ranges: Sequence[tuple[int, int]], heights: "_Heights"):
        self.heights, self.arity, self.inputs = heights, heights.arity, len(ranges)
        self.rows = rows
        self.sums: list[Row] = []
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
        return Shared(self.inputs, tuple(self.rows), tuple(self.sums))

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
        self.sums.append({(a, max(-shift, 0)): 1, (b, max(shift, 0)): sign})
        self.heights.values.append(1 + max(self.heights.values[a], self.heights.values[b]))
        touched: set[Pair] = set()
        for number, row in enumerate(self.rows):
            for key, first in list(row.items()):
                other = (b, key[1] + shift)
                if key[0] != a or row.get(key) != first or row.get(other) != first * sign:
                    continue
                if not self.heights.fits(number, (a, b), self.heights.values[value]):
                    continue
                self.heights.replace(number, (a, b), value)
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
