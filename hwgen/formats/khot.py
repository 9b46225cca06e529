"""K-hot weights: integers that are sums of at most K signed powers of two, so that products need no multiplier.

An integer's canonical signed digits (no two neighbours other than 0; Reitwiesner 1960) are the fewest powers of two
with signs that add up to it, so an integer is K-hot where these are at most K.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats.base import Codes

MAX_BITS = 16
"""Weights lie in -2**16..2**16."""


def signed_digits(weights: npt.ArrayLike, k: int) -> tuple[Codes, Codes]:
    """(signs, shifts), both (k, *shape): weight == sum(sign[i] << shift[i]), the greatest power first.

    A sign is -1, 0 or 1; where it is 0 the shift is 0. Raises HwgenError for a weight that needs more than `k`.
    """
    given = _check(weights, k)
    weight = given.reshape(-1)
    signs = np.zeros((k, weight.size), dtype=np.int64)
    shifts = np.zeros_like(signs)
    used = np.zeros(weight.size, dtype=np.int64)
    for place, digit in reversed(list(enumerate(canonical_digits(weight)))):
        at = np.flatnonzero(digit)
        if (used[at] >= k).any():
            first = weight[at][used[at] >= k][0]
            raise HwgenError(f"weight {first} is the sum of no fewer than {int(hot(first))} powers of two, not {k}")
        signs[used[at], at] = digit[at]
        shifts[used[at], at] = place
        used[at] += 1
    return signs.reshape(k, *given.shape), shifts.reshape(k, *given.shape)


def hot(weights: npt.ArrayLike) -> Codes:
    """The fewest signed powers of two that add up to each weight."""
    return np.asarray((canonical_digits(_check(weights, 1)) != 0).sum(axis=0))


def nearest(weights: npt.ArrayLike, k: int) -> Codes:
    """The nearest K-hot integer of each real weight; of two that are as near, the one nearer to 0."""
    real = np.asarray(weights, dtype=np.float64)
    if not (np.abs(real) <= 1 << MAX_BITS).all():
        raise HwgenError(f"K-hot weights lie in -2^{MAX_BITS}..2^{MAX_BITS}")
    known = _known(_check_k(k))
    magnitude = np.abs(real)
    above = np.clip(np.searchsorted(known, magnitude), 1, known.size - 1)
    low, high = known[above - 1], known[above]
    found = np.where(high - magnitude < magnitude - low, high, low)
    return np.where(real < 0, -found, found)


def shift_add(codes: npt.ArrayLike, signs: Codes, shifts: Codes) -> Codes:
    """codes * weights, broadcast, without a multiplication: the sum of sign * (code << shift) over the first axis."""
    code = np.asarray(codes, dtype=np.int64)
    total = np.zeros(np.broadcast_shapes(code.shape, signs.shape[1:]), dtype=np.int64)
    for sign, shift in zip(signs, shifts, strict=True):
        term = code << shift
        total += np.where(sign > 0, term, np.where(sign < 0, -term, 0))
    return total


def canonical_digits(weights: Codes) -> Codes:
    """Digits -1, 0 or 1 (18, *shape), least first, no two neighbours other than 0."""
    rest = np.array(weights, dtype=np.int64)
    digits = np.zeros((MAX_BITS + 2, *rest.shape), dtype=np.int64)
    for place in range(MAX_BITS + 2):
        # An odd number takes the digit after which it is divisible by four.
        digits[place] = np.where(rest & 1, 2 - (rest & 3), 0)
        rest = (rest - digits[place]) >> 1
    return digits


@lru_cache(maxsize=32)
def _known(k: int) -> Codes:
    """The K-hot integers 0..2**16, in order."""
    every = np.arange((1 << MAX_BITS) + 1)
    return np.asarray(every[(canonical_digits(every) != 0).sum(axis=0) <= k])


def _check_k(k: int) -> int:
    if k < 1:
        raise HwgenError(f"K-hot weights have 1 power of two or more, not {k}")
    return k


def _check(weights: npt.ArrayLike, k: int) -> Codes:
    _check_k(k)
    weight = np.asarray(weights)
    if weight.dtype.kind not in "iu" or (np.abs(weight.astype(np.int64)) > 1 << MAX_BITS).any():
        raise HwgenError(f"K-hot weights are integers in -2^{MAX_BITS}..2^{MAX_BITS}")
    return weight.astype(np.int64)
