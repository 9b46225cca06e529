"""Fixed point, as ap_fixed<w, i, Q, O> of the HLS tools has it: integers of w bits times 2**(i - w)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats.base import Codes, Format
from hwgen.formats.integer import Int, check_finite, fit_integer
from hwgen.formats.rounding import round_integer
from hwgen.formats.stochastic import Rounding

# The names of ap_fixed's quantization and overflow modes, in this package's terms.
AP_ROUNDING = {
    "AP_RND": "half_up",
    "AP_RND_ZERO": "half_zero",
    "AP_RND_MIN_INF": "half_down",
    "AP_RND_INF": "half_away",
    "AP_RND_CONV": "half_even",
    "AP_TRN": "down",
    "AP_TRN_ZERO": "zero",
}
AP_OVERFLOW = {
    "AP_SAT": "saturate",
    "AP_SAT_ZERO": "saturate_zero",
    "AP_SAT_SYM": "saturate_symmetric",
    "AP_WRAP": "wrap",
    "AP_WRAP_SM": "wrap_sign_magnitude",
}
MAX_FIXED_BITS = 53
MAX_INTEGER_BITS = 128


@dataclass(frozen=True)
class Fixed(Format):
    """Codes of `width` bits that are worth code * 2**(integer - width).

    integer: bits left of the point, the sign's among them; it may be negative or exceed `width`. `narrow` leaves out
    the least signed code. Widths go to 53 bits, so that every code is exact in float64.
    """

    width: int
    integer: int
    is_signed: bool = True
    narrow: bool = False

    def __post_init__(self) -> None:
        if self.width > MAX_FIXED_BITS or abs(self.integer) > MAX_INTEGER_BITS:
            raise HwgenError(
                f"fixed point has up to {MAX_FIXED_BITS} bits and -{MAX_INTEGER_BITS}..{MAX_INTEGER_BITS} integer "
                f"bits, not <{self.width},{self.integer}>"
            )
        if self.narrow and not self.is_signed:
            raise HwgenError("a narrow range leaves out the least signed code: unsigned fixed point has none")
        _ = self.integers  # which checks the width

    @cached_property
    def integers(self) -> Int:
        """The format of the codes, as integers."""
        return Int(self.width, self.is_signed, self.narrow)

    @property
    def name(self) -> str:
        kind = "fixed" if self.is_signed else "ufixed"
        return f"{kind}<{self.width},{self.integer}>{'n' if self.narrow else ''}"

    @property
    def bits(self) -> int:
        return self.width

    @property
    def signed(self) -> bool:
        return self.is_signed

    @property
    def code_range(self) -> tuple[int, int]:
        return self.integers.code_range

    @property
    def lsb(self) -> int:
        return self.integer - self.width

    @property
    def extremes(self) -> tuple[Fraction, Fraction]:
        unit = Fraction(2) ** self.lsb
        return self.integers.min * unit, self.integers.max * unit

    def codes(self) -> Codes:
        return self.integers.codes()

    def significand_exponent(self, codes: npt.ArrayLike) -> tuple[Codes, Codes]:
        value = np.asarray(codes, dtype=np.int64)
        return value, np.full_like(value, self.lsb)

    def encode(self, x: npt.ArrayLike, rounding: Rounding = "half_even", overflow: str = "saturate") -> Codes:
        """Codes of real numbers; `AP_ROUNDING` and `AP_OVERFLOW` give the names that ap_fixed's modes have here.

        overflow: "saturate", "saturate_zero" (to 0), "saturate_symmetric" (to plus or minus the greatest code),
        "wrap" (modulo 2**width) or "wrap_sign_magnitude". Raises HwgenError for NaN.
        """
        rounded = round_integer(scale_down(check_finite(x, self.name), self.lsb), rounding)
        return fit_integer(rounded, self.integers, overflow, self.name)


def scale_down(x: npt.NDArray[np.float64], exponent: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """`x / 2**exponent` for rounding to integers: exact, or nonzero and still next to nothing where it underflows."""
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp(x, -np.asarray(exponent, dtype=np.int32))
    return np.where((scaled == 0) & (x != 0), np.copysign(np.finfo(np.float64).smallest_subnormal, x), scaled)
