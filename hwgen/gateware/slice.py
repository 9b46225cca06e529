"""Some of the channels of each vector: the beats that carry them pass, the others go."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.gateware import timing
from hwgen.gateware.beat import beats_of, signature
from hwgen.gateware.pipeline import counter
from hwgen.ir import TensorType


class Slice(wiring.Component):
    """Channels op.start to op.stop - 1 of each vector of x.

    Parameters: `op`; `x`, the type of its input tensor; `lanes`, which divide the channels, the start and the stop.
    Ports: `i`, a stream of x; `o`, a stream of as many lanes. One clock enable, low while the output beat waits.
    Pipeline: a register, depth = 1. Interval: one input beat a clock. Latency: input beats - 1 + 1, less the beats that
    go behind the last one that passes.
    Raises HwgenError if lanes do not divide them.
    """

    depth = 1

    def __init__(self, op: ops.Slice, x: TensorType, lanes: int):
        if op.start % lanes or op.stop % lanes:
            raise HwgenError(f"lanes must divide a slice: {lanes} lanes, channels {op.start} to {op.stop}")
        self.op = op
        self.input, self.output = beats_of(x, lanes), beats_of(op.infer(x), lanes)
        self.vector, self.start, self.stop = x.channels // lanes, op.start // lanes, op.stop // lanes
        self.interval = self.input.beats
        self.latency = self.interval - 1 + self.depth - (self.vector - self.stop)
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.passing(self.vector, self.start, self.stop, self.depth, sink)

    def elaborate(self, platform):
        m = Module()
        enable = self.i.ready
        m.d.comb += enable.eq(~self.o.valid | self.o.ready)
        step = enable & self.i.valid
        beat, _, end = counter(m, step, self.vector, "beat")
        _, start, last = counter(m, step & end, self.input.beats // self.vector, "vector")
        with m.If(enable):
            m.d.sync += [
                self.o.valid.eq(self.i.valid & (beat >= self.start) & (beat < self.stop)),
                self.o.p.lanes.eq(self.i.p.lanes),
                self.o.p.first.eq(start & (beat == self.start)),
                self.o.p.last.eq(last & (beat == self.stop - 1)),
            ]
            if self.output.shared:
                m.d.sync += self.o.p.shared.eq(self.i.p.shared)
        return m
