"""Holds back the beats of a block until the block's greatest magnitude is known."""

from collections.abc import Callable

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError
from hwgen.gateware.beat import lane_shape, signature
from hwgen.gateware.pipeline import counter
from hwgen.ir import Beats


def magnitude(value: Value) -> Value:
    """|value|, unsigned, of as many bits."""
    return Mux(value[-1], -value, value)[: len(value)]


def output_layout(beats: Beats) -> data.StructLayout:
    """A beat of `lanes`, `first`, `last`, and `any`, the bits that are set in a measure of its block."""
    lanes = data.ArrayLayout(lane_shape(beats), beats.lanes)
    return data.StructLayout({"lanes": lanes, "first": 1, "last": 1, "any": beats.bits})


class BlockMaximum(wiring.Component):
    """Adds to each beat the bitwise or of all magnitudes of its block; its top bit is that of the greatest of them.

    Parameters: `beats`, the input stream, signed; `block`, how many beats are a block, a divisor of the frame's;
    `measure`, what is put together of each magnitude instead of itself, of as many bits: a function whose top bit never
    falls as the magnitude grows.
    Ports: `i`, a stream of `beats`; `o`, a stream of beats with `any`.
    Latency: block + beats of the frame clocks, from its first beat in to its last out: a beat leaves block + 1 clocks
    after it came. Interval: one beat a clock.
    Raises HwgenError where blocks do not divide the frame, and for unsigned lanes.
    """

    def __init__(self, beats: Beats, block: int, measure: Callable[[Value], Value] = lambda value: value):
        if not beats.signed:
            raise HwgenError("the greatest magnitude is found of signed lanes only")
        if block < 1 or beats.beats % block:
            raise HwgenError(f"blocks of {block} beats do not divide a frame of {beats.beats}")
        self.input, self.block, self.measure = beats, block, measure
        self.interval, self.latency = beats.beats, block + beats.beats
        super().__init__({"i": In(signature(beats)), "o": Out(stream.Signature(output_layout(beats)))})

    def elaborate(self, platform):
        m = Module()
        beat = self.i.p.as_value()
        m.submodules.held = held = SyncFIFOBuffered(width=len(beat), depth=2 * self.block + 2)
        m.submodules.known = known = SyncFIFOBuffered(width=self.input.bits, depth=4)
        take, give = Signal(), Signal()
        _, starts, ends = counter(m, take, self.block, "index")
        _, _, leaves = counter(m, give, self.block, "left")
        before, so_far = Signal(self.input.bits), Signal(self.input.bits)
        own = Signal(self.input.bits, name="own")
        bits: Value = Const(0, self.input.bits)
        for lane in range(self.input.lanes):
            size = Signal(self.input.bits, name=f"magnitude_{lane}")
            m.d.comb += size.eq(magnitude(self.i.p.lanes[lane]))
            bits = bits | self.measure(size)
        m.d.comb += [
            own.eq(bits),
            so_far.eq(own | Mux(starts, 0, before)),
            self.i.ready.eq(held.w_rdy & known.w_rdy),
            take.eq(self.i.valid & self.i.ready),
            held.w_data.eq(beat),
            held.w_en.eq(take),
            known.w_data.eq(so_far),
            known.w_en.eq(take & ends),
        ]
        with m.If(take):
            m.d.sync += before.eq(so_far)
        payload = data.View(self.i.p.shape(), held.r_data)
        m.d.comb += [
            self.o.valid.eq(held.r_rdy & known.r_rdy),
            give.eq(self.o.valid & self.o.ready),
            held.r_en.eq(give),
            known.r_en.eq(give & leaves),
            self.o.p.lanes.eq(payload.lanes),
            self.o.p.first.eq(payload.first),
            self.o.p.last.eq(payload.last),
            self.o.p.any.eq(known.r_data),
        ]
        return m
