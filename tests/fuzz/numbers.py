"""Random formats, and codes of them: extremes and zeros more often than they would come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwgen.formats import Bipolar, Block, Blocked, Codes, Format, Int, Minifloat, get
from hwgen.ir import TensorType
from hwgen.passes.blocks import scales_of

Rng = np.random.Generator

NAMED = ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "e4m3full", "ue5m3")
ELEMENTS = ("mxfp4", "mxint8", "mxfp6e3m2", "mxfp6e2m3", "mxfp8e4m3", "mxfp8e5m2")
MAX_GRID_BITS = 24
"""Minifloats on wider grids are drawn rarely: the exact sums of their products leave int64."""


def choice(rng: Rng, *values):
    """One of the values, as it is."""
    return values[int(rng.integers(len(values)))]


def integer(rng: Rng, most: int = 8) -> Int:
    """Narrow ones more often."""
    is_signed = bool(rng.random() < 0.5)
    bits = max(int(choice(rng, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8)), 1 + is_signed)
    return Int(min(bits, most), is_signed, narrow=bool(rng.random() < 0.25) and min(bits, most) > 1)


def minifloat(rng: Rng) -> Minifloat:
    """A published one, or any other of up to 7 bits."""
    if rng.random() < 0.6:
        fmt = get(choice(rng, *NAMED))
        assert isinstance(fmt, Minifloat)
        return fmt
    exponent, mantissa = int(rng.integers(1, 5)), int(rng.integers(0, 4))
    special = choice(rng, "none", "none", "nan", "ieee") if exponent > 1 and mantissa > 0 else "none"
    return Minifloat(exponent, mantissa, int(rng.integers(-2, 9)), special, bool(rng.random() < 0.8) or mantissa == 0)


def blocks(rng: Rng, size: int) -> Blocked:
    """An element of the OCP's with a few scales: powers of two, or, as NVFP4 has them, with a mantissa."""
    if rng.random() < 0.25:
        scale = Minifloat(int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(0, 6)), has_sign=False)
        return Blocked(Block(get(choice(rng, "e2m1", "int4n")), scale, size))
    low = int(rng.integers(-6, 3))
    block = get(choice(rng, *ELEMENTS))
    return Blocked(replace(block, scale=scales_of(low, low + int(rng.integers(0, 8))), size=size))


def scalar(rng: Rng) -> Format:
    """A format of codes that stand alone."""
    kind = rng.random()
    if kind < 0.6:
        return integer(rng)
    if kind < 0.72:
        return Bipolar()
    if kind < 0.77:
        # Dynamic fixed point at inference: 16-bit codes of one exponent.
        return Int(16)
    return minifloat(rng)


def codes_of(fmt: Format, shape: tuple[int, ...], rng: Rng) -> Codes:
    """Finite numbers, those at both ends and 0 more often; numbers of a block share its scale."""
    if isinstance(fmt, Blocked):
        element, scale = fmt.block.element, fmt.block.scale
        scales = rng.choice(
            scale.codes()[scale.is_number(scale.codes())], (*shape[:-1], -(-shape[-1] // fmt.block.size))
        )
        return fmt.join(np.repeat(scales, fmt.block.size, axis=-1)[..., : shape[-1]], codes_of(element, shape, rng))
    codes = fmt.codes()
    codes = codes[fmt.is_number(codes)]
    drawn = rng.choice(codes, shape)
    ends = codes[[int(np.argmin(fmt.decode(codes))), int(np.argmax(fmt.decode(codes)))]]
    special = np.concatenate([ends, codes[codes == 0]])
    return np.where(rng.random(shape) < rng.choice([0.0, 0.2, 0.6]), rng.choice(special, shape), drawn)


def sparse(codes: Codes, fmt: Format, rng: Rng) -> Codes:
    """Sometimes rows or single codes are zero, all are equal, or each row has one code that is not zero."""
    if not fmt.is_number(np.zeros(1, np.int64)).all() or isinstance(fmt, Bipolar | Blocked):
        return codes
    kind = rng.random()
    if kind < 0.6:
        return codes
    if kind < 0.7:
        return codes * (rng.random(codes.shape) < 0.3)
    if kind < 0.8:
        return codes * (rng.random((len(codes), *(1,) * (codes.ndim - 1))) < 0.5)
    if kind < 0.85:
        return np.zeros_like(codes)
    if kind < 0.9:
        return np.full_like(codes, codes.reshape(-1)[0])
    return codes * (np.arange(codes.shape[-1]) == int(rng.integers(codes.shape[-1])))


def inputs(kind: TensorType, frames: int, rng: Rng) -> Codes:
    """Codes (frames, *shape); the first frames are all the least and all the greatest code."""
    fmt = kind.codes_format
    codes = codes_of(fmt, (frames, *kind.shape), rng)
    if frames > 3 and not isinstance(fmt, Blocked):
        every = fmt.codes()
        every = every[fmt.is_number(every)]
        codes[0], codes[1] = every[0], every[-1]
    return codes
