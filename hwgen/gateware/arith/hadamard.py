"""The Hadamard transform of 16 points, which spreads outliers before a quantizer: four add stages."""

from collections.abc import Sequence

from amaranth.hdl import Module, Shape, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError
from hwgen.formats import Int
from hwgen.gateware.pipeline import register

POINTS = 16
STAGES = 4
LSB = -2
"""The orthonormal transform divides by 4: the sums stand in units of 2**-2 of the input's."""


def output_shape(fmt: Int) -> Shape:
    """The shape of an output: four bits more than the input, or five if negating the least code may overflow."""
    greatest = max(abs(end) for end in fmt.code_range)
    return signed((POINTS * greatest).bit_length() + 1)


class Hadamard(wiring.Component):
    """o[k] = sum over n of (-1)**popcount(k & n) * signs[n] * i[n], exact, in units of a quarter of the input's.

    Parameters: `fmt`, the signed integers of the input; `signs`, 16 numbers 1 or -1, a fixed vector that the input is
    multiplied with first (a randomised transform; all 1 by default); `pipelined`: a register after each add stage.
    Ports: `i`, `o`, arrays of 16; `enable`, only if pipelined, the clock enable.
    Latency: 4 clocks if pipelined, else 0. Interval: 1.
    Raises HwgenError for unsigned inputs and for other signs.
    """

    def __init__(self, fmt: Int, signs: Sequence[int] = (1,) * POINTS, *, pipelined: bool = True):
        if not fmt.signed:
            raise HwgenError(f"a Hadamard transform takes signed integers, not {fmt.name}")
        if len(signs) != POINTS or any(sign not in (1, -1) for sign in signs):
            raise HwgenError(f"a Hadamard transform takes 16 signs, each 1 or -1, not {tuple(signs)}")
        self.format, self.signs, self.pipelined = fmt, tuple(signs), pipelined
        self.latency, self.interval = STAGES * pipelined, 1
        self.shape = output_shape(fmt)
        ports = {
            "i": In(data.ArrayLayout(signed(fmt.bits), POINTS)),
            "o": Out(data.ArrayLayout(self.shape, POINTS)),
        }
        super().__init__(ports | ({"enable": In(1)} if pipelined else {}))

    def elaborate(self, platform):
        m = Module()
        # The first stage's adders subtract where a sign is negative, so that the vector costs no adder.
        level: list[tuple[Value, int]] = [(self.i[n], sign) for n, sign in enumerate(self.signs)]
        for stage in range(STAGES):
            distance = 1 << stage
            sums: list[tuple[Value, int]] = []
            for n in range(POINTS):
                (low, low_sign), (high, high_sign) = level[n & ~distance], level[n | distance]
                if n & distance:
                    high_sign = -high_sign
                bits = self.format.bits + 1 + stage + (min(low_sign, high_sign) < 0 and stage == 0)
                total = Signal(signed(min(bits + 1, self.shape.width)), name=f"sum_{stage}_{n}")
                first = low if low_sign > 0 else -low
                m.d.comb += total.eq(first + high if high_sign > 0 else first - high)
                held = register(m, self.enable, total, f"held_{stage}_{n}") if self.pipelined else total
                sums.append((held, 1))
            level = sums
        for n, (value, _) in enumerate(level):
            m.d.comb += self.o[n].eq(value)
        return m
