"""Pooling of windows: one number for each channel, the greatest of the window's pixels or their sum."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.formats import Minifloat
from hwgen.gateware import timing
from hwgen.gateware.beat import beats_of, lane_shape, signature
from hwgen.gateware.pipeline import APART, counter, register
from hwgen.ir import TensorType


def check_pool(op: ops.Pool, x: TensorType) -> None:
    """Raises HwgenError unless `op` knows that the codes are minifloats where they are."""
    if op.input_format != (x.format if isinstance(x.format, Minifloat) else None):
        raise HwgenError(f"a maximum of {x.codes_format.name} codes needs that input_format if they are minifloats")


class Pool(wiring.Component):
    """The maximum or the sum of each channel over the `taps` pixels of a window, C channels in C / lanes beats each.

    What a window has come to so far stands in a register, or a memory where a pixel takes several beats. Codes of
    signed minifloats are put in the order of their worth first, by inverting the magnitudes of negative ones.

    Parameters: `op`; `x`, the type of the windows (..., taps * C); `lanes`, which divide C.
    Ports: `i`, a stream of x; `o`, a stream of as many lanes, one beat for each in a window's last pixel. One clock
    enable freezes the whole unit while its output beat waits.
    Interval: one input beat a clock, also while output beats leave. Latency: input beats, 1 clock behind the last.
    Raises HwgenError if lanes do not divide C, and if `op` does not know that the codes are minifloats.
    """

    def __init__(self, op: ops.Pool, x: TensorType, lanes: int):
        y = op.infer(x)
        check_pool(op, x)
        self.op, self.x = op, x
        self.input, self.output = beats_of(x, lanes), beats_of(y, lanes)
        self.pixel = y.channels // lanes
        self.interval = self.latency = self.input.beats
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.gather(self.op.taps * self.pixel, 1, sink, self.pixel)

    def elaborate(self, platform):
        m = Module()
        enable = self.i.ready
        step = enable & self.i.valid
        m.d.comb += enable.eq(~self.o.valid | self.o.ready)
        beat, beat_start, beat_end = counter(m, step, self.pixel, "beat")
        _, tap_start, tap_end = counter(m, step & beat_end, self.op.taps, "tap")
        opens = Signal(reset_less=True)
        with m.If(step & tap_start & beat_start):
            m.d.sync += opens.eq(self.i.p.first)
        shape = lane_shape(self.output)
        sofar = self._sofar(m, step, beat)
        totals = []
        for lane, code in enumerate(self.i.p.lanes):
            old, new = sofar.word_select(lane, shape.width), self._ordered(code)
            total = Signal(shape, name=f"total_{lane}")
            if shape.signed or self._flips:
                old, new = old.as_signed(), new.as_signed()
            joined = Mux(new > old, new, old) if self.op.reduce == "max" else old + new
            m.d.comb += total.eq(Mux(tap_start, new, joined))
            totals.append(total)
        m.d.comb += self.totals.eq(Cat(totals))
        held = sofar if self.pixel == 1 else register(m, step, self.totals, "held")
        for lane in range(self.output.lanes):
            m.d.comb += self.o.p.lanes[lane].eq(self._ordered(held.word_select(lane, shape.width)))
        with m.If(enable):
            m.d.sync += self.o.valid.eq(self.i.valid & tap_end)
        first = Mux(tap_start, self.i.p.first, opens) & beat_start
        m.d.comb += [
            self.o.p.first.eq(register(m, step, first, "first")),
            self.o.p.last.eq(register(m, step, self.i.p.last, "last")),
        ]
        return m

    @property
    def _flips(self) -> bool:
        fmt = self.op.input_format
        return isinstance(fmt, Minifloat) and fmt.has_sign

    def _ordered(self, code: Value) -> Value:
        """The code as an integer in the order of worth; of that integer, the code."""
        return Cat(code[:-1] ^ code[-1].replicate(len(code) - 1), code[-1]) if self._flips else code

    def _sofar(self, m, step, beat) -> Value:
        """What the current beat's channels have come to before it; `totals` is what they come to with it."""
        self.totals = Signal(self.output.lane_bits, name="totals")
        if self.pixel == 1:
            return register(m, step, self.totals, "sofar")
        m.submodules.sofar = memory = Memory(shape=self.output.lane_bits, depth=self.pixel, init=[], attrs=APART)
        write, read = memory.write_port(), memory.read_port()
        following = Mux(beat == self.pixel - 1, 0, beat + 1)
        m.d.comb += [
            write.addr.eq(beat),
            write.data.eq(self.totals),
            write.en.eq(step),
            # The next beat's are read ahead: it is never the one that is written.
            read.addr.eq(following),
            read.en.eq(step),
        ]
        return read.data
