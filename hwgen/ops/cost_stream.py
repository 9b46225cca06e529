"""What stands along the streams of a graph: for each node its lanes, its clocks and its cost, from the folds.

What a stretch between two matrix units costs depends on three numbers alone: the lanes behind the first one, the SIMD
lanes of the second one, and the clocks of the slowest matrix unit, whose pace the windows of pools keep. That is what
lets hwgen.explore choose a folding from tables.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from hwgen.formats import Blocked
from hwgen.ir import Fold, Folding, Graph, Node, TensorType
from hwgen.ops.block_quantize import BlockQuantize
from hwgen.ops.cost_branches import fork
from hwgen.ops.cost_fit import cost
from hwgen.ops.cost_join import JOINS, estimate_join, join_lanes, waits
from hwgen.ops.cost_layers import add_up, amount, bridge, converter, estimate_node, lanes_behind
from hwgen.ops.cost_window import is_wire, line_buffer, row_buffer, upsample_lanes, window_lanes
from hwgen.ops.grouped import Grouped
from hwgen.ops.matvec import MatVec
from hwgen.ops.slice import Slice
from hwgen.ops.topk import TopK
from hwgen.ops.upsample import Upsample
from hwgen.ops.window import Pool, Window
from hwgen.tools.resources import Family, Resources


@dataclass(frozen=True)
class Link:
    """A node that has gateware, with the types of its inputs and its output.

    sources: tensors on whose streams its inputs come: what another link writes, or the graph's input.
    pixel: of a matrix unit, the type of the image whose sliding windows it reads; else None.
    reader: of sliding windows, the name of the matrix unit that reads them; else None.
    waits: of a join, how much of a frame waits at each input for the others, about.
    shared: for each input whether others read its stream too.
    family: of the FPGA that the node is on, for its cost.
    """

    node: Node
    inputs: tuple[TensorType, ...]
    y: TensorType
    sources: tuple[str, ...]
    shared: tuple[bool, ...]
    pixel: TensorType | None = None
    reader: str | None = None
    waits: tuple[Fraction, ...] = ()
    family: Family = "ecp5"

    @property
    def x(self) -> TensorType:
        return self.inputs[0]

    def fork(self, place: int) -> Resources:
        """What the fork of the stream that comes to input `place` takes for this reader, if there is one."""
        return cost(fork(1), self.family) if self.shared[place] else amount()

    @property
    def is_join(self) -> bool:
        return isinstance(self.node.op, JOINS)

    @property
    def is_unit(self) -> bool:
        return isinstance(self.node.op, MatVec)


@dataclass(frozen=True)
class Step:
    """A link with the lanes that it reads, and those of the stream behind it."""

    link: Link
    lanes: int
    behind: int


@dataclass(frozen=True)
class Part(Step):
    """A link in hardware: a matrix unit's fold, clocks a frame, its own cost, that of what stands before it."""

    fold: Fold | None
    clocks: int
    own: Resources
    before: Resources

    @property
    def resources(self) -> Resources:
        return add_up([self.before, self.own])


def links(graph: Graph, family: Family = "ecp5") -> list[Link]:
    """The nodes that have gateware, in order; those that leave the stream as it is are left out."""
    roots: dict[str, str] = {}
    kept = []
    for node in graph.nodes:
        if is_wire(node.op, graph.types[node.inputs[0]]):
            roots[node.output] = roots.get(node.inputs[0], node.inputs[0])
        else:
            kept.append(node)
    waiting = waits(kept, graph.types, roots)
    read = Counter(roots.get(tensor, tensor) for node in kept for tensor in node.inputs)
    found: dict[str, Link] = {}
    for node in kept:
        sources = tuple(roots.get(tensor, tensor) for tensor in node.inputs)
        pixel, last = None, found.get(sources[0])
        if last and isinstance(last.node.op, Window) and isinstance(node.op, MatVec) and read[sources[0]] == 1:
            found[sources[0]], pixel = replace(last, reader=node.name), last.x
        inputs = tuple(graph.types[tensor] for tensor in node.inputs)
        wait = waiting.get(node.name, ())
        shared = tuple(read[source] > 1 for source in sources)
        made = Link(node, inputs, graph.types[node.output], sources, shared, pixel, waits=wait, family=family)
        found[node.output] = made
    return list(found.values())


def first_lanes(chain: Sequence[Link], folding: Folding, slowest: int) -> int:
    """Lanes of the accelerator's input: those that the first matrix unit or the first windows want, or one."""
    for link in chain:
        if link.is_unit:
            wanted = folding[link.node.name].simd
        elif isinstance(link.node.op, Window):
            wanted = window_lanes(link.node.op, link.x, 1, _reader_fold(link, folding), slowest)
        else:
            continue
        x = chain[0].x
        return math.gcd(wanted, x.channels, x.format.block.size if isinstance(x.format, Blocked) else 0)
    return 1


def lanes_of(link: Link, come: Sequence[int], folding: Folding, slowest: int) -> int:
    """Lanes that a node reads; `come`: those of the streams before it."""
    op, behind = link.node.op, come[0]
    if link.is_join:
        return join_lanes(link.node, link.inputs, come)
    if isinstance(op, MatVec):
        return folding[link.node.name].simd
    if isinstance(op, Window):
        return window_lanes(op, link.x, behind, _reader_fold(link, folding), slowest)
    if isinstance(op, TopK):
        return 1
    if isinstance(op, Upsample):
        return upsample_lanes(op, link.x, behind, slowest)
    if isinstance(op, Pool):
        return math.gcd(behind, link.x.channels // op.taps)
    if isinstance(op, Slice):
        return math.gcd(behind, op.start, op.stop)
    if isinstance(op, BlockQuantize):
        return math.gcd(behind, op.format.block.size)
    if isinstance(op, BlockQuantize):
        return math.gcd(behind, op.format.block.size)
    return behind


def steps(
    chain: Sequence[Link], folding: Folding, slowest: int, lanes: int = 0, target: Link | None = None
) -> list[Step]:
    """The links with their lanes. `folding` has the folds of their matrix units, of the readers of their windows, and
    of the matrix unit behind them, `target`, if there is one.

    slowest: clocks a frame of the slowest matrix unit. lanes: of the stream that comes in; 0: the input of the whole
    accelerator, which is as wide as its first node wants.
    """
    start = lanes or first_lanes([*chain, *([target] if target else [])], folding, slowest)
    behind: dict[str, int] = {}
    found = []
    for link in chain:
        op = link.node.op
        here = lanes_of(link, [behind.get(source, start) for source in link.sources], folding, slowest)
        behind[link.node.output] = lanes_behind(op, folding[link.node.name]) if isinstance(op, MatVec) else here
        found.append(Step(link, here, behind[link.node.output]))
    return found


def walk(
    chain: Sequence[Link], folding: Folding, slowest: int, lanes: int = 0, target: Link | None = None
) -> list[Part]:
    """The links in hardware, with what they cost; as `steps`."""
    parts: list[Part] = []
    fold: Fold | None
    behind: dict[str, int] = {}
    if chain and not lanes and sum(way == chain[0].sources[0] for link in chain for way in link.sources) > 1:
        # The accelerator's input forks: it has lanes of its own, which not all readers want.
        behind[chain[0].sources[0]] = first_lanes(chain, folding, slowest)
    for step in steps(chain, folding, slowest, lanes, target):
        link, come = step.link, behind.get(step.link.sources[0], lanes)
        behind[link.node.output] = step.behind
        if link.is_join:
            fold = None
            ways = zip(link.inputs, link.sources, strict=True)
            before = add_up(
                converter(x, behind.get(way, lanes) or step.lanes, step.lanes, link.family) for x, way in ways
            )
            own = estimate_join(link.node, link.inputs, step.lanes, link.waits, link.family)
        elif link.is_unit:
            fold = folding[link.node.name]
            before = bridge(link.x, come, step.lanes, windows=link.pixel is not None, family=link.family)
            _, _, own = unit(link, folding[link.node.name])
        else:
            fold = None
            before = converter(link.x, come, step.lanes, link.family) if come else amount()
            own = estimate_node(link.node, link.x, step.lanes, None, link.family)
        before = add_up([before, *(link.fork(place) for place in range(len(link.sources)))])
        parts.append(Part(link, step.lanes, step.behind, fold, clocks_of(link, step.lanes, fold), own, before))
    return parts


def unit(link: Link, fold: Fold) -> tuple[int, int, Resources]:
    """(lanes behind it, clocks a frame, cost) of a matrix unit, with the converter of its sums to the lanes behind."""
    op = link.node.op
    assert isinstance(op, MatVec)
    behind = lanes_behind(op, fold)
    used = estimate_node(link.node, link.x, fold.simd, fold, link.family)
    own = add_up([used, converter(link.y, op.output_lanes(fold), behind, link.family)])
    return behind, op.cycles(link.x, fold), own


def clocks_of(link: Link, lanes: int, fold: Fold | None = None) -> int:
    """Clocks a frame of a node: of a matrix unit by its fold, of others a beat each, in or out, whichever are more."""
    if fold and isinstance(link.node.op, MatVec):
        return link.node.op.cycles(link.x, fold)
    if link.is_join:
        return beats(link.y, lanes)
    if isinstance(link.node.op, Window):
        return line_buffer(link.node.op, link.x, lanes).interval
    if isinstance(link.node.op, Upsample):
        return row_buffer(link.node.op, link.x, lanes).interval
    return beats(link.x, lanes)


def beats(x: TensorType, lanes: int) -> int:
    """Beats of a frame, and so the clocks that whatever passes on a stream takes."""
    return max(x.size // lanes, 1)


def slowest_stage(chain: Sequence[Link], folding: Folding, slowest: int) -> int:
    """Clocks a frame of a whole accelerator: those of its slowest node, or of the fork of its input.

    What else stands between nodes passes no more beats than one of the nodes at its sides. slowest: as in `steps`.
    """
    clocks = [
        clocks_of(step.link, step.lanes, folding.get(step.link.node.name)) for step in steps(chain, folding, slowest)
    ]
    if chain and chain[0].shared[0]:
        clocks.append(beats(chain[0].x, first_lanes(chain, folding, slowest)))
    return max(clocks, default=1)


def folds(link: Link, followers: Sequence[Link]) -> list[Fold]:
    """All folds that divide a matrix unit, and a pixel of the windows that it reads; where blocks share a scale, those
    that keep beats within blocks. followers: the links up to the next matrix unit."""
    op = link.node.op
    assert isinstance(op, MatVec)
    out, inner = op.weight.shape
    if isinstance(op, Grouped):
        found = grouped_folds(op)
    else:
        simds = divisors(link.pixel.channels if link.pixel else inner)
        found = [Fold(pe, simd) for pe in divisors(out) for simd in simds]
    found = [fold for fold in found if op.fits_blocks(link.x, fold)]
    for follower in followers:
        if isinstance(follower.node.op, BlockQuantize):
            size = follower.node.op.format.block.size
            found = [fold for fold in found if size % lanes_behind(op, fold) == 0]
    return found


def grouped_folds(op: Grouped) -> list[Fold]:
    """Those within a group, and those of whole groups side by side."""
    within = [Fold(pe, simd) for pe in divisors(op.rows) for simd in divisors(op.channels)]
    return [*within, *(Fold(op.rows, n * op.channels) for n in divisors(op.groups)[1:])]


def divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _reader_fold(link: Link, folding: Folding) -> Fold | None:
    return folding.get(link.reader) if link.reader else None
