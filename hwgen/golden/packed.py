"""Two outputs of a matrix product in every number that BLAS adds up: half the work where sums are small."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.formats import Codes

Carrier = npt.NDArray[Any]

LEAST_INPUTS = 128
"""With fewer inputs, taking the sums apart costs more than the product saves."""


def packed_columns(weight: Codes, reach: int, limit: int) -> tuple[Codes, int] | None:
    """(matrix (in, half of out), base): columns low + base * high, or None where that does not pay or does not fit.

    weight: (out, in) integers; reach: the greatest magnitude of an input; limit: the magnitude below which the numbers
    that carry the sums hold every integer. The base is a power of two more than twice any low sum, and every partial
    sum, in any order, stays below the limit: |low| + base * |high| at most.
    """
    half = (len(weight) + 1) // 2
    if weight.shape[1] < LEAST_INPUTS or half == len(weight):
        return None
    sums = np.abs(weight).astype(object).sum(axis=1) * reach
    low, high = int(sums[:half].max()), int(sums[half:].max())
    base = 1 << (2 * low).bit_length()
    if low + base * high >= limit:
        return None
    columns = weight[:half].T.copy()
    columns[:, : len(weight) - half] += base * weight[half:].T
    return columns, base


def unpacked(sums: Carrier, base: int, outputs: int) -> Carrier:
    """The sums (rows, outputs) from those of packed columns (rows, half of the outputs)."""
    half = sums.shape[1]
    out: Carrier = np.empty((len(sums), outputs), sums.dtype)
    # Scaling by a power of two is exact, and low / base is between -1/2 and 1/2, so that rint takes it off.
    high = np.rint(sums * sums.dtype.type(1 / base))
    out[:, half:] = high[:, : outputs - half]
    high *= sums.dtype.type(base)
    np.subtract(sums, high, out=out[:, :half])
    return out
