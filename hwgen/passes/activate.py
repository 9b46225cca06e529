"""Activation functions and quantizers on codes: integer tables and thresholds, exactly those of the real functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from hwgen.formats import Bipolar, Blocked, Codes, Int, Minifloat
from hwgen.formats.grid import ladder
from hwgen.ir import Node, TensorType
from hwgen.ops import Activation, Quantize, Table, Thresholds, integer_range
from hwgen.ops.table import MAX_TABLE_BITS
from hwgen.passes.chain import refused
from hwgen.passes.curve import Crossing, Curve, crossings
from hwgen.passes.exact import Line, lines, steps, thresholds

MAX_AUTO_TABLE_BITS = 8
"""Codes of so many bits are looked up; wider ones are if they have no more than MAX_TABLE_BITS and need two tables."""

IDENTITY = Activation("leaky_relu", 1.0)

ONE = (1.0,)


@dataclass(frozen=True)
class Section:
    """What a quantizer makes of codes of type `x`: per channel, a line of what they are worth, a function, a line.

    function: None where there is none. pre, curves: per channel.
    """

    x: TensorType
    quantizer: Node
    function: Node | None
    pre: tuple[Line, ...]
    curves: tuple[Curve, ...]

    @property
    def is_small(self) -> bool:
        """Whether the codes are looked up, whatever the lines."""
        return self.x.codes_format.bits <= MAX_AUTO_TABLE_BITS


def wants(x: TensorType, between: Sequence[Node]) -> bool:
    """Whether a quantizer of codes `x` is made here: behind an activation function, or of no integer codes."""
    return any(isinstance(node.op, Activation) for node in between) or not isinstance(x.format, Int)


def section(x: TensorType, between: Sequence[Node], quantizer: Node) -> Section:
    """What stands between codes and a quantizer; raises UnsupportedError naming what cannot become a table."""
    op = quantizer.op
    assert isinstance(op, Quantize)
    places = [place for place, node in enumerate(between) if isinstance(node.op, Activation)]
    function = between[places[0]] if places else None
    named = function or quantizer
    if isinstance(op.format, Blocked):
        name = op.format.name
        raise refused(named, f"{quantizer.name!r} behind it quantizes to {name}; put a quantizer of scalars between")
    if len(places) > 1:
        raise refused(between[places[1]], f"put a quantizer between it and {named.name!r}: one function is tabulated")
    place = places[0] if places else len(between)
    # Lines of what codes are worth: any integer format stands for those.
    worth = TensorType(x.shape, Int(2), x.scale, x.zero_point)
    pre = lines(worth, between[:place], replace(named, op=Quantize(Int(2), ONE)))
    post = lines(TensorType(x.shape, Int(2), ONE), between[place + 1 :], quantizer)
    shape = function.op if function else IDENTITY
    assert isinstance(shape, Activation)
    bounds = tuple(steps(op.format, op.rounding)[1])
    known: dict[Line, Curve] = {}
    curves = tuple(known.setdefault(line, Curve(shape, line, bounds)) for line in post)
    return Section(x, quantizer, function, tuple(pre), curves)


def activation(found: Section) -> list[Node]:
    """The integer nodes of a section: a table of small codes; of sums thresholds, with a table behind them if the
    function also falls.

    Lines ahead of the function must not fall where codes are too wide for a table. Raises UnsupportedError naming the
    node where neither does.
    """
    fmt = found.x.codes_format
    if found.is_small:
        return [_table(found)]
    assert isinstance(fmt, Int)  # hwgen.passes.decode makes integers of other wide codes
    rows, levels = _rows(found)
    rising = all((np.diff(row) >= 0).all() for row in levels)
    starts = {int(row[0]) for row in levels}
    if rising and len(starts) == 1:
        return [_thresholds(found, rows, starts.pop())]
    if fmt.bits <= MAX_TABLE_BITS:
        return [_table(found)]
    return _segments(found, rows, levels)


def _table(found: Section) -> Node:
    fmt, op = found.x.codes_format, found.quantizer.op
    assert isinstance(fmt, Int | Bipolar | Minifloat)
    assert isinstance(op, Quantize)
    codes = fmt.codes()
    numbers = codes[fmt.is_number(codes)]
    significands, exponents = fmt.significand_exponent(numbers)
    worths = [Fraction(int(s)) * Fraction(2) ** int(e) for s, e in zip(significands, exponents, strict=True)]
    rungs = ladder(op.format)
    known: dict[tuple[Line, Line], Codes] = {}
    rows = []
    for line, curve in zip(found.pre, found.curves, strict=True):
        row = known.get((line, curve.post))
        if row is None:
            row = np.full(1 << fmt.bits, rungs[curve.level(Fraction(0))], dtype=np.int64)
            row[numbers & (len(row) - 1)] = rungs[[curve.level(line.at(worth)) for worth in worths]]
            known[line, curve.post] = row
        rows.append(row)
    table = np.array(rows[:1] if len(known) == 1 else rows)
    return replace(found.quantizer, op=Table(table, op.format, op.scale, op.zero_point))


def _rows(found: Section) -> tuple[list[list[int]], list[list[int]]]:
    """For each channel the least codes behind each crossing, in order, and the levels ahead of, between and behind
    them. One above the greatest code where none is."""
    low, high = integer_range(found.x)
    reach: dict[Curve, tuple[Fraction, Fraction]] = {}
    for line, curve in zip(found.pre, found.curves, strict=True):
        least, greatest = reach.get(curve, (line.at(low), line.at(high)))
        reach[curve] = min(least, line.at(low)), max(greatest, line.at(high))
    met = {curve: crossings(curve, *ends) for curve, ends in reach.items()}
    rows, levels = [], []
    for line, curve in zip(found.pre, found.curves, strict=True):
        first, passed = met[curve]
        rows.append(_codes(line, curve, passed, low, high))
        levels.append([first, *(one.number + one.up for one in passed)])
    return rows, levels


def _codes(line: Line, curve: Curve, passed: Sequence[Crossing], low: int, high: int) -> list[int]:
    """The least code whose number, by `line`, lies behind each crossing; `line` does not fall."""
    maybe = thresholds(line, [(2 * one.low, False) for one in passed], low, high)
    surely = thresholds(line, [(2 * one.high, True) for one in passed], low, high)
    row = []
    for one, least, greatest in zip(passed, maybe, surely, strict=True):
        while least < greatest:
            middle = (least + greatest) // 2
            if one.behind(curve, line.at(middle)):
                greatest = middle
            else:
                least = middle + 1
        row.append(least)
    return row


def _thresholds(found: Section, rows: Sequence[Sequence[int]], first: int) -> Node:
    op = found.quantizer.op
    assert isinstance(op, Quantize)
    table, skip = _packed(found, rows)
    rungs, start = ladder(op.format), first + skip
    if start == len(rungs) - 1:
        # Always the greatest code: one step to it that every input takes.
        table, start = np.full_like(table[:1, :1], integer_range(found.x)[0]), start - 1
    made = Thresholds(table, int(rungs[start]), op.format, op.scale, op.zero_point)
    return replace(found.quantizer, op=made)


def _packed(found: Section, rows: Sequence[Sequence[int]]) -> tuple[Codes, int]:
    """Thresholds without those that every channel takes at once (how many) or none ever does."""
    low, high = integer_range(found.x)
    size = max(1, *map(len, rows))
    table = np.array([[*row, *[high + 1] * (size - len(row))] for row in rows], dtype=np.int64)
    always, never = (table == low).all(axis=0), (table == high + 1).all(axis=0)
    skip = min(int(always.sum()), size - 1)
    table = table[:, skip : max(size - int(never.sum()), skip + 1)]
    return (table[:1] if (table == table[0]).all() else table), skip


def _segments(found: Section, rows: Sequence[Sequence[int]], levels: Sequence[Sequence[int]]) -> list[Node]:
    """Thresholds that count the crossings, and the code of each count."""
    op = found.quantizer.op
    assert isinstance(op, Quantize)
    table, skip = _packed(found, rows)
    count = Int.holding(0, table.shape[1])
    named = found.function or found.quantizer
    if count.bits > MAX_TABLE_BITS:
        raise refused(named, f"it changes its code {table.shape[1]} times; put a quantizer ahead of it")
    rungs = ladder(op.format)
    columns = [[row[min(skip + n, len(row) - 1)] for n in range(1 << count.bits)] for row in levels]
    codes = rungs[np.array(columns)]
    codes = codes[:1] if (codes == codes[0]).all() else codes
    quantizer = found.quantizer
    return [
        Node(f"{quantizer.name}.segment", Thresholds(table, 0, count), (), f"{quantizer.output}.segment"),
        replace(quantizer, op=Table(codes, op.format, op.scale, op.zero_point)),
    ]
