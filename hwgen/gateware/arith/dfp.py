"""The down-converter of dynamic fixed point (arXiv 1802.00930): INT32 sums of a tensor to narrow codes, one shift."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hwgen.errors import HwgenError
from hwgen.formats import DynamicFixed
from hwgen.formats.stochastic import Rounding
from hwgen.gateware.arith.block_maximum import BlockMaximum
from hwgen.gateware.arith.encode import normalise
from hwgen.gateware.arith.rounding import named, round_floor
from hwgen.gateware.beat import signature
from hwgen.gateware.pipeline import carry_frame, register
from hwgen.ir import Beats

SUM_BITS = 32


class DownConvert(wiring.Component):
    """Shifts all sums of a frame right by one amount, so that the greatest just fits, and rounds them.

    The shift is 33 - bits - LZC where that is positive, LZC being the leading zeros of max|sum| in 32 bits; a result
    of 2**(bits-1) saturates.
    Parameters: `fmt`; `beats`, the input stream of signed 32-bit sums, a frame being a tensor, which is held back until
    it is whole; `rounding` by name.
    Ports: `i`, a stream of `beats`; `o`, a stream of beats of as many codes (`lanes`), with `shift`, by which the
    shared exponent grows, in every beat, and `first` and `last`.
    Latency: 2 * frame beats + 3 clocks from the first beat in to the last out. Interval: one beat a clock.
    Raises HwgenError for other sums, UnsupportedError for stochastic rounding.
    """

    def __init__(self, fmt: DynamicFixed, beats: Beats, rounding: Rounding = "half_even"):
        if beats.bits != SUM_BITS or not beats.signed:
            raise HwgenError(f"dynamic fixed point is converted down from signed sums of 32 bits, not of {beats.bits}")
        self.format, self.input, self.rounding = fmt, beats, named(rounding)
        self.output = Beats(beats.lanes, fmt.bits, True, beats.beats)
        self.interval, self.latency = beats.beats, 2 * beats.beats + 3
        self.most = SUM_BITS + 1 - fmt.bits
        layout = {
            "lanes": data.ArrayLayout(signed(fmt.bits), beats.lanes),
            "shift": self.most.bit_length(),
            "first": 1,
            "last": 1,
        }
        super().__init__({"i": In(signature(beats)), "o": Out(stream.Signature(data.StructLayout(layout)))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.maximum = maximum = BlockMaximum(self.input, self.input.beats)
        connect(m, flipped(self.i), maximum.i)
        x = maximum.o
        enable = carry_frame(m, x, self.o, 3)
        # Counted no further than to where nothing is shifted: the bits below are held up by a one.
        limit = 1 << self.most.bit_length()
        top = x.p.most[-self.most :]
        word = Signal(limit, name="any")
        m.d.comb += word.eq(Cat(Const(1, 1), Const(0, limit - 1 - self.most), top))
        zeros = Signal(range(limit), name="zeros")
        _, counted = normalise(m, word, self.most.bit_length(), "maximum")
        m.d.comb += zeros.eq(Mux(top.any(), counted, self.most))
        shift = Signal(range(self.most + 1), name="shift")
        m.d.comb += shift.eq(self.most - zeros)
        shift = register(m, enable, shift, "shift_0")
        later = register(m, enable, register(m, enable, shift, "shift_1"), "shift_2")
        m.d.comb += self.o.p.shift.eq(later)
        for lane in range(self.input.lanes):
            m.d.comb += self.o.p.lanes[lane].eq(self._code(m, enable, x.p.lanes[lane], shift, lane))
        return m

    def _code(self, m: Module, enable: Value, x: Value, shift: Value, lane: int) -> Value:
        """The code of one sum three clocks later: the shift is found; shifted; rounded."""
        bits = self.format.bits
        x = register(m, enable, x, f"sum_{lane}")
        # The bits cut off stay below the point.
        wide = Signal(signed(SUM_BITS + self.most), name=f"wide_{lane}")
        m.d.comb += wide.eq(Cat(Const(0, self.most), x).as_signed() >> shift)
        wide = register(m, enable, wide, f"shifted_{lane}")
        floor, cut = wide[self.most : self.most + bits].as_signed(), wide[: self.most]
        up = round_floor(self.rounding, cut[-1], cut[:-1].any(), floor[0], wide[-1])
        rounded = Signal(signed(bits + 1), name=f"rounded_{lane}")
        greatest = (1 << (bits - 1)) - 1
        m.d.comb += rounded.eq(floor + up)
        code = Signal(signed(bits), name=f"code_{lane}")
        m.d.comb += code.eq(Mux(rounded > greatest, greatest, rounded))
        return register(m, enable, code, f"held_{lane}")
