"""Operands of exact products: codes, and the integers that they stand for cut into pieces for BLAS."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hwgen.formats import Codes, Format
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import check_range, lmul_correction, span
from hwgen.golden.exact import Bools, pieces
from hwgen.golden.split import Carrier

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
        if not has_specials(self.format):
            return None
        bad = np.asarray(~self.format.is_number(self.codes))
        return bad if bad.any() else None


def operand(codes: npt.ArrayLike | Operand, fmt: Format) -> Operand:
    """An operand for `dot`; worth keeping for codes that are used again. Raises HwgenError for what is no code."""
    if isinstance(codes, Operand) and codes.format == fmt:
        return codes
    return Operand(check_range(codes.codes if isinstance(codes, Operand) else codes, fmt), fmt)


def has_specials(fmt: Format) -> bool:
    """Whether some codes are no finite numbers."""
    return isinstance(fmt, Minifloat) and fmt.special != "none"


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
        bad = np.asarray(~fmt.is_number(whole))
        cut = pieces(*integers(np.where(bad, 0, whole), fmt, factor), width, count).astype(carrier)
        return tuple(cut), bad if bad.any() else None
    found = _look_up(codes, *_cut_table(fmt, factor, width, count, carrier))
    # NaN in the table stands for a special code; a maximum finds it without a second array.
    if not has_specials(fmt) or not codes.size or not np.isnan(found[0].max()):
        return found, None
    bad = np.isnan(found[0])
    found[0][bad] = 0
    return found, bad


@lru_cache(maxsize=128)
def _cut_table(fmt: Format, factor: str, width: int, count: int, carrier: str) -> tuple[int, Carrier]:
    """(least code, pieces (count, codes) of every code, NaN in the first for the special ones)."""
    codes = fmt.codes()
    number = fmt.is_number(codes)
    table = pieces(*integers(np.where(number, codes, 0), fmt, factor), width, count).astype(carrier)
    table[0] = np.where(number, table[0], np.nan)
    return int(codes[0]), table


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
        np.subtract(part, low, out=at, dtype=np.intp)
        for row, found in zip(table, out, strict=True):
            # "clip" skips the check of every index; the codes' range was checked.
            row.take(at, out=found[start : start + STEP], mode="clip")
    return tuple(found.reshape(codes.shape) for found in out)
