"""Quantizers by the names of formats: what `quantize` and recipes say.

Next to the names of `hwgen.formats.get` there are `qfx<bits>` (a trained binary point), and for weights `khot<k>` and
`khot<k>b<bits>`.
"""

from __future__ import annotations

import re
from typing import Any

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Block, DynamicFixed, Fixed, Int, get
from hwgen.quant import integer, minifloat
from hwgen.quant.block import block_activation, block_weight
from hwgen.quant.dynamic import dynamic_activation, dynamic_weight
from hwgen.quant.fixed import fixed_activation, fixed_weight, khot_weight
from hwgen.quant.proxies import Injector

_QFX = re.compile(r"qfx([1-9][0-9]?)")
_KHOT = re.compile(r"khot([1-9])(?:b([1-9][0-9]?))?")
KHOT_BITS = 8


def weight_quantizer(name: str, **options: Any) -> Injector:
    """The quantizer of weights of a name; `options` go to it. Raises HwgenError for unknown names."""
    if match := _QFX.fullmatch(name):
        return fixed_weight(int(match[1]), **options)
    if match := _KHOT.fullmatch(name):
        return khot_weight(int(match[1]), int(match[2] or KHOT_BITS), **options)
    fmt = get(name)
    match fmt:
        case Block():
            return block_weight(fmt, **options)
        case DynamicFixed():
            return dynamic_weight(fmt.bits, **options)
        case Bipolar():
            return integer.binary_weight(**options)
        case Int():
            if not fmt.is_signed:
                raise HwgenError(f"weights have a sign, and {name} has none")
            return integer.integer_weight(fmt.bits, **options)
        case Fixed():
            return minifloat.weight(fmt, **{"scaling": "one", **options})
    return minifloat.weight(fmt, **options)


def activation_quantizer(name: str, unsigned: bool = False, **options: Any) -> Injector:
    """The quantizer of activations of a name; unsigned: none is negative, so that integers and trained fixed point
    need no sign. Raises HwgenError for unknown names, and for those of weights alone."""
    if match := _QFX.fullmatch(name):
        return fixed_activation(int(match[1]), unsigned=unsigned, **options)
    if _KHOT.fullmatch(name):
        raise HwgenError(f"{name} is for weights: a product with it is a few shifts of the activation")
    fmt = get(name)
    match fmt:
        case Block():
            return block_activation(fmt, **options)
        case DynamicFixed():
            return dynamic_activation(fmt.bits, **options)
        case Bipolar():
            return integer.binary_activation(**options)
        case Int():
            return integer.integer_activation(fmt.bits, unsigned or not fmt.is_signed, **options)
        case Fixed():
            return minifloat.activation(fmt, **{"scaling": "one", **options})
    return minifloat.activation(fmt, **options)
