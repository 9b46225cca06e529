"""What a folding is chosen from: tables of the folds of each matrix unit, and of what stands between two of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from hwgen.errors import UnsupportedError
from hwgen.ir import Fold, Graph
from hwgen.ops.cost_layers import add_up, bridge
from hwgen.ops.cost_stream import Link, divisors, folds, links, unit, walk
from hwgen.ops.cost_window import line_buffer
from hwgen.ops.window import Window
from hwgen.tools.resources import Resources

KINDS = ("lut", "ff", "bram", "dsp")
Amounts = tuple[int, int, int, int]
"""LUTs, flip-flops, block RAMs and DSPs."""


@dataclass(frozen=True)
class Option:
    """One fold of a matrix unit. cycles: of the unit. behind: lanes of its sums' stream. used: the unit's own cost."""

    fold: Fold
    cycles: int
    behind: int
    used: Amounts


@dataclass(frozen=True)
class Slow:
    """Sliding windows: clocks a frame on so many lanes."""

    clocks: int
    name: str
    lanes: int


@dataclass(frozen=True)
class Cell:
    """What stands between two matrix units, by their lanes and the pace of the whole.

    behind: lanes behind the first unit, 0 at the graph's input. simd: of the second unit, 0 at the output. pace: the
    slowest matrix unit takes so many clocks or more. slow: the slowest windows among it, if any.
    """

    behind: int
    simd: int
    pace: int
    used: Amounts
    slow: Slow | None = None

    @property
    def clocks(self) -> int:
        return self.slow.clocks if self.slow else 0


@dataclass(frozen=True)
class Stretch:
    """All cells between two matrix units. paces: those that make a difference, ascending; the first one is 1."""

    paces: tuple[int, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Tables:
    """The matrix units by name with their options; the stretches: before the first, between, behind the last."""

    names: tuple[str, ...]
    units: tuple[tuple[Option, ...], ...]
    stretches: tuple[Stretch, ...]

    @property
    def paces(self) -> list[int]:
        return sorted({pace for stretch in self.stretches for pace in stretch.paces})


def tables(graph: Graph) -> Tables:
    """The tables of a frozen chain; raises UnsupportedError that names a node without gateware."""
    chain = links(graph)
    places = [place for place, link in enumerate(chain) if link.is_unit]
    units, names = [], []
    for place, after in itertools.pairwise([*places, len(chain)]):
        link = chain[place]
        names.append(link.node.name)
        units.append(tuple(_option(link, fold) for fold in folds(link, chain[place + 1 : after])))
    stretches = []
    for number in range(len(places) + 1):
        start = places[number - 1] + 1 if number else 0
        stop = places[number] if number < len(places) else len(chain)
        lanes = sorted({one.behind for one in units[number - 1]}) if number else [0]
        simds = sorted({one.fold.simd for one in units[number]}) if number < len(places) else [0]
        target = chain[stop] if number < len(places) else None
        stretches.append(_stretch(chain[start:stop], target, lanes, simds))
    return Tables(tuple(names), tuple(units), tuple(stretches))


def _option(link: Link, fold: Fold) -> Option:
    behind, cycles, own = unit(link, fold)
    return Option(fold, cycles, behind, _amounts(own))


def _stretch(between: Sequence[Link], target: Link | None, lanes: Sequence[int], simds: Sequence[int]) -> Stretch:
    """The cells between a matrix unit with `lanes` behind it and the next one, `target`, None at the output."""
    paces = _paces(between)
    keys = itertools.product(lanes, simds, paces)
    return Stretch(paces, tuple(_cell(between, target, *key) for key in keys))


def _cell(between: Sequence[Link], target: Link | None, behind: int, simd: int, pace: int) -> Cell:
    folding = {target.node.name: Fold(1, simd)} if target else {}
    parts = walk(between, folding, pace, behind, target)
    for part in parts:
        if part.own.lut is None:
            raise UnsupportedError(
                f"node {part.link.node.name!r}: no gateware computes {part.link.node.op.kind}, so its cost is not known"
            )
    used = [part.resources for part in parts]
    if target:
        come = parts[-1].behind if parts else behind
        used.append(bridge(target.x, come, simd, windows=target.pixel is not None))
    windows = [Slow(p.clocks, p.link.node.name, p.lanes) for p in parts if isinstance(p.link.node.op, Window)]
    slow = max(windows, key=lambda one: one.clocks, default=None)
    return Cell(behind, simd, pace, _amounts(add_up(used)), slow)


def _paces(between: Sequence[Link]) -> tuple[int, ...]:
    """The paces at which windows that no matrix unit reads come to more or fewer lanes; the first one is 1."""
    found = {1}
    for link in between:
        if isinstance(link.node.op, Window) and link.reader is None:
            found |= {line_buffer(link.node.op, link.x, n).interval for n in divisors(link.x.channels)}
    return tuple(sorted(found))


def _amounts(used: Resources) -> Amounts:
    return int(used.lut or 0), int(used.ff or 0), int(used.bram or 0), int(used.dsp or 0)
