"""Codes to the operands of a DSP: minifloats to fixed-point magnitudes in few LUTs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Signal, Value

from hwgen.formats import Format
from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.arith.fields import fields
from hwgen.gateware.arith.pack import Packer

# Exponents are taken apart: the lowest bits shift by less than STEP, the others by multiples of it.
LOW = 2
STEP = 1 << LOW


def number(bits: Sequence[int]) -> int:
    """The integer of bits, the lowest first."""
    return sum(bit << place for place, bit in enumerate(bits))


@dataclass(frozen=True)
class Reach:
    """Where the magnitudes of a format lie: significand << shift for a shift of first..last."""

    significand: int
    first: int
    last: int

    @staticmethod
    def of(fmt: Minifloat) -> "Reach":
        return Reach(fmt.mantissa_bits + 1, int(fmt.has_subnormals), (fmt.max_magnitude >> fmt.mantissa_bits) or 1)

    @property
    def steps(self) -> int:
        """The greatest shift in whole steps."""
        return self.last >> LOW

    @property
    def width(self) -> int:
        """Bits of the magnitudes."""
        return self.last + self.significand - self.first


def operand_bits(fmt: Format) -> int:
    """Bits of the multiplier's operand without its sign."""
    if isinstance(fmt, Minifloat):
        return Reach.of(fmt).width
    return fmt.bits - int(fmt.signed)


@dataclass(frozen=True, eq=False)
class Decoded:
    """A code's parts: `field`, the significand shifted by the exponent's low bits; `steps`, its upper bits."""

    field: list[Value]
    steps: list[Value]
    sign: Value


def decode(cells: Packer, fmt: Minifloat, code: Value, name: str) -> Decoded:
    """The first stage of a minifloat's decoder."""
    bits, count = fields(fmt, code), Reach.of(fmt).significand
    exponent, mantissa = list(bits.exponent), list(bits.mantissa)
    hidden: Value = Const(1, 1)
    lowest = exponent[0]
    if fmt.has_subnormals:
        hidden = cells.lut("normal", f"{name}_hidden", exponent, lambda *e: any(e))
        # Subnormals have the exponent of the least normal numbers.
        lowest = cells.lut("normal", f"{name}_lowest", exponent, lambda *e: e[0] or not any(e))
    significand, low = [*mantissa, hidden], [lowest, *exponent[1:LOW]]
    field = []
    for place in range(count + (1 << len(low)) - 1):
        sources = [n for n in range(count) if 0 <= place - n < 1 << len(low)]
        inputs = [*(significand[n] for n in sources), *low]
        field.append(cells.lut("field", f"{name}_field_{place}", inputs, _chosen({place - n: n for n in sources})))
    return Decoded(field, exponent[LOW:], bits.sign)


def _chosen(sources: dict[int, int]) -> Callable[..., int]:
    """Of one bit for each of `sources` and then those of a number: the bit that the number is the key of, else 0."""
    order = list(sources)

    def function(*bits: int) -> int:
        key = number(bits[len(order) :])
        return bits[order.index(key)] if key in sources else 0

    return function


def spread(cells: Packer, reach: Reach, field: Sequence[Value], steps: Sequence[Value], greatest: int, name: str):
    """The field shifted by `steps`, `greatest` at most, without the lowest bits, which nothing reaches."""
    last = greatest * STEP + (reach.last % STEP if greatest == reach.steps else STEP - 1)
    bits = []
    for place in range(reach.first, last + reach.significand):
        sources = {q: place - q * STEP for q in range(greatest + 1) if 0 <= place - q * STEP < len(field)}
        inputs = [*(field[n] for n in sources.values()), *steps]
        bits.append(cells.lut("spread", f"{name}_bit_{place}", inputs, _chosen(sources)))
    return Cat(*bits)


def moved_steps(
    cells: Packer, a: Sequence[Value], b: Sequence[Value], limit: int, name: str
) -> tuple[list[Value], list[Value]]:
    """(steps of a and one more where b's are above `limit`, steps of b and one less there)."""

    def more(place: int) -> Callable[..., int]:
        return lambda *bits: (number(bits[: len(a)]) + (number(bits[len(a) :]) > limit)) >> place & 1

    def less(place: int) -> Callable[..., int]:
        return lambda *bits: min(number(bits), limit) >> place & 1

    up = [cells.lut("steps", f"{name}_up_{place}", [*a, *b], more(place)) for place in range(len(a) + 1)]
    down = [cells.lut("steps", f"{name}_down_{place}", b, less(place)) for place in range(len(b))]
    return up, down


def signal(m: Module, value: Value, name: str) -> Signal:
    """`value` as a named signal."""
    out = Signal(value.shape(), name=name)
    m.d.comb += out.eq(value)
    return out
