"""Quantizers to block formats with power-of-two scales (OCP Microscaling v1.0, sec. 6.3), from exact fixed point."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Block
from hwgen.formats.block import POWER_MODES
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.stochastic import Rounding
from hwgen.gateware.arith.block_maximum import BlockMaximum, block_stream, check_blocks, magnitude
from hwgen.gateware.arith.encode import check_encoder, encode_integer, encode_magnitude, no_stage, normalise
from hwgen.gateware.arith.rounding import named
from hwgen.gateware.beat import signature
from hwgen.gateware.pipeline import carry_frame, register
from hwgen.ir import Beats


class MxQuantize(wiring.Component):
    """Quantizes blocks of fixed-point numbers: a shared power-of-two scale, elements rounded once and saturated.

    The scale is 2**(e - emax), taken to the nearest scale that the format has; code 0 for a block of zeros. Elements
    of blocks whose scale would have been greater saturate. e by `scale_mode`: "floor", floor(log2(max|x|)), as OCP
    has it; "even", the same of max|x| rounded half up to the element's mantissa; "ceil", ceil(log2(max|x|)).
    Parameters: `fmt`, a block format with E8M0-like scales; `beats`, the input stream: signed numbers in units of
    2**lsb, its lanes a divisor of the block's size and its frame a whole number of blocks; `rounding` of the elements
    by name; `scale_mode`.
    Ports: `i`, a stream of `beats`; `o`, a stream of beats of as many element codes (`lanes`), with the `scale` code
    of their block in every beat, and `first` and `last`.
    Latency: a beat leaves 4 clocks and those of a block after it came: block + frame beats + 3 from first in to last
    out. Interval: one beat a clock.
    Raises UnsupportedError for other scales and elements, for numbers that all need greater scales than the format
    has, and for stochastic rounding; HwgenError for lanes or frames that do not fit the blocks and an unknown mode.
    """

    def __init__(self, fmt: Block, beats: Beats, lsb: int, rounding: Rounding = "half_even", scale_mode: str = "floor"):
        if not isinstance(fmt, Block):
            raise UnsupportedError(f"the block quantizer makes blocks with power-of-two scales, not {fmt.name}")
        if not fmt.power_scale:
            raise UnsupportedError(
                f"the block quantizer makes power-of-two scales; those of {fmt.name}, {fmt.scale.name}, have a mantissa"
            )
        if scale_mode not in POWER_MODES:
            raise HwgenError(f"unknown scale mode {scale_mode!r}: one of {', '.join(POWER_MODES)}")
        check_encoder(fmt.element, "saturate")
        check_blocks(fmt, beats)
        # The scale code that a top bit in the lowest and in the highest place asks for; it may lie outside the format.
        self.base = lsb - fmt.emax + fmt.scale.bias
        highest = self.base + beats.bits - 1
        if highest < 0 or self.base > fmt.scale.max_magnitude:
            raise UnsupportedError(
                f"numbers of {beats.bits} bits in units of 2**{lsb} need scales beyond those of {fmt.name}"
            )
        self.greatest = min(highest, fmt.scale.max_magnitude)
        self.excess = highest - self.greatest
        self.format, self.input, self.lsb, self.rounding = fmt, beats, lsb, named(rounding)
        self.scale_mode = scale_mode
        self.output = Beats(beats.lanes, fmt.element.bits, False, beats.beats)
        self.block = fmt.size // beats.lanes
        self.interval, self.latency = beats.beats, self.block + beats.beats + 3
        super().__init__({"i": In(signature(beats)), "o": Out(block_stream(fmt, beats.lanes))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.maximum = maximum = BlockMaximum(self.input, self.block, self._measure)
        connect(m, flipped(self.i), maximum.i)
        x = maximum.o
        enable = carry_frame(m, x, self.o, 3)
        width = self.input.bits
        # How far the greatest number is from the top, and where its top bit stands.
        steps = (width - 1).bit_length()
        room = 1 << steps
        word = Signal(room, name="any")
        m.d.comb += word.eq(Cat(Const(0, room - width), x.p.most))
        _, zeros = normalise(m, word, steps, "maximum")
        zeros = register(m, enable, zeros, "zeros")
        # How far the scale is from the greatest, which is also how far elements move up.
        up = Signal(range(max(self.greatest, width) + 1), name="below_greatest")
        below = zeros if not self.excess else Mux(zeros < self.excess, 0, zeros - self.excess)
        m.d.comb += up.eq(Mux(below > self.greatest, self.greatest, below) if self.base < 0 else below)
        # A block of zeros has the lowest code.
        something = register(m, enable, x.p.most.any(), "something")
        scale = Signal(self.format.scale.bits, name="scale_code")
        m.d.comb += scale.eq(Mux(something, self.greatest - up, 0))
        scale = register(m, enable, register(m, enable, scale, "scale_1"), "scale_2")
        m.d.comb += self.o.p.scale.eq(scale)
        for lane in range(self.input.lanes):
            m.d.comb += self.o.p.lanes[lane].eq(self._element(m, enable, x.p.lanes[lane], up, lane))
        return m

    def _measure(self, value: Value) -> Value:
        """`value` with the bit above its top bit set too where the mode rounds it up to that power of two.

        That bit is there: only -2**(bits-1) has the highest one, and nothing rounds that up. What is set above bits
        other than the top one changes nothing, so that none of this need look for the top.
        """
        width, up = len(value), value
        if self.scale_mode == "floor":
            return value
        if self.scale_mode == "ceil":
            # All but powers of two have a bit left without their lowest one.
            up = value & (value - 1)[:width]
        else:
            # Rounding carries out of a mantissa of ones with a one below.
            for place in range(1, self.format.element.significand_bits + 1):
                up = up & value.shift_left(place)[:width]
        return value | up.shift_left(1)[:width]

    def _element(self, m: Module, enable: Value, x: Value, up: Value, lane: int) -> Value:
        """The element's code, three clocks later: magnitude; moved up with the block's maximum; rounded."""
        width, element = self.input.bits, self.format.element
        packed = Cat(magnitude(x), x[-1])
        packed = register(m, enable, packed, f"magnitude_{lane}")
        moved = Signal(width, name=f"moved_{lane}")
        m.d.comb += moved.eq(packed[:width] << up)
        moved = register(m, enable, moved, f"up_{lane}")
        negative = register(m, enable, packed[width], f"negative_{lane}")
        # The greatest number's top bit now stands for 2**emax, or more where the scale is not great enough.
        lsb = self.format.emax - (width - 1) + self.excess
        if isinstance(element, Minifloat):
            code = encode_magnitude(
                m, element, moved, lsb, negative, self.rounding, stage=no_stage, name=f"lane_{lane}"
            )
        else:
            value = Mux(negative, -moved, moved)
            signal = Signal(value.shape(), name=f"value_{lane}")
            m.d.comb += signal.eq(value)
            code = encode_integer(m, element, signal, lsb, self.rounding, name=f"lane_{lane}")
        out = Signal(element.bits, name=f"code_{lane}")
        m.d.comb += out.eq(code)
        return register(m, enable, out, f"element_{lane}")
