"""Brevitas' minifloats as formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwgen.formats import Minifloat
from hwgen.formats.minifloat import Special
from hwgen.frontends.chain import Refuse


def minifloat_of(widths: Sequence[Any], specials: Sequence[Any], refuse: Refuse) -> Minifloat:
    """The format of exponent width, mantissa width and bias (`widths`), and of the codes of infinity and NaN
    (`specials`: mantissas as text, or None). Brevitas' own e4m3 has neither and is another format than OCP's."""
    exponent_bits, mantissa_bits, bias = (float(width) for width in widths)
    if not all(width.is_integer() for width in (exponent_bits, mantissa_bits, bias)):
        raise refuse(f"its widths and bias must be integers, not {exponent_bits}, {mantissa_bits}, {bias}")
    infinities, nans = ([str(text) for text in values or ()] for values in specials)
    special: Special = "ieee" if infinities else "nan" if nans else "none"
    ones = "1" * int(mantissa_bits)
    if special == "nan" and nans != [ones]:
        raise refuse(f"its NaN codes {', '.join(nans)} are not the one code of all ones")
    return Minifloat(int(exponent_bits), int(mantissa_bits), int(bias), special)
