"""The index of the greatest code of a vector: a tree over the lanes, then a running maximum over the beats."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen import ops
from hwgen.gateware import timing
from hwgen.gateware.beat import beats_of, lane_shape, signature
from hwgen.gateware.pipeline import Flags, counter, register
from hwgen.ir import TensorType


class ArgMax(wiring.Component):
    """Index of the greatest code along the channels; of equal ones the lowest.

    Parameters: `op`; `x`, the type of its input tensor; `lanes`, which divide the channels.
    Ports: `i`, a stream of x; `o`, a stream of one index a beat, one beat for each vector of channels. One clock
    enable freezes the whole unit while its output beat waits.
    Pipeline: ceil(log2 lanes) tree levels, each with a register, and the running maximum: depth = 1 + levels clocks
    after the last beat of a vector. Latency: beats - 1 + depth. Interval: one input beat a clock.
    """

    def __init__(self, op: ops.ArgMax, x: TensorType, lanes: int):
        self.input, self.output = beats_of(x, lanes), beats_of(op.infer(x), 1)
        self.vector = x.channels // lanes
        self.levels = (lanes - 1).bit_length()
        self.depth = self.levels + 1
        self.interval = self.input.beats
        self.latency = self.interval - 1 + self.depth
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.gather(self.vector, self.depth, sink)

    def elaborate(self, platform):
        m = Module()
        enable = self.i.ready
        m.d.comb += enable.eq(~self.o.valid | self.o.ready)
        _, start, end = counter(m, enable & self.i.valid, self.vector, "beat")
        flags = Flags(self.i.valid, self.i.p.first, self.i.p.last, start, end)
        entries = [(lane, []) for lane in self.i.p.lanes]
        for level in range(self.levels):
            flags = flags.delayed(m, enable, level)
            entries = self._halve(m, enable, entries, level)
        ((value, lane),) = entries
        lane = Cat(lane)
        best = Signal(lane_shape(self.input), reset_less=True)
        index = Signal(self.output.bits, reset_less=True)
        opens = Signal(reset_less=True)
        # The first index of the beat is counted here, behind the tree, to be carried along with nothing.
        base = Signal(self.output.bits)
        take = enable & flags.valid
        with m.If(take):
            m.d.sync += base.eq(Mux(flags.end, 0, base + self.input.lanes))
            with m.If(flags.start | (value > best)):
                m.d.sync += [best.eq(value), index.eq(base + lane)]
            with m.If(flags.start):
                m.d.sync += opens.eq(flags.first)
        with m.If(enable):
            m.d.sync += self.o.valid.eq(flags.valid & flags.end)
        m.d.comb += [
            self.o.p.lanes[0].eq(index),
            self.o.p.first.eq(opens),
            self.o.p.last.eq(register(m, enable, flags.last, "closes")),
        ]
        return m

    def _halve(self, m, enable, entries, level):
        """The greater of each pair, the lower lane of equals, and the bits of its lane, lowest first.

        An odd one out goes on as it is.
        """
        kept = []
        for pair in range(0, len(entries), 2):
            value, lane = entries[pair]
            place = f"{level}_{pair // 2}"
            greater = Const(0, 1)
            if pair + 1 < len(entries):
                other, other_lane = entries[pair + 1]
                greater = Signal(name=f"greater_{place}")
                m.d.comb += greater.eq(other > value)
                value = Mux(greater, other, value)
                lane = [Mux(greater, high, low) for high, low in zip(other_lane, lane, strict=True)]
            bits = [
                bit if isinstance(bit, Const) else register(m, enable, bit, f"lane_{place}_{n}")
                for n, bit in enumerate([*lane, greater])
            ]
            kept.append((register(m, enable, value, f"value_{place}"), bits))
        return kept
