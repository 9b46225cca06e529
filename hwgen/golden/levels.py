"""Thresholds in whole networks: one multiply-add and a floor where that is proven equal, else a table."""

from __future__ import annotations

import numpy as np

from hwgen.formats import Bipolar, Codes, Int, Real
from hwgen.formats.grid import ladder
from hwgen.golden.carrier import Carrier, Kernel, Kind
from hwgen.ir import TensorType
from hwgen.ops import Thresholds, integer_range

MAX_TABLE = 1 << 24
"""The most entries of a look-up table over a layer's inputs."""


def thresholds_kernel(op: Thresholds, x: TensorType, carrier: Kind) -> Kernel:
    """Codes of integers of type `x`; it may write into what it reads."""
    line = proven_line(op, x, carrier) if isinstance(op.format, Int | Bipolar) and carrier is not np.int64 else None
    if line is None:
        return _table_kernel(op, x, carrier)
    first, last = carrier(op.first), carrier(op.first + op.steps)
    # A row of pixels at a time, so that NumPy's inner loops are long.
    across = x.shape[-2] if len(x.shape) > 1 and len(op.thresholds) > 1 else 1
    slope, offset = (np.tile(part, across) for part in line)

    def kernel(value: Carrier) -> Carrier:
        value *= slope
        value += offset
        np.floor(value, out=value)
        return np.clip(value, first, last, out=value)

    return kernel if across == 1 else lambda value: kernel(value.reshape(-1, len(slope))).reshape(value.shape)


def _table_kernel(op: Thresholds, x: TensorType, carrier: Kind) -> Kernel:
    """Thresholds of any shape: one look-up in a table over the input's range, where it is of reasonable size."""
    low, high = x.codes_format.code_range
    rungs = ladder(op.format).astype(carrier)

    # searchsorted on the right counts the thresholds that are not above the value, as the definition does.
    def searched(value: Carrier) -> Carrier:
        if len(op.thresholds) == 1:
            return rungs[op.base + np.searchsorted(op.thresholds[0], value, side="right")]
        columns = [np.searchsorted(row, value[..., c], side="right") for c, row in enumerate(op.thresholds)]
        return rungs[op.base + np.stack(columns, axis=-1)]

    if op.thresholds.shape[0] * (high - low + 1) > MAX_TABLE:
        return searched
    every = np.arange(low, high + 1)
    table = searched(np.broadcast_to(every[:, None], (every.size, len(op.thresholds)))).T.ravel()
    start = np.arange(op.thresholds.shape[0]) * every.size - low
    return lambda value: table[value.astype(np.int64) + start]


def proven_line(op: Thresholds, x: TensorType, carrier: Kind) -> tuple[Carrier, Carrier] | None:
    """(slope, offset) per channel such that clip(floor(x * slope + offset)) equals the thresholds, or None.

    A floating-point multiply by a slope >= 0, an add and a floor each are monotonic in x. So it is enough that the
    result is right at every threshold and one below it: between those points neither side can change.
    """
    low, high = integer_range(x)
    slope, offset = _fit_line(op.thresholds, low, high)
    a: Carrier = slope.astype(carrier)
    b: Carrier = (offset + op.first).astype(carrier)
    for points in (op.thresholds, op.thresholds - 1):
        at = np.clip(points, low, high)
        value = np.floor(at.astype(carrier) * a[:, None] + b[:, None])
        value = np.clip(value, carrier(op.first), carrier(op.first + op.steps))
        counts = [np.searchsorted(row, some, side="right") for row, some in zip(op.thresholds, at, strict=True)]
        expected = op.first + np.stack(counts)
        if not np.array_equal(value, expected):
            return None
    return a, b


def _fit_line(table: Codes, low: int, high: int) -> tuple[Real, Real]:
    """The line whose floor counts the thresholds with the most room to spare, one per row of `table`.

    For threshold t number k (from 1) a line a*x + b needs a*t + b >= k (unless t is out of reach) and
    a*(t - 1) + b < k (unless t always counts). For a given a that leaves an interval of b, whose width is concave in
    a: a ternary search finds the widest.
    """
    number = np.arange(1, table.shape[1] + 1, dtype=np.float64)
    reachable, avoidable = table <= high, table > low

    def interval(a: Real) -> tuple[Real, Real]:
        at_least = np.where(reachable, number - a[:, None] * table, -np.inf).max(axis=1)
        below = np.where(avoidable, number - a[:, None] * (table - 1), np.inf).min(axis=1)
        # A channel that is constant on one side has one bound only.
        at_least = np.where(np.isinf(at_least), np.minimum(below, 1.0) - 1.0, at_least)
        below = np.where(np.isinf(below), at_least + 1.0, below)
        return at_least, below

    left, right = np.zeros(table.shape[0]), np.full(table.shape[0], table.shape[1] + 1.0)
    for _ in range(120):
        third = (right - left) / 3
        a, b = left + third, right - third
        wider = np.diff(interval(a), axis=0)[0] >= np.diff(interval(b), axis=0)[0]
        right, left = np.where(wider, b, right), np.where(wider, left, a)
    slope = (left + right) / 2
    at_least, below = interval(slope)
    return slope, (at_least + below) / 2
