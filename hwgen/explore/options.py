"""What a folding is chosen from: tables of the folds of each matrix unit, and of what stands between two of them.

Branches make it a graph. Its stations are the matrix units, and where streams fork and join; stretches lead from one to
the next. A join has the lanes that the widest of its streams asks for, a fork those of the stream that comes.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hwgen.errors import UnsupportedError
from hwgen.ir import Fold, Graph, TensorType
from hwgen.ops.cost_join import estimate_join, join_lanes
from hwgen.ops.cost_layers import add_up, amount, bridge, converter
from hwgen.ops.cost_stream import Link, Part, beats, clocks_of, divisors, first_lanes, folds, links, unit, walk
from hwgen.ops.cost_window import line_buffer, row_buffer
from hwgen.ops.upsample import Upsample
from hwgen.ops.window import Window
from hwgen.tools.resources import Family, Resources

Kind = Literal["unit", "join", "fork"]

KINDS = ("lut", "ff", "bram", "dsp")
Amounts = tuple[int, int, int, int]
"""LUTs, flip-flops, block RAMs and DSPs."""


@dataclass(frozen=True)
class Option:
    """One way to make a station. fold: of a matrix unit; of a join or a fork, (1, lanes). cycles: a frame.
    behind: lanes of the stream behind. used: the station's own cost."""

    fold: Fold
    cycles: int
    behind: int
    used: Amounts


@dataclass(frozen=True)
class Slow:
    """A node that is no station: clocks a frame on so many lanes."""

    clocks: int
    name: str
    lanes: int


@dataclass(frozen=True)
class Cell:
    """What stands between two stations, by their lanes and the pace of the whole.

    behind: lanes behind the first one, 0 at the graph's input. simd: of the second one (the SIMD of a matrix unit), 0
    at the output. pace: the slowest matrix unit takes so many clocks or more. slow: the slowest node in it, if any.
    asks: whether it is for this stream that a join behind it has so many lanes. entry: lanes of the graph's input,
    where that forks: those that it has, and those that its first matrix unit or windows want; 0: it has no say.
    """

    behind: int
    simd: int
    pace: int
    used: Amounts
    slow: Slow | None = None
    asks: bool = False
    entry: int = 0

    @property
    def clocks(self) -> int:
        return self.slow.clocks if self.slow else 0


@dataclass(frozen=True)
class Stretch:
    """All cells between two stations, by their numbers; None is the graph's input, or its output.

    paces: those that make a difference, ascending; the first one is 1.
    """

    source: int | None
    target: int | None
    paces: tuple[int, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Tables:
    """The stations by name with their kinds and options, each behind those that lead to it; the stretches.

    In a chain the stations are the matrix units; stretches: before the first, between, behind the last.
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    units: tuple[tuple[Option, ...], ...]
    stretches: tuple[Stretch, ...]
    family: Family = "ecp5"

    @property
    def paces(self) -> list[int]:
        return sorted({pace for stretch in self.stretches for pace in stretch.paces})

    @property
    def matrix_units(self) -> list[int]:
        """The numbers of the matrix units."""
        return [number for number, kind in enumerate(self.kinds) if kind == "unit"]


Way = tuple[int | None, tuple[Link, ...]]
"""A stream: the station that it comes from, None for the input, and the links since."""


def tables(graph: Graph, family: Family = "ecp5") -> Tables:
    """The tables of a frozen graph; raises UnsupportedError that names a node without gateware."""
    survey = _Survey(links(graph, family))
    start = graph.inputs[0].name
    survey.goes_on(start, (None, ()), graph.input_type)
    for link in survey.links:
        if link.is_unit:
            survey.unit(link)
        elif link.is_join:
            survey.join(link)
        else:
            source, between = survey.ways[link.sources[0]]
            survey.goes_on(link.node.output, (source, (*between, link)), link.y)
    ends = [way for tensor, way in survey.ways.items() if not survey.readers[tensor]]
    for way in ends:
        survey.stretch(way, None, [0])
    return Tables(tuple(survey.names), tuple(survey.kinds), tuple(survey.options), tuple(survey.stretches), family)


class _Survey:
    """The tables as far as the links have been walked. ways: the stream of each tensor, by name.

    forks: whether the graph's input leads to a fork. Its lanes suit `first`, the first matrix unit or windows, which
    may stand far behind it.
    """

    def __init__(self, walked: Sequence[Link]):
        self.links = walked
        self.readers = Counter(source for link in walked for source in link.sources)
        self.first = next((link for link in walked if link.is_unit or isinstance(link.node.op, Window)), None)
        self.forks = False
        self.ways: dict[str, Way] = {}
        self.names: list[str] = []
        self.kinds: list[Kind] = []
        self.options: list[tuple[Option, ...]] = []
        self.stretches: list[Stretch] = []

    def station(self, name: str, kind: Kind, options: Iterable[Option]) -> int:
        self.names.append(name)
        self.kinds.append(kind)
        self.options.append(tuple(options))
        return len(self.names) - 1

    def lanes(self, source: int | None) -> list[int]:
        return [0] if source is None else sorted({one.behind for one in self.options[source]})

    def goes_on(self, tensor: str, way: Way, kind: TensorType) -> None:
        """A stream of a type, behind a link or at the input: where several read it, a station."""
        if self.readers[tensor] < 2:
            self.ways[tensor] = way
            return
        source, between = way
        paces = _paces(between)
        walked = [(start, pace, walk(between, {}, pace, start)) for pace in paces for start in self._starts(way, pace)]
        ends = [parts[-1].behind if parts else start for start, _, parts in walked]
        number = self.station(
            tensor, "fork", [Option(Fold(1, n), beats(kind, n), n, (0, 0, 0, 0)) for n in sorted(set(ends))]
        )
        self.forks = self.forks or source is None
        free = source is None and self.first not in (None, *between)
        cells = []
        for end, (start, pace, parts) in zip(ends, walked, strict=True):
            if source is None:
                # What reads the input has it as it wants it, through no converter.
                parts[:1] = [replace(part, before=amount()) for part in parts[:1]]
            entry = start if free else self._wanted(way, None, 0, pace)
            cells.append(Cell(0 if source is None else start, end, pace, _used(parts), _slow(parts), entry=entry))
        self.stretches.append(Stretch(source, number, paces, tuple(cells)))
        self.ways[tensor] = number, ()

    def _wanted(self, way: Way, target: Link | None, simd: int, pace: int) -> int:
        """Lanes of the graph's input that a stretch to a target of `simd` lanes wants, 0 where it has no say."""
        source, between = way
        chain = [*between, *_one(target)]
        if not self.forks or source is None or self.first is None or self.first not in chain:
            return 0
        return first_lanes([self.links[0], *chain], {target.node.name: Fold(1, simd)} if target else {}, pace)

    def _starts(self, way: Way, pace: int) -> list[int]:
        """The lanes that a stream may begin with: of the graph's input those that its first reader wants."""
        source, between = way
        if source is not None:
            return self.lanes(source)
        if self.first is None or self.first in between:
            return [first_lanes(between, {}, pace)]
        return divisors(self.links[0].x.channels)

    def unit(self, link: Link) -> None:
        """A matrix unit."""
        options = [_option(link, fold) for fold in folds(link, self._followers(link.node.output))]
        number = self.station(link.node.name, "unit", options)
        self.stretch(self.ways[link.sources[0]], link, sorted({one.fold.simd for one in options}))
        self.ways[link.node.output] = number, ()

    def join(self, link: Link) -> None:
        """A join, of all numbers of lanes that one of its streams may ask for."""
        ways = [self.ways[source] for source in link.sources]
        asked = {
            join_lanes(link.node, link.inputs, [_behind(walk(between, {}, pace, come), come)])
            for source, between in ways
            for come in self.lanes(source)
            for pace in _paces(between)
        }
        options = [
            Option(
                Fold(1, n),
                clocks_of(link, n),
                n,
                _amounts(estimate_join(link.node, link.inputs, n, link.waits, link.family)),
            )
            for n in sorted(asked)
        ]
        number = self.station(link.node.name, "join", options)
        for place, way in enumerate(ways):
            self.stretch(way, link, sorted(asked), place)
        self.ways[link.node.output] = number, ()

    def stretch(self, way: Way, target: Link | None, simds: Sequence[int], place: int = 0) -> None:
        """The cells from a station to the newest one, `target` (its input number `place`), or to the output."""
        source, between = way
        paces = _paces(between)
        cells = []
        for behind, simd, pace in itertools.product(self.lanes(source), simds, paces):
            cell = _cell(between, target, behind, simd, pace, place)
            if cell:
                cells.append(replace(cell, entry=self._wanted(way, target, simd, pace)))
        self.stretches.append(Stretch(source, None if target is None else len(self.names) - 1, paces, tuple(cells)))

    def _followers(self, tensor: str) -> list[Link]:
        """The links behind a tensor, up to the next matrix units."""
        found: list[Link] = []
        for link in self.links:
            if not link.is_unit and any(source == tensor for source in link.sources):
                found += [link, *self._followers(link.node.output)]
        return found


def _option(link: Link, fold: Fold) -> Option:
    behind, cycles, own = unit(link, fold)
    return Option(fold, cycles, behind, _amounts(own))


def _cell(between: Sequence[Link], target: Link | None, behind: int, simd: int, pace: int, place: int) -> Cell | None:
    """One cell; None where a stream asks for more lanes than a join has."""
    folding = {target.node.name: Fold(1, simd)} if target else {}
    parts = walk(between, folding, pace, behind, target)
    for part in parts:
        if part.own.lut is None:
            raise UnsupportedError(
                f"node {part.link.node.name!r}: no gateware computes {part.link.node.op.kind}, so its cost is not known"
            )
    used, come, asks = [part.resources for part in parts], _behind(parts, behind), False
    if target and target.is_join:
        wanted = join_lanes(target.node, target.inputs, [come])
        if wanted > simd:
            return None
        used, asks = [*used, converter(target.inputs[place], come, simd, target.family)], wanted == simd
    elif target:
        used.append(bridge(target.x, come, simd, windows=target.pixel is not None, family=target.family))
    if target:
        used.append(target.fork(place))
    return Cell(behind, simd, pace, _amounts(add_up(used)), _slow(parts), asks)


def _behind(parts: Sequence[Part], lanes: int) -> int:
    return parts[-1].behind if parts else lanes


def _used(parts: Sequence[Part]) -> Amounts:
    return _amounts(add_up(part.resources for part in parts))


def _slow(parts: Sequence[Part]) -> Slow | None:
    slow = [Slow(part.clocks, part.link.node.name, part.lanes) for part in parts]
    return max(slow, key=lambda one: one.clocks, default=None)


def _one(target: Link | None) -> list[Link]:
    return [target] if target else []


def _paces(between: Sequence[Link]) -> tuple[int, ...]:
    """The paces at which windows that no matrix unit reads come to more or fewer lanes; the first one is 1."""
    found = {1}
    for link in between:
        if isinstance(link.node.op, Window) and link.reader is None:
            found |= {line_buffer(link.node.op, link.x, n).interval for n in divisors(link.x.channels)}
        if isinstance(link.node.op, Upsample):
            found |= {row_buffer(link.node.op, link.x, n).interval for n in divisors(link.x.channels)}
    return tuple(sorted(found))


def _amounts(used: Resources) -> Amounts:
    return int(used.lut or 0), int(used.ff or 0), int(used.bram or 0), int(used.dsp or 0)
