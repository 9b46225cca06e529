"""Quantizers that carry a format: those of `hwgen.quant`, and Brevitas' group-wise minifloats, which are MX.

A quantizer of hwgen's own has `format`, `rounding` and `scale`; it is read without importing it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hwgen.formats import Block, Blocked, DynamicFixed, Fixed, Format, Int, Minifloat
from hwgen.formats.block import E8M0
from hwgen.frontends.brevitas_floats import minifloat_of
from hwgen.frontends.chain import Chain, Refuse, Weights
from hwgen.frontends.images import channels_last
from hwgen.ir import Array
from hwgen.ops import Quantize

HEADROOM, LEAST_WINDOW = 1, 8
"""Octaves of scale above the greatest that the example met, and the fewest in all."""


def carried_format(quantizer: Any) -> Format | Block | DynamicFixed | None:
    """The format that a quantizer carries, or None."""
    found = getattr(quantizer, "format", None)
    return found if isinstance(found, Format | Block | DynamicFixed) else None


def groupwise_block(proxy: Any, quantizer: Any, refuse: Refuse) -> Block:
    """The MX format of a group-wise Brevitas proxy; refuses scales other than powers of two found by OCP's rule."""
    if not hasattr(quantizer, "exponent_bit_width_impl"):
        raise refuse(
            "Brevitas' group-wise integers are not MXINT8 as OCP defines it (their least step is half as large): "
            "use hwgen.quant.MXINT8Weight and MXINT8Act"
        )
    _check_floors(quantizer.scaling_impl, refuse)
    element = minifloat_of(
        (quantizer.exponent_bit_width_impl(), quantizer.mantissa_bit_width_impl(), quantizer.exponent_bias_impl()),
        (quantizer.float_clamp_impl.inf_values, quantizer.float_clamp_impl.nan_values),
        refuse,
    )
    return Block(element, E8M0, int(proxy.group_size))


def _check_floors(scaling: Any, refuse: Refuse) -> None:
    """Refuse a `scaling_impl` of Brevitas that does not give each block the power of two at or below its greatest."""
    from brevitas.core.function_wrapper import FloorSte
    from brevitas.core.restrict_val import PowerOfTwoRestrictValue
    from brevitas.core.scaling import StatsFromParameterScaling
    from brevitas.core.scaling.runtime import RuntimeDynamicGroupStatsScaling

    if isinstance(scaling, StatsFromParameterScaling):
        rule = scaling.stats_scaling_impl.restrict_clamp_scaling.restrict_value_impl
    elif isinstance(scaling, RuntimeDynamicGroupStatsScaling):
        rule = scaling.restrict_clamp_scaling.restrict_value_impl
    else:
        known = f"{StatsFromParameterScaling.__name__}, {RuntimeDynamicGroupStatsScaling.__name__}"
        raise refuse(f"its blocks' scales are found by {type(scaling).__name__}, which is not known; known: {known}")
    if not isinstance(rule, PowerOfTwoRestrictValue) or not isinstance(rule.float_to_int_impl, FloorSte):
        raise refuse("only power-of-two scales found by OCP MX's rule (floor) are supported for each block")


def _check_block(block: Block, quantizer: Any, refuse: Refuse) -> None:
    if not block.power_scale:
        raise refuse(f"blocks of {block.name} have scales with a mantissa; only power-of-two scales are supported")
    mode = getattr(quantizer, "scale_mode", None)
    if mode not in (None, "floor"):
        raise refuse(f"the scale mode {mode!r} is not supported; known: floor")


def append_blocks(
    chain: Chain, name: str, block: Block, quantizer: Any, rounding: str, sample: Array | None, refuse: Refuse
) -> None:
    """A quantizer to blocks; `sample`: what the example had it quantize, (numbers, channels), which gives the window of
    its scales."""
    _check_block(block, quantizer, refuse)
    if sample is None:
        raise refuse("the example did not reach it, so that nothing tells the range of its scales")
    if len(chain.framed) > 1:
        # Blocks lie along the channels.
        channels_last(chain, refuse)
    whole = Blocked(block)
    codes = whole.encode(sample.astype(np.float64), rounding)
    met = np.unique(whole.scales(codes)[whole.block.element.decode(whole.elements(codes)) != 0]) - block.scale.bias
    if not met.size:
        raise refuse("the example has nothing but zeros here, so that nothing tells the range of its scales")
    high = int(met[-1]) + HEADROOM
    low = min(int(met[0]), high - LEAST_WINDOW + 1)
    bits = max(1, (high - low).bit_length())
    # All codes of the scale are used: further down there is room for smaller blocks.
    scale = Minifloat(bits, 0, (1 << bits) - 1 - high, has_sign=False, has_subnormals=False)
    chain.append(name, Quantize(Blocked(replace(block, scale=scale)), (1.0,), 0, rounding), name)


def append_carried(chain: Chain, name: str, quantizer: Any, sample: Array | None, refuse: Refuse) -> None:
    """The quantizer of activations of a proxy whose `tensor_quant` carries its format."""
    fmt = carried_format(quantizer)
    if isinstance(fmt, Block):
        append_blocks(chain, name, fmt, quantizer, quantizer.rounding, sample, refuse)
        return
    _check_static(quantizer, refuse)
    scale = chain.per_channel(_array(quantizer.scale), refuse)
    plain, unit = _plain(fmt)
    chain.append(name, Quantize(plain, tuple(float(s) * unit for s in scale), 0, quantizer.rounding), name)


def carried_weights(quantizer: Any, value: Array, refuse: Refuse) -> Weights:
    """Weights (out, in) by the format that their quantizer carries."""
    fmt = carried_format(quantizer)
    if isinstance(fmt, Block):
        _check_block(fmt, quantizer, refuse)
        return block_weights(fmt, value, refuse)
    _check_static(quantizer, refuse)
    scale = np.broadcast_to(_array(quantizer.scale).astype(np.float64), value.shape)
    plain, unit = _plain(fmt)
    codes = plain.encode(value / (scale * unit))
    return _checked(Weights(codes, scale * unit, plain, 0), value, refuse)


def block_weights(block: Block, value: Array, refuse: Refuse) -> Weights:
    """Weights (out, in, *kernel) in blocks along the inputs, from what they are worth."""
    whole = Blocked(block)
    codes = np.moveaxis(whole.encode(np.moveaxis(value, 1, -1)), -1, 1)
    return _checked(Weights(codes, np.ones(value.shape), whole, 0), value, refuse)


def _checked(weights: Weights, value: Array, refuse: Refuse) -> Weights:
    # Quantizers multiply by their scale in float32.
    again = (weights.format.decode(weights.codes) * weights.scale).astype(np.float32)
    if not np.array_equal(again, value):
        place = tuple(int(n) for n in np.argwhere(again != value)[0])
        raise refuse(f"its weight {place} is {value[place]}, which {weights.format.name} does not hold")
    return weights


def _check_static(quantizer: Any, refuse: Refuse) -> None:
    if getattr(quantizer, "exponent_mode", "static") != "static":
        raise refuse("its exponent depends on the input (dynamic); only static exponents are supported")
    if getattr(quantizer, "accumulator", "exact") != "exact":
        raise refuse(f"its accumulator {quantizer.accumulator!r} is not supported; known: exact")


def _plain(fmt: Any) -> tuple[Format, float]:
    """Fixed point as integers under a power of two, other formats as they are."""
    if isinstance(fmt, DynamicFixed):
        fmt = fmt.element
    if isinstance(fmt, Fixed):
        return Int(fmt.bits, fmt.signed, fmt.narrow), 2.0**fmt.lsb
    return fmt, 1.0


def _array(tensor: Any) -> Array:
    return np.asarray(tensor.detach().cpu().numpy())
