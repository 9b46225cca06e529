"""Exact numbers of any width as arrays of integer limbs: what sums of products are before anything rounds them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Codes, Format, Real
from hwgen.formats.multiply import significand_bits
from hwgen.formats.stochastic import Rounding, as_stochastic

LIMB = 32
"""Bits of a limb."""

MASK = (1 << LIMB) - 1

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Exact:
    """Numbers sum(limbs[i] << (32 * i)) * 2**exponent, elementwise exact.

    limbs: int64 (count, *shape). A single limb is any int64; of several, all but the last lie in 0..2**32-1 and the
    last one carries the sign. exponent: of the least bit, one for all numbers. nan: (*shape), where a number has no
    value because an operand was NaN or infinite (its limbs then mean nothing). saturated: (*shape), the sticky flag:
    where a number differs from the true sum because a block's scale left the accumulator's window.
    """

    limbs: Codes
    exponent: int
    nan: Bools
    saturated: Bools

    @property
    def shape(self) -> tuple[int, ...]:
        return self.limbs.shape[1:]

    def integers(self) -> npt.NDArray[np.object_]:
        """The numbers in units of 2**exponent as Python integers, an object array of `shape`."""
        total = np.zeros(self.shape, dtype=object)
        for limb in self.limbs[::-1]:
            total = (total << LIMB) + limb.astype(object)
        return np.asarray(total, dtype=object)

    def to_fraction(self, *index: int) -> Fraction:
        """One number, exact."""
        if self.nan[index]:
            raise HwgenError(f"the sum at {index} is not a number: an operand was NaN or infinite")
        return Fraction(int(self.integers()[index])) * Fraction(2) ** self.exponent

    def to_float64(self) -> Real:
        """The numbers rounded once, half to even; NaN where `nan`. Raises HwgenError outside float64's normal range."""
        return self._float(odd=False)

    def to_float32(self) -> npt.NDArray[np.float32]:
        """The numbers rounded once to FP32, half to even, subnormals kept, overflow to infinity; NaN where `nan`."""
        with np.errstate(over="ignore"):
            return self._float(odd=True).astype(np.float32)

    def round_to(self, fmt: Format, rounding: Rounding = "half_even", overflow: str = "saturate") -> Codes:
        """Codes of `fmt`, rounded once by name; NaN is `fmt.encode`'s own matter.

        Raises HwgenError for a `fmt` of more than 51 bits of precision, and for sums that wrap and need more than 53.

        Rounding first to odd with 53 bits and then as named gives the same code as rounding the exact number, as long
        as two bits or more are left below the code's least bit (Boldo and Melquiond 2008, theorem 3).
        """
        random = as_stochastic(rounding)
        if significand_bits(fmt) + (random.bits if random else 0) > 51:
            raise HwgenError(f"rounding to {fmt.name} is not proven exact: formats of up to 51 bits are")
        if overflow != "saturate" and not self._held_by_float64():
            raise HwgenError(f"overflow {overflow!r} is proven exact for sums below 2^53 times 2^{self.exponent}")
        return fmt.encode(self._float(odd=True), rounding, overflow)

    def _held_by_float64(self) -> bool:
        """Whether the numbers are proven to have at most 53 bits."""
        return self.limbs.shape[0] == 1 and not ((self.limbs < -(1 << 53)) | (self.limbs > 1 << 53)).any()

    def _float(self, odd: bool) -> Real:
        if self.limbs.shape[0] == 1 and (not odd or self._held_by_float64()):
            mantissa, shift = self.limbs[0].astype(np.float64), np.zeros(self.shape, dtype=np.int64)
        else:
            mantissa, shift = leading_53(self.limbs, odd)
        shift = shift + self.exponent
        held = (mantissa == 0) | self.nan | ((shift >= -1022) & (shift <= 1023 - 64))
        if not held.all():
            raise HwgenError(f"sums around 2^{int(shift[~held].flat[0])} leave the range of float64")
        real = np.ldexp(mantissa, np.where(mantissa == 0, 0, shift).astype(np.int32))
        return np.where(self.nan, np.nan, real) if self.nan.any() else real


def limb_count(reach: int) -> int:
    """Limbs that hold every integer of magnitude up to `reach`: the last has 63 bits and a sign, the others 32."""
    return 1 + max(0, -(-(reach.bit_length() - 63) // LIMB))


def carried(limbs: Codes) -> Codes:
    """Limbs of any int64 values, the carries taken along: all but the last in 0..2**32-1.

    All but the last must be below 2**62; the last one may wrap around as long as the true number fits the limbs.
    """
    out = np.empty_like(limbs)
    carry: Codes | int = 0
    for i, limb in enumerate(limbs[:-1]):
        total = limb + carry
        np.bitwise_and(total, MASK, out=out[i])
        carry = total >> LIMB
    out[-1] = limbs[-1] + carry
    return out


def extended(limbs: Codes) -> Codes:
    """The same numbers with one limb more, so that no limb has more than 32 bits and a sign."""
    return np.concatenate([limbs[:-1], (limbs[-1] & MASK)[None], (limbs[-1] >> LIMB)[None]])


def add_shifted(limbs: Codes, value: Codes, shift: int) -> None:
    """Add value << shift to limbs (count, *shape) in place; each limb but the last grows by less than 2**32 or
    |value|, whichever is more."""
    last = limbs.shape[0] - 1
    at, up = divmod(shift, LIMB)
    if at >= last:
        limbs[last] += value << (shift - LIMB * last)
    elif up == 0:
        limbs[at] += value
    else:
        limbs[at] += (value & (MASK >> up)) << up
        limbs[at + 1] += value >> (LIMB - up)


def shifted(value: Codes, shift: Codes, count: int) -> Codes:
    """value << shift, element by element, as `count` limbs that are not yet carried."""
    if count == 1:
        return (value << shift)[None]
    limbs = pieces(value, shift, LIMB, count + 1)
    # The last limb has 64 bits: modulo 2**64 nothing is lost.
    limbs[-2] += limbs[-1] << LIMB
    return limbs[:-1]


def pieces(value: Codes, shift: npt.ArrayLike, width: int, count: int) -> Codes:
    """value << shift cut into `count` signed pieces of `width` bits, int64 (count, *shape), least piece first.

    sum(piece[i] << (width * i)) == value << shift where that has at most count * width bits; |value| < 2**63, and
    shift >= 0, broadcast against it. Every piece has the sign of its value.
    """
    by = np.asarray(shift, dtype=np.int64)
    magnitude, negative = np.abs(value), value < 0
    out = np.empty((count, *np.broadcast_shapes(value.shape, by.shape)), dtype=np.int64)
    mask = (1 << width) - 1
    for i in range(count):
        left = by - width * i
        up = np.clip(left, 0, width)
        down = np.clip(-left, 0, 63)
        piece = (magnitude & (mask >> up)) << up
        piece = np.where(left >= 0, piece, (magnitude >> down) & mask)
        out[i] = np.where(negative, -piece, piece)
    return out


def leading_53(limbs: Codes, odd: bool) -> tuple[Real, Codes]:
    """(mantissa, shift): each number is mantissa * 2**shift, the mantissa of up to 53 bits.

    Rounded half to even, or `odd`: what is cut off is kept as a one in the last bit.
    """
    magnitude, negative = _sign_magnitude(limbs)
    count = magnitude.shape[0]
    # Two limbs of zero below, so that the three leading limbs always exist.
    padded = np.concatenate([np.zeros((2, *magnitude.shape[1:]), dtype=np.uint64), magnitude])
    top = (count - 1) - np.argmax(magnitude[::-1] != 0, axis=0)

    def limb(place: Codes) -> npt.NDArray[np.uint64]:
        return np.asarray(np.take_along_axis(padded, (place + 2)[None], axis=0)[0], dtype=np.uint64)

    below = np.arange(count).reshape(-1, *([1] * top.ndim)) < top - 2
    rest = (np.where(below, magnitude, 0) != 0).any(axis=0)
    first, third = limb(top), limb(top - 2)
    zeros = (LIMB - np.frexp(first.astype(np.float64))[1]).astype(np.uint64)
    word = ((first << np.uint64(LIMB)) | limb(top - 1)) << zeros
    word |= third >> (np.uint64(LIMB) - zeros)
    rest |= (third << zeros) & np.uint64(MASK) != 0
    kept, cut = word >> np.uint64(11), word & np.uint64(0x7FF)
    if odd:
        kept |= ((cut != 0) | rest).astype(np.uint64)
    else:
        half = np.uint64(0x400)
        kept += (cut > half) | ((cut == half) & (rest | (kept & np.uint64(1) == 1)))
    mantissa = kept.astype(np.float64)
    return np.where(negative, -mantissa, mantissa), LIMB * (top - 1) - zeros.astype(np.int64) + 11


def _sign_magnitude(limbs: Codes) -> tuple[npt.NDArray[np.uint64], Bools]:
    """Magnitudes as limbs of 32 bits, one more than the numbers have, and where the numbers are negative."""
    negative = limbs[-1] < 0
    split = extended(limbs)
    # Negation in limbs: invert and add one, with the carry taken along.
    carry = negative.astype(np.int64)
    out = np.empty(split.shape, dtype=np.uint64)
    for i, limb in enumerate(split):
        total = np.where(negative, ~limb & MASK, limb & MASK) + carry
        out[i] = (total & MASK).astype(np.uint64)
        carry = total >> LIMB
    return out, negative
