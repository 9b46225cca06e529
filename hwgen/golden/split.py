"""How to cut integers into pieces whose matrix products floating-point BLAS computes exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

CARRIERS = (("float32", 1 << 24, 1), ("float64", 1 << 53, 2))
"""Floating-point types, the magnitude up to which they carry every integer, and what a matrix product costs."""

LEAST_DEPTH = 256
"""Matrix products shorter than this along the reduction are not worth their additions."""


@dataclass(frozen=True)
class Split:
    """Pieces of `x_width` and `y_width` bits, `x_count` and `y_count` of them, on `carrier`, `depth` terms at a time.

    depth * 2**(x_width + y_width) (or the product of the reaches, where nothing is cut) stays below the carrier's
    limit, and so does every partial sum, in any order: their magnitudes are `bound` at most.
    """

    carrier: str
    x_width: int
    x_count: int
    y_width: int
    y_count: int
    depth: int
    bound: int

    @property
    def cost(self) -> int:
        return self.x_count * self.y_count * {kind: cost for kind, _, cost in CARRIERS}[self.carrier]


@lru_cache(maxsize=1024)
def split(x_reach: int, y_reach: int, length: int) -> Split:
    """The cheapest split for sums of `length` products of integers of magnitudes up to `x_reach` and `y_reach`."""
    found = []
    for carrier, limit, _ in CARRIERS:
        for x_count in range(1, 17):
            for y_count in range(1, 17):
                x_width, y_width = _width(x_reach, x_count), _width(y_reach, y_count)
                one = _piece_reach(x_reach, x_width, x_count) * _piece_reach(y_reach, y_width, y_count)
                depth = min(limit // one, max(length, 1))
                if depth >= min(length, LEAST_DEPTH) and depth > 0:
                    found.append(Split(carrier, x_width, x_count, y_width, y_count, depth, depth * one))
    # 16 pieces of 8 bits a side always fit.
    return min(found, key=lambda cut: (cut.cost, -cut.depth))


def _width(reach: int, count: int) -> int:
    return max(1, -(-reach.bit_length() // count))


def _piece_reach(reach: int, width: int, count: int) -> int:
    return max(1, reach if count == 1 else min(reach, (1 << width) - 1))
