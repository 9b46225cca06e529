"""Rounding to integers, by name: of real numbers, and of integers that are shifted right.

Names follow IEEE 754-2019 (sec. 4.3) in short form. `QONNX_ROUNDING` translates the attribute of QONNX's Quant node.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats.stochastic import Rounding, Stochastic, as_stochastic

Real = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def _half_away(x: Real) -> Real:
    # floor(|x| + 0.5) is wrong for 0.5 - 2^-54, whose sum rounds up to 1; comparing the fraction is exact.
    whole = np.floor(np.abs(x))
    return np.asarray(np.copysign(whole + (np.abs(x) - whole >= 0.5), x))


def _half_zero(x: Real) -> Real:
    whole = np.floor(np.abs(x))
    return np.asarray(np.copysign(whole + (np.abs(x) - whole > 0.5), x))


def _half_up(x: Real) -> Real:
    whole = np.floor(x)
    return np.asarray(whole + (x - whole >= 0.5))


def _away(x: Real) -> Real:
    return np.asarray(np.copysign(np.ceil(np.abs(x)), x))


ROUNDING: dict[str, Callable[[Real], Real]] = {
    "half_even": np.rint,
    "half_away": _half_away,
    "half_zero": _half_zero,
    "half_up": _half_up,
    "down": np.floor,
    "up": np.ceil,
    "zero": np.trunc,
    "away": _away,
}

QONNX_ROUNDING = {
    "ROUND": "half_even",
    "HALF_EVEN": "half_even",
    "CEIL": "up",
    "FLOOR": "down",
    "UP": "away",
    "DOWN": "zero",
    "ROUND_TO_ZERO": "zero",
    "HALF_UP": "half_away",
    "HALF_DOWN": "half_zero",
}


# The roundings of a format's encode: these names, "half_down" (ties toward minus infinity, ap_fixed's AP_RND_MIN_INF),
# "odd" (an inexact number goes to its odd neighbour, which keeps what a second rounding to fewer bits needs) and
# "stochastic".
ENCODE_ROUNDING = (*ROUNDING, "half_down", "odd", "stochastic")


def check_encode_rounding(rounding: Rounding) -> Rounding:
    """`rounding` itself; raises HwgenError with the known names if it is not one of them."""
    if not isinstance(rounding, Stochastic) and rounding not in ENCODE_ROUNDING:
        raise HwgenError(f"unknown rounding {rounding!r}: one of {', '.join(ENCODE_ROUNDING)}")
    return rounding


def check_rounding(mode: str) -> str:
    """`mode` itself; raises HwgenError with the known names if it is not one of them."""
    if mode not in ROUNDING:
        raise HwgenError(f"unknown rounding {mode!r}: one of {', '.join(ROUNDING)}")
    return mode


def round_real(x: npt.ArrayLike, mode: str) -> Real:
    """`x` rounded to integers (still float64); any shape."""
    return ROUNDING[check_rounding(mode)](np.asarray(x, dtype=np.float64))


def round_integer(x: npt.ArrayLike, rounding: Rounding) -> Real:
    """`x` rounded to integers (still float64) by any rounding of `ENCODE_ROUNDING`; any shape."""
    real = np.asarray(x, dtype=np.float64)
    check_encode_rounding(rounding)
    random = as_stochastic(rounding)
    if random:
        return _stochastic(real, random)
    if rounding == "half_down":
        return np.asarray(-_half_up(-real))
    if rounding == "odd":
        floor = np.floor(real)
        return np.asarray(np.where((floor != real) & (np.mod(floor, 2) == 0), floor + 1, floor))
    return round_real(real, str(rounding))


def _stochastic(x: Real, random: Stochastic) -> Real:
    """floor(x + r * 2**-bits), without rounding the sum."""
    r = random.numbers(x.size).reshape(x.shape)
    share = np.ldexp(r.astype(np.float64), -random.bits)
    floor = np.where(np.isfinite(x), np.floor(x), 0)
    # Just below zero x - floor is not exact, but -share is.
    carry = np.where(floor == -1, x >= -share, x - floor >= 1 - share) & (r > 0)
    return np.asarray(np.where(np.isfinite(x), floor + carry, x))


def round_shift(values: npt.ArrayLike, shift: npt.ArrayLike, mode: str) -> Ints:
    """`values / 2**shift` rounded to an integer, on int64 alone; `shift` from 0 to 62, broadcast against `values`."""
    value = np.asarray(values, dtype=np.int64)
    by = np.asarray(shift, dtype=np.int64)
    floor = value >> by
    rest = value - (floor << by)
    twice = rest << 1
    one = np.int64(1) << by
    negative = value < 0
    odd = (floor & 1) == 1
    up = {
        "half_even": (twice > one) | ((twice == one) & odd),
        "half_away": (twice > one) | ((twice == one) & ~negative),
        "half_zero": (twice > one) | ((twice == one) & negative),
        "half_up": twice >= one,
        "down": np.zeros_like(odd),
        "up": rest > 0,
        "zero": (rest > 0) & negative,
        "away": (rest > 0) & ~negative,
    }[check_rounding(mode)]
    return np.asarray(floor + up, dtype=np.int64)
