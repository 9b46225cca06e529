"""What Brevitas and torch layers, functions and methods become: one function each, and the tables of them.

Everything is read through the modules' attributes and NumPy; torch itself is not imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hwgen.formats import QONNX_ROUNDING, Bipolar, Format, Int
from hwgen.frontends import activations, images
from hwgen.frontends.arithmetic import ARITHMETIC, FunctionImporter
from hwgen.frontends.brevitas_floats import minifloat_of
from hwgen.frontends.brevitas_formats import (
    append_blocks,
    append_carried,
    block_weights,
    carried_format,
    carried_weights,
    groupwise_block,
)
from hwgen.frontends.brevitas_heads import (
    argmax_function,
    softmax_function,
    softmax_layer,
    take_of_topk,
    topk_function,
)
from hwgen.frontends.brevitas_norms import array, batch_norm, fixed_batch_norm
from hwgen.frontends.brevitas_pools import append_trunc_mean
from hwgen.frontends.chain import (
    MAX_BITS,
    Chain,
    Refuse,
    Weights,
    append_affine,
    append_clip,
    append_dense,
)
from hwgen.frontends.shapes import SHAPES, pair
from hwgen.frontends.slices import chunk_function, split_function, take_part
from hwgen.frontends.upsamples import upsample_function, upsample_layer
from hwgen.ir import Array
from hwgen.ops import Quantize, Relu


def _one_integer(what: str, tensor: Any, refuse: Refuse) -> int:
    values = np.unique(array(tensor).astype(np.float64))
    if len(values) != 1 or values[0] != np.rint(values[0]):
        raise refuse(f"one whole {what} for all channels is supported, not {values[0]}..{values[-1]}")
    return int(values[0])


BINARY = ("BinaryQuant", "ClampedBinaryQuant")
"""Quantizers that take the sign; torch modules, by name."""


def _kind(module: Any) -> str:
    """The class of a module, also of one that TorchScript has compiled."""
    return str(getattr(module, "original_name", type(module).__name__))


def _is_one_of(module: Any, names: Sequence[str]) -> bool:
    """Whether a module is of one of these classes or of one derived from them; also if TorchScript has compiled it."""
    return _kind(module) in names or any(cls.__name__ in names for cls in type(module).__mro__)


def _format(proxy: Any, quant: Any, bits: int, refuse: Refuse) -> Bipolar | Int:
    if _is_one_of(quant, BINARY):
        return Bipolar()
    signed, narrow = bool(proxy.is_signed), bool(proxy.is_narrow_range)
    if not 1 <= bits <= MAX_BITS:
        raise refuse(f"{bits} bits; 1 to {MAX_BITS} are supported")
    if bits == 1 and (signed or narrow):
        raise refuse("one bit is unsigned and not narrow, or binary")
    return Int(bits, signed, narrow)


def _rounding(proxy: Any, refuse: Refuse) -> str:
    mode = str(proxy.rounding_mode).upper()
    if mode not in QONNX_ROUNDING:
        raise refuse(f"unknown rounding mode {mode!r}: one of {', '.join(QONNX_ROUNDING)}")
    return QONNX_ROUNDING[mode]


def _append_activation(chain: Chain, name: str, proxy: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    """The activation function and the quantizer of an activation proxy."""
    fused = getattr(proxy, "fused_activation_quant_proxy", None)
    if fused is None:
        return
    impl = fused.activation_impl
    kind = _kind(impl)
    if kind == "ReLU":
        chain.append(f"{name}.relu", Relu(), f"{name}.relu")
    elif kind == "Hardtanh":
        append_clip(chain, f"{name}.clip", f"{name}.clip", float(impl.min_val), float(impl.max_val), refuse)
    elif kind in activations.LAYERS:
        activations.LAYERS[kind](chain, f"{name}.function", impl, refuse)
    elif kind != "Identity":
        raise refuse(f"its activation function {kind} is not supported; known: {', '.join(activations.LAYERS)}, none")
    if not proxy.is_quant_enabled:
        return
    classes = {cls.__name__ for cls in type(proxy).__mro__}
    quant = fused.tensor_quant
    if "Dynamic" in type(proxy).__name__:
        raise refuse("its scale depends on the input (dynamic quantization)")
    sample = seen.get(id(proxy))
    if carried_format(fused.tensor_quant) is not None:
        append_carried(chain, name, fused.tensor_quant, sample, refuse)
        return
    if proxy.is_groupwise:
        block = groupwise_block(proxy, fused.tensor_quant, refuse)
        append_blocks(chain, name, block, None, _rounding(proxy, refuse), sample, refuse)
        return
    if not classes & {"ActQuantProxyFromInjector", "ActFloatQuantProxyFromInjector"}:
        raise refuse("only scales per tensor and per channel, and MX blocks, are supported")
    scale = chain.per_channel(array(proxy.scale()), refuse)
    if "ActFloatQuantProxyFromInjector" in classes:
        minifloat = minifloat_of(
            (proxy.exponent_bit_width(), proxy.mantissa_bit_width(), proxy.exponent_bias()),
            (proxy.inf_values(), proxy.nan_values()),
            refuse,
        )
        rounding = _rounding(proxy, refuse)
        chain.append(name, Quantize(minifloat, tuple(float(s) for s in scale), 0, rounding), name)
        return
    if not _is_one_of(quant, ("RescalingIntQuant", *BINARY)):
        raise refuse(f"its quantizer {_kind(quant)} is not one that rounds evenly spaced numbers, or their sign")
    bits = _one_integer("bit width", proxy.bit_width(), refuse)
    fmt = _format(proxy, fused.tensor_quant, bits, refuse)
    zero_point = _one_integer("zero point", proxy.zero_point(), refuse)
    rounding = "half_even" if isinstance(fmt, Bipolar) else _rounding(proxy, refuse)
    chain.append(name, Quantize(fmt, tuple(float(s) for s in scale), zero_point, rounding), name)


def _quant_activation(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    _append_activation(chain, f"{name}.input", layer.input_quant, seen, refuse)
    _append_activation(chain, name, layer.act_quant, seen, refuse)


def _quant_linear(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    _append_activation(chain, f"{name}.input", layer.input_quant, seen, refuse)
    if not layer.weight_quant.is_quant_enabled:
        raise refuse("its weights are not quantized")
    weights = _weights(layer.weight_quant, layer.quant_weight(), 2, refuse)
    append_dense(chain, name, f"{name}.product", weights, refuse, getattr(layer, "multiplier", "exact"))
    _append_bias(chain, name, layer, seen, refuse)
    _append_activation(chain, f"{name}.output", layer.output_quant, seen, refuse)


def _append_bias(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    if layer.bias is None:
        return
    bias = seen[id(layer.bias_quant)] if layer.bias_quant.is_quant_enabled else array(layer.bias)
    behind = (1,) * (len(chain.framed) - 1) if chain.layout != "plain" else ()
    add = chain.per_channel(bias.reshape(*bias.shape, *behind), refuse)
    append_affine(chain, f"{name}.bias", f"{name}.bias", add=add)


def _quant_conv(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    _append_activation(chain, f"{name}.input", layer.input_quant, seen, refuse)
    if not layer.weight_quant.is_quant_enabled:
        raise refuse("its weights are not quantized")
    rank = len(layer.kernel_size)
    weights = _weights(layer.weight_quant, layer.quant_weight(), rank + 2, refuse)
    if rank == 1:
        weights = replace(weights, codes=weights.codes[:, :, None], scale=weights.scale[:, :, None])
    slide = images.geometry(layer.kernel_size, layer.stride, _padding(layer, refuse), layer.dilation)
    multiplier = getattr(layer, "multiplier", "exact")
    images.append_conv(chain, name, f"{name}.product", weights, slide, int(layer.groups), refuse, multiplier)
    _append_bias(chain, name, layer, seen, refuse)
    _append_activation(chain, f"{name}.output", layer.output_quant, seen, refuse)


def _padding(layer: Any, refuse: Refuse) -> list[int]:
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        raise refuse(
            f"padding {layer.padding!r} of mode {layer.padding_mode!r} is not supported; give numbers, of zeros"
        )
    return [*layer.padding, *layer.padding]


def _pool(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    if layer.ceil_mode:
        raise refuse("ceil_mode is not supported")
    kernel, padding = pair(layer.kernel_size), pair(layer.padding)
    stride = kernel if layer.stride is None else pair(layer.stride)
    slide = images.geometry(kernel, stride, [*padding, *padding], pair(getattr(layer, "dilation", 1)))
    kind = "max" if "Max" in type(layer).__name__ else "mean"
    images.append_pool(chain, name, name, kind, slide, refuse)


def _trunc_mean(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    if layer.ceil_mode or layer.divisor_override is not None or any(pair(layer.padding)):
        raise refuse("ceil_mode, divisor_override and padding are not supported")
    if not layer.is_trunc_quant_enabled:
        raise refuse("its quantizer is switched off; use AvgPool2d")
    kernel = pair(layer.kernel_size)
    stride = kernel if layer.stride is None else pair(layer.stride)
    slide = images.geometry(kernel, stride, [0] * 4, (1, 1))
    append_trunc_mean(chain, name, slide, layer.trunc_quant, seen, refuse)


def _adaptive_mean(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    if pair(layer.output_size) != (1, 1):
        raise refuse(f"an output of {layer.output_size} is not supported; 1 is")
    images.append_global_mean(chain, name, name, refuse)


def _weights(proxy: Any, weight: Any, rank: int, refuse: Refuse) -> Weights:
    """Weights of shape (out, in, *kernel) from what a proxy makes of them."""
    value = array(getattr(weight, "value", weight)).astype(np.float64)
    if not np.isfinite(value).all():
        raise refuse("its weights hold NaN or infinity")
    if value.ndim != rank:
        raise refuse(f"its weights have shape {value.shape}; {rank} axes are supported")
    if carried_format(proxy.tensor_quant) is not None:
        return carried_weights(proxy.tensor_quant, value, refuse)
    if getattr(proxy, "is_groupwise", False):
        return block_weights(groupwise_block(proxy, proxy.tensor_quant, refuse), value, refuse)
    scale = array(weight.scale).astype(np.float64)
    if not np.isfinite(scale).all():
        raise refuse("its weights' scale is NaN or infinite")
    fmt: Format
    zero_point = 0
    if hasattr(weight, "exponent_bias"):
        widths = (weight.exponent_bit_width, weight.mantissa_bit_width, weight.exponent_bias)
        fmt = minifloat_of(widths, (weight.inf_values, weight.nan_values), refuse)
        codes: Array = fmt.encode(value / scale)
    else:
        bits = _one_integer("bit width", weight.bit_width, refuse)
        fmt = _format(proxy, proxy.tensor_quant, bits, refuse)
        zero_point = 0 if isinstance(fmt, Bipolar) else _one_integer("zero point", weight.zero_point, refuse)
        codes = (value > 0) if isinstance(fmt, Bipolar) else np.rint(value / scale) + zero_point
    return Weights(codes.astype(np.int64), np.broadcast_to(scale, value.shape), fmt, zero_point)


def _linear(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    if not hasattr(layer, "weight_quant"):
        raise refuse("its weights are not quantized: use brevitas.nn.QuantLinear")
    # hwgen.quant's layer of the same name.
    _quant_linear(chain, name, layer, seen, refuse)


def _no_change(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    """Nothing at inference."""


def _activation(kind: str) -> LayerImporter:
    return lambda chain, name, layer, seen, refuse: activations.LAYERS[kind](chain, name, layer, refuse)


def _affine(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    """x * mul + add, as `hwgen.quant.affine` has it; computed in float32 by torch."""
    append_affine(chain, name, name, mul=np.float32(layer.mul), add=np.float32(layer.add))


def _flatten(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    _append_flatten(chain, name, layer.start_dim, layer.end_dim, refuse)


def _append_flatten(chain: Chain, name: str, start: int, end: int, refuse: Refuse) -> None:
    rank = len(chain.framed) + 1
    if start % rank != 1 or end % rank != rank - 1:
        raise refuse(f"it flattens axes {start} to {end}; only all axes behind the batch are supported")
    images.append_reshape(chain, name, name, (math.prod(chain.shape),))


LayerImporter = Callable[[Chain, str, Any, Mapping[int, Array], Refuse], None]

MODULES: dict[str, LayerImporter] = {
    "AdaptiveAvgPool2d": _adaptive_mean,
    "Affine": _affine,
    "AvgPool2d": _pool,
    "BatchNorm1d": batch_norm,
    "BatchNorm2d": batch_norm,
    "Dropout": _no_change,
    "FixedBatchNorm": fixed_batch_norm,
    "Flatten": _flatten,
    "Identity": _no_change,
    "Linear": _linear,
    "MaxPool2d": _pool,
    "QuantConv1d": _quant_conv,
    "QuantConv2d": _quant_conv,
    "QuantHardSwish": _quant_activation,
    "QuantHardTanh": _quant_activation,
    "QuantIdentity": _quant_activation,
    "QuantLinear": _quant_linear,
    "QuantReLU": _quant_activation,
    "QuantSigmoid": _quant_activation,
    "QuantTanh": _quant_activation,
    "Softmax": softmax_layer,
    "QuantUpsample": upsample_layer,
    "QuantUpsamplingNearest2d": upsample_layer,
    "Upsample": upsample_layer,
    **{kind: _activation(kind) for kind in activations.LAYERS},
    "TruncAvgPool2d": _trunc_mean,
}
"""Layers, by the name of the nearest class that is listed."""


def _view(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    wanted = args[1] if len(args) == 2 and isinstance(args[1], list | tuple) else args[1:]
    if kwargs or not all(isinstance(n, int) for n in wanted):
        raise refuse("its shape is not constant: dynamic shapes are not supported")
    images.append_reshape(chain, name, name, chain.reshaped(wanted, refuse))


def _flatten_function(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    start = args[1] if len(args) > 1 else kwargs.get("start_dim", 0)
    end = args[2] if len(args) > 2 else kwargs.get("end_dim", -1)
    _append_flatten(chain, name, start, end, refuse)


def _activation_function(function: str) -> FunctionImporter:
    return lambda chain, name, args, kwargs, refuse: activations.append_function(chain, name, function, kwargs, refuse)


def _ignored(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    """Nothing at inference."""


def _attribute(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    if args[1] in ("indices", "values"):
        take_of_topk(chain, name, args, kwargs, refuse)
    elif args[1] not in ("value", "tensor"):
        raise refuse(f"the attribute {args[1]!r} is not supported; known: value")


def _item(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    if not take_part(chain, name, args, kwargs, refuse):
        take_of_topk(chain, name, args, kwargs, refuse)


FUNCTIONS: dict[str, FunctionImporter] = {
    **ARITHMETIC,
    **SHAPES,
    "argmax": argmax_function,
    "chunk": chunk_function,
    "contiguous": _ignored,
    "detach": _ignored,
    "dropout": _ignored,
    "flatten": _flatten_function,
    "float": _ignored,
    "getattr": _attribute,
    "getitem": _item,
    "interpolate": upsample_function,
    "reshape": _view,
    "softmax": softmax_function,
    "split": split_function,
    "topk": topk_function,
    "view": _view,
    **{name: _activation_function(name) for name in activations.FUNCTIONS},
}
"""Functions and tensor methods, by name."""
