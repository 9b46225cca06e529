"""Quantizers that carry a format: those of `hwgen.quant`, and Brevitas' group-wise minifloats, which are MX.

A quantizer of hwgen's own has `format`, `rounding` and `scale`; it is read without importing it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hwgen.errors import HwgenError
from hwgen.formats import Block, Blocked, DynamicFixed, Fixed, Format, Int, Minifloat
from hwgen.formats.block import E8M0
from hwgen.formats.block_steps import check_steps
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


def _check_mode(block: Block, quantizer: Any, refuse: Refuse) -> None:
    mode, known = getattr(quantizer, "scale_mode", None), "floor" if block.power_scale else "nearest"
    if mode not in (None, known):
        raise refuse(f"the scale mode {mode!r} is not supported; known: {known}")


def _tensor_scale(block: Block, quantizer: Any, refuse: Refuse) -> float:
    """The FP32 scale of the whole tensor, a constant: of activations, as training or calibration left it."""
    if not block.has_tensor_scale:
        return 1.0
    try:
        return float(quantizer.tensor_scale)
    except HwgenError as error:
        raise refuse(str(error)) from error


def append_blocks(
    chain: Chain, name: str, block: Block, quantizer: Any, rounding: str, sample: Array | None, refuse: Refuse
) -> None:
    """A quantizer to blocks; `sample`: what the example had it quantize, (numbers, channels), which gives the window of
    its scales where there is no scale of the tensor that does."""
    _check_mode(block, quantizer, refuse)
    if not block.power_scale:
        try:
            check_steps(block, rounding)
        except HwgenError as error:
            raise refuse(str(error)) from error
    if len(chain.framed) > 1:
        # Blocks lie along the channels.
        channels_last(chain, refuse)
    scale = block.bare.scale if block.has_tensor_scale else _window(block, sample, rounding, refuse)
    op = Quantize(Blocked(replace(block.bare, scale=scale)), (_tensor_scale(block, quantizer, refuse),), 0, rounding)
    chain.append(name, op, name)


def _window(block: Block, sample: Array | None, rounding: str, refuse: Refuse) -> Minifloat:
    """The format of scales that has those of the example, and room."""
    if sample is None:
        raise refuse("the example did not reach it, so that nothing tells the range of its scales")
    whole = Blocked(block.bare)
    codes = whole.encode(sample.astype(np.float64), rounding)
    scales = block.bare.scale.decode(whole.scales(codes)[whole.block.element.decode(whole.elements(codes)) != 0])
    if not scales.size:
        raise refuse("the example has nothing but zeros here, so that nothing tells the range of its scales")
    _, exponents = np.frexp([scales.min(), scales.max()])
    high = int(exponents[1]) - 1 + HEADROOM
    low = min(int(exponents[0]) - 1, high - LEAST_WINDOW + 1)
    # All codes of the scale are used: further down there is room for smaller blocks.
    if block.power_scale:
        bits = max(1, (high - low).bit_length())
        return Minifloat(bits, 0, (1 << bits) - 1 - high, has_sign=False, has_subnormals=False)
    # Exponent field 0 is that of subnormal scales.
    bits = (high - low + 1).bit_length()
    return Minifloat(bits, block.scale.mantissa_bits, (1 << bits) - 1 - high, has_sign=False)


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
        _check_mode(fmt, quantizer, refuse)
        return block_weights(fmt, value, refuse, _tensor_scale(fmt, quantizer, refuse))
    _check_static(quantizer, refuse)
    scale = np.broadcast_to(_array(quantizer.scale).astype(np.float64), value.shape)
    plain, unit = _plain(fmt)
    codes = plain.encode(value / (scale * unit))
    return _checked(Weights(codes, scale * unit, plain, 0), value, refuse)


def block_weights(block: Block, value: Array, refuse: Refuse, scale: float = 1.0) -> Weights:
    """Weights (out, in, *kernel) in blocks along the inputs, from what they are worth; scale: of the whole tensor."""
    whole = Blocked(block.bare)
    codes = np.moveaxis(_codes(whole, np.moveaxis(value, 1, -1), scale), -1, 1)
    return _checked(Weights(codes, np.full(value.shape, scale), whole, 0), value, refuse)


def _codes(whole: Blocked, value: Array, scale: float) -> Array:
    """Codes of what `whole` made of numbers (..., n).

    Among subnormal scales a block's own may be greater than what its greatest element now asks for: that is looked for.
    """
    codes, block = whole.encode(value / scale), whole.block
    starts = np.arange(0, value.shape[-1], block.size)
    scales, most = whole.scales(codes), 1 << block.scale.mantissa_bits
    for _ in range(0 if block.power_scale else most):
        wrong = np.logical_or.reduceat((whole.decode(codes) * scale).astype(np.float32) != value, starts, axis=-1)
        if not wrong.any():
            break
        scales = np.minimum(scales + np.repeat(wrong, block.size, axis=-1)[..., : value.shape[-1]], most)
        worth = np.maximum(block.scale.decode(scales), 2.0**block.scale.lsb)
        codes = np.where(
            scales > whole.scales(codes), whole.join(scales, block.element.encode(value / scale / worth)), codes
        )
    return codes


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
