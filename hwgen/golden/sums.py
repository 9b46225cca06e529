"""Exact dot products and matrix products of codes, in every pair of formats, on BLAS where that is proven exact.

Each code is an integer in units of its format's least bit. Such integers are cut into pieces so narrow that every
partial sum of a floating-point matrix product of two pieces stays below 2**24 (float32) or 2**53 (float64), in
whatever order BLAS adds; the pieces' results are then put together as limbs. L-Mul's products that are codes are
looked up or computed one by one; those of its formula are sums of two products, and ride on BLAS too.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Codes, Format
from hwgen.formats.multiply import CODE_MULTIPLIERS, Span, product, product_span
from hwgen.golden.carrier import Carrier
from hwgen.golden.exact import Bools, Exact, add_shifted, carried, limb_count, shifted
from hwgen.golden.operands import TABLE_BITS, Operand, operand, reach
from hwgen.golden.split import Split, split

CHUNK = 1 << 20
"""Products held at a time where they do not ride on BLAS."""

SHIFTED_BELOW, SHIFT_IN, SHIFT_IN_BITS = 2.0**51, 1.5 * 2.0**52, 0x4338000000000000


def dot(
    a: npt.ArrayLike | Operand,
    b: npt.ArrayLike | Operand,
    a_format: Format,
    b_format: Format,
    multiplier: str = "exact",
) -> Exact:
    """Exact sums of products of codes: `a` (..., M, K) by `b` (..., K, N) gives (..., M, N); vectors as in `@`.

    Codes, or what `operand` makes of them. multiplier: one of `hwgen.formats.multiply.MULTIPLIERS`. The result's
    exponent is that of the least bit of one product. A sum that meets a NaN or an infinity is flagged `nan`. Raises
    HwgenError for shapes that do not agree, codes outside their format, formats whose products need more than 128
    bits, and L-Mul of two different formats.
    """
    unit = product_span(a_format, b_format, multiplier)
    x, y, shape = matrices(operand(a, a_format), operand(b, b_format))
    limbs, nan = sums(x, y, unit, multiplier)
    none = np.zeros(shape, dtype=np.bool_)
    return Exact(
        limbs.reshape(limbs.shape[0], *shape), unit.exponent, none if nan is None else nan.reshape(shape), none
    )


def matrices(x: Operand, y: Operand) -> tuple[Operand, Operand, tuple[int, ...]]:
    """Both as stacks of matrices, and the shape of their product, by the rules of `@`."""
    a, b = x.codes.shape, y.codes.shape
    if not a or not b:
        raise HwgenError("a dot product takes vectors or matrices, not single codes")
    left, right = a if len(a) > 1 else (1, *a), b if len(b) > 1 else (*b, 1)
    if left[-1] != right[-2]:
        raise HwgenError(f"shapes {a} and {b} do not agree: rows of {left[-1]} codes meet columns of {right[-2]}")
    try:
        stack = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise HwgenError(f"shapes {a} and {b} do not agree in their leading axes") from None
    shape = (*stack, *(a[-2:-1] if len(a) > 1 else ()), *(b[-1:] if len(b) > 1 else ()))
    return x.reshaped(*left), y.reshaped(*right), shape


def sums(x: Operand, y: Operand, unit: Span, multiplier: str) -> tuple[Codes, Bools | None]:
    """(limbs, nan) of the sums in units of `unit`: x (..., M, K) by y (..., K, N); nan is None where none is."""
    length = x.codes.shape[-1]
    count = limb_count(unit.reach * max(1, length))
    if multiplier in CODE_MULTIPLIERS:
        return _one_by_one(x, y, unit, count, multiplier), _meets(x.specials(), y.specials(), x, y)
    formula = multiplier == "lmul_formula"
    x_factors, y_factors = (("significand", "one"), ("one", "mantissa")) if formula else (("worth",), ("worth",))
    x_reach = max(reach(x.format, name) for name in x_factors)
    y_reach = max(reach(y.format, name) for name in y_factors)
    cut = split(x_reach, y_reach, len(x_factors) * length)
    left = [x.cut(name, cut.x_width, cut.x_count, cut.carrier) for name in x_factors]
    right = [y.cut(name, cut.y_width, cut.y_count, cut.carrier) for name in y_factors]
    nan = _meets(left[0][1], right[0][1], x, y)
    if not formula:
        return on_blas(left[0][0], right[0][0], cut, count), nan
    across = [np.concatenate(pair, axis=-1) for pair in zip(left[0][0], left[1][0], strict=True)]
    down = [np.concatenate(pair, axis=-2) for pair in zip(right[0][0], right[1][0], strict=True)]
    return on_blas(tuple(across), tuple(down), cut, count), nan


def _meets(x_bad: Bools | None, y_bad: Bools | None, x: Operand, y: Operand) -> Bools | None:
    """Where a row or a column holds a special code; None: nowhere."""
    if x_bad is None and y_bad is None:
        return None
    rows = np.zeros(x.codes.shape[:-1], dtype=np.bool_) if x_bad is None else np.asarray(x_bad.any(axis=-1))
    columns = np.zeros_like(y.codes[..., 0, :], dtype=np.bool_) if y_bad is None else np.asarray(y_bad.any(axis=-2))
    return np.asarray(rows[..., :, None] | columns[..., None, :])


def on_blas(x: tuple[Carrier, ...], y: tuple[Carrier, ...], cut: Split, count: int) -> Codes:
    """`count` limbs of x @ y from pieces x, each (..., M, K), and y, each (..., K, N), that `cut` proves exact."""
    parts: dict[int, Codes] = {}
    for i, left in enumerate(x):
        for j, right in enumerate(y):
            shift = i * cut.x_width + j * cut.y_width
            for k in _chunks(left.shape[-1], cut.depth):
                part = _to_int64(left[..., k] @ right[..., k, :], cut.bound)
                parts[shift] = parts[shift] + part if shift in parts else part
    if count == 1 and len(parts) == 1:
        return parts[0][None]
    limbs = np.zeros((count, *parts[0].shape), dtype=np.int64)
    for shift, part in parts.items():
        add_shifted(limbs, part, shift)
    return carried(limbs)


def _to_int64(whole: Carrier, bound: int) -> Codes:
    """Integers in floating point, up to `bound`, as int64; float64 ones are overwritten, which saves an array."""
    if whole.dtype != np.float64 or bound >= SHIFTED_BELOW:
        return whole.astype(np.int64)
    # 1.5 * 2**52 moves the integer into the low bits of the mantissa.
    whole += SHIFT_IN
    bits = whole.view(np.int64)
    bits -= SHIFT_IN_BITS
    return bits


def _chunks(length: int, depth: int) -> Iterator[slice]:
    for start in range(0, max(length, 1), depth):
        yield slice(start, start + depth)


def _one_by_one(x: Operand, y: Operand, unit: Span, count: int, multiplier: str) -> Codes:
    """Limbs of the sums of products that are codes themselves, a few of the reduction's steps at a time."""
    fmt = x.format
    bad, other = x.specials(), y.specials()
    left = x.codes.astype(np.int64) if bad is None else np.where(bad, 0, x.codes)
    right = y.codes.astype(np.int64) if other is None else np.where(other, 0, y.codes)
    shape = (*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1])
    step = max(1, CHUNK // max(1, int(np.prod(shape))))
    total = np.zeros((count, *shape), dtype=np.int64)
    table = _product_table(fmt, unit, count, multiplier) if 2 * fmt.bits <= TABLE_BITS else None
    for k in _chunks(left.shape[-1], step):
        across, down = left[..., :, k, None], right[..., None, k, :]
        if table is not None:
            total += table.take((across << fmt.bits) | down, axis=1).sum(axis=-2)
            continue
        significand, exponent = product(across, down, fmt, fmt, multiplier)
        total += shifted(significand, exponent - unit.exponent, count).sum(axis=-2)
    return carried(total)


@lru_cache(maxsize=16)
def _product_table(fmt: Format, unit: Span, count: int, multiplier: str) -> Codes:
    """Limbs (count, n * n) of every pair's product in units of `unit`; 0 where an operand is no number."""
    codes = fmt.codes()
    codes = np.where(fmt.is_number(codes), codes, 0)
    significand, exponent = product(codes[:, None], codes, fmt, fmt, multiplier)
    return shifted(significand, exponent - unit.exponent, count).reshape(count, -1)
