"""Width converters: several narrow beats to a wide one, and a wide beat to several narrow ones."""

from dataclasses import replace

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError
from hwgen.gateware import timing
from hwgen.gateware.beat import signature
from hwgen.gateware.pipeline import counter
from hwgen.ir import Beats


def _ratio(wide: int, narrow: int) -> int:
    if wide % narrow:
        raise HwgenError(f"lanes of a width converter must divide each other, not {wide} and {narrow}")
    return wide // narrow


def _keep_shared(m, take, source, sink) -> None:
    """Hold what the codes of a beat share: the same before and behind a converter, as beats lie within a block."""
    if "shared" in sink.p.shape().members:
        shared = Signal(len(sink.p.shared), name="shared", reset_less=True)
        m.d.comb += sink.p.shared.eq(shared)
        with m.If(take):
            m.d.sync += shared.eq(source.p.shared)


class Gather(wiring.Component):
    """Puts `lanes / beats.lanes` beats together into one, the earliest in the lowest lanes.

    Parameters: `beats`, the input stream; `lanes` of the output, a multiple of the input's.
    Ports: `i`, a stream of `beats`; `o`, a stream of beats of `lanes` lanes.
    Latency: one clock from the last beat of a group to its output. Interval: one input beat a clock, also while an
    output beat leaves.
    """

    def __init__(self, beats: Beats, lanes: int):
        self.ratio = _ratio(lanes, beats.lanes)
        if beats.beats % self.ratio:
            raise HwgenError(f"lanes must divide the frame: {lanes} lanes, {beats.codes} codes")
        self.input, self.output = beats, replace(beats, lanes=lanes, beats=beats.beats // self.ratio)
        self.interval = beats.beats
        self.latency = beats.beats
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.gather(self.ratio, 1, sink)

    def elaborate(self, platform):
        m = Module()
        take = Signal()
        lanes = Signal(self.output.lane_bits, reset_less=True)
        first, last = Signal(reset_less=True), Signal(reset_less=True)
        _, start, end = counter(m, take, self.ratio, "index")
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            take.eq(self.i.valid & self.i.ready),
            self.o.p.lanes.eq(lanes),
            self.o.p.first.eq(first),
            self.o.p.last.eq(last),
        ]
        _keep_shared(m, take, self.i, self.o)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid & end)
        with m.If(take):
            m.d.sync += [
                lanes.eq(Cat(lanes, self.i.p.lanes)[self.input.lane_bits :]),
                last.eq(self.i.p.last),
            ]
            with m.If(start):
                m.d.sync += first.eq(self.i.p.first)
        return m


class Scatter(wiring.Component):
    """Sends one beat as `beats.lanes / lanes` beats, the lowest lanes first.

    Parameters: `beats`, the input stream; `lanes` of the output, a divisor of the input's.
    Ports: `i`, a stream of `beats`; `o`, a stream of beats of `lanes` lanes.
    Latency: one clock to the first output beat of an input beat. Interval: one output beat a clock; the next input
    beat is taken while the last output beat leaves.
    """

    def __init__(self, beats: Beats, lanes: int):
        self.ratio = _ratio(beats.lanes, lanes)
        self.input, self.output = beats, replace(beats, lanes=lanes, beats=beats.beats * self.ratio)
        self.interval = self.output.beats
        self.latency = self.output.beats
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.scatter(self.ratio, sink)

    def elaborate(self, platform):
        m = Module()
        # High while there is nothing to send after the output beat. It is a register, and alone selects what the lanes
        # take, so that one small LUT a bit is all they need.
        refill = Signal(init=1)
        enable = Signal()
        narrow = self.output.lane_bits
        lanes = Signal(self.input.lane_bits, reset_less=True)
        first, last = Signal(reset_less=True), Signal(reset_less=True)
        _, _, ends = counter(m, enable & ~refill, self.ratio - 1, "index")
        m.d.comb += [
            enable.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(enable & refill),
            self.o.p.lanes.eq(lanes),
            self.o.p.first.eq(first),
            self.o.p.last.eq(last & refill),
        ]
        _keep_shared(m, self.i.ready, self.i, self.o)
        new = self.i.p.lanes.as_value()
        with m.If(enable):
            # The highest lanes take anything while others move down: nobody reads it.
            m.d.sync += [lanes.eq(Cat(Mux(refill, new[:-narrow], lanes[narrow:]), new[-narrow:]))]
            m.d.sync += first.eq(refill & self.i.p.first)
            with m.If(refill):
                m.d.sync += [self.o.valid.eq(self.i.valid), refill.eq(~self.i.valid), last.eq(self.i.p.last)]
            with m.Else():
                m.d.sync += refill.eq(ends)
        return m
