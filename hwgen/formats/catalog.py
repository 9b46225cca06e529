"""The named formats. `get` also understands every name that a family's pattern covers."""

from __future__ import annotations

import difflib
import re

from hwgen.errors import HwgenError
from hwgen.formats.base import Format
from hwgen.formats.integer import Bipolar, Int
from hwgen.formats.minifloat import PUBLISHED, Minifloat, Special, ieee_bias

# [u]e<E>m<M>: all codes are numbers and the bias is that of IEEE 754, unless the name says otherwise.
_MINIFLOAT = re.compile(r"(u?)e([1-8])m(1?[0-9]|2[0-3])(?:b(-?[0-9]{1,3}))?(?:_(nan|ieee))?(_nosub)?")
_INTEGER = re.compile(r"(u?)int([1-9][0-9]?)(n?)")

CATALOG: dict[str, Format] = {
    fmt.name: fmt
    for fmt in (
        Bipolar(),
        *(Int(bits, is_signed=False) for bits in range(1, 17)),
        *(Int(bits) for bits in range(2, 17)),
        *(Int(bits, narrow=True) for bits in range(2, 17)),
        *(Minifloat(*key) for key in PUBLISHED),
    )
}


def get(name: str) -> Format:
    """The format called `name`; raises HwgenError with the nearest known names otherwise."""
    if name in CATALOG:
        return CATALOG[name]
    if match := _INTEGER.fullmatch(name):
        return Int(int(match[2]), is_signed=not match[1], narrow=bool(match[3]))
    if match := _MINIFLOAT.fullmatch(name):
        return _minifloat(*match.groups())
    near = difflib.get_close_matches(name, CATALOG, n=3)
    hint = f"; near: {', '.join(near)}" if near else ""
    raise HwgenError(f"unknown format {name!r}{hint}. `hwgen formats` lists them")


def _minifloat(
    unsigned: str, exponent: str, mantissa: str, bias: str | None, special: str | None, nosub: str | None
) -> Minifloat:
    bits = int(exponent)
    named: Special = "nan" if special == "nan" else "ieee" if special else "none"
    chosen = ieee_bias(bits) if bias is None else int(bias)
    return Minifloat(bits, int(mantissa), chosen, named, not unsigned, not nosub)
