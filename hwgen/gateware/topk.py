"""The greatest codes of a vector: a row of cells kept in order, into which every code is inserted."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen import ops
from hwgen.gateware import timing
from hwgen.gateware.beat import beats_of, lane_shape, signature
from hwgen.gateware.pipeline import counter, register
from hwgen.ir import TensorType


class TopK(wiring.Component):
    """The k greatest codes along the channels, or their indices, the greatest first; of equal ones the lower index.

    A code moves in ahead of the first cell whose code is less, and those behind it move on by one. So equal codes stay
    in the order in which they came.

    Parameters: `op`; `x`, the type of its input tensor.
    Ports: `i`, a stream of x of one lane; `o`, a stream of one beat of k lanes for each vector of channels, lane 0 the
    greatest. One clock enable freezes the whole unit while its output beat waits.
    Pipeline: 1 clock behind the last beat of a vector. Latency: beats - 1 + 1. Interval: one input beat a clock.
    """

    depth = 1

    def __init__(self, op: ops.TopK, x: TensorType):
        self.op = op
        self.input, self.output = beats_of(x, 1), beats_of(op.infer(x), op.k)
        self.vector = x.channels
        self.interval = self.input.beats
        self.latency = self.interval - 1 + self.depth
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.gather(self.vector, self.depth, sink)

    def elaborate(self, platform):
        m = Module()
        enable = self.i.ready
        step = enable & self.i.valid
        m.d.comb += enable.eq(~self.o.valid | self.o.ready)
        index, start, end = counter(m, step, self.vector, "index")
        code, shape = self.i.p.lanes[0], lane_shape(self.input)
        given = index if self.op.give == "indices" else code
        ahead = None
        for place in range(self.op.k):
            value = Signal(shape, name=f"value_{place}", reset_less=True)
            kept = Signal(lane_shape(self.output), name=f"kept_{place}", reset_less=True)
            used = Signal(name=f"used_{place}", reset_less=True)
            # Whether the new code belongs here or further ahead.
            beats = Signal(name=f"beats_{place}")
            m.d.comb += [beats.eq(start | ~used | (code > value)), self.o.p.lanes[place].eq(kept)]
            with m.If(step):
                if ahead is None:
                    m.d.sync += used.eq(1)
                else:
                    m.d.sync += used.eq(~start & (used | ahead[3]))
                with m.If(beats):
                    if ahead is None:
                        m.d.sync += [value.eq(code), kept.eq(given)]
                    else:
                        moved = ahead[2]
                        m.d.sync += [value.eq(Mux(moved, ahead[0], code)), kept.eq(Mux(moved, ahead[1], given))]
            ahead = value, kept, beats, used
        opens = Signal(reset_less=True)
        with m.If(step & start):
            m.d.sync += opens.eq(self.i.p.first)
        with m.If(enable):
            m.d.sync += self.o.valid.eq(self.i.valid & end)
        m.d.comb += [self.o.p.first.eq(opens), self.o.p.last.eq(register(m, step, self.i.p.last, "closes"))]
        return m
