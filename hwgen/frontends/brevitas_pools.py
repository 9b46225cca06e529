"""Brevitas' pooling layers that truncate what they sum up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hwgen.formats import QONNX_ROUNDING, Int
from hwgen.frontends import images
from hwgen.frontends.chain import Chain, Refuse, append_affine
from hwgen.ir import Array
from hwgen.ops import Quantize


def append_trunc_mean(
    chain: Chain, name: str, slide: images.Geometry, proxy: Any, seen: Mapping[int, Array], refuse: Refuse
) -> None:
    """A mean as Brevitas' TruncAvgPool2d has it: a sum of codes whose lowest bits are cut off (or rounded away), and
    the division, which the scale alone does.

    seen: the scales of what the truncating quantizer `proxy` was given and gave. Raises UnsupportedError for a zero
    point.
    """
    if id(proxy) not in seen:
        raise refuse("its input is not quantized, so that there is nothing to truncate")
    if float(proxy.zero_point()) != 0:
        raise refuse(f"a zero point of {float(proxy.zero_point()):g} is not supported; 0 is")
    mode = str(proxy.rounding_mode).upper()
    if mode not in QONNX_ROUNDING:
        raise refuse(f"unknown rounding mode {mode!r}: one of {', '.join(QONNX_ROUNDING)}")
    taps = math.prod(slide.kernel)
    came, went = (float(scale) for scale in seen[id(proxy)])
    # The scale that came is the input's divided by the number of pixels; the step that is cut to, a power of two.
    shift = round(math.log2(went / came))
    unit = quantized_scale(chain, refuse)
    fmt = Int(int(proxy.bit_width()), bool(proxy._cached_act.signed), bool(proxy.is_narrow_range))
    images.append_sum(chain, f"{name}.sum", f"{name}.sum", slide, refuse)
    chain.append(f"{name}.trunc", Quantize(fmt, (unit * 2.0**shift,), 0, QONNX_ROUNDING[mode]), f"{name}.trunc")
    append_affine(chain, name, name, div=float(taps))


def quantized_scale(chain: Chain, refuse: Refuse) -> float:
    """The scale of the codes at hand."""
    node = next((node for node in chain.nodes if node.output == chain.tensor), None)
    while node is not None and not isinstance(node.op, Quantize):
        node = next((one for one in chain.nodes if one.output == node.inputs[0]), None)
    if node is None or not isinstance(node.op, Quantize) or len(node.op.scale) > 1:
        raise refuse("no quantizer with one scale stands ahead of it")
    return node.op.scale[0]
