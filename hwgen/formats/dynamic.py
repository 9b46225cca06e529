"""Dynamic fixed point: integer codes with one shared exponent for a whole tensor (arXiv 1802.00930)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats.base import Codes, Real
from hwgen.formats.fixed import scale_down
from hwgen.formats.integer import Int, check_finite
from hwgen.formats.rounding import round_integer, round_shift
from hwgen.formats.stochastic import Rounding

ACCUMULATOR_BITS = 32


@dataclass(frozen=True)
class DynamicFixed:
    """Signed integers of `bits` bits, 4 to 16; a tensor's codes are worth code * 2**exponent, one exponent for all."""

    bits: int = 16

    def __post_init__(self) -> None:
        if not 4 <= self.bits <= 16:
            raise HwgenError(f"dynamic fixed point has 4 to 16 bits, not {self.bits}")

    @property
    def name(self) -> str:
        """The name that the catalogue knows it by."""
        return f"dfp{self.bits}"

    @property
    def element(self) -> Int:
        """The format of the codes."""
        return Int(self.bits)

    def exponent_of(self, x: npt.ArrayLike) -> int:
        """The shared exponent that gives the greatest |x| the most bits: floor(log2(max|x|)) - (bits - 2); 0 for zero.

        Raises HwgenError for NaN and infinity, which have no code.
        """
        real = check_finite(x, self.name)
        if np.isinf(real).any():
            raise HwgenError(f"infinity has no code in {self.name}")
        greatest = float(np.max(np.abs(real), initial=0.0))
        return int(np.frexp(greatest)[1]) - (self.bits - 1) if greatest else 0

    def encode(
        self, x: npt.ArrayLike, rounding: Rounding = "half_even", exponent: int | None = None
    ) -> tuple[int, Codes]:
        """(exponent, codes) of a tensor of real numbers; codes saturate.

        exponent: given (static, from calibration), or else `exponent_of(x)`.
        """
        shared = self.exponent_of(x) if exponent is None else exponent
        rounded = round_integer(scale_down(check_finite(x, self.name), shared), rounding)
        return shared, np.clip(rounded, self.element.min, self.element.max).astype(np.int64)

    def decode(self, exponent: int, codes: npt.ArrayLike) -> Real:
        """What the codes are worth, exact in float64 within its range."""
        return np.ldexp(np.asarray(codes, dtype=np.float64), exponent)

    def down_convert(self, sums: npt.ArrayLike, exponent: int, rounding: str = "half_even") -> tuple[int, Codes]:
        """(exponent, codes) of a tensor of INT32 sums with a shared exponent.

        All shift right by (33 - bits) - LZC where that is positive, LZC being the leading zeros of max|sum| in 32
        bits; they are rounded by name, a result of 2**(bits-1) saturates, and the exponent grows by the shift.
        Raises HwgenError for sums that 32 bits do not hold.
        """
        value = np.asarray(sums, dtype=np.int64)
        least, greatest = int(value.min(initial=0)), int(value.max(initial=0))
        if least < -(1 << (ACCUMULATOR_BITS - 1)) or greatest >= 1 << (ACCUMULATOR_BITS - 1):
            raise HwgenError(
                f"sums of {least}..{greatest} leave the {ACCUMULATOR_BITS} bits of {self.name}'s accumulator"
            )
        zeros = ACCUMULATOR_BITS - max(-least, greatest).bit_length()
        shift = max(0, ACCUMULATOR_BITS + 1 - self.bits - zeros)
        rounded = round_shift(value, shift, rounding)
        return exponent + shift, np.clip(rounded, self.element.min, self.element.max)

    def describe(self) -> dict[str, Any]:
        """As `Format.describe`, at exponent 0."""
        return {**self.element.describe(), "name": self.name, "kind": "dynamic"}
