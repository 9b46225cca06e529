"""Holds back the beats of a block until the block's greatest magnitude is known; streams of blocks."""

from collections.abc import Callable

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError
from hwgen.formats import Block
from hwgen.gateware.beat import lane_shape, signature
from hwgen.gateware.pipeline import counter
from hwgen.ir import Beats


def magnitude(value: Value) -> Value:
    """|value|, unsigned, of as many bits."""
    return Mux(value[-1], -value, value)[: len(value)]


def check_blocks(fmt: Block, beats: Beats) -> None:
    """Raises HwgenError unless the lanes divide a block, and blocks a frame."""
    if fmt.size % beats.lanes or beats.codes % fmt.size:
        raise HwgenError(
            f"blocks of {fmt.size} need lanes that divide them and whole blocks in a frame, "
            f"not {beats.lanes} lanes and {beats.codes} numbers"
        )


def block_stream(fmt: Block, lanes: int) -> stream.Signature:
    """Beats of element codes (`lanes`), with the code of the `scale` that they share, `first` and `last`."""
    codes = data.ArrayLayout(fmt.element.bits, lanes)
    return stream.Signature(data.StructLayout({"lanes": codes, "scale": fmt.scale.bits, "first": 1, "last": 1}))


def output_layout(beats: Beats) -> data.StructLayout:
    """A beat of `lanes`, `first`, `last`, and `most`, what the measures of its block come to."""
    lanes = data.ArrayLayout(lane_shape(beats), beats.lanes)
    return data.StructLayout({"lanes": lanes, "first": 1, "last": 1, "most": beats.bits})


def either(a: Value, b: Value) -> Value:
    """The bits that are set in one of both: the top bit is that of the greater one."""
    return a | b


def greater(a: Value, b: Value) -> Value:
    """The greater one of both."""
    return Mux(a > b, a, b)


class BlockMaximum(wiring.Component):
    """Adds to each beat what the magnitudes of its block come to: their bitwise or, or the greatest of them.

    Parameters: `beats`, the input stream, signed; `block`, how many beats are a block, a divisor of the frame's;
    `measure`, what is put together of each magnitude instead of itself, of as many bits: a function whose top bit never
    falls as the magnitude grows; `join`, how two are put together: `either`, whose top bit is that of the greatest, or
    `greater`.
    Ports: `i`, a stream of `beats`; `o`, a stream of beats with `most`.
    Latency: block + beats of the frame clocks, from its first beat in to its last out: a beat leaves block + 1 clocks
    after it came. Interval: one beat a clock.
    Raises HwgenError where blocks do not divide the frame, and for unsigned lanes.
    """

    def __init__(
        self,
        beats: Beats,
        block: int,
        measure: Callable[[Value], Value] = lambda value: value,
        join: Callable[[Value, Value], Value] = either,
    ):
        if not beats.signed:
            raise HwgenError("the greatest magnitude is found of signed lanes only")
        if block < 1 or beats.beats % block:
            raise HwgenError(f"blocks of {block} beats do not divide a frame of {beats.beats}")
        self.input, self.block, self.measure, self.join = beats, block, measure, join
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
        m.d.comb += [
            own.eq(self._joined(m)),
            so_far.eq(self.join(own, Mux(starts, 0, before))),
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
            self.o.p.most.eq(known.r_data),
        ]
        return m

    def _joined(self, m: Module) -> Value:
        """What the measures of a beat come to."""
        found = []
        for lane in range(self.input.lanes):
            size = Signal(self.input.bits, name=f"magnitude_{lane}")
            m.d.comb += size.eq(magnitude(self.i.p.lanes[lane]))
            found.append(self.measure(size))
        while len(found) > 1:
            # What is left over goes last, so that it is joined on the next level.
            found = [self.join(*found[n : n + 2]) if n + 1 < len(found) else found[n] for n in range(0, len(found), 2)]
        return found[0]
