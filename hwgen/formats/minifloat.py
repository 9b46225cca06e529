"""Minifloats: sign, exponent and mantissa in a few bits (OCP OFP8 v1.0 and OCP MX v1.0 sec. 5).

Subnormals always count, except in scale formats.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats.base import Codes, Format, Real
from hwgen.formats.fast import CHUNK, MAX_TABLE_MANTISSA, look_up
from hwgen.formats.floats import round_to_grid
from hwgen.formats.rounding import check_encode_rounding
from hwgen.formats.stochastic import Rounding, Stochastic

Special = Literal["none", "nan", "ieee"]
OVERFLOW = ("saturate", "ieee")
FLOAT32_EXPONENT = 126
MAX_SCALE_EXPONENT = 400

# The published formats: (exponent bits, mantissa bits, bias, special, has_sign, has_subnormals). OCP OFP8 v1.0, OCP MX
# v1.0, IEEE 754; UE5M3 is a block scale without sign; Brevitas' Fp8e4m3 and Fp8e5m2 know no NaN, so that their greatest
# numbers are 480 and 114688, not 448 and 57344: formats of their own.
PUBLISHED: dict[tuple[int, int, int, Special, bool, bool], str] = {
    (4, 3, 7, "nan", True, True): "e4m3",
    (5, 2, 15, "ieee", True, True): "e5m2",
    (3, 2, 3, "none", True, True): "e3m2",
    (2, 3, 1, "none", True, True): "e2m3",
    (2, 1, 1, "none", True, True): "e2m1",
    (4, 3, 7, "none", True, True): "e4m3full",
    (5, 2, 15, "none", True, True): "e5m2full",
    (8, 0, 127, "nan", False, False): "e8m0",
    (5, 3, 15, "nan", False, True): "ue5m3",
    (8, 7, 127, "ieee", True, True): "bf16",
    (5, 10, 15, "ieee", True, True): "fp16",
    (8, 23, 127, "ieee", True, True): "fp32",
}


def ieee_bias(exponent_bits: int) -> int:
    """The bias that IEEE 754 gives to so many exponent bits."""
    return (1 << (exponent_bits - 1)) - 1


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

    def __post_init__(self) -> None:
        if not 1 <= self.exponent_bits <= 8 or not 0 <= self.mantissa_bits <= 23:
            raise HwgenError(
                "a minifloat has 1 to 8 exponent and 0 to 23 mantissa bits, "
                f"not E{self.exponent_bits}M{self.mantissa_bits}"
            )
        if not -300 <= self.bias <= 300:
            raise HwgenError(f"a bias lies in -300..300, not {self.bias}")
        if self.max_magnitude < 1:
            raise HwgenError(f"{self.name} has no numbers but zero")

    @property
    def name(self) -> str:
        """A published format's name; else [u]e<E>m<M>, the bias if it is not 2^(E-1)-1, and what else is special."""
        key = (self.exponent_bits, self.mantissa_bits, self.bias, self.special, self.has_sign, self.has_subnormals)
        if key in PUBLISHED:
            return PUBLISHED[key]
        bias = "" if self.bias == ieee_bias(self.exponent_bits) else f"b{self.bias}"
        special = "" if self.special == "none" else f"_{self.special}"
        low = "" if self.has_subnormals else "_nosub"
        return f"{'' if self.has_sign else 'u'}e{self.exponent_bits}m{self.mantissa_bits}{bias}{special}{low}"

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

    @property
    def code_range(self) -> tuple[int, int]:
        return 0, (1 << self.bits) - 1

    @property
    def lsb(self) -> int:
        return int(self.has_subnormals) - self.bias - self.mantissa_bits

    @property
    def extremes(self) -> tuple[Fraction, Fraction]:
        significand, exponent = self.significand_exponent(self.max_magnitude)
        high = int(significand) * Fraction(2) ** int(exponent)
        if self.has_sign:
            return -high, high
        significand, exponent = self.significand_exponent(0)
        return int(significand) * Fraction(2) ** int(exponent), high

    @property
    def significand_bits(self) -> int:
        return self.mantissa_bits + 1

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

    @cached_property
    def nan_code(self) -> int | None:
        """The code that NaN is encoded to: quiet and positive; None without one."""
        top = (1 << self.magnitude_bits) - 1
        if self.special == "nan":
            return top
        if self.special == "ieee" and self.mantissa_bits:
            quiet = ((1 << self.mantissa_bits) - 1) >> 1
            return top - quiet
        return None

    @cached_property
    def overflow_code(self) -> int | None:
        """The magnitude that an overflow becomes if it does not saturate: infinity, else NaN; None without both."""
        return self.max_magnitude + 1 if self.special == "ieee" else self.nan_code

    def decode(self, codes: npt.ArrayLike) -> Real:
        """What the codes are worth, exact in float64; NaN and infinity where the format has them; same shape."""
        code = np.asarray(codes, dtype=np.int64)
        worth = super().decode(code)
        # ldexp keeps the sign of a zero, which the integer significand has lost.
        worth = np.copysign(worth, np.where((code >> self.magnitude_bits) & 1, -1.0, 1.0))
        if self.special == "none":
            return worth
        magnitude = code & ((1 << self.magnitude_bits) - 1)
        if self.special == "ieee":
            worth = np.where(magnitude == self.max_magnitude + 1, np.copysign(np.inf, worth), worth)
            return np.where(magnitude > self.max_magnitude + 1, np.nan, worth)
        return np.where(magnitude > self.max_magnitude, np.nan, worth)

    def encode(self, x: npt.ArrayLike, rounding: Rounding = "half_even", overflow: str = "saturate") -> Codes:
        """Codes of real numbers, rounded once from float64 (float32 is exact in it); same shape.

        rounding: a name of `ENCODE_ROUNDING` or a `Stochastic`. overflow: "saturate" takes what is rounded past the
        greatest number, infinity too, to the greatest number of that sign; "ieee" takes it to infinity, or to NaN in
        a format without infinity (IEEE 754-2019 sec. 4.3: roundings toward zero keep finite numbers finite). NaN
        becomes `nan_code`. Zeros keep their sign. A format without zero takes what lies below its least number to it.
        In a format without sign a number below zero saturates to the least code, and is NaN for "ieee".
        Raises HwgenError for NaN or an overflow that the format cannot express.
        """
        source = np.asarray(x)
        table = self.mantissa_bits <= MAX_TABLE_MANTISSA and source.size > CHUNK
        named = not isinstance(rounding, Stochastic) and rounding != "stochastic"
        # float64 goes through float32, which must reach further than the format at both ends.
        inside = self.lsb > -FLOAT32_EXPONENT and self.extremes[1] < 1 << FLOAT32_EXPONENT
        if table and named and (source.dtype == np.float32 or (source.dtype == np.float64 and inside)):
            return self._encode_by_table(source, rounding, overflow)
        return self.encode_scaled(source, 0, rounding, overflow)

    def encode_scaled(
        self, x: npt.ArrayLike, exponent: npt.ArrayLike, rounding: Rounding = "half_even", overflow: str = "saturate"
    ) -> Codes:
        """Codes of `x / 2**exponent` with one rounding: the division is never carried out. Else as `encode`.

        `exponent`: integers in -400..400 that broadcast against `x`; others raise HwgenError.
        """
        if np.abs(exponent).max(initial=0) > MAX_SCALE_EXPONENT:
            raise HwgenError(f"a scale's exponent lies in -{MAX_SCALE_EXPONENT}..{MAX_SCALE_EXPONENT}")
        real = np.atleast_1d(np.ascontiguousarray(_as_float64(x)))
        code = self._codes_or_minus_one(real, exponent, rounding, overflow)
        if (code < 0).any():
            raise self._without_code(real[code < 0][0])
        return code.reshape(np.shape(x))

    def _codes_or_minus_one(self, x: Real, exponent: npt.ArrayLike, rounding: Rounding, overflow: str) -> Codes:
        """`encode_scaled` of an array, with -1 where there is no code."""
        check_encode_rounding(rounding)
        if overflow not in OVERFLOW:
            raise HwgenError(f"unknown overflow {overflow!r} for {self.name}: one of {', '.join(OVERFLOW)}")
        bias = self.bias - np.asarray(exponent, dtype=np.int64)
        top_field = (1 << self.exponent_bits) - 1
        magnitude = round_to_grid(x, self.mantissa_bits, bias, top_field, self.has_subnormals, rounding)
        negative = np.signbit(x)
        over = magnitude > self.max_magnitude
        magnitude = np.where(over, self.max_magnitude, magnitude)
        if overflow == "ieee":
            over &= np.isinf(x) | ~_stays_finite(negative, rounding)
            magnitude = np.where(over, -1 if self.overflow_code is None else self.overflow_code, magnitude)
        nan = -1 if self.nan_code is None else self.nan_code
        if self.has_sign:
            code = np.where(magnitude < 0, -1, magnitude | (negative.astype(np.int64) << self.magnitude_bits))
        else:
            code = np.where(negative & (x != 0), nan if overflow == "ieee" else 0, magnitude)
        return np.asarray(np.where(np.isnan(x), nan, code))

    def _without_code(self, x: float) -> HwgenError:
        if np.isnan(x):
            return HwgenError(f"NaN has no code in {self.name}")
        return HwgenError(
            f'{x:g} lies outside of {self.name}, which has no code for that; overflow="saturate" clips it'
        )

    def _encode_by_table(self, x: npt.NDArray[Any], rounding: Rounding, overflow: str) -> Codes:
        """`encode` of many numbers: round them to odd at 16 bits, then look the code up."""
        table, total = code_table(self, rounding, overflow)
        code = look_up(x, table)
        if not total and (code < 0).any():
            raise self._without_code(float(x[code < 0][0]))
        return code


@lru_cache(maxsize=64)
def code_table(fmt: Minifloat, rounding: Rounding, overflow: str, exponent: int = 0) -> tuple[Codes, bool]:
    """The codes of float32 numbers / 2**exponent by their high 16 bits, the others 0, and whether all have one."""
    top = np.arange(1 << 16, dtype=np.uint32) << 16
    code = fmt._codes_or_minus_one(_as_float64(top.view(np.float32)), exponent, rounding, overflow)
    return code, bool((code >= 0).all())


def _as_float64(x: npt.ArrayLike) -> Real:
    with np.errstate(invalid="ignore"):  # of a signalling NaN, which becomes a quiet one
        return np.asarray(x, dtype=np.float64)


def _stays_finite(negative: npt.NDArray[np.bool_], rounding: Rounding) -> npt.NDArray[np.bool_]:
    """Where a rounding never takes a finite number to infinity (IEEE 754-2019 sec. 7.4); nor does "odd"."""
    if rounding in ("down", "up"):
        return np.asarray(negative == (rounding == "up"))
    return np.full(negative.shape, rounding in ("zero", "odd"))
