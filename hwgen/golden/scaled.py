"""Operands that are blocks with a scale each, and their dot products where BLAS computes them in one go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Block, Codes, Format, Real
from hwgen.formats.multiply import Span, check_codes, span
from hwgen.golden.carrier import Carrier
from hwgen.golden.exact import LIMB, Bools, Exact, add_shifted, carried, extended, limb_count, pieces
from hwgen.golden.operands import integers, special_codes
from hwgen.golden.split import split
from hwgen.golden.sums import on_blas

BlockCodes = tuple[npt.ArrayLike, npt.ArrayLike]
"""(scale codes (..., blocks), element codes (..., blocks, size)), as `Block.encode` gives them."""

Singles = npt.NDArray[np.float32]

MAX_SCALE_MANTISSA = 13
"""Mantissa bits of a scale: two significands and a limb together fit into 63 bits."""

MAX_COST = 40
"""The most that a split may cost, in float32 matrix products; beyond it blocks one by one are quicker."""

CHUNK = 1 << 20
"""Sums of pairs of blocks held at a time."""


@dataclass(frozen=True)
class Side:
    """One operand: elements (rows, blocks, size), scales (rows, blocks) as significand and exponent, NaN scales."""

    elements: Codes
    significand: Codes
    exponent: Codes
    nan: Bools
    element: Format
    scale: Span
    significand_reach: int
    rows: tuple[int, ...]


def side(codes: BlockCodes | npt.ArrayLike, fmt: Block | Format) -> Side:
    if not isinstance(fmt, Block):
        elements = check_codes(codes, fmt)  # type: ignore[arg-type]
        if elements.ndim < 2:
            raise HwgenError(f"codes of {fmt.name} beside blocks have shape (..., blocks, size), not {elements.shape}")
        flat = elements.reshape(-1, *elements.shape[-2:])
        zero = np.zeros(flat.shape[:2], dtype=np.int64)
        nan = np.zeros(flat.shape[:2], dtype=np.bool_)
        return Side(flat, zero + 1, zero, nan, fmt, Span(0, 1), 1, elements.shape[:-2])
    if not isinstance(codes, tuple) or len(codes) != 2:
        raise HwgenError(f"codes of {fmt.name} come as (scale codes, element codes)")
    scales, elements = check_codes(codes[0], fmt.scale), check_codes(codes[1], fmt.element)
    if elements.ndim < 2 or elements.shape[-1] != fmt.size or scales.shape != elements.shape[:-1]:
        raise HwgenError(
            f"{fmt.name} takes scale codes (..., blocks) and element codes (..., blocks, {fmt.size}), "
            f"not {scales.shape} and {elements.shape}"
        )
    if fmt.scale.mantissa_bits > MAX_SCALE_MANTISSA:
        raise HwgenError(
            f"a block scale has up to {MAX_SCALE_MANTISSA} mantissa bits here, not {fmt.scale.mantissa_bits} "
            f"as {fmt.scale.name}"
        )
    flat, scales = elements.reshape(-1, *elements.shape[-2:]), scales.reshape(-1, scales.shape[-1])
    nan = np.asarray(~fmt.scale.is_number(scales))
    significand, exponent = fmt.scale.significand_exponent(np.where(nan, 0, scales))
    reach = (2 << fmt.scale.mantissa_bits) - 1
    return Side(flat, significand, exponent, nan, fmt.element, span(fmt.scale), reach, elements.shape[:-2])


def fixed_in_one(x: Side, y: Side, unit: Span, low: int, high: int, count: int) -> Exact | None:
    """Exact sums over blocks as one matrix product of elements that have taken their scales along, or None.

    None where some pair of blocks might leave the window low..high, and where the scales lie so far from each other
    that too many pieces were needed. The result has `count` limbs in units of unit.exponent + low.
    """
    if not x.elements.size or not y.elements.size:
        return None
    (left, x_up, x_bad), (right, y_up, y_bad) = _integers(x), _integers(y)
    least, most = x_up.min(axis=0) + y_up.min(axis=0), x_up.max(axis=0) + y_up.max(axis=0)
    if (least < low).any() or (most > high).any():
        return None
    x_least, y_least = int(x_up.min()), int(y_up.min())
    reaches = [
        (span(one.element).reach * one.significand_reach) << int(up.max() - up.min())
        for one, up in ((x, x_up), (y, y_up))
    ]
    length = left[0][0].size
    cut = split(reaches[0], reaches[1], length)
    if cut.cost > MAX_COST:
        return None
    a = _cut(left, x_up - x_least, cut.x_width, cut.x_count, cut.carrier)
    b = _cut(right, y_up - y_least, cut.y_width, cut.y_count, cut.carrier)
    own = limb_count(reaches[0] * reaches[1] * length)
    sums = on_blas(a, tuple(piece.T for piece in b), cut, own)
    limbs = np.zeros((count, *sums.shape[1:]), dtype=np.int64)
    for i, limb in enumerate(extended(sums)):
        add_shifted(limbs, limb, x_least + y_least - low + LIMB * i)
    nan = x_bad[:, None] | y_bad
    return Exact(carried(limbs), unit.exponent + low, nan, np.zeros_like(nan))


def _integers(one: Side) -> tuple[tuple[Codes, Codes], Codes, Bools]:
    """((significand, shift) of the elements, with the scale's significand; the blocks' exponents; rows that are NaN).

    Blocks of zeros, and those that are NaN, get the exponent of their neighbours and do not count.
    """
    special = special_codes(one.elements, one.element)
    bad = one.nan if special is None else one.nan | special.any(axis=-1)
    codes = np.where(bad[..., None], 0, one.elements) if bad.any() else one.elements
    significand, shift = integers(codes, one.element, "worth")
    significand = np.where(bad[..., None], 0, significand * one.significand[..., None])
    some = significand.any(axis=-1)
    never = np.iinfo(np.int64).max
    # The neighbours at the same place of the reduction, so that the bounds of what meets there are not widened.
    usual = np.min(one.exponent, axis=0, where=some, initial=never)
    usual = np.where(usual == never, usual.min(initial=0 if not some.any() else never), usual)
    return (significand, shift), np.where(some, one.exponent, usual), np.asarray(bad.any(axis=-1))


def _cut(numbers: tuple[Codes, Codes], up: Codes, width: int, count: int, carrier: str) -> tuple[Carrier, ...]:
    significand, shift = numbers
    cut = pieces(significand, shift + up[..., None], width, count).astype(carrier)
    return tuple(cut.reshape(count, significand.shape[0], -1))


def fp32_on_blas(x: Side, y: Side) -> Singles:
    """FP32 sums over blocks in block order, where float64 holds every sum within a block exactly.

    The scales of two blocks are one factor of all their products. So if the integer sum needs at most 53 bits, then
    so does every partial sum of the scaled elements, and what BLAS gives is exact before it is rounded to FP32.
    """
    (left, x_bad), (right, y_bad) = _reals(x), _reals(y)
    rows, blocks, columns = left.shape[0], left.shape[1], right.shape[0]
    total = np.zeros((rows, columns), dtype=np.float32)
    step = max(1, CHUNK // max(1, rows * columns))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for start in range(0, blocks, step):
            k = slice(start, start + step)
            for block in (left[:, k].transpose(1, 0, 2) @ right[:, k].transpose(1, 2, 0)).astype(np.float32):
                total += block
    total[x_bad[:, None] | y_bad] = np.nan
    return total


def within_float64(one: Side) -> bool:
    """Whether products of two scaled elements, and sums of them, are normal float64 numbers."""
    elements = span(one.element)
    least = elements.exponent + one.scale.exponent
    return least > -500 and least + elements.bits + one.scale.bits < 480


def _reals(one: Side) -> tuple[Real, Bools]:
    """(scaled elements, exact; rows that are NaN)."""
    (significand, shift), exponent, bad = _integers(one)
    lsb = span(one.element).exponent
    return np.ldexp(significand.astype(np.float64), (shift + exponent[..., None] + lsb).astype(np.int32)), bad
