"""When beats move: a small max-plus model of components, exact while the accelerator's output is never stalled.

A `Push` offers one beat at a clock cycle and returns the cycle in which it is accepted. Each function here makes the
Push of one component from the Push of the next one. Beats are pushed in stream order.
"""

from collections.abc import Callable, Sequence

Push = Callable[[int], int]


def check_accepted(offered: int, accepted: int) -> None:
    """Components that freeze when they are stalled stand only before others that never stall an empty pipeline."""
    assert offered == accepted, f"a beat offered in cycle {offered} waits until {accepted}"


def pipeline(depth: int, sink: Push) -> Push:
    """Every beat comes out `depth` clocks after it went in; one beat a clock."""

    def push(offered: int) -> int:
        check_accepted(offered + depth, sink(offered + depth))
        return offered

    return push


def matvec(synapse_folds: int, neuron_folds: int, depth: int, sink: Push) -> Push:
    """A beat is taken in each step of the first neuron fold; then the others run without input."""
    free, index = 0, 0

    def push(offered: int) -> int:
        nonlocal free, index
        accepted = max(offered, free)
        free = accepted + 1
        index += 1
        if index == synapse_folds:
            index = 0
            for fold in range(neuron_folds):
                out = accepted + fold * synapse_folds + depth
                check_accepted(out, sink(out))
            free = accepted + (neuron_folds - 1) * synapse_folds + 1
        return accepted

    return push


def gather(count: int, depth: int, sink: Push) -> Push:
    """Every `count` beats give one, `depth` clocks after the last of them."""
    index = 0

    def push(offered: int) -> int:
        nonlocal index
        index += 1
        if index == count:
            index = 0
            check_accepted(offered + depth, sink(offered + depth))
        return offered

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


def fifo(depth: int, sink: Push) -> Push:
    """A beat can leave `depth` clocks after it entered, and after the one before it."""
    free = 0

    def push(offered: int) -> int:
        nonlocal free
        free = sink(max(offered + depth, free + 1))
        return offered

    return push


def blocks(block: int, depth: int, sink: Push) -> Push:
    """The beats of a block leave one after the other, the first `depth` clocks after the last of them came."""
    index, free = 0, 0

    def push(offered: int) -> int:
        nonlocal index, free
        index += 1
        if index == block:
            index = 0
            out = max(offered + depth, free)
            for beat in range(block):
                check_accepted(out + beat, sink(out + beat))
            free = out + block
        return offered

    return push


def spans(beats: int, timings: Sequence[Callable[[Push], Push]]) -> list[tuple[int, int]]:
    """When each component of a chain works on one frame, the source always valid.

    `timings` makes the Push of each component from that of the next one. The result is (the cycle that accepts its
    first input beat, the cycle that accepts its last output beat) for each; cycle 0 is the first at the chain's input.
    """
    accepted: list[list[int]] = [[] for _ in range(len(timings) + 1)]

    def watched(push: Push, index: int) -> Push:
        def record(offered: int) -> int:
            cycle = push(offered)
            accepted[index].append(cycle)
            return cycle

        return record

    push = watched(lambda offered: offered, len(timings))
    for index in reversed(range(len(timings))):
        push = watched(timings[index](push), index)
    cycle = -1
    for _ in range(beats):
        cycle = push(cycle + 1)
    return [(accepted[n][0], accepted[n + 1][-1]) for n in range(len(timings))]
