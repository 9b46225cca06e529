"""Integers, whose code is the number itself, and bipolar codes, where 0 stands for -1 and 1 for +1."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats.base import Codes, Format
from hwgen.formats.rounding import round_integer
from hwgen.formats.stochastic import Rounding

# What becomes of integers outside of the range. ap_fixed: AP_SAT, AP_SAT_ZERO, AP_SAT_SYM, AP_WRAP, AP_WRAP_SM.
OVERFLOW = ("saturate", "saturate_zero", "saturate_symmetric", "wrap", "wrap_sign_magnitude")

# Wide enough for every accumulator that int64 carries exactly.
MAX_INT_BITS = 63


def check_finite(x: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """`x` as float64; raises HwgenError if it holds NaN, which no integer code stands for."""
    real = np.asarray(x, dtype=np.float64)
    if np.isnan(real).any():
        raise HwgenError(f"NaN has no code in {name}")
    return real


@dataclass(frozen=True)
class Int(Format):
    """Integers of `width` bits, two's complement if `is_signed`; `narrow` leaves out the least signed code."""

    width: int
    is_signed: bool = True
    narrow: bool = False

    def __post_init__(self) -> None:
        least = 2 if self.is_signed else 1
        if not least <= self.width <= MAX_INT_BITS:
            kind = "a signed" if self.is_signed else "an unsigned"
            raise HwgenError(f"{kind} integer has {least} to {MAX_INT_BITS} bits, not {self.width}")

    @property
    def name(self) -> str:
        return f"{'int' if self.is_signed else 'uint'}{self.width}{'n' if self.narrow else ''}"

    @property
    def bits(self) -> int:
        return self.width

    @property
    def signed(self) -> bool:
        return self.is_signed

    @property
    def min(self) -> int:
        return -(1 << (self.width - 1)) + int(self.narrow) if self.is_signed else 0

    @property
    def max(self) -> int:
        # QONNX: a narrow unsigned range leaves out the greatest code.
        return (1 << (self.width - 1)) - 1 if self.is_signed else (1 << self.width) - 1 - int(self.narrow)

    @property
    def code_range(self) -> tuple[int, int]:
        return self.min, self.max

    @property
    def lsb(self) -> int:
        return 0

    @property
    def extremes(self) -> tuple[Fraction, Fraction]:
        return Fraction(self.min), Fraction(self.max)

    def codes(self) -> Codes:
        if self.width > 16:
            raise HwgenError(f"{self.name} has too many codes to list: 2^{self.width}")
        return np.arange(self.min, self.max + 1, dtype=np.int64)

    def significand_exponent(self, codes: npt.ArrayLike) -> tuple[Codes, Codes]:
        value = np.asarray(codes, dtype=np.int64)
        return value, np.zeros_like(value)

    def encode(self, x: npt.ArrayLike, rounding: Rounding = "half_even", overflow: str = "saturate") -> Codes:
        rounded = round_integer(check_finite(x, self.name), rounding)
        return fit_integer(rounded, self, overflow, self.name)

    def wrap(self, values: npt.ArrayLike) -> Codes:
        """Integers modulo 2**width, as codes (ap_fixed's AP_WRAP)."""
        low = np.asarray(values, dtype=np.int64) & ((1 << self.width) - 1)
        return low - ((low >> (self.width - 1)) << self.width) if self.is_signed else low

    @staticmethod
    def holding(low: int, high: int) -> Int:
        """The narrowest integer format whose range holds `low`..`high`; unsigned where `low` is not negative."""
        if low >= 0:
            return Int(max(1, high.bit_length()), is_signed=False)
        return Int(max(2, (max(high, -low - 1)).bit_length() + 1))


@dataclass(frozen=True)
class Bipolar(Format):
    """One bit: code 0 is worth -1, code 1 is worth +1 (QONNX BipolarQuant)."""

    @property
    def name(self) -> str:
        return "bipolar"

    @property
    def bits(self) -> int:
        return 1

    @property
    def signed(self) -> bool:
        return False

    @property
    def lsb(self) -> int:
        return 0

    @property
    def extremes(self) -> tuple[Fraction, Fraction]:
        return Fraction(-1), Fraction(1)

    def codes(self) -> Codes:
        return np.array([0, 1], dtype=np.int64)

    def significand_exponent(self, codes: npt.ArrayLike) -> tuple[Codes, Codes]:
        code = np.asarray(codes, dtype=np.int64)
        return 2 * code - 1, np.zeros_like(code)

    def encode(self, x: npt.ArrayLike, rounding: Rounding = "half_even", overflow: str = "saturate") -> Codes:
        """1 where `x` >= 0 (also -0.0), else 0; rounding and overflow do not arise."""
        del rounding, overflow
        return (check_finite(x, self.name) >= 0).astype(np.int64)


def fit_integer(rounded: npt.NDArray[np.float64], codes: Int, overflow: str, name: str) -> Codes:
    """Integers, held as float64, brought into the range of `codes` by one of `OVERFLOW`; `name` is for errors."""
    if overflow == "saturate":
        return np.clip(rounded, codes.min, codes.max).astype(np.int64)
    if overflow == "saturate_zero":
        return np.where((rounded < codes.min) | (rounded > codes.max), 0, rounded).astype(np.int64)
    if overflow == "saturate_symmetric":
        return np.clip(rounded, -codes.max if codes.is_signed else 0, codes.max).astype(np.int64)
    if overflow not in OVERFLOW:
        raise HwgenError(f"unknown overflow {overflow!r}: one of {', '.join(OVERFLOW)}")
    if codes.narrow:
        raise HwgenError(f"{name} cannot wrap: a narrow range is not a power of two")
    if not (np.abs(rounded) < 2.0**62).all():
        raise HwgenError(f"{name} wraps numbers below 2^62 steps only")
    value = rounded.astype(np.int64)
    wrapped = codes.wrap(value)
    if overflow == "wrap":
        return wrapped
    if not codes.is_signed:
        raise HwgenError(f"{name} has no sign, which wrap_sign_magnitude is about")
    # The lowest bit that is lost becomes the sign; if it was not the sign, all bits are inverted.
    lost = (value >> codes.width) & 1
    return np.where(lost == (wrapped < 0), wrapped, ~wrapped)
