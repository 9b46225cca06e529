"""Dot products of blocks that carry a scale each (OCP MX v1.0 sec. 6, NVFP4), and how their sums are added up.

Within two blocks the sum of the elements' products is an exact integer; the scales multiply it. Across blocks either
`fixed`: exact again, in fixed point whose width a window of scale exponents bounds, or
`fp32`: each pair of blocks is rounded to FP32, half to even, and these are added in block order in FP32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Block, Codes, Format, Real
from hwgen.formats.multiply import Span, product_span
from hwgen.golden.exact import LIMB, Bools, Exact, carried, extended, leading_53, limb_count, shifted
from hwgen.golden.operands import Operand
from hwgen.golden.scaled import BlockCodes, Side, Singles, fixed_in_one, fp32_on_blas, side, within_float64
from hwgen.golden.sums import sums

Accumulator = Literal["fixed", "fp32"]
ACCUMULATORS: tuple[str, ...] = ("fixed", "fp32")


CHUNK = 1 << 20
"""Sums of pairs of blocks held at a time."""


def to_blocks(x: npt.ArrayLike, size: int, pad: bool = False) -> npt.NDArray[np.generic]:
    """`x` (..., K) as (..., blocks, size), for `Block.encode` or as codes of a scalar format beside a block format.

    Raises HwgenError where `size` does not divide K, unless `pad`, which adds zeros at the end.
    """
    array = np.asarray(x)
    if not array.ndim or size < 1:
        raise HwgenError(f"blocks of {size} do not cut an array of shape {array.shape}")
    length = array.shape[-1]
    rest = -length % size
    if rest and not pad:
        below = f"{length - length % size} or " if length > size else ""
        raise HwgenError(
            f"blocks of {size} do not divide a reduction of {length}: make it {below}{length + rest}, "
            "or pad it with zeros (pad=True)"
        )
    padded = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, rest)]) if rest else array
    return padded.reshape(*array.shape[:-1], -1, size)


@overload
def block_dot(
    a: BlockCodes | npt.ArrayLike,
    b: BlockCodes | npt.ArrayLike,
    a_format: Block | Format,
    b_format: Block | Format,
    accumulator: Literal["fixed"] = "fixed",
    window: tuple[int, int] | None = None,
    multiplier: str = "exact",
) -> Exact: ...


@overload
def block_dot(
    a: BlockCodes | npt.ArrayLike,
    b: BlockCodes | npt.ArrayLike,
    a_format: Block | Format,
    b_format: Block | Format,
    accumulator: Literal["fp32"],
    window: None = None,
    multiplier: str = "exact",
) -> Singles: ...


def block_dot(
    a: BlockCodes | npt.ArrayLike,
    b: BlockCodes | npt.ArrayLike,
    a_format: Block | Format,
    b_format: Block | Format,
    accumulator: Accumulator = "fixed",
    window: tuple[int, int] | None = None,
    multiplier: str = "exact",
) -> Exact | Singles:
    """Sums over blocks of a's rows by b's rows: (*a's leading axes, *b's leading axes).

    a, b: (scale codes (..., blocks), element codes (..., blocks, size)); where the format is a scalar one, codes
    (..., blocks, size) alone. Both run along the reduction, so b holds the columns of a matrix as rows.

    accumulator: "fixed" gives `Exact`; "fp32" a float32 array (subnormals kept, overflow to infinity, starting from
    +0). window: for "fixed" and power-of-two scales, the (least, greatest) sum of the two scales' exponents that the
    accumulator holds; None: all. An exponent outside is taken to the nearest end, and the result is flagged
    `saturated` where that changes it (a block whose sum is 0 does not count: blocks of zeros have the least scale).
    A NaN scale, and a NaN or infinite element, make the result NaN. Tensor scales are left to the caller.
    multiplier: one of `hwgen.formats.multiply.MULTIPLIERS`, for the elements.
    """
    if accumulator not in ACCUMULATORS:
        raise HwgenError(f"unknown accumulator {accumulator!r}: one of {', '.join(ACCUMULATORS)}")
    x, y = side(a, a_format), side(b, b_format)
    _agree(x, y)
    unit = product_span(x.element, y.element, multiplier)
    if accumulator == "fp32":
        if window is not None:
            raise HwgenError("a window is for the accumulator 'fixed', not for 'fp32'")
        return _fp32(x, y, unit, multiplier).reshape((*x.rows, *y.rows))
    total = _fixed(x, y, unit, multiplier, _window(x, y, window))
    shape = (*x.rows, *y.rows)
    limbs = total.limbs.reshape(total.limbs.shape[0], *shape)
    return Exact(limbs, total.exponent, total.nan.reshape(shape), total.saturated.reshape(shape))


def _agree(x: Side, y: Side) -> None:
    if x.elements.shape[1:] == y.elements.shape[1:]:
        return
    (blocks, size), (others, other) = x.elements.shape[1:], y.elements.shape[1:]
    if size != other:
        raise HwgenError(f"blocks of {size} do not meet blocks of {other}: one size for both")
    raise HwgenError(f"{blocks} blocks do not meet {others}: the reductions differ")


def _window(x: Side, y: Side, window: tuple[int, int] | None) -> tuple[int, int]:
    """(least, greatest) exponent of a product of two scales, in units of the scales' least bits."""
    if window is None:
        low = x.scale.exponent + y.scale.exponent
        # For powers of two the reach is the greatest exponent; scales with a mantissa have fewer bits to shift by.
        return low, low + x.scale.reach.bit_length() + y.scale.reach.bit_length() - 2
    if x.significand_reach * y.significand_reach > 1:
        raise HwgenError("a window is for power-of-two scales; those with a mantissa are summed over their whole range")
    if len(window) != 2 or window[0] > window[1]:
        raise HwgenError(f"a window is (least, greatest) exponent, not {window}")
    return int(window[0]), int(window[1])


def _pairs(x: Side, y: Side, unit: Span, multiplier: str) -> Iterator[tuple[Codes, Codes, Bools]]:
    """(limbs (count, blocks, rows, columns), exponents, nan (both (blocks, rows, columns))) of a few blocks each.

    Limbs are those of the element sum times the scales' significands; the exponent is that of the two scales.
    """
    rows, blocks, _ = x.elements.shape
    columns = y.elements.shape[0]
    step = max(1, CHUNK // max(1, rows * columns))
    for start in range(0, blocks, step):
        k = slice(start, start + step)
        left, right = x.elements[:, k].transpose(1, 0, 2), y.elements[:, k].transpose(1, 2, 0)
        limbs, nan = sums(Operand(left, x.element), Operand(right, y.element), unit, multiplier)
        if x.significand_reach * y.significand_reach > 1:
            scale = x.significand[:, k].T[:, :, None] * y.significand[:, k].T[:, None, :]
            limbs = carried(extended(limbs) * scale)
        exponent = x.exponent[:, k].T[:, :, None] + y.exponent[:, k].T[:, None, :]
        bad = x.nan[:, k].T[:, :, None] | y.nan[:, k].T[:, None, :]
        yield limbs, exponent, bad if nan is None else bad | nan


def _fixed(x: Side, y: Side, unit: Span, multiplier: str, window: tuple[int, int]) -> Exact:
    """Exact sums over blocks (rows, columns), every exponent taken into the window."""
    low, high = window
    rows, blocks, size = x.elements.shape
    shape = (rows, y.elements.shape[0])
    reach = unit.reach * x.significand_reach * y.significand_reach * max(1, size * blocks) << (high - low)
    count = limb_count(reach)
    if multiplier == "exact" and (quick := fixed_in_one(x, y, unit, low, high, count)) is not None:
        return quick
    total = np.zeros((count, *shape), dtype=np.int64)
    nan, saturated = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    for limbs, exponent, bad in _pairs(x, y, unit, multiplier):
        held = np.clip(exponent, low, high)
        saturated |= ((held != exponent) & (limbs != 0).any(axis=0)).any(axis=0)
        nan |= bad.any(axis=0)
        for i, limb in enumerate(limbs):
            # A limb above those of the total is the sign of the others, which the last one has taken along.
            total += shifted(limb, held - low + LIMB * i, count).sum(axis=1)
    return Exact(carried(total), unit.exponent + low, nan, saturated & ~nan)


def _fp32(x: Side, y: Side, unit: Span, multiplier: str) -> Singles:
    """FP32 sums over blocks (rows, columns) in block order."""
    size = x.elements.shape[2]
    held = unit.reach * size * x.significand_reach * y.significand_reach <= 1 << 53
    if multiplier == "exact" and held and within_float64(x) and within_float64(y):
        return fp32_on_blas(x, y)
    total = np.zeros((x.elements.shape[0], y.elements.shape[0]), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for limbs, exponent, bad in _pairs(x, y, unit, multiplier):
            # Rounded to odd first, so that FP32's own rounding is the only one that counts.
            mantissa, shift = leading_53(limbs, odd=True)
            real: Real = np.ldexp(mantissa, (shift + exponent + unit.exponent).astype(np.int32))
            for block in np.where(bad, np.nan, real).astype(np.float32):
                total += block
    return total
