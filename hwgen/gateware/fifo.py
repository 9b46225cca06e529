"""A stream FIFO over a memory with a registered output."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwgen.gateware import timing
from hwgen.gateware.beat import signature
from hwgen.gateware.pipeline import APART, counter
from hwgen.ir import Beats


class Fifo(wiring.Component):
    """A first-in first-out queue of beats.

    Parameters: `beats`, the stream; `depth`, beats of storage (one more waits in the output register).
    Ports: `i` and `o`, streams of `beats`. `i.ready` depends on registers only, which ends the chain of stalls.
    Latency: 2 clocks a beat; a frame of n beats takes n + 1. Interval: one beat a clock.
    """

    def __init__(self, beats: Beats, depth: int):
        self.input = self.output = beats
        self.size = max(depth, 2)
        self.interval = beats.beats
        self.latency = beats.beats - 1 + 2
        super().__init__({"i": In(signature(beats)), "o": Out(signature(beats))})

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.fifo(self.size, 2, sink)

    def elaborate(self, platform):
        m = Module()
        m.submodules.storage = storage = Memory(shape=self.input.payload_bits, depth=self.size, init=[], attrs=APART)
        write, read = storage.write_port(), storage.read_port()
        level = Signal(range(self.size + 1))
        # Registers of their own, so that the chains of valid and ready begin and end here.
        room, filled = Signal(init=1), Signal()
        m.d.comb += [
            self.i.ready.eq(room),
            write.data.eq(self.i.payload),
            write.en.eq(self.i.valid & room),
            read.en.eq(filled & (~self.o.valid | self.o.ready)),
            self.o.payload.eq(read.data),
        ]
        tail, _, _ = counter(m, write.en, self.size, "tail")
        head, _, _ = counter(m, read.en, self.size, "head")
        m.d.comb += [write.addr.eq(tail), read.addr.eq(head)]
        with m.If(write.en & ~read.en):
            m.d.sync += [level.eq(level + 1), room.eq(level != self.size - 1), filled.eq(1)]
        with m.Elif(read.en & ~write.en):
            m.d.sync += [level.eq(level - 1), room.eq(1), filled.eq(level != 1)]
        with m.If(read.en | self.o.ready):
            m.d.sync += self.o.valid.eq(read.en)
        return m
