"""Operands for dot products: random codes and the families of corner cases."""

import numpy as np

from hwgen.formats import Format
from hwgen.formats.minifloat import Minifloat


def corners(fmt: Format, rows: int, lanes: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Families of rows: all greatest, all least, cancelling, subnormal, one outlier, zeros, one special code."""
    codes = fmt.codes()
    finite = codes[fmt.is_number(codes)]
    worth = fmt.decode(finite)
    top, bottom = finite[np.argmax(worth)], finite[np.argmin(worth)]
    small = finite[np.abs(worth) <= np.sort(np.unique(np.abs(worth)))[min(3, len(np.unique(np.abs(worth))) - 1)]]
    zero = finite[np.argmin(np.abs(worth))]
    shape = (rows, lanes)
    outlier = np.full(shape, zero)
    outlier[np.arange(rows), rng.integers(0, lanes, rows)] = top
    quiet = rng.choice(small, shape)
    quiet[np.arange(rows), rng.integers(0, lanes, rows)] = bottom
    alternating = np.where(np.arange(lanes) % 2, top, bottom)
    families = [
        np.full(shape, top),
        np.full(shape, bottom),
        np.broadcast_to(alternating, shape),
        rng.choice(small, shape),
        outlier,
        quiet,
        np.full(shape, zero),
        rng.choice(np.array([top, bottom]), shape),
    ]
    special = codes[~fmt.is_number(codes)]
    if len(special):
        some = rng.choice(finite, shape)
        some[np.arange(rows), rng.integers(0, lanes, rows)] = rng.choice(special, rows)
        families.append(some)
    return families


def operands(a: Format, b: Format, lanes: int, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes (rows, lanes) of both: every pair of corner families, then random ones, half of them without specials."""
    rng = np.random.default_rng(seed)
    x, y = [], []
    for one in corners(a, 8, lanes, rng):
        for other in corners(b, 8, lanes, rng):
            x.append(one)
            y.append(other)
    left = rows - 8 * len(x)
    for fmt, out in ((a, x), (b, y)):
        codes = fmt.codes()
        finite = codes[fmt.is_number(codes)]
        clean = rng.choice(finite, (left, lanes))
        if isinstance(fmt, Minifloat) and fmt.special != "none":
            # Specials are rare enough that most rows have none.
            rare = rng.random((left, lanes)) < 0.2 / lanes
            clean = np.where(rare, rng.choice(codes, (left, lanes)), clean)
        out.append(clean)
    return np.concatenate(x), np.concatenate(y)
