"""Encoders: exact fixed point, or an unnormalised product, rounded once to a code of any scalar format.

Minifloats: normalise with a shifter that stops at the least normal number, so that subnormals need nothing more; add
the exponent to the significand with its hidden bit, so that a carry of the rounding runs into the exponent; saturate.
"""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Format, Int
from hwgen.formats.fixed import Fixed
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.stochastic import Rounding
from hwgen.gateware.arith.product import Product
from hwgen.gateware.arith.rounding import named, random_bits, round_floor, round_magnitude, round_random
from hwgen.gateware.pipeline import register

Stage = Callable[[Value, str], Value]
"""Puts a value through a pipeline register, or not; the name is the register's."""

OVERFLOW = ("saturate", "ieee")


def no_stage(value: Value, name: str) -> Value:
    """No register."""
    del name
    return value


def check_encoder(fmt: Format, overflow: str) -> None:
    """Raises UnsupportedError or HwgenError where no encoder makes codes of `fmt` with this overflow."""
    if not isinstance(fmt, Minifloat | Int | Fixed):
        raise UnsupportedError(f"no gateware encodes to {fmt.name}")
    if overflow not in OVERFLOW:
        raise HwgenError(f"unknown overflow {overflow!r}: one of {', '.join(OVERFLOW)}")
    if isinstance(fmt, Minifloat):
        if not fmt.has_subnormals:
            raise UnsupportedError(f"no gateware encodes to {fmt.name}, which has no zero")
        if overflow == "ieee" and fmt.overflow_code is None:
            raise HwgenError(f"{fmt.name} has neither infinity nor NaN for an overflow: it saturates")
    elif overflow != "saturate":
        raise HwgenError(f"an overflow of {fmt.name} saturates; {overflow!r} is for minifloats")


def normalise(m: Module, value: Value, steps: int, name: str) -> tuple[Value, Value]:
    """(value shifted left until its top bit is set, but by less than 2**steps; by how much), combinational."""
    flags = []
    for step in reversed(range(steps)):
        amount = 1 << step
        flag = Signal(name=f"{name}_zeros_{amount}")
        moved = Signal(len(value), name=f"{name}_moved_{amount}")
        m.d.comb += flag.eq(~value[-amount:].any())
        m.d.comb += moved.eq(Mux(flag, Cat(Const(0, amount), value[:-amount]), value))
        value = moved
        flags.append(flag)
    return value, Cat(*reversed(flags), Const(0, 0))


def _round(
    m: Module, odd: Value, cut: Value, negative: Value, rounding: Rounding, random: Value | None, name: str
) -> Value:
    """Whether a magnitude whose kept bits are `odd` goes up, given the bits below them."""
    up = Signal(name=f"{name}_up")
    if random is not None:
        m.d.comb += up.eq(round_random(cut, random))
    elif len(cut):
        m.d.comb += up.eq(round_magnitude(named(rounding), cut[-1], cut[:-1].any(), odd, negative))
    return up


def _limit(m: Module, fmt: Minifloat, code: Value, negative: Value, rounding: Rounding, overflow: str) -> Value:
    """The bits below the sign, overflows taken care of, and the sign above them."""
    greatest = fmt.max_magnitude
    over = code > greatest
    limited = Mux(over, greatest, code)
    if overflow == "ieee":
        stays = {"zero": Const(1, 1), "odd": Const(1, 1), "down": ~negative, "up": negative}
        finite = stays.get(rounding, Const(0, 1)) if isinstance(rounding, str) else Const(0, 1)
        limited = Mux(over & ~finite, fmt.overflow_code, limited)
    if fmt.has_sign:
        return Cat(limited[: fmt.magnitude_bits], negative)
    below = fmt.nan_code if overflow == "ieee" and fmt.nan_code is not None else 0
    return Mux(negative, below, limited)[: fmt.magnitude_bits]


def beyond(fmt: Minifloat, negative: Value, overflow: str) -> Value:
    """The code that an infinity becomes."""
    top = fmt.max_magnitude if overflow == "saturate" else fmt.overflow_code
    if fmt.has_sign:
        return Cat(Const(top, fmt.magnitude_bits), negative)
    return Mux(negative, 0 if overflow == "saturate" else fmt.nan_code or 0, top)


def encode_magnitude(
    m: Module,
    fmt: Minifloat,
    magnitude: Value,
    lsb: int,
    negative: Value,
    rounding: Rounding = "half_even",
    overflow: str = "saturate",
    *,
    random: Value | None = None,
    stage: Stage = no_stage,
    name: str = "encode",
) -> Value:
    """The code of +-magnitude * 2**lsb; `negative` must be 0 where a zero is to be +0.

    `random`: bits of a random number for stochastic rounding. `stage` is called between normalising and rounding.
    """
    # Bit `place` of the magnitude, moved up so far that every subnormal's bits exist, is worth the least normal.
    lift = max(0, fmt.mantissa_bits - (1 - lsb - fmt.bias))
    place = 1 - lsb - fmt.bias + lift
    steps = max(0, len(magnitude) + lift - 1 - place).bit_length()
    width = place + (1 << steps)
    word = Signal(width, name=f"{name}_word")
    m.d.comb += word.eq(Cat(Const(0, lift), magnitude))
    moved, count = normalise(m, word, steps, name)
    packed = stage(Cat(moved, count, negative), f"{name}_normal")
    moved, count, negative = packed[:width], packed[width:-1], packed[-1]
    # The exponent field less one is as much as the shifter did not move.
    return _pack(m, fmt, moved, ~count, negative, rounding, overflow, random, name)


def _pack(m, fmt, moved, field, negative, rounding, overflow, random, name):
    """The code of a normalised significand; `field`: the exponent field less 1, 0 also for subnormals."""
    cut = len(moved) - 1 - fmt.mantissa_bits
    kept = moved[cut:]
    # Without mantissa bits a code is odd as its exponent field is.
    odd = kept[0] if fmt.mantissa_bits else kept[0] ^ Cat(field, Const(0, 1))[0]
    up = _round(m, odd, moved[:cut], negative, rounding, random, name)
    code = Signal(len(field) + fmt.mantissa_bits + 2, name=f"{name}_code")
    # The field is one less than the exponent's: the hidden bit, where there is one, adds it.
    m.d.comb += code.eq(Cat(Const(0, fmt.mantissa_bits), field) + kept + up)
    return _limit(m, fmt, code, negative, rounding, overflow)


def encode_product(
    m: Module,
    fmt: Minifloat,
    product: Product,
    rounding: Rounding = "half_even",
    overflow: str = "saturate",
    *,
    random: Value | None = None,
    stage: Stage = no_stage,
    name: str = "encode",
) -> Value:
    """The code of an unnormalised product or decoded number, rounded once; zeros keep their sign.

    NaN and infinity are for the caller. Unlike `encode_magnitude` it never holds the number in fixed point.
    """
    size = len(product.significand)
    steps = (size - 1).bit_length()
    room = max(1 << steps, fmt.mantissa_bits + 1)
    word = Signal(room, name=f"{name}_word")
    m.d.comb += word.eq(Cat(Const(0, room - size), product.significand))
    moved, count = normalise(m, word, steps, name)
    # The exponent field of the top bit, less one; below 0 the number is subnormal.
    offset = product.base + size - 1 + fmt.bias - 1
    ends = offset - ((1 << steps) - 1), offset + (1 << len(product.exponent)) - 1
    field = Signal(range(min(ends[0], -1), max(ends[1], 0) + 1), name=f"{name}_field")
    m.d.comb += field.eq(product.exponent - count + offset)
    sign = product.sign if fmt.has_sign else product.sign & product.significand.any()
    packed = stage(Cat(moved, field, sign), f"{name}_normal")
    moved, field, negative = packed[:room], packed[room:-1].as_signed(), packed[-1]
    # Shifted further than this, only the bits that tell it from zero are left, and those stay.
    limit = fmt.mantissa_bits + 1 + max(1, 0 if random is None else len(random))
    down = Signal(range(limit + 1), name=f"{name}_down")
    m.d.comb += down.eq(Mux(field < 0, Mux(field < -limit, limit, -field), 0))
    shifted = Signal(room + limit, name=f"{name}_subnormal")
    m.d.comb += shifted.eq(Cat(Const(0, limit), moved) >> down)
    # The hidden bit of a normalised number is missing from zero alone, whatever its exponent.
    usual = moved[-1] & (field >= 0)
    return _pack(m, fmt, shifted, Mux(usual, field[:-1], 0), negative, rounding, overflow, random, name)


def encode_integer(
    m: Module,
    fmt: Int | Fixed,
    value: Value,
    lsb: int,
    rounding: Rounding = "half_even",
    *,
    random: Value | None = None,
    stage: Stage = no_stage,
    name: str = "encode",
) -> Value:
    """The code of value * 2**lsb, rounded and saturated; `value` is signed or unsigned."""
    low, high = fmt.code_range
    cut = fmt.lsb - lsb
    word = Cat(Const(0, max(0, -cut)), value)
    word = word.as_signed() if value.shape().signed else word
    whole: Value
    if cut > 0:
        # Shifted out entirely, the floor is 0 or -1: one bit of sign is kept.
        long = Signal(value.shape() if len(value) > cut else signed(cut + 1), name=f"{name}_long")
        m.d.comb += long.eq(value)
        kept = long[cut:].as_signed() if long.shape().signed else long[cut:]
        up = Signal(name=f"{name}_up")
        if random is not None:
            m.d.comb += up.eq(round_random(long[:cut], random))
        else:
            sign = long[-1] if long.shape().signed else Const(0, 1)
            m.d.comb += up.eq(round_floor(named(rounding), long[cut - 1], long[: cut - 1].any(), kept[0], sign))
        packed = stage(Cat(kept, up), f"{name}_floor")
        kept, up = (packed[:-1].as_signed() if kept.shape().signed else packed[:-1]), packed[-1]
        whole = kept + up
    else:
        held = stage(word, f"{name}_floor")
        whole = held.as_signed() if word.shape().signed else held
    rounded = Signal(whole.shape(), name=f"{name}_rounded")
    m.d.comb += rounded.eq(whole)
    return Mux(rounded < low, low, Mux(rounded > high, high, rounded))[: fmt.bits]


class Encode(wiring.Component):
    """Rounds a fixed-point number once to a code of any scalar format.

    Parameters: `fmt`, a minifloat with a zero, an integer or fixed point; the input's `width` in bits, two's
    complement, in units of 2**lsb; `rounding`; `overflow`: "saturate", or "ieee" for minifloats (to infinity or NaN);
    `stages`: pipeline registers, 0 to 3 (the result; the magnitude; the normalised number).
    Ports: `i`, the number; `o`, the code; `random`, only for stochastic rounding, a random number of its bits for this
    clock's number; `enable`, only with stages, the clock enable of all registers.
    Latency: `stages`. Interval: 1. Raises UnsupportedError for a format without gateware, HwgenError for an unknown
    rounding or overflow.
    """

    def __init__(
        self,
        fmt: Format,
        width: int,
        lsb: int,
        rounding: Rounding = "half_even",
        overflow: str = "saturate",
        stages: int = 0,
    ):
        check_encoder(fmt, overflow)
        if not 0 <= stages <= 3:
            raise HwgenError(f"an encoder has 0 to 3 pipeline stages, not {stages}")
        self.format, self.lsb, self.rounding, self.overflow = fmt, lsb, rounding, overflow
        self.random_bits = random_bits(rounding)
        self.latency, self.interval = stages, 1
        ports = {"i": In(signed(width)), "o": Out(fmt.bits)}
        ports |= {"random": In(self.random_bits)} if self.random_bits else {}
        super().__init__(ports | ({"enable": In(1)} if stages else {}))

    def elaborate(self, platform):
        m = Module()

        def held(value: Value, name: str) -> Value:
            return register(m, self.enable, value, name)

        first, second = (held if self.latency > n else no_stage for n in (1, 2))
        random = self.random if self.random_bits else None
        if isinstance(self.format, Minifloat):
            negative = self.i[-1]
            packed = Cat(Mux(negative, -self.i, self.i)[: len(self.i)], negative)
            packed = first(packed, "magnitude")
            later = None if random is None else self._later(m, random, held)
            code = encode_magnitude(
                m,
                self.format,
                packed[:-1],
                self.lsb,
                packed[-1],
                self.rounding,
                self.overflow,
                random=later,
                stage=second,
            )
        else:
            value = first(self.i, "value")
            value = value.as_signed()
            later = None if random is None else self._later(m, random, held, self.latency > 1)
            code = encode_integer(m, self.format, value, self.lsb, self.rounding, random=later, stage=second)
        out = Signal(self.format.bits, name="code")
        m.d.comb += out.eq(code)
        m.d.comb += self.o.eq(held(out, "held") if self.latency else out)
        return m

    def _later(self, m, random, held, stages=None):
        """The random number when it is used: after the stages before rounding."""
        before = max(0, self.latency - 1) if stages is None else int(stages)
        for stage in range(before):
            random = held(random, f"random_{stage}")
        return random
