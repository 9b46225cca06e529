"""The folding of a network: the cheapest one for an interval, or the fastest one within a budget.

Both are optimal for the estimates of hwgen.ops.cost, which count a whole accelerator: matrix units, what works on their
sums, sliding windows, and the converters and queues between them. The cost of resources is LUT + FF/2 + 64 for each
block RAM and DSP.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwgen.errors import HwgenError
from hwgen.explore.options import KINDS, Amounts, Tables, tables
from hwgen.explore.solve import Found, solve, weigh
from hwgen.flow.boards import Board
from hwgen.ir import Fold, Folding, Graph
from hwgen.ops import cost
from hwgen.ops.cost_layers import add_up
from hwgen.ops.cost_stream import Part
from hwgen.ops.matvec import MatVec
from hwgen.tools.resources import BLOCK_KBIT, Family, Resources

LUT_SHARE = 0.6
"""The most of a board's LUTs that a folding may be estimated to take where nobody asks for an interval or a budget."""

LABELS = {"lut": "LUT", "ff": "FF", "bram": "BRAM", "dsp": "DSP"}


@dataclass(frozen=True)
class Layer:
    """One node in hardware, with the converters and the queue before it: a row of `hwgen fold`.

    shape: (out, in) of a matrix unit, else None, as is its fold. positions: vectors of channels in a frame of its
    input. lanes: that it reads. clocks: a frame.
    """

    name: str
    kind: str
    shape: tuple[int, int] | None
    positions: int
    fold: Fold | None
    lanes: int
    clocks: int
    resources: Resources


@dataclass(frozen=True)
class Choice:
    """A folding, and what it comes to by estimate.

    interval: clocks a frame, as the compiled design has. cost: LUT + FF/2 + 64 (BRAM + DSP), None
    where it is not known. optimal: whether it is proven that no other folding is better; None for one that was given.
    """

    folding: Mapping[str, Fold]
    interval: int
    layers: tuple[Layer, ...]
    resources: Resources
    cost: float | None
    optimal: bool | None

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "folding": {name: {"pe": fold.pe, "simd": fold.simd} for name, fold in self.folding.items()},
            "interval": self.interval,
            "resources": _figures(self.resources),
            "cost": self.cost,
            "optimal": self.optimal,
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "shape": layer.shape,
                    "positions": layer.positions,
                    "pe": layer.fold.pe if layer.fold else None,
                    "simd": layer.fold.simd if layer.fold else None,
                    "lanes": layer.lanes,
                    "cycles": layer.clocks,
                    "resources": _figures(layer.resources),
                }
                for layer in self.layers
            ],
        }


def _figures(resources: Resources) -> dict[str, float | None]:
    return {kind: getattr(resources, kind) for kind in KINDS}


@dataclass(frozen=True)
class Budget:
    """A share of what a board has, in the units of estimates (block RAMs of 18 kbit)."""

    board: str
    have: Amounts
    share: float

    @property
    def limits(self) -> Amounts:
        lut, ff, bram, dsp = (math.floor(amount * self.share + 1e-9) for amount in self.have)
        return lut, ff, bram, dsp


def budget(board: Board, share: float) -> Budget:
    """A share, above 0, of all resources of a board; raises HwgenError for another one."""
    if not (math.isfinite(share) and share > 0):
        raise HwgenError(f"a budget is a share of the board's resources above 0, such as 0.7, not {share:g}")
    have = board.resources
    return Budget(board.name, (have.lut, have.ff, have.bram * BLOCK_KBIT[board.family] // 18, have.dsp), share)


def interval_of(fps: float, mhz: float) -> int:
    """The most clocks that a frame may take for so many frames a second; raises HwgenError for less than one."""
    if not (math.isfinite(fps) and fps > 0):
        raise HwgenError(f"a frame rate is a number of frames a second above 0, not {fps:g}")
    if fps > mhz * 1e6:
        raise HwgenError(
            f"{fps:,.0f} frames/s are out of reach at {mhz:g} MHz, since a frame takes a clock or more; "
            f"the nearest is {mhz * 1e6:,.0f}"
        )
    return math.floor(mhz * 1e6 / fps)


def least_cost(
    graph: Graph,
    interval: int | None = None,
    within: Budget | None = None,
    mhz: float | None = None,
    family: Family = "ecp5",
) -> Choice:
    """The folding of least cost that takes at most `interval` clocks a frame (None: any number), within a budget.

    mhz: the clock, for messages about frame rates. Raises HwgenError that names the layer that is too slow, or the
    resource that there is too little of and the layer that takes most of it, by how much, and the nearest that can be.
    """
    known = tables(graph, family)
    found = solve(known, "cost", interval, within.limits if within else None)
    if found is None and interval is not None:
        _check_reach(known, interval, mhz)
    if found is None:
        assert within is not None, "without a budget every folding that is fast enough is allowed"
        raise HwgenError(_too_much(graph, known, interval, within, mhz))
    return _chosen(graph, known, found)


def least_interval(graph: Graph, within: Budget, family: Family = "ecp5") -> Choice:
    """The fastest folding within a budget, and among those as fast the one of least cost; raises as `least_cost`."""
    known = tables(graph, family)
    fastest = solve(known, "interval", budget=within.limits)
    if fastest is None:
        raise HwgenError(_too_much(graph, known, None, within, None))
    found = solve(known, "cost", fastest.clocks, within.limits)
    assert found is not None, "the fastest folding itself is a solution"
    return _chosen(graph, known, found, proven=fastest.optimal)


def choose(
    graph: Graph,
    board: Board,
    fold: Mapping[str, Fold | Sequence[int]] | int | None = None,
    fps: float | None = None,
    share: float | None = None,
) -> Choice:
    """The folding of a frozen graph for a board.

    fold: (PE, SIMD) of every matrix unit by node name; or the most clocks that a frame may take. fps: instead, the
    frames a second that are wanted at the board's clock. share: the most that may be taken of the board's resources;
    alone it asks for the fastest folding. Without any of them the board's default interval is kept, or the least one
    above it that is estimated to take LUT_SHARE of the LUTs and no more than there is of the rest; where that is too
    little for every folding, the cheapest one is taken, and the build tells by how much it does not fit.
    Raises HwgenError for what contradicts itself or cannot be had, with the nearest that can.
    """
    if fold is not None and fps is not None:
        raise HwgenError("a frame rate chooses the folding: give no interval and no folds beside it")
    if isinstance(fold, Mapping):
        if share is not None:
            raise HwgenError("folds that are given leave nothing to choose within a budget: give one of them")
        return given(
            graph,
            {n: one if isinstance(one, Fold) else Fold(one[0], one[1], any(one[2:])) for n, one in fold.items()},
            board.family,
        )
    within, mhz = None if share is None else budget(board, share), board.clock.design_mhz
    if fps is not None:
        return least_cost(graph, interval_of(fps, mhz), within, mhz, board.family)
    if fold is not None:
        return least_cost(graph, fold, within, family=board.family)
    return least_interval(graph, within, board.family) if within else _by_default(graph, board)


def _by_default(graph: Graph, board: Board) -> Choice:
    known = tables(graph, board.family)
    lut, *rest = budget(board, 1).have
    limits = (math.floor(LUT_SHARE * lut), rest[0], rest[1], rest[2])
    found = solve(known, "cost", board.default_interval, limits)
    if found is None and (fastest := solve(known, "interval", budget=limits)):
        found = solve(known, "cost", fastest.clocks, limits)
    found = found or solve(known, "cost")
    assert found is not None, "without limits every folding is allowed"
    return _chosen(graph, known, found)


def given(graph: Graph, folding: Folding, family: Family = "ecp5") -> Choice:
    """What a folding that was made by hand comes to; raises HwgenError for one that does not fit the layers."""
    parts = cost.parts(graph, folding, family)
    layers = tuple(map(_layer, parts))
    resources = add_up(layer.resources for layer in layers)
    amounts = [getattr(resources, kind) for kind in KINDS]
    weight = (
        None if None in amounts else weigh((int(amounts[0]), int(amounts[1]), int(amounts[2]), int(amounts[3]))) / 2
    )
    return Choice(dict(folding), cost.interval(graph, folding), layers, resources, weight, None)


def _layer(part: Part) -> Layer:
    op, x = part.link.node.op, part.link.x
    out_in = (int(op.weight.shape[0]), int(op.weight.shape[1])) if isinstance(op, MatVec) else None
    return Layer(
        part.link.node.name, op.kind, out_in, x.size // x.channels, part.fold, part.lanes, part.clocks, part.resources
    )


def _chosen(graph: Graph, known: Tables, found: Found, *, proven: bool = True) -> Choice:
    folding = {known.names[number]: found.options[number].fold for number in known.matrix_units}
    choice = given(graph, folding, known.family)
    return Choice(
        folding, choice.interval, choice.layers, choice.resources, choice.cost, optimal=proven and found.optimal
    )


def _check_reach(known: Tables, interval: int, mhz: float | None) -> None:
    """Raises HwgenError that names the slowest layer, and the nearest interval, if no folding keeps the interval."""
    fastest = solve(known, "interval")
    assert fastest is not None, "without limits every folding is allowed"
    nearest = fastest.clocks
    if nearest <= interval:
        return
    rate = f" ({mhz * 1e6 / nearest:,.0f} frames/s)" if mhz else ""
    why = f"so an interval of {interval} is out of reach; the nearest is {nearest}{rate}"
    raise HwgenError(f"{_slowest(known, fastest)}, {why}")


def _slowest(known: Tables, fastest: Found) -> str:
    """What keeps the fastest folding from being faster: a station that never is, else what stands between two."""
    clocks = fastest.clocks
    for name, kind, options in zip(known.names, known.kinds, known.units, strict=True):
        best = [option for option in options if option.cycles == clocks]
        if kind == "unit" and best and clocks == min(option.cycles for option in options):
            most = max((option.fold for option in best), key=lambda fold: fold.pe * fold.simd)
            return f"node {name!r} takes {clocks} clocks a frame fully unrolled (PE={most.pe}, SIMD={most.simd})"
    slow = next((cell.slow for cell in fastest.cells if cell.slow and cell.clocks == clocks), None)
    if slow:
        what, lanes = f"node {slow.name!r}", slow.lanes
    else:
        number = next(number for number, option in enumerate(fastest.options) if option.cycles == clocks)
        what = f"{'stream' if known.kinds[number] == 'fork' else 'node'} {known.names[number]!r}"
        lanes = fastest.options[number].fold.simd
    return f"{what} takes {clocks} clocks a frame on {lanes} lane{'s' if lanes > 1 else ''}"


def _too_much(graph: Graph, known: Tables, interval: int | None, within: Budget, mhz: float | None) -> str:
    """Why no folding is within a budget: the resource, the layer that takes most of it, and the nearest that can be."""
    have = within.have
    least = solve(known, "share", interval, have=(max(have[0], 1), max(have[1], 1), max(have[2], 1), max(have[3], 1)))
    assert least is not None, "whoever asks has seen that the interval can be kept"
    needs = [
        used / there if there else math.inf * used if used else 0 for used, there in zip(least.used, have, strict=True)
    ]
    kind = max(range(len(KINDS)), key=lambda one: needs[one])
    used, limit, field = least.used[kind], within.limits[kind], KINDS[kind]
    choice = _chosen(graph, known, least)
    most = max(choice.layers, key=lambda layer: getattr(layer.resources, field) or 0)
    wanted = f" within {interval} clocks a frame" if interval is not None else ""
    text = (
        f"no folding{wanted} is estimated to fit {within.share:g} of {within.board}: the nearest takes {used:,} "
        f"{LABELS[field]}, {used - limit:,} more than the {limit:,} there are, {getattr(most.resources, field):,g} of "
        f"them in node {most.name!r}"
    )
    nearest = []
    if interval is not None and (fastest := solve(known, "interval", budget=within.limits)):
        rate = f" ({mhz * 1e6 / fastest.clocks:,.0f} frames/s)" if mhz else ""
        nearest.append(f"{fastest.clocks} clocks a frame{rate}")
    if math.isfinite(needs[kind]):
        nearest.append(f"a budget of {math.ceil(needs[kind] * 1000) / 1000:g}")
    return f"{text}; {' or '.join(nearest)} would do" if nearest else text
