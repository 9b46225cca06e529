"""Quantizers to block formats whose scales have a mantissa (NVFP4 and relatives), from exact fixed point."""

from dataclasses import dataclass
from fractions import Fraction

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hwgen.errors import UnsupportedError
from hwgen.formats import Block
from hwgen.formats.block_steps import Step, check_steps, element_steps, least_integer, scale_steps
from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.arith.block_maximum import BlockMaximum, block_stream, check_blocks, greater, magnitude
from hwgen.gateware.arith.encode import normalise
from hwgen.gateware.arith.fields import fields, significand, true_exponent
from hwgen.gateware.beat import signature
from hwgen.gateware.pipeline import carry_frame, register
from hwgen.ir import Beats


@dataclass(frozen=True)
class Search:
    """How the scale of a block is found from its greatest magnitude, of `bits` bits in units of 2**lsb.

    The number is moved up until its top bit is that of a word of `width` bits, by 2**steps - 1 at most: as far as the
    scales below have no more bits. In that word scale codes begin at `bounds`, and each further octave, which the
    number was moved less, has 2**mantissa_bits codes more. `cut`: bits of the word below those of all bounds.
    """

    width: int
    steps: int
    bounds: tuple[tuple[int, bool, int], ...]
    cut: int
    greatest: int

    @staticmethod
    def of(block: Block, bits: int, lsb: int) -> "Search":
        unit = Fraction(2) ** lsb
        steps = [(bound / unit, inclusive) for bound, inclusive in scale_steps(block)]
        # The least octave that begins with a normal scale.
        normal = block.element.extremes[1] * Fraction(2) ** (block.scale.lsb + block.scale.mantissa_bits) / unit
        octave = max(0, (-(-normal.numerator // normal.denominator) - 1).bit_length())
        moves = next(n for n in range(bits.bit_length() + 1) if octave + (1 << n) >= bits)
        width = octave + (1 << moves)
        up = (1 << moves) - 1
        bounds = _bounds(steps, width, up)
        cut = min(((bound & -bound).bit_length() - 1 for bound, _, _ in bounds if bound), default=0)
        top = 1 << (bits - 1)
        greatest = sum(top >= least_integer(step) for step in steps)
        return Search(width, moves, bounds, cut, greatest)


def _bounds(steps: list[Step], width: int, up: int) -> tuple[tuple[int, bool, int], ...]:
    """(bound, inclusive, code from there on) of the steps that a word of `width` bits, moved up by `up`, reaches."""
    found: dict[tuple[int, bool], int] = {}
    for code, (step, inclusive) in enumerate(steps, 1):
        # Below the word's top octave are only numbers that have been moved all the way: integers.
        moved = up if step * (1 << up) < 1 << (width - 1) else 0
        bound = step * (1 << (up - moved))
        whole = (bound.numerator // bound.denominator) << moved
        if whole < 1 << width:
            found[whole, inclusive and bound.denominator == 1] = code
    return tuple((bound, inclusive, code) for (bound, inclusive), code in found.items())


class ScaledQuantize(wiring.Component):
    """Quantizes blocks of fixed-point numbers: a shared scale with a mantissa, elements rounded once and saturated.

    The scale is max|x| / greatest element, rounded half to even, saturated; an element is x / scale. Nothing is
    divided: the greatest magnitude is compared with where scales begin, and each number with where elements do, a few
    bits times the scale's significand. Under a scale of 0 elements are code 0.
    Parameters: `fmt`, a block format without a tensor scale whose scales have a mantissa and no sign; `beats`, the
    input stream: signed numbers in units of 2**lsb, its lanes a divisor of the block's size and its frame a whole
    number of blocks; `rounding` of the elements by name.
    Ports: `i`, a stream of `beats`; `o`, a stream of beats of as many element codes (`lanes`), with the `scale` code
    of their block in every beat, and `first` and `last`.
    Latency: a beat leaves 5 clocks and those of a block after it came: block + frame beats + 4 from first in to last
    out. Interval: one beat a clock.
    Raises UnsupportedError for other scales; HwgenError for other elements and roundings, and for lanes or frames that
    do not fit the blocks.
    """

    def __init__(self, fmt: Block, beats: Beats, lsb: int, rounding: str = "half_even"):
        if fmt.power_scale or fmt != fmt.bare:
            raise UnsupportedError(
                f"this quantizer makes scales with a mantissa, without a sign or one of the tensor; not {fmt.name}"
            )
        check_steps(fmt, rounding)
        check_blocks(fmt, beats)
        self.format, self.input, self.lsb, self.rounding = fmt, beats, lsb, rounding
        self.search = Search.of(fmt, beats.bits, lsb)
        self.output = Beats(beats.lanes, fmt.element.bits, False, beats.beats)
        self.block = fmt.size // beats.lanes
        self.interval, self.latency = beats.beats, self.block + beats.beats + 4
        # Where elements begin, in units of half their grid's, is multiplied by significands of the scale.
        self.halves = Fraction(2) ** (fmt.element.lsb - 1)
        reach = int(fmt.element.extremes[1] / self.halves) << (fmt.scale.mantissa_bits + 1)
        self.bound_bits = reach.bit_length()
        # The greatest exponent field that numbers of so many bits can ask for, and at least 1, that of subnormals.
        self.top = max(1, self.search.greatest >> fmt.scale.mantissa_bits)
        # Bits below those units where a number meets the scales of that field.
        self.below = fmt.element.lsb - 1 + fmt.scale.lsb + self.top - 1 - lsb
        super().__init__({"i": In(signature(beats)), "o": Out(block_stream(fmt, beats.lanes))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.maximum = maximum = BlockMaximum(self.input, self.block, join=greater)
        connect(m, flipped(self.i), maximum.i)
        x = maximum.o
        enable = carry_frame(m, x, self.o, 4)
        scale = self._scale(m, enable, x.p.most)
        parts = fields(self.format.scale, scale)
        field = true_exponent(self.format.scale, parts)
        up = Signal(range(self.top), name="up")
        m.d.comb += up.eq(self.top - field)
        bounds = [
            register(m, enable, significand(self.format.scale, parts) * int(bound / self.halves), f"bound_{n}")
            for n, (bound, _) in enumerate(element_steps(self.format, self.rounding))
        ]
        something = register(m, enable, scale.any(), "something")
        m.d.comb += self.o.p.scale.eq(register(m, enable, register(m, enable, scale, "scale_2"), "scale_3"))
        for lane in range(self.input.lanes):
            moved = self._moved(m, enable, x.p.lanes[lane], up, lane)
            m.d.comb += self.o.p.lanes[lane].eq(self._element(m, enable, moved, bounds, something, lane))
        return m

    def _scale(self, m: Module, enable: Value, most: Value) -> Value:
        """The code of the scale, two clocks after the greatest magnitude."""
        search, mantissa = self.search, self.format.scale.mantissa_bits
        word = Signal(search.width, name="most")
        m.d.comb += word.eq(most)
        word, zeros = normalise(m, word, search.steps, "maximum")
        # The bits that bounds have, and whether there is anything below them.
        word = Cat(word[: search.cut].any(), word[search.cut :])
        word = register(m, enable, word, "word")
        octave = register(m, enable, ~zeros if search.steps else Const(0, 1), "octave")
        code = Const(0, 1)
        for bound, inclusive, first in search.bounds:
            code = Mux(word >= ((bound >> search.cut) * 2 + (not inclusive)), first, code)
        whole = code + (octave << mantissa)
        limit = self.format.scale.max_magnitude
        found = Signal(self.format.scale.bits, name="scale_code")
        m.d.comb += found.eq(Mux(whole > limit, limit, whole))
        return register(m, enable, found, "scale_1")

    def _moved(self, m: Module, enable: Value, x: Value, up: Value, lane: int) -> Value:
        """Three clocks later: the sign; above it, in units of half the elements' grid times the scale's, the magnitude,
        its least bit whether there is anything below."""
        packed = Cat(x[-1], magnitude(x))
        for clock in range(2):
            packed = register(m, enable, packed, f"magnitude_{lane}_{clock}")
        width = max(self.input.bits, self.below + self.bound_bits)
        moved = Signal(width, name=f"moved_{lane}")
        m.d.comb += moved.eq(packed[1:] << up)
        below = max(self.below, 0)
        whole = Cat(Const(0, max(-self.below, 0)), moved[below:])
        # Numbers beyond the greatest scale saturate.
        kept = whole[: self.bound_bits] | whole[self.bound_bits :].any().replicate(self.bound_bits)
        return register(m, enable, Cat(packed[0], moved[:below].any(), kept), f"up_{lane}")

    def _element(
        self, m: Module, enable: Value, moved: Value, bounds: list[Value], something: Value, lane: int
    ) -> Value:
        """The element's code, a clock later."""
        element = self.format.element
        steps = element_steps(self.format, self.rounding)
        reached = Const(0, 1)
        for count, ((_, inclusive), bound) in enumerate(zip(steps, bounds, strict=True), 1):
            reached = Mux(moved[1:] >= Cat(Const(not inclusive, 1), bound), count, reached)
        level = Signal(range(len(steps) + 1), name=f"level_{lane}")
        m.d.comb += level.eq(Mux(something, reached, 0))
        negative = moved[0] & something
        if isinstance(element, Minifloat):
            code = Cat(level, Const(0, element.magnitude_bits - len(level)), negative)
        else:
            code = Mux(negative, -level, level)
        out = Signal(element.bits, name=f"code_{lane}")
        m.d.comb += out.eq(code)
        return register(m, enable, out, f"element_{lane}")
