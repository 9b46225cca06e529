"""Sums over blocks in FP32: each block's exact sum rounded once, then added in block order, rounded again."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Blocked, Codes, Format, Minifloat
from hwgen.formats.grid import on_grid
from hwgen.formats.odd import to_float64

FP32 = Minifloat(8, 23, 127, "ieee")

MAX_BLOCK_BITS = 62
"""The widest sum of one block, sign included: int64 carries it."""


def parts(fmt: Format, codes: npt.ArrayLike, size: int) -> tuple[Codes, Codes]:
    """(elements (..., blocks, size), exponents (..., blocks)): each code is worth element * 2**exponent.

    Codes of a format that is no block format all have the exponent of its grid.
    """
    array = np.asarray(codes, dtype=np.int64)
    split = array.reshape(*array.shape[:-1], -1, size)
    if not isinstance(fmt, Blocked):
        return on_grid(fmt, split), np.full(split.shape[:-1], fmt.lsb, dtype=np.int64)
    element = fmt.block.element
    significands, exponents = fmt.block.scale.significand_exponent(fmt.scales(split[..., 0]))
    return on_grid(element, fmt.elements(split)) * significands[..., None], exponents + element.lsb


def weight_parts(fmt: Format, weight: Codes, size: int) -> tuple[Codes, Codes]:
    """`parts` of weights (out, in), whose elements have no zeros in common below: those are in the exponents."""
    elements, exponents = parts(fmt, weight, size)
    bits = int(np.bitwise_or.reduce(elements, axis=None))
    zeros = (bits & -bits).bit_length() - 1 if bits else 0
    return elements >> zeros, exponents + zeros


def block_reach(fmt: Format, weight: Codes, x: Blocked) -> int:
    """The greatest |sum| of one block in units of its own."""
    elements, _ = weight_parts(fmt, weight, x.block.size)
    # Python integers: what does not fit is what is looked for.
    element, scale = x.block.element, x.block.scale
    reach = int(max(abs(end) for end in element.extremes) / Fraction(2) ** element.lsb) * (
        (2 << scale.mantissa_bits) - 1
    )
    return int(np.abs(elements).astype(object).sum(axis=-1).max()) * reach


def total_reach(fmt: Format, weight: Codes, x: Blocked) -> Fraction:
    """What no |total| passes, on the way or in the end, roundings included."""
    elements, exponents = weight_parts(fmt, weight, x.block.size)
    scaled = np.ldexp(np.abs(elements).sum(axis=-1).astype(np.float64), exponents.astype(np.int32)).sum(axis=-1)
    # Twice, which is more than what roundings and float64 may add.
    return 2 * Fraction(float(scaled.max())) * max(abs(end) for end in x.extremes)


def check(fmt: Format, weight: Codes, x: Blocked) -> None:
    """Raises HwgenError unless blocks meet blocks, int64 holds a block's sum, and no total overflows FP32."""
    size = x.block.size
    if isinstance(fmt, Blocked) and fmt.block.size != size:
        raise HwgenError(f"weights in blocks of {fmt.block.size} do not meet inputs in blocks of {size}")
    if weight.shape[1] % size:
        raise HwgenError(f"blocks of {size} do not divide {weight.shape[1]} inputs")
    bits = block_reach(fmt, weight, x).bit_length() + 1
    if bits > MAX_BLOCK_BITS:
        raise HwgenError(f"the exact sum of a block needs {bits} bits; at most {MAX_BLOCK_BITS} are proven")
    reach = total_reach(fmt, weight, x)
    if reach >= 1 << 127:
        raise HwgenError(f"sums up to {float(reach):.3g} may overflow FP32")


def fp32_sums(fmt: Format, weight: Codes, x: Blocked, codes: Codes) -> Codes:
    """FP32 codes (..., out) of the sums over the blocks of `codes` (..., in), from +0 on, in order.

    Each block's exact sum is rounded to FP32, and so is each addition, half to even; subnormals are kept.
    """
    size = x.block.size
    elements, exponents = weight_parts(fmt, weight, size)
    values, scales = parts(x, codes, size)
    total = np.zeros((*codes.shape[:-1], len(weight)), dtype=np.float32)
    for block in range(elements.shape[1]):
        exact = values[..., block, :] @ elements[:, block].T
        # Rounded to odd first where it is wider than float64, so that FP32's own rounding is the only one that shows.
        term = to_float64(exact, scales[..., block, None] + exponents[:, block])
        total = total + term.astype(np.float32)
    return total.view(np.uint32).astype(np.int64)
