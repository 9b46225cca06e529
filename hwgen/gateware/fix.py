"""Fixed point from FP32, rounded to odd: a shift, a sign, and a limit."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed

from hwgen import ops
from hwgen.gateware.dotproduct.accumulate import FP32_BIAS, FP32_MANTISSA, shift_right_sticky
from hwgen.gateware.elementwise import Elementwise
from hwgen.gateware.pipeline import carry_frame, register
from hwgen.ir import TensorType

EXPONENT_BITS = 11
"""Bits of the place of a significand's top bit, and of how far it is shifted, sign included: both stay below 700."""


class Fix(Elementwise):
    """x / 2**lsb of FP32 codes, rounded to odd and saturated to both ends of the format; see hwgen.ops.Fix.

    Parameters: `op`; `x`, the type of its input tensor; `lanes`, which divide the channels.
    Ports: `i`, a stream of FP32 codes, all finite; `o`, a stream of integers of as many lanes. One clock enable freezes
    the whole unit while its output beat waits.
    Pipeline: shift, limit and sign: 2 clocks. Latency: beats - 1 + 2. Interval: one beat a clock.
    """

    def __init__(self, op: ops.Fix, x: TensorType, lanes: int):
        super().__init__(op, x, lanes, depth=2)

    def elaborate(self, platform):
        m = Module()
        enable = carry_frame(m, self.i, self.o, self.depth)
        for lane in range(self.input.lanes):
            m.d.comb += self.o.p.lanes[lane].eq(self._lane(m, enable, self.i.p.lanes[lane], lane))
        return m

    def _lane(self, m, enable, code, lane):
        field, negative = code[FP32_MANTISSA:31], code[31]
        normal = field.any()
        bits = self.op.format.width - 1
        # The significand stands at the top of a word that holds all of the result, and is shifted down to its place.
        width = max(bits, FP32_MANTISSA + 1)
        word = Cat(Const(0, width - FP32_MANTISSA - 1), code[:FP32_MANTISSA], normal)
        place = Signal(signed(EXPONENT_BITS), name=f"place_{lane}")
        m.d.comb += place.eq(Mux(normal, field, 1) - (FP32_BIAS + self.op.lsb))
        over = (place >= bits) & word.any()
        down = Signal(EXPONENT_BITS - 1, name=f"down_{lane}")
        m.d.comb += down.eq(width - 1 - place)
        moved = shift_right_sticky(m, word, down, f"word_{lane}")[:bits]
        most = self.op.format.max
        magnitude = register(m, enable, Mux(over, most, moved), f"magnitude_{lane}")
        sign = register(m, enable, negative, f"negative_{lane}")
        out = Signal(signed(bits + 1), name=f"fixed_{lane}")
        m.d.comb += out.eq(Mux(sign, -magnitude, magnitude))
        return register(m, enable, out, f"code_{lane}")
