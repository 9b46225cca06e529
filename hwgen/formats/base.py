"""What a code means: a Format maps integer codes to exact dyadic rationals `significand * 2**exponent`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]
Real = npt.NDArray[np.float64]


class Format(ABC):
    """One number format of scalar codes.

    A code is an integer; `decode` gives what it is worth and `encode` the code nearest to a real number. Every
    format is a frozen value with a `name` that `hwgen.formats.get` turns back into it.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name that the catalogue knows it by."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Bits of a code in hardware."""

    @property
    @abstractmethod
    def signed(self) -> bool:
        """Whether codes themselves are signed integers (two's complement in hardware)."""

    @abstractmethod
    def codes(self) -> Codes:
        """All codes, in increasing order, shape (n,)."""

    @abstractmethod
    def significand_exponent(self, codes: npt.ArrayLike) -> tuple[Codes, Codes]:
        """Integers (significand, exponent) of the codes' shape: each code is worth significand * 2**exponent."""

    @abstractmethod
    def encode(self, x: npt.ArrayLike, rounding: str = "half_even", overflow: str = "saturate") -> Codes:
        """Codes of real numbers `x`, rounded by name; `overflow` is "saturate" or "wrap". NaN is an error."""

    def decode(self, codes: npt.ArrayLike) -> Real:
        """What the codes are worth, exact in float64; same shape."""
        significand, exponent = self.significand_exponent(codes)
        return np.ldexp(significand.astype(np.float64), exponent.astype(np.int32))

    @property
    def code_range(self) -> tuple[int, int]:
        """(least, greatest) code."""
        codes = self.codes()
        return int(codes[0]), int(codes[-1])

    @property
    def integer_range(self) -> tuple[int, int] | None:
        """(least, greatest) worth if every code is worth an integer, else None."""
        significand, exponent = self.significand_exponent(self.codes())
        if (exponent < 0).any():
            return None
        worth = significand << exponent
        return int(worth.min()), int(worth.max())

    def describe(self) -> dict[str, Any]:
        """Name, bits, range and least step, for tables and JSON."""
        worth = self.decode(self.codes())
        positive = np.unique(np.abs(worth[worth != 0]))
        return {
            "name": self.name,
            "bits": self.bits,
            "signed": bool((worth < 0).any()),
            "min": float(worth.min()),
            "max": float(worth.max()),
            "least_positive": float(positive[0]),
        }
