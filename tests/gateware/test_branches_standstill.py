"""No standstill where branches join: a bounded proof, and a counterexample for queues that are too short."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError, MismatchError
from hwgen.formats import Int
from hwgen.gateware import timing
from hwgen.gateware.beat import signature
from hwgen.gateware.branches import Part, queue_depths
from hwgen.gateware.fork import Fork
from hwgen.gateware.join import Beside, Product, Sum
from hwgen.gateware.width import Gather, Scatter
from hwgen.ir import Beats, TensorType
from hwgen.ops import Add, Concat, Multiply
from tests.gateware.test_standstill import prove


class Diamond(wiring.Component):
    """A fork, one branch that gathers a frame of beats before it gives any, one without anything, and a join."""

    def __init__(self, join, beats, depths):
        self.input = beats
        self.fork, self.gather = Fork(beats, 2), Gather(beats, beats.codes)
        self.scatter = Scatter(self.gather.output, beats.lanes)
        self.join = join(depths)
        self.output = self.join.output
        super().__init__({"i": In(signature(beats)), "o": Out(signature(self.output))})

    def parts(self):
        """All but the join, for the length of its queues."""
        first = Part(self.fork, None, ((-1, 0),))
        return [first, Part(self.gather, None, ((0, 0),)), Part(self.scatter, None, ((1, 0),))]

    def elaborate(self, platform):
        m = Module()
        for name in ("fork", "gather", "scatter", "join"):
            m.submodules[name] = getattr(self, name)
        for source, sink in (
            (wiring.flipped(self.i), self.fork.i),
            (self.fork.o0, self.gather.i),
            (self.gather.o, self.scatter.i),
            (self.scatter.o, self.join.i0),
            (self.fork.o1, self.join.i1),
            (self.join.o, wiring.flipped(self.o)),
        ):
            wiring.connect(m, source, sink)
        return m


BIT = Int(1, is_signed=False)


def diamond(join, beats, slack, depths=None):
    make = Diamond(join, beats, [2, 2])
    found = queue_depths(make.parts(), ((2, 0), (0, 1)), [beats.beats] * 2, slack)
    return Diamond(join, beats, depths or found)


def a_sum(depths):
    return Sum(Add((1, 1), (BIT, BIT)), [TensorType((6,), BIT)] * 2, 1, depths)


def a_product(depths):
    return Product(Multiply((BIT, BIT), (0, 0)), [TensorType((4,), BIT)] * 2, 1, depths)


def a_pair(depths):
    return Beside(Concat(), [TensorType((2, 2), BIT)] * 2, 1, depths)


CASES = {
    "sum": (lambda: diamond(a_sum, Beats(1, 1, False, 6), 1), 24),
    "product": (lambda: diamond(a_product, Beats(1, 1, False, 4), 1), 20),
    "side by side": (lambda: diamond(a_pair, Beats(1, 1, False, 4), 2), 22),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_branches_do_not_wait_for_each_other(name, tmp_path):
    make, clocks = CASES[name]
    prove(make(), clocks, 8, tmp_path)


@pytest.mark.slow
def test_branches_that_wait_for_each_other_are_found(tmp_path):
    """A queue of two beats does not hold what the other branch gathers first."""
    component = diamond(a_sum, Beats(1, 1, False, 6), 1, depths=[2, 2])
    with pytest.raises(MismatchError, match="moves of monitor is 0 in one of the first 24 clocks"):
        prove(component, 24, 8, tmp_path)


def test_the_timing_model_refuses_queues_that_are_too_short():
    long, short = timing.join([2, 2], [1, 1], 1, lambda offered: offered)
    push = timing.fork([timing.gather(6, 1, timing.scatter(6, long)), short])
    with pytest.raises(HwgenError, match="a queue of 2 beats is full while the join behind it waits for another"):
        list(map(push, range(6)))
