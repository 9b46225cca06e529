"""The named formats. `get` also understands every name that a family's pattern covers."""

from __future__ import annotations

import difflib
import re

from hwgen.errors import HwgenError
from hwgen.formats.base import Format
from hwgen.formats.integer import Bipolar, Int

_INTEGER = re.compile(r"(u?)int([1-9][0-9]?)(n?)")

CATALOG: dict[str, Format] = {
    fmt.name: fmt
    for fmt in (
        Bipolar(),
        *(Int(bits, is_signed=False) for bits in range(1, 17)),
        *(Int(bits) for bits in range(2, 17)),
        *(Int(bits, narrow=True) for bits in range(2, 17)),
    )
}


def get(name: str) -> Format:
    """The format called `name`; raises HwgenError with the nearest known names otherwise."""
    if name in CATALOG:
        return CATALOG[name]
    if match := _INTEGER.fullmatch(name):
        return Int(int(match[2]), is_signed=not match[1], narrow=bool(match[3]))
    near = difflib.get_close_matches(name, CATALOG, n=3)
    hint = f"; near: {', '.join(near)}" if near else ""
    raise HwgenError(f"unknown format {name!r}{hint}. `hwgen formats` lists them")
