"""When beats move: a small max-plus model of components, exact for a frame, stalls within the accelerator included.

A `Push` offers one beat at a clock cycle and returns the cycle in which it is accepted. Each function here makes the
Push of one component from the Push of the next one. Beats are pushed in stream order.
"""

import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hwgen.errors import HwgenError
from hwgen.ops.cost_window import LineBuffer

Push = Callable[[int], int]


class Enabled:
    """The clock cycles in which a unit with one clock enable moves: those in which no output beat of it waits.

    Cycles are asked for in the order of the stream, so that what lies behind can be forgotten.
    """

    def __init__(self, sink: Push):
        self.sink = sink
        self.frozen: deque[tuple[int, int]] = deque()

    def first(self, cycle: int) -> int:
        """The first such cycle from `cycle` on."""
        while self.frozen and self.frozen[0][1] <= cycle:
            self.frozen.popleft()
        for start, end in self.frozen:
            if start <= cycle < end:
                cycle = end
        return cycle

    def later(self, cycle: int, count: int) -> int:
        """The cycle at whose start the unit has moved `count` times, that of `cycle` included."""
        cycle, out = self.first(cycle), cycle + count
        for start, end in self.frozen:
            if start < out:
                out += end - max(start, cycle)
        return out

    def give(self, offered: int) -> int:
        """Offer an output beat; the unit freezes until it is accepted."""
        accepted = self.sink(offered)
        if accepted > offered:
            self.frozen.append((offered, accepted))
        return accepted


def pipeline(depth: int, sink: Push) -> Push:
    """Every beat comes out `depth` clocks after it went in; one beat a clock."""
    return gather(1, depth, sink)


def matvec(synapse_folds: int, neuron_folds: int, depth: int, sink: Push) -> Push:
    """A beat is taken in each step of the first neuron fold; then the others run without input."""
    enabled, free, index = Enabled(sink), 0, 0

    def push(offered: int) -> int:
        nonlocal free, index
        accepted = enabled.first(max(offered, free))
        free = accepted + 1
        index += 1
        if index == synapse_folds:
            index = 0
            for fold in range(neuron_folds):
                enabled.give(enabled.later(accepted, fold * synapse_folds + depth))
            free = enabled.later(accepted, (neuron_folds - 1) * synapse_folds + 1)
        return accepted

    return push


def gather(count: int, depth: int, sink: Push, beats: int = 1) -> Push:
    """The last `beats` of every `count` beats give one each, `depth` clocks later."""
    enabled, index = Enabled(sink), 0

    def push(offered: int) -> int:
        nonlocal index
        accepted = enabled.first(offered)
        index += 1
        if index > count - beats:
            enabled.give(enabled.later(accepted, depth))
            index %= count
        return accepted

    return push


def passing(count: int, start: int, stop: int, depth: int, sink: Push) -> Push:
    """Of every `count` beats those from `start` to `stop` - 1 pass, `depth` clocks later; the others go."""
    enabled, index = Enabled(sink), 0

    def push(offered: int) -> int:
        nonlocal index
        accepted = enabled.first(offered)
        if start <= index < stop:
            enabled.give(enabled.later(accepted, depth))
        index = (index + 1) % count
        return accepted

    return push


def grouped(counts: tuple[int, int, int, int], depth: int, sink: Push) -> Push:
    """A unit of products in groups. counts: taps, groups one after the other, beats of each, clocks for each beat; the
    last beat of each group in the last tap gives one in each of them."""
    taps, groups, inner, clocks = counts
    enabled, free, index = Enabled(sink), 0, 0

    def push(offered: int) -> int:
        nonlocal free, index
        accepted = enabled.first(max(offered, free))
        if index >= (taps - 1) * groups * inner and index % inner == inner - 1:
            for clock in range(clocks):
                enabled.give(enabled.later(accepted, clock + depth))
        free = enabled.later(accepted, clocks)
        index = (index + 1) % (taps * groups * inner)
        return accepted

    return push


def scatter(count: int, sink: Push) -> Push:
    """One beat gives `count`, the first one clock later; the next is taken while the last of them leaves."""
    free = 0

    def push(offered: int) -> int:
        nonlocal free
        accepted = max(offered, free)
        free = accepted
        for _ in range(count):
            free = sink(free + 1)
        return accepted

    return push


def fifo(size: int, depth: int, sink: Push) -> Push:
    """A beat can leave `depth` clocks after it entered, and after the one before it; `size` beats wait at most."""
    free = 0
    # The cycles from which there is room again for each beat that came.
    room: deque[int] = deque([0] * size)

    def push(offered: int) -> int:
        nonlocal free
        accepted = max(offered, room.popleft())
        out = max(accepted + depth, free + 1)
        room.append(out)
        free = sink(out)
        return accepted

    return push


def blocks(block: int, depth: int, sink: Push) -> Push:
    """The beats of a block leave one after the other, the first `depth` clocks after the last of them came."""
    enabled, index, free = Enabled(sink), 0, 0

    def push(offered: int) -> int:
        nonlocal index, free
        accepted = enabled.first(offered)
        index += 1
        if index == block:
            index = 0
            out = max(enabled.later(accepted, depth), free)
            for _ in range(block):
                out = enabled.give(out) + 1
            free = out
        return accepted

    return push


def window(buffer: LineBuffer, depth: int, sink: Push) -> Push:
    """A row of windows starts a clock after the last image row it needs; image rows wait for room in the buffer."""
    enabled, beats = Enabled(sink), buffer.output_beats // len(buffer.needed)
    # `known`: image rows that the next row of windows needs; `room`: when there is room for each image row to come.
    index, rows, known, turn, y = 0, 0, buffer.needed[0], 0, 0
    room: deque[int] = deque([0] * buffer.rows)

    def push(offered: int) -> int:
        nonlocal index, rows, known, turn, y
        accepted = max(offered, room[0])
        index += 1
        if index < buffer.row_beats:
            return accepted
        index, rows = 0, rows + 1
        room.popleft()
        while y < len(buffer.needed) and rows >= known:
            turn = max(turn, accepted + 1)
            for _ in range(beats):
                turn = enabled.first(turn)
                enabled.give(enabled.later(turn, depth))
                turn += 1
            room.extend([enabled.later(turn - 1, 1) + 1] * buffer.freed[y])
            y += 1
            if y < len(buffer.needed):
                known += buffer.freed[y - 1] + buffer.needed[y] - buffer.needed[y - 1]
        return accepted

    return push


def fork(sinks: Sequence[Push]) -> Push:
    """Every beat is offered to all sinks at once, and accepted when the last of them accepts it."""

    def push(offered: int) -> int:
        return max([sink(offered) for sink in sinks])

    return push


class Queue:
    """A FIFO (see `fifo`) whose reader takes a beat when there are others too."""

    def __init__(self, size: int):
        self.size = size
        self.room: deque[int] = deque([0] * size)
        self.waiting: deque[int] = deque()
        self.free = -1
        self.head: int | None = None

    def push(self, offered: int) -> int:
        """Offer a beat; returns the cycle that accepts it. Raises HwgenError where that takes other branches first."""
        if not self.room:
            raise HwgenError(f"a queue of {self.size} beats is full while the join behind it waits for another branch")
        accepted = max(offered, self.room.popleft())
        self.waiting.append(accepted)
        self._advance()
        return accepted

    def pop(self, cycle: int) -> None:
        """The reader takes the beat at the output."""
        self.free, self.head = cycle, None
        self._advance()

    def _advance(self) -> None:
        if self.head is None and self.waiting:
            self.head = max(self.waiting.popleft() + 2, self.free + 1)
            self.room.append(self.head)


def join(sizes: Sequence[int], turns: Sequence[int], depth: int, sink: Push, *, together: bool = True) -> list[Push]:
    """A queue for each input, behind which beats come out `depth` clocks later: one for one of each, or in turns.

    turns: beats that are taken of each input in its turn. The queues have to be so long that none is full while
    another is empty, whatever the branches hold: see hwgen.gateware.branches.
    """
    queues, enabled = [Queue(size) for size in sizes], Enabled(sink)
    order = [n for n, count in enumerate(turns) for _ in range(count)]
    place, free = 0, 0

    def taken() -> bool:
        nonlocal place, free
        here = queues if together else [queues[order[place]]]
        heads = [queue.head for queue in here]
        if None in heads:
            return False
        start = enabled.first(max([free, *(head for head in heads if head is not None)]))
        free, place = start + 1, (place + 1) % len(order)
        for queue in here:
            queue.pop(start)
        enabled.give(enabled.later(start, depth))
        return True

    def input_of(queue: Queue) -> Push:
        def push(offered: int) -> int:
            accepted = queue.push(offered)
            while taken():
                pass
            return accepted

        return push

    return [input_of(queue) for queue in queues]


@dataclass
class Span:
    """When a stream's beats were accepted: the first and the last of them."""

    first: int = -1
    last: int = -1

    def watch(self, push: Push) -> Push:
        """`push`, with its beats noted."""

        def record(offered: int) -> int:
            cycle = push(offered)
            if self.first < 0:
                self.first = cycle
            self.last = cycle
            return cycle

        return record


Source = tuple[int, int]
"""A stream: the number of the component that it comes from, -1 for the input, and of its output there."""


def spans(
    beats: int, timings: Sequence[Callable[..., Push | list[Push]]], sources: Sequence[Sequence[Source]]
) -> list[tuple[int, int]]:
    """When each component works on one frame, the source always valid.

    timings: makes the Push of each component, or those of a join's inputs, from that of the next one, or those of all
    that read a fork. sources: the streams that each component reads; components stand behind those that they read,
    and what the last one gives is the output. The result is (the cycle that accepts its first input beat, the cycle
    that accepts its last output beat) for each; cycle 0 is the first at the input.
    """
    seen: dict[Source, Span] = {(len(timings) - 1, 0): Span()}
    pushes: dict[Source, Push] = {(len(timings) - 1, 0): seen[len(timings) - 1, 0].watch(lambda offered: offered)}
    for index in reversed(range(len(timings))):
        sinks = [pushes[source] for source in sorted(pushes) if source[0] == index]
        made = timings[index](sinks if len(sinks) > 1 else sinks[0])
        for source, push in zip(sources[index], made if isinstance(made, list) else [made], strict=True):
            seen[source] = Span()
            pushes[source] = seen[source].watch(push)
    # A beat is pushed through all components in one nest of calls.
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 8 * len(timings))
    try:
        cycle = -1
        for _ in range(beats):
            cycle = pushes[-1, 0](cycle + 1)
    finally:
        sys.setrecursionlimit(limit)
    ends = [max(span.last for source, span in seen.items() if source[0] == index) for index in range(len(timings))]
    return [(min(seen[source].first for source in read), end) for read, end in zip(sources, ends, strict=True)]
