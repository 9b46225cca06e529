"""What a code means: a Format maps integer codes to exact dyadic rationals `significand * 2**exponent`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.formats.stochastic import Rounding

Codes = npt.NDArray[np.int64]
Real = npt.NDArray[np.float64]

# The lengths of dot products whose exact accumulators `describe` states.
DESCRIBED_TERMS = (32, 4096)


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

    @property
    @abstractmethod
    def lsb(self) -> int:
        """The exponent of the grid: every number of the format is an integer times 2**lsb."""

    @property
    @abstractmethod
    def extremes(self) -> tuple[Fraction, Fraction]:
        """(least, greatest) finite number, exact."""

    @abstractmethod
    def codes(self) -> Codes:
        """All codes, in increasing order, shape (n,); raises HwgenError for formats of more than 16 bits."""

    @abstractmethod
    def significand_exponent(self, codes: npt.ArrayLike) -> tuple[Codes, Codes]:
        """Integers (significand, exponent) of the codes' shape: each code is worth significand * 2**exponent."""

    @abstractmethod
    def encode(self, x: npt.ArrayLike, rounding: Rounding = "half_even", overflow: str = "saturate") -> Codes:
        """Codes of real numbers `x`, same shape, rounded once by name (or by `Stochastic` random numbers).

        What lies outside of the range saturates by default; each family says what else `overflow` may be, and what
        becomes of NaN.
        """

    def is_number(self, codes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Where a code is a finite number."""
        return np.ones(np.shape(codes), dtype=np.bool_)

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
        """(least, greatest) number if every code is an integer, else None."""
        low, high = self.extremes
        return (int(low), int(high)) if self.lsb >= 0 else None

    def describe(self) -> dict[str, Any]:
        """Name, kind, bits, range, least step, and the widths of exact products and sums, for tables and JSON."""
        low, high = self.extremes
        product_lsb, product = product_width(self, self)
        return {
            "name": self.name,
            "kind": "scalar",
            "bits": self.bits,
            "signed": low < 0,
            "min": float(low),
            "max": float(high),
            "least_positive": 2.0**self.lsb,
            "significand_bits": self.significand_bits,
            "product_lsb": product_lsb,
            "product_bits": product,
            **{f"accumulator_bits_{terms}": product_width(self, self, terms)[1] for terms in DESCRIBED_TERMS},
        }

    @property
    def significand_bits(self) -> int:
        """Bits of the longest significand's magnitude: the precision."""
        low, high = self.extremes
        return int(max(-low, high) / Fraction(2) ** self.lsb).bit_length()


def product_width(a: Format, b: Format, terms: int = 1) -> tuple[int, int]:
    """(lsb, bits) of the exact sum of `terms` products of a number of `a` and one of `b`.

    Every such sum is an integer times 2**lsb, in two's complement of that many bits; no sign bit where none can be
    negative. The bound is that of the formats alone: known weights need less.
    """
    ends = [x * y for x in a.extremes for y in b.extremes]
    lsb = a.lsb + b.lsb
    unit = Fraction(2) ** lsb
    low, high = (int(terms * end / unit) for end in (min(ends), max(ends)))
    if low >= 0:
        return lsb, max(1, high.bit_length())
    return lsb, max(high, -low - 1).bit_length() + 1
