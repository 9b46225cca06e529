"""Rounding to odd: what is not exact goes to the odd neighbour, so that rounding again to fewer bits rounds once.

A rounding to odd never passes an even number of its grid, and lands on one only where it is exact. So whatever compares
with even numbers alone sees no difference: all boundaries of any rounding whose steps are four times as wide (S. Boldo
and G. Melquiond, Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd, IEEE
Transactions on Computers 57, 2008).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hwgen.formats.base import Codes, Real

FLOAT64_BITS = 53
MAX_SHIFT = 62


def to_float64(x: npt.ArrayLike, exponent: npt.ArrayLike = 0) -> Real:
    """x * 2**exponent of integers |x| < 2**62, rounded to odd to 52 significant bits at least; broadcast.

    Exact below 2**52. The result must be a normal float64, as it is for exponents from -1000 to 900.
    """
    value = np.asarray(x, dtype=np.int64)
    magnitude = np.abs(value)
    if not value.size or int(magnitude.max()) < 1 << (FLOAT64_BITS - 1):
        return np.asarray(np.ldexp(value.astype(np.float64), np.asarray(exponent, dtype=np.int32)))
    # The conversion may round up to the next power of two, which leaves one bit less.
    _, length = np.frexp(magnitude.astype(np.float64))
    drop = np.maximum(length.astype(np.int64) - FLOAT64_BITS, 0)
    kept = magnitude >> drop
    kept |= (kept << drop) != magnitude
    signed = np.where(value < 0, -kept, kept).astype(np.float64)
    return np.asarray(np.ldexp(signed, (drop + np.asarray(exponent, dtype=np.int64)).astype(np.int32)))


def to_integers(significand: npt.ArrayLike, exponent: npt.ArrayLike, most: int) -> Codes:
    """significand * 2**exponent rounded to odd to integers from -most to most, where it saturates; broadcast.

    |significand| < 2**31, most < 2**62.
    """
    s, e = np.broadcast_arrays(np.asarray(significand, dtype=np.int64), np.asarray(exponent, dtype=np.int64))
    magnitude = np.abs(s)
    right = np.minimum(np.maximum(-e, 0), MAX_SHIFT)
    kept = magnitude >> right
    kept |= (kept << right) != magnitude
    left = np.minimum(np.maximum(e, 0), MAX_SHIFT)
    # Compared before the shift, which could leave int64.
    over = kept > (most >> left)
    whole = np.where(over, most, np.where(over, 0, kept) << left)
    return np.where(s < 0, -whole, whole)
