"""The choice of a folding as a CP-SAT model (OR-tools): a path through tables, with limits.

Each matrix unit takes one option and each stretch one cell, and a cell agrees with the options on both its sides: that
is a flow of one unit from the input to the output, which a linear relaxation solves to whole numbers where nothing
else is asked for. Limits on resources, the greatest number of clocks, and the pace (the clocks of the slowest matrix
unit, which windows of pools keep) are linear constraints over the same choices.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from hwgen.errors import HwgenError
from hwgen.explore.options import Amounts, Cell, Option, Tables
from hwgen.ops.cost_layers import BLOCK_LUTS

if TYPE_CHECKING:
    from ortools.sat.python.cp_model import CpModel, IntVar, LinearExpr

Goal = Literal["cost", "interval", "share"]

WORK = 60.0
"""The most work of one search, in CP-SAT's deterministic time (about a second each), after which the best choice so
far is taken and said not to be proven. Not in seconds, so that the same question has the same answer everywhere."""

SHARES = 10_000
"""Steps of a budget's share."""


@dataclass(frozen=True)
class Found:
    """options, cells: the choice. optimal: whether it is proven that no other is better."""

    options: tuple[Option, ...]
    cells: tuple[Cell, ...]
    optimal: bool

    @property
    def used(self) -> Amounts:
        lut, ff, bram, dsp = (sum(amounts) for amounts in zip(*(one.used for one in self._all), strict=True))
        return lut, ff, bram, dsp

    @property
    def clocks(self) -> int:
        """Clocks a frame of the slowest station or what stands between two."""
        return max([one.cycles for one in self.options] + [cell.clocks for cell in self.cells], default=1)

    @property
    def _all(self) -> Sequence[Option | Cell]:
        return (*self.options, *self.cells)


def weigh(used: Amounts) -> int:
    """Twice the cost: a LUT is 1, a flip-flop 1/2, a block RAM or a DSP BLOCK_LUTS."""
    lut, ff, bram, dsp = used
    return 2 * lut + ff + 2 * BLOCK_LUTS * (bram + dsp)


def solve(
    tables: Tables, goal: Goal, clocks: int | None = None, budget: Amounts | None = None, have: Amounts | None = None
) -> Found | None:
    """The best choice, or None if it is proven that there is none.

    goal: "cost", the least `weigh`; "interval", the fewest clocks a frame; "share", the least share of `have` that
    holds every resource. clocks: the most a frame may take. budget: the most of each resource.
    Raises HwgenError if WORK is not enough to find any.
    """
    from ortools.sat.python import cp_model

    kept = _pruned(tables, goal, clocks, budget is not None or have is not None)
    if not all(kept.units) or not all(stretch.cells for stretch in kept.stretches):
        return None
    model = cp_model.CpModel()
    units = [[model.new_bool_var("") for _ in options] for options in kept.units]
    stretches = [[model.new_bool_var("") for _ in stretch.cells] for stretch in kept.stretches]
    _flow(model, kept, units, stretches)
    _paces(model, kept, units, stretches)
    terms = [*zip(_chain(kept.units), _chain(units), strict=True)]
    terms += zip(_chain(stretch.cells for stretch in kept.stretches), _chain(stretches), strict=True)
    for kind, most in enumerate(budget or ()):
        model.add(_sum((one.used[kind], var) for one, var in terms) <= most)
    if goal == "cost":
        model.minimize(_sum((weigh(one.used), var) for one, var in terms))
    elif goal == "interval":
        model.minimize(_slowest(model, kept, units, stretches))
    else:
        share = model.new_int_var(0, 1 << 40, "share")
        for kind, amount in enumerate(have or ()):
            model.add(SHARES * _sum((one.used[kind], var) for one, var in terms) <= amount * share)
        model.minimize(share)
    return _search(model, kept, units, stretches)


def _search(
    model: CpModel, kept: Tables, units: Sequence[Sequence[IntVar]], stretches: Sequence[Sequence[IntVar]]
) -> Found | None:
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    # One thread and work counted, not seconds: a choice names the folder of what is built, so it must be repeatable.
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.linearization_level = 2
    solver.parameters.max_deterministic_time = WORK
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return None
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        raise HwgenError(f"no folding was found within {WORK:g} units of work: give another interval or budget")
    picked = [
        next(o for o, var in zip(some, vs, strict=True) if solver.value(var)) for some, vs in _both(kept.units, units)
    ]
    cells = [stretch.cells for stretch in kept.stretches]
    crossed = [
        next(c for c, var in zip(some, vs, strict=True) if solver.value(var)) for some, vs in _both(cells, stretches)
    ]
    return Found(tuple(picked), tuple(crossed), status == cp_model.OPTIMAL)


def _both(things: Sequence[Sequence[Any]], variables: Sequence[Sequence[IntVar]]) -> Iterable[tuple[Any, Any]]:
    return zip(things, variables, strict=True)


def _chain(groups: Iterable[Iterable[Any]]) -> list[Any]:
    return list(itertools.chain.from_iterable(groups))


def _sum(terms: Iterable[tuple[int, IntVar]]) -> LinearExpr | int:
    from ortools.sat.python.cp_model import LinearExpr

    factors, variables = zip(*terms, strict=True)
    return LinearExpr.weighted_sum(variables, factors)


def _flow(
    model: CpModel, kept: Tables, units: Sequence[Sequence[IntVar]], stretches: Sequence[Sequence[IntVar]]
) -> None:
    """One option of each station and one cell of each stretch, which agree about the lanes between them."""
    for variables in (*units, *stretches):
        model.add_exactly_one(variables)
    asking: dict[int, list[IntVar]] = defaultdict(list)
    for stretch, variables in zip(kept.stretches, stretches, strict=True):
        if stretch.source is not None:
            behind = [option.behind for option in kept.units[stretch.source]]
            _agree(model, behind, units[stretch.source], [cell.behind for cell in stretch.cells], variables)
        if stretch.target is not None:
            simds = [option.fold.simd for option in kept.units[stretch.target]]
            _agree(model, simds, units[stretch.target], [cell.simd for cell in stretch.cells], variables)
            asking[stretch.target] += [var for cell, var in zip(stretch.cells, variables, strict=True) if cell.asks]
    _entry(model, kept, stretches)
    # A join has no more lanes than one of its streams asks for.
    for number, kind in enumerate(kept.kinds):
        if kind == "join":
            model.add(sum(asking[number]) >= 1)


def _entry(model: CpModel, kept: Tables, stretches: Sequence[Sequence[IntVar]]) -> None:
    """A graph's input that forks has the lanes that its first matrix unit or windows want, wherever those stand."""
    says = [n for n, stretch in enumerate(kept.stretches) if any(cell.entry for cell in stretch.cells)]
    if says:
        has, wants = says
        left, right = ([cell.entry for cell in kept.stretches[n].cells] for n in (has, wants))
        _agree(model, left, stretches[has], right, stretches[wants])


def _agree(
    model: CpModel, left: Sequence[int], lefts: Sequence[IntVar], right: Sequence[int], rights: Sequence[IntVar]
) -> None:
    """What is chosen on the left has the same lanes as what is chosen on the right."""
    for lanes in {*left, *right}:
        here = [var for one, var in zip(left, lefts, strict=True) if one == lanes]
        there = [var for one, var in zip(right, rights, strict=True) if one == lanes]
        model.add(sum(here) == sum(there))


def _paces(
    model: CpModel, kept: Tables, units: Sequence[Sequence[IntVar]], stretches: Sequence[Sequence[IntVar]]
) -> None:
    """The cells of each stretch are those of the pace of the slowest unit."""
    reached: dict[int, IntVar] = {}
    for pace in kept.paces[1:]:
        reached[pace] = model.new_bool_var("")
        slower = [
            [var for option, var in zip(kept.units[number], units[number], strict=True) if option.cycles >= pace]
            for number in kept.matrix_units
        ]
        for some in slower:
            model.add(sum(some) <= reached[pace])
        model.add(sum(_chain(slower)) >= reached[pace])
    for stretch, variables in zip(kept.stretches, stretches, strict=True):
        for pace in stretch.paces[1:]:
            at_least = [var for cell, var in zip(stretch.cells, variables, strict=True) if cell.pace >= pace]
            model.add(sum(at_least) == reached[pace])


def _slowest(
    model: CpModel, kept: Tables, units: Sequence[Sequence[IntVar]], stretches: Sequence[Sequence[IntVar]]
) -> IntVar:
    """The clocks of the slowest station or what stands between two."""
    options = [[option.cycles for option in some] for some in kept.units]
    cells = [[cell.clocks for cell in stretch.cells] for stretch in kept.stretches]
    slowest = model.new_int_var(1, max(map(max, (*options, *cells))) or 1, "interval")
    for clocks, variables in zip((*options, *cells), (*units, *stretches), strict=True):
        model.add(_sum(zip(clocks, variables, strict=True)) <= slowest)
    return slowest


def _pruned(tables: Tables, goal: Goal, clocks: int | None, limited: bool) -> Tables:
    """The tables without options and cells that are too slow, nor options that another one makes needless."""
    paces = tables.paces
    units = []
    for options in tables.units:
        groups: dict[tuple[int, int, int], list[tuple[tuple[int, ...], Option]]] = defaultdict(list)
        for option in options:
            if clocks is None or option.cycles <= clocks:
                worth = option.used if limited else (weigh(option.used),)
                speed = (option.cycles,) if goal == "interval" else ()
                key = (option.fold.simd, option.behind, bisect_right(paces, option.cycles))
                groups[key].append(((*speed, *worth), option))
        units.append(tuple(option for group in groups.values() for option in _front(group)))
    stretches = [
        replace(stretch, cells=tuple(cell for cell in stretch.cells if clocks is None or cell.clocks <= clocks))
        for stretch in tables.stretches
    ]
    return replace(tables, units=tuple(units), stretches=tuple(stretches))


def _front(group: list[tuple[tuple[int, ...], Option]]) -> list[Option]:
    """The options that no other one is at least as good as in everything; of equals the smallest."""
    kept: list[tuple[tuple[int, ...], Option]] = []
    for worth, option in sorted(group, key=lambda one: (one[0], one[1].fold.pe * one[1].fold.simd)):
        if not any(all(a <= b for a, b in zip(other, worth, strict=True)) for other, _ in kept):
            kept.append((worth, option))
    return [option for _, option in kept]
