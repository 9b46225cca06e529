"""Codes to the operands of a DSP: minifloats to fixed-point magnitudes in few LUTs, two outputs to a LUT6_2."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Signal, Value

from hwgen.formats import Format
from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.arith.cells import lut, lut_pair
from hwgen.gateware.arith.fields import fields

# Exponents are taken apart: the lowest bits shift by less than STEP, the others by multiples of it.
LOW = 2
STEP = 1 << LOW
SHARED_INPUTS = 5


@dataclass(frozen=True)
class Truth:
    """One bit as a function of named bits."""

    inputs: tuple[str, ...]
    function: Callable[[Mapping[str, int]], bool]


def place(m: Module, name: str, values: Mapping[str, Value], truths: Sequence[Truth]) -> list[Value]:
    """The bits of `truths`, of 1 to 6 of `values` each: in one LUT6_2 two that have five inputs together, if any."""

    def function(truth: Truth, inputs: Sequence[str]) -> Callable[..., int]:
        return lambda *bits: int(truth.function(dict(zip(inputs, bits, strict=True))))

    found: dict[int, Value] = {}
    for index, truth in enumerate(truths):
        if index in found:
            continue
        partners = []
        for other in range(index + 1, len(truths)):
            union = sorted({*truth.inputs, *truths[other].inputs})
            if other not in found and len(union) <= SHARED_INPUTS:
                partners.append((len(union), other, union))
        if not partners:
            found[index] = lut(
                m, f"{name}_{index}", [values[key] for key in truth.inputs], function(truth, truth.inputs)
            )
            continue
        _, other, union = min(partners)
        pair = [function(truths[n], union) for n in (index, other)]
        found[index], found[other] = lut_pair(m, f"{name}_{index}", [values[key] for key in union], *pair)
    return [found[index] for index in range(len(truths))]


@dataclass(frozen=True)
class Reach:
    """Where the magnitudes of a format lie: significand << shift for a shift of first..last.

    steps: the greatest shift in whole steps.
    """

    significand: int
    first: int
    last: int

    @staticmethod
    def of(fmt: Minifloat) -> "Reach":
        return Reach(fmt.mantissa_bits + 1, int(fmt.has_subnormals), (fmt.max_magnitude >> fmt.mantissa_bits) or 1)

    @property
    def steps(self) -> int:
        return self.last >> LOW

    def width(self, less: int = 0) -> int:
        """Bits of the magnitude, shifted by `less` steps less at most."""
        return self.last - less * STEP + self.significand - self.first


def operand_bits(fmt: Format) -> int:
    """Bits of the multiplier's operand without its sign."""
    if isinstance(fmt, Minifloat):
        return Reach.of(fmt).width()
    return fmt.bits - int(fmt.signed)


@dataclass(frozen=True, eq=False)
class Decoded:
    """A code's parts: `field`, the significand shifted by the exponent's low bits; `steps`, its upper bits."""

    field: list[Value]
    steps: list[Value]
    sign: Value
    nan: Value


def decode(m: Module, fmt: Minifloat, code: Value, name: str) -> Decoded:
    """The first stage of a minifloat's decoder."""
    bits, reach = fields(fmt, code), Reach.of(fmt)
    exponent = {f"e{n}": bits.exponent[n] for n in range(fmt.exponent_bits)}
    keys = tuple(exponent)
    top = Truth(keys, lambda on: any(on[key] for key in keys))
    lowest = Truth(keys, lambda on: bool(on["e0"]) or not any(on[key] for key in keys))
    hidden, low = Const(1, 1), bits.exponent[0]
    if fmt.has_subnormals:
        hidden, low = place(m, f"{name}_normal", exponent, [top, lowest])
    values: dict[str, Value] = {f"s{n}": bits.mantissa[n] for n in range(fmt.mantissa_bits)}
    values |= {f"s{fmt.mantissa_bits}": hidden, "k0": low}
    values |= {"k1": bits.exponent[1]} if fmt.exponent_bits > 1 else {}
    selects = tuple(key for key in ("k0", "k1") if key in values)
    truths = []
    for bit in range(reach.significand + (1 << len(selects)) - 1):
        sources = tuple(n for n in range(reach.significand) if 0 <= bit - n < 1 << len(selects))
        truths.append(Truth((*(f"s{n}" for n in sources), *selects), _shifted(bit, sources)))
    field = place(m, f"{name}_field", values, truths)
    return Decoded(field, [bits.exponent[n] for n in range(LOW, fmt.exponent_bits)], bits.sign, ~bits.finite)


def _shifted(bit: int, sources: tuple[int, ...]) -> Callable[[Mapping[str, int]], bool]:
    def function(on: Mapping[str, int]) -> bool:
        shift = on["k0"] + 2 * on.get("k1", 0)
        return bit - shift in sources and bool(on[f"s{bit - shift}"])

    return function


def spread(m: Module, reach: Reach, field: Sequence[Value], steps: Sequence[Value], greatest: int, name: str) -> Value:
    """The field shifted by `steps`, `greatest` at most, without the lowest bits, which nothing reaches."""
    if not steps:
        return Cat(*field[reach.first : reach.last + reach.significand])
    values: dict[str, Value] = {f"f{n}": bit for n, bit in enumerate(field)}
    values |= {f"q{n}": bit for n, bit in enumerate(steps)}
    keys = tuple(f"q{n}" for n in range(len(steps)))
    end = greatest * STEP + (reach.last & (STEP - 1) if greatest == reach.last >> LOW else STEP - 1)
    places = range(reach.first, end + reach.significand)
    # Bits of the same place in a step share their inputs: those stand together.
    order = sorted(places, key=lambda bit: (bit % STEP, bit))
    truths = []
    for bit in order:
        sources = {q: bit - q * STEP for q in range(greatest + 1) if 0 <= bit - q * STEP < len(field)}
        truths.append(Truth((*(f"f{n}" for n in sources.values()), *keys), _stepped(sources)))
    placed = dict(zip(order, place(m, f"{name}_bit", values, truths), strict=True))
    return Cat(*(placed[bit] for bit in places))


def _stepped(sources: Mapping[int, int]) -> Callable[[Mapping[str, int]], bool]:
    def function(on: Mapping[str, int]) -> bool:
        step = sum(value << int(key[1:]) for key, value in on.items() if key[0] == "q")
        return step in sources and bool(on[f"f{sources[step]}"])

    return function


def moved_steps(
    m: Module, a: Sequence[Value], b: Sequence[Value], limit: int, name: str
) -> tuple[list[Value], list[Value]]:
    """(steps of a and one more where b's are above `limit`, steps of b and one less there)."""
    values = {f"a{n}": bit for n, bit in enumerate(a)} | {f"b{n}": bit for n, bit in enumerate(b)}

    def number(on: Mapping[str, int], side: str) -> int:
        return sum(value << int(key[1:]) for key, value in on.items() if key[0] == side)

    b_keys = tuple(key for key in values if key[0] == "b")

    def more(bit: int) -> Truth:
        return Truth(tuple(values), lambda on: bool((number(on, "a") + (number(on, "b") > limit)) >> bit & 1))

    def less(bit: int) -> Truth:
        return Truth(b_keys, lambda on: bool(min(number(on, "b"), limit) >> bit & 1))

    found = place(m, name, values, [more(bit) for bit in range(len(a) + 1)] + [less(bit) for bit in range(len(b))])
    return found[: len(a) + 1], found[len(a) + 1 :]


def signal(m: Module, value: Value, name: str) -> Signal:
    out = Signal(value.shape(), name=name)
    m.d.comb += out.eq(value)
    return out
