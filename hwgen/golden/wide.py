"""Matrix products of whole networks that need more bits than floating point carries."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hwgen.formats import Bipolar, Codes, Format, Int
from hwgen.formats.grid import grid_range, on_grid
from hwgen.golden.carrier import Carrier
from hwgen.golden.split import split


def worth_of_codes(fmt: Format) -> Codes:
    """What every code of `fmt` is worth on its grid, with 0 for those that are no numbers and never come.

    It is indexed by the code itself: negative codes stand at the end, where an index below zero counts from.
    """
    codes = fmt.codes()
    return np.roll(on_grid(fmt, np.where(fmt.is_number(codes), codes, 0)), min(0, int(codes[0])))


def wide_kernel(weight: Codes, bias: Codes, x: Format) -> Callable[[Carrier], Carrier]:
    """Sums that only int64 holds, from matrix products of pieces on BLAS, each proven exact.

    weight (out, in), bias (out,): what acts on integer and bipolar codes, and on the worth of other codes of `x`.
    """
    plain = isinstance(x, Int | Bipolar)
    worth = None if plain else worth_of_codes(x)
    reach = max(abs(end) for end in (x.code_range if plain else grid_range(x)))
    cut = split(reach, int(np.abs(weight).max()), weight.shape[1])
    columns = pieces(weight.T, cut.y_width, cut.y_count, cut.carrier)

    def kernel(value: Carrier) -> Carrier:
        codes = value.astype(np.int64)
        operand = codes if worth is None else worth[codes]
        rows = pieces(operand.reshape(-1, weight.shape[1]), cut.x_width, cut.x_count, cut.carrier)
        # Modulo 2^64 on the way, as int64 adds and shifts; the sum itself fits.
        total = np.zeros((len(rows[0]), weight.shape[0]), dtype=np.int64)
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                for start in range(0, weight.shape[1], cut.depth):
                    part = row[:, start : start + cut.depth] @ column[start : start + cut.depth]
                    total += part.astype(np.int64) << (i * cut.x_width + j * cut.y_width)
        return np.asarray((total + bias).reshape(*operand.shape[:-1], len(weight)))

    return kernel


def pieces(x: Codes, width: int, count: int, carrier: str) -> list[Carrier]:
    """Integers as `count` pieces of `width` bits, the lowest first, each with the number's sign; the last holds what
    is left."""
    sign, left = np.sign(x), np.abs(x)
    made = []
    for place in range(count):
        low = left if place + 1 == count else left & ((1 << width) - 1)
        made.append(np.ascontiguousarray((sign * low).astype(carrier)))
        left = left >> width
    return made
