"""Operands of exact products: codes, and the integers that they stand for cut into pieces for BLAS."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hwgen.formats import Codes, Format
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import check_range, lmul_correction, span
from hwgen.golden.carrier import Carrier
from hwgen.golden.exact import Bools, pieces

TABLE_BITS = 16
"""Codes of formats up to this many bits are looked up in tables."""

STEP = 1 << 14
"""Codes looked up at a time, so that they stay in the cache."""


@dataclass(frozen=True, eq=False)
class Operand:
    """Codes of a format, of any shape, that remember what they were cut into: weights that are used many times.

    Make one with `operand`, which checks the codes; they must not change after that.
    """

    codes: npt.NDArray[np.integer]
    format: Format
    _known: dict[tuple[str, int, int, str], tuple[tuple[Carrier, ...], Bools | None]] = field(
        default_factory=dict, repr=False
    )

    def cut(self, factor: str, width: int, count: int, carrier: str) -> tuple[tuple[Carrier, ...], Bools | None]:
        """(pieces, specials): the factor's `count` pieces of `width` bits in floats of the type `carrier`, 0 at the
        specials, which are where codes are NaN or infinite (None: nowhere)."""
        key = factor, width, count, carrier
        if key not in self._known:
            self._known[key] = _cut(self.codes, self.format, *key)
        return self._known[key]

    def reshaped(self, *shape: int) -> Operand:
        """The same codes in another shape."""
        if shape == self.codes.shape:
            return self
        return Operand(self.codes.reshape(shape), self.format)

    def specials(self) -> Bools | None:
        """Where codes are NaN or infinite; None: nowhere."""
        return special_codes(self.codes, self.format)


def operand(codes: npt.ArrayLike | Operand, fmt: Format) -> Operand:
    """An operand for `dot`; worth keeping for codes that are used again. Raises HwgenError for what is no code."""
    if isinstance(codes, Operand) and codes.format == fmt:
        return codes
    return Operand(check_range(codes.codes if isinstance(codes, Operand) else codes, fmt), fmt)


def special_codes(codes: npt.NDArray[np.integer], fmt: Format) -> Bools | None:
    """Where codes are NaN or infinite; None: nowhere."""
    if not isinstance(fmt, Minifloat) or fmt.special == "none" or not codes.size:
        return None
    # In the codes' own type: bytes are looked at many times as fast as the 64 bits of `is_number`.
    mask = min((1 << fmt.magnitude_bits) - 1, int(np.iinfo(codes.dtype).max))
    magnitude = np.bitwise_and(codes, codes.dtype.type(mask))
    return np.asarray(~fmt.is_number(codes)) if magnitude.max() > fmt.max_magnitude else None


def reach(fmt: Format, factor: str) -> int:
    """The greatest magnitude of a factor's integers."""
    if factor == "worth":
        return span(fmt).reach
    assert isinstance(fmt, Minifloat)
    significand, shift = integers(np.array([fmt.max_magnitude, (2 << fmt.mantissa_bits) - 1]), fmt, factor)
    return int(significand.max()) << int(shift.max())


def integers(codes: Codes, fmt: Format, factor: str) -> tuple[Codes, Codes]:
    """(significand, shift): the named factor of each code is the integer significand << shift.

    "worth": what the code is worth, in units of the format's least bit. The factors of L-Mul's formula, whose product
    is significand(x) * one(y) + one(x) * mantissa(y), for normal numbers (0 for others), signed: "significand", one
    plus mantissa plus correction, and "mantissa", both in units of the least normal number's last bit; "one", the
    leading bit in units of the least normal number's.
    """
    if factor == "worth":
        significand, exponent = fmt.significand_exponent(codes)
        return significand, np.asarray(exponent - span(fmt).exponent)
    assert isinstance(fmt, Minifloat)
    m = fmt.mantissa_bits
    magnitude = codes & ((1 << fmt.magnitude_bits) - 1)
    mantissa = magnitude & ((1 << m) - 1)
    whole = {"significand": mantissa + (1 << m) + lmul_correction(m), "mantissa": mantissa, "one": 1 + 0 * mantissa}
    normal, negative = magnitude >> m > 0, codes >> fmt.magnitude_bits == 1
    significand = np.where(normal, np.where(negative, -whole[factor], whole[factor]), 0)
    return significand, np.where(normal, (magnitude >> m) - 1, 0)


def _cut(
    codes: npt.NDArray[np.integer], fmt: Format, factor: str, width: int, count: int, carrier: str
) -> tuple[tuple[Carrier, ...], Bools | None]:
    if fmt.bits > TABLE_BITS:
        whole = codes.astype(np.int64)
        bad = special_codes(whole, fmt)
        known = whole if bad is None else np.where(bad, 0, whole)
        return tuple(pieces(*integers(known, fmt, factor), width, count).astype(carrier)), bad
    found = _look_up(codes, *_cut_table(fmt, factor, width, count, carrier))
    bad = special_codes(codes, fmt)
    if bad is not None:
        for piece in found:
            piece[bad] = 0
    return found, bad


@lru_cache(maxsize=128)
def _cut_table(fmt: Format, factor: str, width: int, count: int, carrier: str) -> tuple[int, Carrier]:
    """(least code, pieces (count, codes) of every code)."""
    codes = fmt.codes()
    known = np.where(fmt.is_number(codes), codes, 0)
    return int(codes[0]), pieces(*integers(known, fmt, factor), width, count).astype(carrier)


def _look_up(codes: npt.NDArray[np.integer], low: int, table: Carrier) -> tuple[Carrier, ...]:
    """table[i][codes - low] for every i, in the memory order of the codes."""
    if codes.ndim > 1 and not codes.flags.c_contiguous and codes.T.flags.c_contiguous:
        return tuple(found.T for found in _look_up(codes.T, low, table))
    flat = codes.reshape(-1)
    out = tuple(np.empty(flat.shape, dtype=table.dtype) for _ in table)
    index = np.empty(min(STEP, flat.size), dtype=np.intp)
    for start in range(0, flat.size, STEP):
        part = flat[start : start + STEP]
        at = index[: part.size]
        at[...] = part
        if low:
            at -= low
        for row, found in zip(table, out, strict=True):
            # "clip" skips the check of every index; the codes' range was checked.
            row.take(at, out=found[start : start + STEP], mode="clip")
    return tuple(found.reshape(codes.shape) for found in out)
