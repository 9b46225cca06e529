"""Minifloats: sign, exponent and mantissa in a few bits (OCP OFP8 v1.0 and OCP MX v1.0 sec. 5).

Subnormals always count, except in scale formats.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats.base import Codes, Format

Special = Literal["none", "nan", "ieee"]


@dataclass(frozen=True)
class Minifloat(Format):
    """A floating-point format whose codes are its packed bits, an unsigned integer: sign, exponent, mantissa.

    exponent_bits >= 1, mantissa_bits >= 0, `bias` of the exponent; `has_sign`: False for scale formats such as E8M0.
    special: which codes are not numbers. "none": all are numbers; "nan": only the codes whose bits below the sign are
    all ones, a NaN (E4M3, E8M0, UE5M3); "ieee": the greatest exponent is infinity (mantissa 0) and NaNs (E5M2).
    has_subnormals: False reads exponent field 0 as a normal exponent, so that there is no zero (E8M0).
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int
    special: Special = "none"
    has_sign: bool = True
    has_subnormals: bool = True
    label: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.exponent_bits <= 8 or not 0 <= self.mantissa_bits <= 23:
            raise HwgenError(
                "a minifloat has 1 to 8 exponent and 0 to 23 mantissa bits, "
                f"not E{self.exponent_bits}M{self.mantissa_bits}"
            )
        if not -300 <= self.bias <= 300:
            raise HwgenError(f"a bias lies in -300..300, not {self.bias}")

    @property
    def name(self) -> str:
        return self.label or f"e{self.exponent_bits}m{self.mantissa_bits}b{self.bias}{self.special[0]}"

    @property
    def bits(self) -> int:
        return int(self.has_sign) + self.exponent_bits + self.mantissa_bits

    @property
    def signed(self) -> bool:
        """Codes are bit patterns, not two's complement numbers."""
        return False

    @cached_property
    def magnitude_bits(self) -> int:
        return self.exponent_bits + self.mantissa_bits

    @cached_property
    def max_magnitude(self) -> int:
        """The bits below the sign of the greatest finite number."""
        top = (1 << self.magnitude_bits) - 1
        if self.special == "ieee":
            return top - (1 << self.mantissa_bits)
        return top - int(self.special == "nan")

    def is_number(self, codes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Where a code is a finite number."""
        magnitude = np.asarray(codes, dtype=np.int64) & ((1 << self.magnitude_bits) - 1)
        return np.asarray(magnitude <= self.max_magnitude)

    def codes(self) -> Codes:
        if self.bits > 16:
            raise HwgenError(f"{self.name} has too many codes to list: 2^{self.bits}")
        return np.arange(1 << self.bits, dtype=np.int64)

    def significand_exponent(self, codes: npt.ArrayLike) -> tuple[Codes, Codes]:
        """(significand, exponent) of finite codes; what it gives for NaN and infinity has no meaning."""
        code = np.asarray(codes, dtype=np.int64)
        mantissa = code & ((1 << self.mantissa_bits) - 1)
        field = (code >> self.mantissa_bits) & ((1 << self.exponent_bits) - 1)
        subnormal = (field == 0) & self.has_subnormals
        significand = mantissa + np.where(subnormal, 0, 1 << self.mantissa_bits)
        exponent = np.where(subnormal, 1, field) - self.bias - self.mantissa_bits
        negative = (code >> self.magnitude_bits) & 1 if self.has_sign else np.zeros_like(code)
        return np.where(negative == 1, -significand, significand), exponent
