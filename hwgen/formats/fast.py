"""Encoding of many float32 numbers to small minifloats by table, in pieces that stay in the processor's cache.

A float32 number is first rounded to odd at its high 16 bits (1 + 8 exponent + 7 mantissa bits): a second rounding, of
any kind, to 6 significant bits or fewer then comes out as if there had been no first one. So 65,536 codes say all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]
Halves = npt.NDArray[np.uint16]

# Of a minifloat for which this holds.
MAX_TABLE_MANTISSA = 5
CHUNK = 1 << 15
BLOCK_CHUNK = 1 << 16
HIGH_MANTISSA = 7
MAGNITUDE = 0x7FFF
EXPONENT = 0x7F80
# The halves of the greatest finite float32 number, and of 2**-63: in a block whose greatest number is no less,
# whatever float32 holds as zero or subnormal is 0 in an element with an emax of up to MAX_EMAX and no step below
# 2**MIN_LSB.
GREATEST = 0x7F7F
LEAST = 64 << HIGH_MANTISSA
MIN_LSB = -24
MAX_EMAX = 32


def high_halves(part: npt.NDArray[np.uint32], scratch: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The high 16 bits of float32 patterns, rounded to odd; `scratch` has at least their size and holds the result."""
    top = scratch[: part.size]
    # A carry out of the low half says that it is not zero; it sets the lowest bit that is kept.
    np.bitwise_and(part, 0xFFFF, out=top)
    np.add(top, 0xFFFF, out=top)
    np.bitwise_or(top, part, out=top)
    np.right_shift(top, 16, out=top)
    return top


def odd_singles(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """float64 numbers rounded to odd in float32; none becomes zero or infinite that is not."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        nearest = x.astype(np.float32)
        back = nearest.astype(np.float64)
    bits = nearest.view(np.uint32)
    bits -= np.abs(back) > np.abs(x)
    bits |= back != x
    return nearest


def look_up(x: npt.NDArray[np.float32] | npt.NDArray[np.float64], table: Codes) -> Codes:
    """The table's codes of float32 or float64 numbers, same shape; the table goes by `high_halves`."""
    source = np.ascontiguousarray(x).reshape(-1)
    code = np.empty(source.size, dtype=np.int64)
    scratch = np.empty(CHUNK, dtype=np.uint32)
    index = np.empty(CHUNK, dtype=np.intp)
    for start in range(0, source.size, CHUNK):
        part = source[start : start + CHUNK]
        single = odd_singles(part.astype(np.float64, copy=False)) if part.dtype == np.float64 else part
        index[: part.size] = high_halves(single.view(np.uint32), scratch)
        np.take(table, index[: part.size], out=code[start : start + CHUNK], mode="wrap")
    return code.reshape(x.shape)


def row_maxima(magnitudes: Halves) -> Halves:
    """The greatest of each row of (rows, size)."""
    rows, size = magnitudes.shape
    if size % 4:
        return np.asarray(magnitudes.max(axis=1))
    # Four neighbours are one 64-bit word, so that whole rows of words can be compared at once.
    words = np.ascontiguousarray(magnitudes.view(np.uint64).T)
    best = words.view(np.uint16).reshape(size // 4, 4 * rows).max(axis=0)
    return np.asarray(np.maximum(np.maximum(best[0::4], best[1::4]), np.maximum(best[2::4], best[3::4])))


def encode_blocks(
    x: npt.NDArray[np.float32], table: npt.NDArray[Any], carry: int
) -> tuple[Codes, npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """(exponent fields, codes, rows that the caller must encode itself) of blocks x, shape (blocks, size).

    A field is that of max|x| as a float32 number, after `carry` * 2**-7 of its binade was added. Each number's field
    is raised by 254 less that, so that no block overflows and none falls below zero; the codes are the table's of
    these numbers. Rows that hold NaN or infinity, or only small numbers (LEAST), are not handled; zeros are.
    """
    blocks, size = x.shape
    source = np.ascontiguousarray(x).view(np.uint32)
    step = max(1, BLOCK_CHUNK // size)
    scratch = np.empty(min(step, blocks) * size, dtype=np.uint32)
    index = np.empty(scratch.size, dtype=np.intp)
    codes = np.empty((blocks, size), dtype=table.dtype)
    greatest = np.empty(blocks, dtype=np.uint16)
    left = np.zeros(blocks, dtype=np.bool_)
    for start in range(0, blocks, step):
        part = slice(start, min(start + step, blocks))
        halves = high_halves(source[part].reshape(-1), scratch).astype(np.uint16)
        top = row_maxima((halves & np.uint16(MAGNITUDE)).reshape(-1, size))
        top += np.uint16(carry)
        greatest[part] = top
        # One comparison for both ends: what is below the least wraps to a large number.
        outside = (top - np.uint16(LEAST)) > GREATEST - LEAST
        if outside.any():
            left[part] = outside & (top > carry)
            top[outside] = GREATEST
        top &= np.uint16(EXPONENT)
        halves += np.repeat(np.uint16(GREATEST & EXPONENT) - top, size)
        chosen = index[: halves.size]
        chosen[:] = halves
        np.take(table, chosen, out=codes[part].reshape(-1), mode="wrap")
    return (greatest >> HIGH_MANTISSA).astype(np.int64), codes, left
