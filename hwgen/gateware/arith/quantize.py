"""A quantizer to scalar formats: streams of fixed-point numbers in, codes out."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError
from hwgen.formats import Format
from hwgen.formats.stochastic import Rounding
from hwgen.gateware.arith.encode import Encode
from hwgen.gateware.arith.rounding import named
from hwgen.gateware.beat import payload, signature
from hwgen.gateware.pipeline import carry_frame
from hwgen.ir import Beats

STAGES = 3


class Quantize(wiring.Component):
    """Rounds every number of a stream once to a code of a scalar format.

    Parameters: `fmt`, a minifloat with a zero, an integer or fixed point; `beats`, the input stream: signed numbers in
    units of 2**lsb; `rounding` by name; `overflow` as for `Encode`.
    Ports: `i`, a stream of `beats`; `o`, a stream of beats of as many codes, as bits.
    Latency: 3 clocks a beat, frame beats + 2 from first in to last out. Interval: one beat a clock.
    Raises HwgenError for unsigned lanes and unknown names, UnsupportedError for formats without gateware and for
    stochastic rounding.
    """

    def __init__(
        self,
        fmt: Format,
        beats: Beats,
        lsb: int,
        rounding: Rounding = "half_even",
        overflow: str = "saturate",
    ):
        if not beats.signed:
            raise HwgenError("a quantizer takes signed numbers")
        self.format, self.input, self.lsb = fmt, beats, lsb
        name = named(rounding)
        self.encoders = [Encode(fmt, beats.bits, lsb, name, overflow, STAGES) for _ in range(beats.lanes)]
        self.output = Beats(beats.lanes, fmt.bits, False, beats.beats)
        self.interval, self.latency = beats.beats, beats.beats + STAGES - 1
        super().__init__({"i": In(signature(beats)), "o": Out(stream.Signature(payload(self.output)))})

    def elaborate(self, platform):
        m = Module()
        enable = carry_frame(m, self.i, self.o, STAGES)
        for lane, encoder in enumerate(self.encoders):
            m.submodules[f"lane_{lane}"] = encoder
            m.d.comb += [
                encoder.enable.eq(enable),
                encoder.i.eq(self.i.p.lanes[lane]),
                self.o.p.lanes[lane].eq(encoder.o),
            ]
        return m
