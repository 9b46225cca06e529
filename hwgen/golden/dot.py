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
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import CODE_MULTIPLIERS, Span, check_codes, lmul_correction, product, product_span, span
from hwgen.golden.exact import LIMB, Bools, Exact, pieces
from hwgen.golden.split import Carrier, Split, split

TABLE_BITS = 16
"""Formats and pairs of codes up to this many bits are looked up in tables."""

CHUNK = 1 << 20
"""Products held at a time where they do not ride on BLAS."""


def dot(a: npt.ArrayLike, b: npt.ArrayLike, a_format: Format, b_format: Format, multiplier: str = "exact") -> Exact:
    """Exact sums of products of codes: `a` (..., M, K) by `b` (..., K, N) gives (..., M, N); vectors as in `@`.

    multiplier: one of `hwgen.formats.multiply.MULTIPLIERS`. The result's exponent is that of the least bit of one
    product. A sum that meets a NaN or an infinity is flagged `nan`. Raises HwgenError for shapes that do not agree,
    codes outside their format, and formats whose products need more than 128 bits.
    """
    unit = product_span(a_format, b_format, multiplier)
    x, y, shape = matrices(check_codes(a, a_format), check_codes(b, b_format))
    nan, x, y = without_specials(x, y, a_format, b_format)
    limbs = sums(x, y, a_format, b_format, unit, multiplier)
    none = np.zeros(shape, dtype=np.bool_)
    return Exact.of(limbs.reshape(-1, *shape), unit.exponent, none if nan is None else nan.reshape(shape), none)


def matrices(x: Codes, y: Codes) -> tuple[Codes, Codes, tuple[int, ...]]:
    """Both as stacks of matrices, and the shape of their product, by the rules of `@`."""
    if x.ndim == 0 or y.ndim == 0:
        raise HwgenError("a dot product takes vectors or matrices, not single codes")
    left, right = x if x.ndim > 1 else x[None], y if y.ndim > 1 else y[:, None]
    if left.shape[-1] != right.shape[-2]:
        raise HwgenError(
            f"shapes {x.shape} and {y.shape} do not agree: {left.shape[-1]} columns meet {right.shape[-2]} rows"
        )
    try:
        stack = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        raise HwgenError(f"shapes {x.shape} and {y.shape} do not agree in their leading axes") from None
    rows = left.shape[-2:-1] if x.ndim > 1 else ()
    columns = right.shape[-1:] if y.ndim > 1 else ()
    return left, right, (*stack, *rows, *columns)


def without_specials(x: Codes, y: Codes, a_format: Format, b_format: Format) -> tuple[Bools | None, Codes, Codes]:
    """Where sums meet a NaN or an infinity (None: nowhere), and the codes with 0 in their place."""
    x_bad, y_bad = _specials(x, a_format), _specials(y, b_format)
    if x_bad is None and y_bad is None:
        return None, x, y
    x_bad = np.zeros(x.shape, dtype=np.bool_) if x_bad is None else x_bad
    y_bad = np.zeros(y.shape, dtype=np.bool_) if y_bad is None else y_bad
    rows, columns = np.asarray(x_bad.any(axis=-1)), np.asarray(y_bad.any(axis=-2))
    nan = rows[..., :, None] | columns[..., None, :]
    return nan, np.where(x_bad, 0, x), np.where(y_bad, 0, y)


def _specials(codes: Codes, fmt: Format) -> Bools | None:
    if not isinstance(fmt, Minifloat) or fmt.special == "none":
        return None
    bad = np.asarray(~fmt.is_number(codes))
    return bad if bad.any() else None


def sums(x: Codes, y: Codes, a_format: Format, b_format: Format, unit: Span, multiplier: str) -> Codes:
    """Limbs, not yet carried, of the sums in units of `unit`: x (..., M, K) by y (..., K, N)."""
    count = limb_count(unit.reach * max(1, x.shape[-1]))
    if multiplier in CODE_MULTIPLIERS:
        return _one_by_one(x, y, a_format, unit, count, multiplier)
    # The formula's product is significand(x) * one(y) + one(x) * mantissa(y).
    formula = multiplier == "lmul_formula"
    x_factors, y_factors = (("significand", "one"), ("one", "mantissa")) if formula else (("worth",), ("worth",))
    x_reach = max(_reach(a_format, name) for name in x_factors)
    y_reach = max(_reach(b_format, name) for name in y_factors)
    cut = split(x_reach, y_reach, len(x_factors) * x.shape[-1])
    left = [_cut(x, a_format, name, cut.x_width, cut.x_count, cut.carrier) for name in x_factors]
    right = [_cut(y, b_format, name, cut.y_width, cut.y_count, cut.carrier) for name in y_factors]
    if not formula:
        return on_blas(left[0], right[0], cut, count)
    return on_blas(np.concatenate(left, axis=-1), np.concatenate(right, axis=-2), cut, count)


def limb_count(reach: int) -> int:
    """Limbs that hold sums of magnitudes up to `reach`; one where int64 does."""
    return 1 if reach < 1 << 62 else -(-(reach.bit_length() + 1) // LIMB)


def on_blas(x: Carrier, y: Carrier, cut: Split, count: int) -> Codes:
    """Limbs of x @ y from pieces x (n, ..., M, K) and y (n, ..., K, N) of the widths that `cut` proves exact."""
    parts: dict[int, Codes] = {}
    for i, left in enumerate(x):
        for j, right in enumerate(y):
            shift = i * cut.x_width + j * cut.y_width
            for k in _chunks(left.shape[-1], cut.depth):
                part = (left[..., k] @ right[..., k, :]).astype(np.int64)
                parts[shift] = parts[shift] + part if shift in parts else part
    if count == 1:
        # Sums modulo 2**64 of numbers whose true sum fits.
        first, *rest = (part << shift if shift else part for shift, part in parts.items())
        return np.asarray(sum(rest, first))[None]
    return np.asarray(sum(pieces(part, shift, LIMB, count) for shift, part in parts.items()))


def _chunks(length: int, depth: int) -> Iterator[slice]:
    for start in range(0, max(length, 1), depth):
        yield slice(start, start + depth)


def _reach(fmt: Format, factor: str) -> int:
    if factor == "worth":
        return span(fmt).reach
    assert isinstance(fmt, Minifloat)
    significand, shift = _integers(np.array([fmt.max_magnitude, (2 << fmt.mantissa_bits) - 1]), fmt, factor)
    return int(significand.max()) << int(shift.max())


def _integers(codes: Codes, fmt: Format, factor: str) -> tuple[Codes, Codes]:
    """(significand, shift): the named factor of each code is the integer significand << shift."""
    if factor == "worth":
        significand, exponent = fmt.significand_exponent(codes)
        return significand, np.asarray(exponent - span(fmt).exponent)
    # Factors of L-Mul's formula, in units of the least normal number's mantissa (or of 1, for "one").
    assert isinstance(fmt, Minifloat)
    m = fmt.mantissa_bits
    magnitude = codes & ((1 << fmt.magnitude_bits) - 1)
    mantissa = magnitude & ((1 << m) - 1)
    whole = {"significand": mantissa + (1 << m) + lmul_correction(m), "mantissa": mantissa, "one": 1 + 0 * mantissa}
    normal, negative = magnitude >> m > 0, codes >> fmt.magnitude_bits == 1
    significand = np.where(normal, np.where(negative, -whole[factor], whole[factor]), 0)
    return significand, np.where(normal, (magnitude >> m) - 1, 0)


def _cut(codes: Codes, fmt: Format, factor: str, width: int, count: int, carrier: str) -> Carrier:
    """The factor of each code cut into pieces (count, *shape) of `width` bits, in the carrier's type."""
    if fmt.bits > TABLE_BITS:
        return pieces(*_integers(codes, fmt, factor), width, count).astype(carrier)
    low, table = _cut_table(fmt, factor, width, count, carrier)
    return np.asarray(table.take(codes - low if low else codes, axis=1))


@lru_cache(maxsize=128)
def _cut_table(fmt: Format, factor: str, width: int, count: int, carrier: str) -> tuple[int, Carrier]:
    codes = fmt.codes()
    return int(codes[0]), pieces(*_integers(codes, fmt, factor), width, count).astype(carrier)


def _one_by_one(x: Codes, y: Codes, fmt: Format, unit: Span, count: int, multiplier: str) -> Codes:
    """Limbs of the sums of products that are codes of `fmt`, a few of the reduction's steps at a time."""
    rows, length, columns = x.shape[-2], x.shape[-1], y.shape[-1]
    shape = (*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), rows, columns)
    step = max(1, CHUNK // max(1, int(np.prod(shape))))
    total = np.zeros((count, *shape), dtype=np.int64)
    table = _product_table(fmt, unit, count, multiplier) if 2 * fmt.bits <= TABLE_BITS else None
    for start in range(0, length, step):
        left, right = x[..., :, start : start + step, None], y[..., None, start : start + step, :]
        if table is not None:
            total += table.take((left << fmt.bits) | right, axis=1).sum(axis=-2)
            continue
        significand, exponent = product(left, right, fmt, fmt, multiplier)
        total += _limbs(significand, exponent - unit.exponent, count).sum(axis=-2)
    return total


@lru_cache(maxsize=16)
def _product_table(fmt: Format, unit: Span, count: int, multiplier: str) -> Codes:
    """Limbs (count, n * n) of every pair's product in units of `unit`; 0 where an operand is no number."""
    codes = fmt.codes()
    number = fmt.is_number(codes) if isinstance(fmt, Minifloat) else np.ones(codes.shape, dtype=np.bool_)
    codes = np.where(number, codes, 0)
    significand, exponent = product(codes[:, None], codes, fmt, fmt, multiplier)
    return _limbs(significand, exponent - unit.exponent, count).reshape(count, -1)


def _limbs(significand: Codes, shift: Codes, count: int) -> Codes:
    return (significand << shift)[None] if count == 1 else pieces(significand, shift, LIMB, count)
