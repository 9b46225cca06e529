"""A stream to several: each beat goes to all of them."""

import functools
import operator

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.gateware import timing
from hwgen.gateware.beat import signature
from hwgen.ir import Beats


class Fork(wiring.Component):
    """Gives every beat to each of `count` streams, which take it when they are ready, each in its own clock.

    A beat is accepted in the clock in which the last of them takes it; a flag for each remembers who has. So one that
    waits holds the others up by one beat, and no valid depends on a ready.

    Parameters: `beats`, the stream; `count`, 2 or more.
    Ports: `i`; `o0`, `o1`, ..., streams of the same beats. Latency: none, a beat passes in the clock in which it comes.
    Interval: one beat a clock.
    """

    def __init__(self, beats: Beats, count: int):
        self.input = self.output = beats
        self.count = count
        self.interval = self.latency = beats.beats
        outputs = {f"o{n}": Out(signature(beats)) for n in range(count)}
        super().__init__({"i": In(signature(beats)), **outputs})

    def timing(self, sinks: list[timing.Push]) -> timing.Push:
        return timing.fork(sinks)

    def elaborate(self, platform):
        m = Module()
        served = []
        for n in range(self.count):
            o, done = getattr(self, f"o{n}"), Signal(name=f"done_{n}")
            m.d.comb += [o.payload.eq(self.i.payload), o.valid.eq(self.i.valid & ~done)]
            served.append(done | o.ready)
            m.d.sync += done.eq(self.i.valid & ~self.i.ready & served[-1])
        m.d.comb += self.i.ready.eq(functools.reduce(operator.and_, served))
        return m
