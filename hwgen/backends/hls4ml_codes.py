"""From accumulators to codes as HLS layers: thresholds, multiply and shift, tables."""

from __future__ import annotations

import numpy as np

from hwgen.backends.hls4ml_cpp import Layer, cpp, plain, positions, table
from hwgen.errors import HwgenError
from hwgen.formats import Int
from hwgen.formats.grid import ladder
from hwgen.golden import proven_line
from hwgen.ir import TensorType
from hwgen.ops import Requantize, Table, Thresholds, integer_range

MAX_OFFSET = 1 << 53
"""An offset of multiply and shift stays below this."""

LINE_STEPS = 15
"""Thresholds of more steps than this become multiply, add and shift where that is proven equal."""

LINE_BITS = 24
"""Bits of that slope."""


def thresholds(name: str, op: Thresholds, x: TensorType, y: TensorType) -> Layer:
    """Comparisons with every threshold; many even ones are a line."""
    line = _line(op, x) if op.steps > LINE_STEPS and isinstance(op.format, Int) else None
    if line is not None:
        return requantize(name, line, x, y)
    codes = ladder(op.format)[op.base : op.base + op.steps + 1]
    rows, steps = op.thresholds.shape
    count = Int.holding(0, int(steps))
    return Layer(
        name,
        "thresholds",
        "hwgen_requantize.h",
        y.shape,
        plain(op.format),
        {"positions": positions(x), "channels": x.channels, "rows": int(rows), "steps": int(steps)},
        {"count_t": cpp(count)},
        (table("thresholds", "threshold_t", op.thresholds), table("codes", "code_t", codes, plain(op.format))),
    )


def look_up(name: str, op: Table, x: TensorType, y: TensorType) -> Layer:
    """A table of all codes."""
    rows, entries = op.table.shape
    constants = {"positions": positions(x), "channels": x.channels, "rows": int(rows), "entries": int(entries)}
    tables = (table("codes", "code_t", op.table, plain(op.format)),)
    return Layer(name, "table", "hwgen_requantize.h", y.shape, plain(op.format), constants, tables=tables)


def _line(op: Thresholds, x: TensorType) -> Requantize | None:
    """Multiply, add, shift and clip that equal the thresholds; None where that is not so.

    A slope >= 0 makes both sides monotonic: it is enough that they agree at every threshold and one below it.
    """
    fitted = proven_line(op, x, np.float64)
    if fitted is None:
        return None
    assert isinstance(op.format, Int)
    slope, offset = (np.asarray(part, dtype=np.float64) for part in fitted)
    if slope.max() <= 0:
        return None
    shift = LINE_BITS - int(np.frexp(slope.max())[1])
    if not 0 <= shift <= 62:
        return None
    multiplier = np.rint(np.ldexp(slope, shift)).astype(np.int64)
    addend = np.rint(np.ldexp(offset, shift))
    if np.abs(addend).max() >= MAX_OFFSET:
        return None
    last = op.first + op.steps
    parameters = multiplier, addend.astype(np.int64), np.array([shift])
    line = Requantize(*parameters, "down", op.first, last, op.format, op.scale, op.zero_point)
    try:
        line.infer(x)
    except HwgenError:  # the product would need more bits than are proven
        return None
    low, high = integer_range(x)
    for points in (op.thresholds, op.thresholds - 1):
        at = np.clip(points, low, high).T
        if not np.array_equal(line.run(at), op.run(at)):
            return None
    return line


def requantize(name: str, op: Requantize, x: TensorType, y: TensorType) -> Layer:
    """Multiply, add, shift, round by name, clip."""
    low, high = integer_range(x)
    parameters = op.multiplier, op.offset, op.shift
    rows = max(part.size for part in parameters)
    multipliers, offsets, shifts = (np.broadcast_to(part, (rows,)) for part in parameters)
    reach = max(-low, high)
    worst = max(reach * abs(int(m)) + abs(int(b)) for m, b in zip(multipliers, offsets, strict=True))
    product_bits = worst.bit_length() + 1
    return Layer(
        name,
        "requantize",
        "hwgen_requantize.h",
        y.shape,
        plain(op.format),
        {
            "positions": positions(x),
            "channels": x.channels,
            "rows": rows,
            "product_bits": product_bits,
            "code_bits": max(product_bits, abs(op.zero_point).bit_length() + 1, op.format.width + 1) + 2,
            "zero_point": op.zero_point,
            "low": op.low,
            "high": op.high,
            "mode": f"hwgen::{op.rounding}",
        },
        {},
        (
            table("multipliers", "multiplier_t", multipliers),
            table("offsets", "offset_t", offsets),
            table("shifts", "shift_t", shifts),
        ),
    )
