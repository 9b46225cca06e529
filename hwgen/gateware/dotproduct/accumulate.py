"""Sums over blocks: exact in a window of exponents, or in FP32, rounded half to even after each block."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError
from hwgen.gateware.pipeline import register

FP32_BIAS, FP32_MANTISSA = 127, 23
INFINITY, NAN = 0x7F800000, 0x7FC00000


class FixedAccumulator(wiring.Component):
    """total * 2**low = sum over blocks of sum * 2**exponent, exponents taken into the window low..high.

    Parameters: `shape` of the sums, `exponent_shape`; `window`, (low, high); `blocks`, the most that a total is of.
    Ports: `enable`; `sum`, `exponent`, `nan`, `valid`, and `last`, which ends a total. Out: `total`; `nan_out`, whether
    any block was; `saturated`, whether an exponent left the window under a sum that is not 0; `valid_out`.
    Latency: 2 enabled clocks from the last block. Initiation interval: 1; totals follow each other without a pause.
    Raises HwgenError for an empty window or no blocks.
    """

    latency = 2

    def __init__(self, shape: Shape, exponent_shape: Shape, window: tuple[int, int], blocks: int):
        self.low, self.high = window
        if self.low > self.high:
            raise HwgenError(f"a window is (least, greatest) exponent, not {window}")
        if blocks < 1:
            raise HwgenError(f"a sum over blocks has 1 block or more, not {blocks}")
        self.shape, self.blocks = shape, blocks
        width = shape.width + self.high - self.low + (blocks - 1).bit_length()
        self.total_shape = signed(width) if shape.signed else unsigned(width)
        super().__init__(
            {
                "enable": In(1, init=1),
                "sum": In(shape),
                "exponent": In(exponent_shape),
                "nan": In(1),
                "valid": In(1),
                "last": In(1),
                "total": Out(self.total_shape),
                "nan_out": Out(1),
                "saturated": Out(1),
                "valid_out": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        below, above = self.exponent < self.low, self.exponent > self.high
        span = self.high - self.low
        amount = Signal(range(span + 1))
        m.d.comb += amount.eq(Mux(below, 0, Mux(above, span, self.exponent - self.low)))
        moved = Signal(self.total_shape, name="moved")
        m.d.comb += moved.eq(self.sum << amount)
        term = register(m, self.enable, moved, "term")
        nan = register(m, self.enable, self.nan, "term_nan")
        left = register(m, self.enable, (below | above) & (self.sum != 0), "term_saturated")
        valid = register(m, self.enable, self.valid, "term_valid", reset_less=False)
        last = register(m, self.enable, self.last, "term_last")
        # A total starts with the first block after the last one of another.
        starts = Signal(init=1)
        with m.If(self.enable):
            m.d.sync += self.valid_out.eq(valid & last)
            with m.If(valid):
                m.d.sync += [
                    starts.eq(last),
                    self.total.eq(Mux(starts, 0, self.total) + term),
                    self.nan_out.eq(nan | (self.nan_out & ~starts)),
                    self.saturated.eq(left | (self.saturated & ~starts)),
                ]
        return m


class Fp32Accumulator(wiring.Component):
    """total = FP32 sum over blocks, in order, of sum * 2**exponent rounded to FP32; both rounded half to even.

    Subnormals are kept, an overflow becomes infinity, and a total starts from +0. Ports as of `FixedAccumulator`, but
    `total` is an FP32 code, the quiet NaN where a block was NaN or infinities met, and `saturated` is left out.
    Latency: 2 enabled clocks from the last block. Initiation interval: 1: a whole FP32 addition in one clock, which
    makes the longest path.
    """

    latency = 2

    def __init__(self, shape: Shape, exponent_shape: Shape):
        self.shape = shape
        super().__init__(
            {
                "enable": In(1, init=1),
                "sum": In(shape),
                "exponent": In(exponent_shape),
                "nan": In(1),
                "valid": In(1),
                "last": In(1),
                "total": Out(32),
                "nan_out": Out(1),
                "valid_out": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        rounded = Signal(32)
        m.d.comb += rounded.eq(to_fp32(m, self.sum, self.exponent))
        term = register(m, self.enable, rounded, "term")
        nan = register(m, self.enable, self.nan, "term_nan")
        valid = register(m, self.enable, self.valid, "term_valid", reset_less=False)
        last = register(m, self.enable, self.last, "term_last")
        starts = Signal(init=1)
        held = Signal(32)
        before = Signal(32)
        m.d.comb += before.eq(Mux(starts, 0, held))
        added, invalid = add_fp32(m, before, term)
        with m.If(self.enable):
            m.d.sync += self.valid_out.eq(valid & last)
            with m.If(valid):
                m.d.sync += [
                    starts.eq(last),
                    held.eq(added),
                    self.nan_out.eq(nan | invalid | (self.nan_out & ~starts)),
                ]
        m.d.comb += self.total.eq(Mux(self.nan_out, NAN, held))
        return m


def shift_right_sticky(m: Module, value: Value, amount: Value, name: str) -> Value:
    """`value` shifted right, its lowest bit set if anything but zeros fell off; for any amount."""
    stages = len(value).bit_length()
    for place in range(min(stages, len(amount))):
        step = 1 << place
        gone = value[: min(step, len(value))].any()
        moved = Cat(value[step:], Const(0, min(step, len(value))))
        # A signal for each step: an expression would hold all steps before it several times.
        shifted = Signal(len(value), name=f"{name}_down_{step}")
        m.d.comb += shifted.eq(Mux(amount[place], Cat(moved[0] | gone, moved[1:]), value))
        value = shifted
    if len(amount) > stages:
        value = Mux(amount[stages:].any(), Cat(value.any(), Const(0, len(value) - 1)), value)
    return value


def _normalised(m: Module, value: Value, name: str) -> tuple[Value, Value]:
    """(value shifted left until its top bit is set, by how much); for 0 as far as it goes."""
    flags = []
    for place in reversed(range((len(value) - 1).bit_length())):
        step = 1 << place
        flag = Signal(name=f"{name}_zeros_{step}")
        moved = Signal(len(value), name=f"{name}_moved_{step}")
        m.d.comb += flag.eq(~value[-step:].any())
        m.d.comb += moved.eq(Mux(flag, Cat(Const(0, step), value[:-step]), value))
        value = moved
        flags.append(flag)
    return value, Cat(*reversed(flags))


def _packed(sign: Value, exponent: Value, bits: Value) -> Value:
    """FP32 of 24 significant bits and three to round by; exponent: the biased one of a normal number, at least 1.

    The hidden bit is added to the exponent, so that a carry of the rounding runs into it, and that a significand
    without hidden bit is subnormal.
    """
    up = bits[2] & (bits[3] | bits[0] | bits[1])
    code = ((exponent - 1) << FP32_MANTISSA) + bits[3:] + up
    return Cat(Mux(code >= INFINITY, INFINITY, code)[:31], sign)


def to_fp32(m: Module, total: Value, exponent: Value) -> Value:
    """total * 2**exponent rounded to FP32, half to even."""
    negative = total[-1] if total.shape().signed else Const(0, 1)
    bits = total.as_unsigned() if total.shape().signed else total
    width = max(len(total), 27)
    magnitude = Signal(width, name="magnitude")
    m.d.comb += magnitude.eq((bits ^ negative.replicate(len(bits))) + negative)
    normal, zeros = _normalised(m, magnitude, "term")
    # The biased exponent of the leading bit.
    leading = Signal(signed(max(len(exponent), 9) + 3), name="leading")
    m.d.comb += leading.eq(exponent + (width - 1 + FP32_BIAS) - zeros)
    small = leading < 1
    deeper = Signal(6, name="deeper")
    m.d.comb += deeper.eq(Mux(small, Mux(leading < -30, 31, 1 - leading), 0))
    cut = Cat(normal[: width - 26].any(), normal[width - 26 :])
    kept = Signal(27, name="kept")
    m.d.comb += kept.eq(shift_right_sticky(m, cut, deeper, "term"))
    biased = Signal(9, name="biased")
    m.d.comb += biased.eq(Mux(small, 1, Mux(leading > 255, 255, leading)))
    return Mux(magnitude.any(), _packed(negative, biased, kept), 0)


def add_fp32(m: Module, x: Value, y: Value) -> tuple[Value, Value]:
    """(x + y rounded half to even, whether infinities of different signs met), of FP32 codes that are no NaN."""
    swap = x[:31] < y[:31]
    big, small = Signal(32, name="big"), Signal(32, name="small")
    m.d.comb += [big.eq(Mux(swap, y, x)), small.eq(Mux(swap, x, y))]
    exponents, significands = [], []
    for one, name in ((big, "big"), (small, "small")):
        normal = one[23:31].any()
        exponent, significand = Signal(8, name=f"{name}_exponent"), Signal(27, name=f"{name}_significand")
        m.d.comb += [exponent.eq(Mux(normal, one[23:31], 1)), significand.eq(Cat(Const(0, 3), one[:23], normal))]
        exponents.append(exponent)
        significands.append(significand)
    distance, aligned = Signal(8, name="distance"), Signal(27, name="aligned")
    m.d.comb += [
        distance.eq(exponents[0] - exponents[1]),
        aligned.eq(shift_right_sticky(m, significands[1], distance, "small")),
    ]
    differ = big[31] ^ small[31]
    total = Signal(28, name="fp32_total")
    m.d.comb += total.eq(Mux(differ, significands[0] - aligned, significands[0] + aligned))
    carry = total[27]
    normal, zeros = _normalised(m, total[:27], "fp32")
    # No further left than the exponent goes.
    limited = zeros > exponents[0] - 1
    up = Mux(limited, exponents[0] - 1, zeros)
    bits, exponent = Signal(27, name="fp32_bits"), Signal(9, name="fp32_exponent")
    m.d.comb += [
        bits.eq(
            Mux(carry, Cat(total[1] | total[0], total[2:]), Mux(limited, (total[:27] << up[:5])[:27], normal)),
        ),
        exponent.eq(Mux(carry, exponents[0] + 1, exponents[0] - up)),
    ]
    infinite = big[23:31].all()
    code = Mux(infinite, big, Mux(total.any(), _packed(big[31], exponent, bits), 0))
    return code, infinite & small[23:31].all() & differ
