"""Two sums in every number that BLAS adds up: half the work where sums are small.

Either two outputs share a column of the weights, or two rows of an image share an operand.
"""

from __future__ import annotations

import numpy as np

from hwgen.formats import Codes
from hwgen.golden.carrier import Carrier

LEAST_INPUTS = 128
"""With fewer inputs, taking the sums apart costs more than the product saves."""


def packing_base(low: int, high: int, limit: int) -> int | None:
    """The base of numbers low + base * high, or None where a sum might reach `limit`.

    low, high: bounds of the magnitudes of both parts, of every partial sum in any order; limit: the magnitude below
    which the numbers that carry the sums hold every integer. The base is a power of two more than twice any low part.
    """
    base = 1 << (2 * low).bit_length()
    return base if low + base * high < limit else None


def greatest_sums(weight: Codes, reach: int) -> Codes:
    """Bounds (out,) of every partial sum of weights (out, in) times inputs of magnitudes up to `reach`."""
    return np.asarray(np.abs(weight).astype(object).sum(axis=1) * reach)


def packed_columns(weight: Codes, reach: int, limit: int) -> tuple[Codes, int] | None:
    """(matrix (in, half of out), base): columns low + base * high, or None where that does not pay or does not fit.

    weight: (out, in) integers; reach: the greatest magnitude of an input; limit: as in `packing_base`.
    """
    half = (len(weight) + 1) // 2
    if weight.shape[1] < LEAST_INPUTS or half == len(weight):
        return None
    sums = greatest_sums(weight, reach)
    base = packing_base(int(sums[:half].max()), int(sums[half:].max()), limit)
    if base is None:
        return None
    columns = weight[:half].T.copy()
    columns[:, : len(weight) - half] += base * weight[half:].T
    return columns, base


def unpacked(sums: Carrier, base: int, outputs: int) -> Carrier:
    """The sums (..., outputs) from those of packed columns (..., half of the outputs)."""
    half = sums.shape[-1]
    out: Carrier = np.empty((*sums.shape[:-1], 2 * half), sums.dtype)
    unpack(sums, base, out[..., :half], out[..., half:])
    return out if outputs == 2 * half else np.ascontiguousarray(out[..., :outputs])


def unpack(sums: Carrier, base: int, low: Carrier, high: Carrier) -> None:
    """Write both parts of low + base * high into arrays of that shape."""
    # Scaling by a power of two is exact, and low / base is between -1/2 and 1/2, so that rint takes it off.
    np.multiply(sums, sums.dtype.type(1 / base), out=high)
    np.rint(high, out=high)
    np.multiply(high, sums.dtype.type(-base), out=low)
    np.add(low, sums, out=low)
