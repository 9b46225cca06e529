"""Whether to add one where bits are cut off, for every named rounding.

guard: the highest bit cut off; sticky: any lower one set; odd: the lowest bit kept; negative: the number's sign.
"""

from amaranth.hdl import Cat, Const, Value

from hwgen.errors import UnsupportedError
from hwgen.formats.rounding import check_encode_rounding
from hwgen.formats.stochastic import Rounding, Stochastic, as_stochastic


def random_bits(rounding: Rounding) -> int:
    """How many random bits one rounding takes; 0 for those that take none. Raises HwgenError for unknown names."""
    found = as_stochastic(check_encode_rounding(rounding))
    return found.bits if found else 0


def named(rounding: Rounding) -> str:
    """The rounding's name; raises UnsupportedError for stochastic ones, which need random bits."""
    check_encode_rounding(rounding)
    if isinstance(rounding, Stochastic) or rounding == "stochastic":
        raise UnsupportedError("this gateware has no random bits for stochastic rounding")
    return rounding


def round_magnitude(rounding: str, guard: Value, sticky: Value, odd: Value, negative: Value) -> Value:
    """For a magnitude: the sign stands beside it."""
    inexact = guard | sticky
    return {
        "half_even": guard & (sticky | odd),
        "half_away": guard,
        "half_zero": guard & sticky,
        "half_up": guard & (sticky | ~negative),
        "half_down": guard & (sticky | negative),
        "down": inexact & negative,
        "up": inexact & ~negative,
        "zero": Const(0, 1),
        "away": inexact,
        "odd": inexact & ~odd,
    }[rounding]


def round_floor(rounding: str, guard: Value, sticky: Value, odd: Value, negative: Value) -> Value:
    """For two's complement, whose kept bits are the floor."""
    inexact = guard | sticky
    return {
        "half_even": guard & (sticky | odd),
        "half_away": guard & (sticky | ~negative),
        "half_zero": guard & (sticky | negative),
        "half_up": guard,
        "half_down": guard & sticky,
        "down": Const(0, 1),
        "up": inexact,
        "zero": inexact & negative,
        "away": inexact & ~negative,
        "odd": inexact & ~odd,
    }[rounding]


def round_random(cut: Value, random: Value) -> Value:
    """Whether the bits cut off plus a random fraction carry: floor(x + random / 2**len(random))."""
    bits = len(random)
    top = cut[-bits:] if len(cut) >= bits else Cat(Const(0, bits - len(cut)), cut)
    return (top + random)[bits]
