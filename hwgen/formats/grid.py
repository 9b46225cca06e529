"""Numbers of a format as integers: multiples of its grid 2**lsb, and its codes in order of worth."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats.base import Codes, Format
from hwgen.formats.integer import Int
from hwgen.formats.multiply import span

MAX_GRID_BITS = 62


def on_grid(fmt: Format, codes: npt.ArrayLike) -> Codes:
    """What finite codes are worth in units of 2**fmt.lsb, int64, same shape.

    Raises HwgenError for a format whose numbers take more than 62 bits so (bf16, fp32).
    """
    check_grid(fmt)
    significand, exponent = fmt.significand_exponent(codes)
    return np.asarray(significand << (exponent - fmt.lsb))


def grid_range(fmt: Format) -> tuple[int, int]:
    """(least, greatest) finite number in units of 2**fmt.lsb."""
    check_grid(fmt)
    low, high = (end / 2**fmt.lsb if fmt.lsb >= 0 else end * 2**-fmt.lsb for end in fmt.extremes)
    return int(low), int(high)


def check_grid(fmt: Format) -> None:
    """Raises HwgenError unless every number of `fmt` is an integer of at most 62 bits times 2**fmt.lsb."""
    bits = span(fmt).bits
    if bits > MAX_GRID_BITS:
        raise HwgenError(
            f"numbers of {fmt.name} take {bits} bits on a common grid; at most {MAX_GRID_BITS} are carried"
        )


@lru_cache(maxsize=64)
def ladder(fmt: Format) -> Codes:
    """One code for each finite number, in increasing order of worth; of the two zeros the positive one.

    Raises HwgenError for formats of more than 16 bits.
    """
    codes = fmt.codes()
    if isinstance(fmt, Int):
        return codes
    codes = codes[fmt.is_number(codes)]
    worth = fmt.decode(codes)
    # A stable sort by worth alone keeps +0, which has the lesser code, ahead of -0; unique then takes the first.
    _, first = np.unique(worth, return_index=True)
    rungs = codes[first]
    rungs.setflags(write=False)
    return rungs
