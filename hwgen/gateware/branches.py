"""How long the queues ahead of a join are, so that branches never wait for each other in a circle.

A beat of one branch waits at a join for the same beat of the other, which may still be on its way: behind windows that
want whole rows, in queues, in pipelines. If the queue were full by then, the fork could not go on, and the other branch
would never get what it needs. Measure everything in frames. What a branch has taken at the fork and not yet given is
at most what its components hold, `held` added up. So while the join waits for branch j, branch k has at most that much,
and one beat, more than the join has taken; with a queue of that length, branch k never stands still because of j, and
the fork goes on as if there were no join. That holds for any stalls, and so no two branches wait for each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from amaranth.lib import wiring

from hwgen import ops
from hwgen.gateware.fifo import Fifo
from hwgen.gateware.join import Join
from hwgen.gateware.pool import Pool
from hwgen.gateware.slice import Slice
from hwgen.gateware.timing import Source
from hwgen.gateware.width import Gather, Scatter
from hwgen.gateware.window import Window
from hwgen.ir import Node

ELEMENTWISE = (ops.Thresholds, ops.Requantize, ops.Table, ops.BlockQuantize, ops.Decode, ops.Fix)
"""Operations that hold no more than their pipeline."""


@dataclass(frozen=True)
class Part:
    """A component, the node that it computes, if any, and the streams that it reads."""

    component: wiring.Component
    node: Node | None
    sources: tuple[Source, ...]


def held(part: Part, place: int = 0) -> Fraction:
    """The most of a frame, more than one perhaps, that a component has taken at input `place` and not yet given."""
    component = part.component
    if isinstance(component, Window):
        buffer = component.buffer
        height, down = component.x.shape[0], len(buffer.needed)
        rows = max(Fraction(old + buffer.rows, height) - Fraction(y, down) for y, old in enumerate(buffer.oldest))
        return rows + Fraction(component.depth + 1, buffer.output_beats)
    if isinstance(component, Join):
        queue = component.queues[place]
        return Fraction(queue.size + 1, queue.input.beats) + Fraction(component.depth + 1, component.output.beats)
    if isinstance(component, Slice):
        return Fraction(component.start, component.input.beats) + Fraction(component.depth + 1, component.output.beats)
    beats = min(component.input.beats, component.output.beats)
    if isinstance(component, Fifo):
        return Fraction(component.size + 1, beats)
    if isinstance(component, Gather | Scatter):
        return Fraction(2, beats)
    if part.node is None:
        return Fraction(0)
    pipeline = Fraction(max(component.latency - component.interval, 0) + 2, beats)
    if isinstance(part.node.op, ELEMENTWISE):
        return pipeline
    # What works on whole vectors has one in hand and takes in another one; of what is not known, so does a frame.
    vectors = component.output.codes // len(part.node.op.weight) if isinstance(part.node.op, ops.MatVec) else 1
    if isinstance(component, Pool):
        vectors = component.output.beats // component.pixel
    return pipeline + Fraction(2, vectors)


def ahead(part: Part) -> Fraction:
    """The most of a frame that a component has given beyond what it has taken."""
    component = part.component
    if isinstance(component, Slice):
        return Fraction(component.vector - component.stop, component.input.beats)
    if not isinstance(component, Window):
        return Fraction(0)
    height, down = component.x.shape[0], len(component.buffer.needed)
    known = (old + needed for old, needed in zip(component.buffer.oldest, component.buffer.needed, strict=True))
    return max(Fraction(0), *(Fraction(y + 1, down) - Fraction(rows, height) for y, rows in enumerate(known)))


def queue_depths(parts: Sequence[Part], sources: Sequence[Source], beats: Sequence[int], slack: int) -> list[int]:
    """Beats that the queue of each input of a join has to hold.

    parts: all components ahead of the join, each behind those that it reads. sources: the streams that the join reads;
    beats: of a frame on each of them. slack: beats that it takes of one more than of the others at times.
    """
    meet = _meet(parts, sources)
    holds = [_along(parts, source, meet, held, min) for source in sources]
    gives = [_along(parts, source, meet, lambda part, _: ahead(part), max) for source in sources]
    depths = []
    for place, count in enumerate(beats):
        others = max(hold for n, hold in enumerate(holds) if n != place)
        depths.append(math.ceil((others + gives[place]) * count) + 1 + slack)
    return depths


def _meet(parts: Sequence[Part], sources: Sequence[Source]) -> int:
    """The last component that all ways to `sources` lead through; -1 is the input."""
    through: dict[int, frozenset[int]] = {-1: frozenset({-1})}
    for index, part in enumerate(parts):
        through[index] = frozenset.intersection(*(through[source] for source, _ in part.sources)) | {index}
    return max(frozenset.intersection(*(through[source] for source, _ in sources)))


def _along(parts, source: Source, start: int, measure, pick) -> Fraction:
    """`measure` of the components added up along the way from `start` to `source` for which `pick` picks the sum."""
    best = {start: Fraction(0)}
    for index in range(start + 1, source[0] + 1):
        ways = [
            best[come] + measure(parts[index], place)
            for place, (come, _) in enumerate(parts[index].sources)
            if come in best
        ]
        if ways:
            best[index] = pick(ways)
    return best[source[0]]
