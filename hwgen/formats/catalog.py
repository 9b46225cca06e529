"""The named formats. `get` also understands every name that a family's pattern covers."""

from __future__ import annotations

import difflib
import re

from hwgen.errors import HwgenError
from hwgen.formats.base import Format
from hwgen.formats.block import PUBLISHED_BLOCKS, Block
from hwgen.formats.blocked import Blocked
from hwgen.formats.dynamic import DynamicFixed
from hwgen.formats.fixed import Fixed
from hwgen.formats.integer import Bipolar, Int
from hwgen.formats.minifloat import PUBLISHED, Minifloat, Special, ieee_bias

AnyFormat = Format | Block | DynamicFixed

_INTEGER = re.compile(r"(u?)int([1-9][0-9]?)(n?)")
_FIXED = re.compile(r"(u?)fixed<([0-9]{1,3}),(-?[0-9]{1,3})>(n?)")
_DYNAMIC = re.compile(r"dfp([0-9]{1,2})")
# [u]e<E>m<M>: all codes are numbers and the bias is that of IEEE 754, unless the name says otherwise.
_MINIFLOAT = re.compile(r"(u?)e([0-9]{1,2})m([0-9]{1,2})(?:b(-?[0-9]{1,3}))?(?:_(nan|ieee))?(_nosub)?")
# block<element,scale,size> and block<element,scale,size,fp32>; an element's own name may hold a comma.
_BLOCK = re.compile(r"block<(.+),([a-z0-9_-]+),([0-9]{1,9})(,fp32)?>")
_BLOCKED = re.compile(r"blocked<(.+)>")

CATALOG: dict[str, Format] = {
    fmt.name: fmt
    for fmt in (
        Bipolar(),
        *(Int(bits, is_signed=False) for bits in range(1, 17)),
        *(Int(bits) for bits in range(2, 17)),
        *(Int(bits, narrow=True) for bits in range(2, 17)),
        Fixed(8, 3),
        Fixed(16, 6),
        Fixed(8, 3, is_signed=False),
        *(Minifloat(*key) for key in PUBLISHED),
    )
}
"""The scalar formats by name. Fixed point and other minifloats have names by pattern: `fixed<w,i>`, `e<E>m<M>`."""


def get(name: str) -> AnyFormat:
    """The format called `name`; raises HwgenError with the nearest known names otherwise."""
    if name in CATALOG:
        return CATALOG[name]
    if match := _INTEGER.fullmatch(name):
        return Int(int(match[2]), is_signed=not match[1], narrow=bool(match[3]))
    if match := _FIXED.fullmatch(name):
        return Fixed(int(match[2]), int(match[3]), is_signed=not match[1], narrow=bool(match[4]))
    if match := _DYNAMIC.fullmatch(name):
        return DynamicFixed(int(match[1]))
    if match := _MINIFLOAT.fullmatch(name):
        return _minifloat(*match.groups())
    if match := _BLOCK.fullmatch(name):
        return _block(*match.groups())
    if match := _BLOCKED.fullmatch(name):
        block = get(match[1])
        if not isinstance(block, Block):
            raise HwgenError(f"{name} needs a block format, and {match[1]} is none")
        return Blocked(block)
    if name in BLOCKS:
        return BLOCKS[name]
    near = difflib.get_close_matches(name, [*CATALOG, *BLOCKS], n=3)
    hint = f"; near: {', '.join(near)}" if near else ""
    raise HwgenError(f"unknown format {name!r}{hint}. `hwgen formats` lists them")


def scalar(name: str) -> Format:
    """The format called `name`, of codes that stand alone; raises HwgenError for one whose codes share a scale."""
    fmt = get(name)
    if not isinstance(fmt, Format):
        raise HwgenError(f"{name} is no scalar format: its codes share a scale")
    return fmt


def _minifloat(
    unsigned: str, exponent: str, mantissa: str, bias: str | None, special: str | None, nosub: str | None
) -> Minifloat:
    bits = int(exponent)
    named: Special = "nan" if special == "nan" else "ieee" if special else "none"
    chosen = ieee_bias(bits) if bias is None else int(bias)
    return Minifloat(bits, int(mantissa), chosen, named, not unsigned, not nosub)


def _block(element: str, scale: str, size: str, tensor_scale: str | None) -> Block:
    shared = scalar(scale)
    if not isinstance(shared, Minifloat):
        raise HwgenError(f"a block's scale is a minifloat such as e8m0, not {scale}")
    return Block(scalar(element), shared, int(size), bool(tensor_scale))


BLOCKS: dict[str, Block | DynamicFixed] = {
    **{name: _block(*match.groups()) for full, name in PUBLISHED_BLOCKS.items() if (match := _BLOCK.fullmatch(full))},
    "dfp16": DynamicFixed(16),
}
"""The formats that share a scale or an exponent, by name. Others: `block<element,scale,size>`, `dfp<bits>`.

`blocked<name>` is a scalar format again: an element with its scale, as tensors of blocks carry them."""
