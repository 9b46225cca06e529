"""Weights whose numbers are negated, row by row, in whatever format they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Blocked, Codes, Format, Int, Minifloat


def opposites(codes: Codes, fmt: Format, rows: npt.NDArray[np.bool_]) -> tuple[Codes, Format]:
    """Codes (out, in) with the numbers of `rows` (out,) negated, and a format that has all of them; exact.

    The format is `fmt` itself, unless integers have to be wider, or minifloats need a sign.
    Raises HwgenError for blocks that hold an element whose opposite they have not.
    """
    which = rows[:, None]
    if isinstance(fmt, Bipolar):
        return np.where(which, 1 - codes, codes), fmt
    if isinstance(fmt, Minifloat):
        return np.where(which, codes ^ (1 << fmt.magnitude_bits), codes), replace(fmt, has_sign=True)
    if isinstance(fmt, Blocked):
        element, given = fmt.block.element, fmt.elements(codes)
        if isinstance(element, Minifloat):
            opposite = given ^ (1 << element.magnitude_bits)
        else:
            opposite = -given
            if (opposite[rows] > element.code_range[1]).any():
                raise HwgenError(f"{fmt.block.name} has not the opposite of its element {element.code_range[0]}")
        return np.where(which, fmt.join(fmt.scales(codes), opposite), codes), fmt
    made = np.where(which, -codes, codes)
    low, high = fmt.code_range
    fits = low <= made.min() and made.max() <= high
    return made, fmt if fits else Int.holding(int(made.min()), int(made.max()))
