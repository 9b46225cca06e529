"""`quantize`: a float PyTorch network as Brevitas layers in given number formats."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.fx
from brevitas import nn as qnn
from torch import nn

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import get
from hwgen.formats.multiply import check_multiplier, lmul_format
from hwgen.quant import layers
from hwgen.quant.fixed_layers import FixedBatchNorm
from hwgen.quant.gradient import GradientQuant
from hwgen.quant.names import activation_quantizer, weight_quantizer
from hwgen.quant.proxies import Injector

Options = Mapping[str, Any]

# What hands numbers of a format on as such.
TRANSPARENT_MODULES = (nn.MaxPool1d, nn.MaxPool2d, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
TRANSPARENT_FUNCTIONS = (torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze)
TRANSPARENT_METHODS = ("flatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "contiguous")
ACTIVATIONS = (nn.ReLU, nn.Hardtanh, nn.Identity)
BINADES = 6
PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d)


def quantize(
    model: nn.Module,
    weight: str | None = "int8",
    activation: str | None = "int8",
    multiplier: str = "exact",
    *,
    first: str | None = None,
    gradient: str | GradientQuant | None = None,
    batch_norm_bits: int | None = None,
    weight_options: Options | None = None,
    activation_options: Options | None = None,
) -> nn.Module:
    """A copy of `model` whose Linear, Conv1d, Conv2d, ReLU, Hardtanh and Identity layers are Brevitas', quantized.

    weight, activation: names of formats (`hwgen.quant.names`), or None for float. Every Linear and Conv gets its
    input quantized: by the ReLU, Hardtanh or Identity ahead of it, through pooling, reshaping and dropout, or else
    (as at the network's own input) by an `input_quant` of the layer. first: the format of the network's own input,
    where it is another. multiplier: of `hwgen.formats.multiply.MULTIPLIERS`; all but "exact" take one minifloat
    format for both. gradient: the format of the gradients that come back to Linear and Conv layers, or a
    `GradientQuant`. weight_options, activation_options: keyword arguments of the quantizers.

    Biases stay as they are, and BatchNorm too, unless `batch_norm_bits` puts it in fixed point (QFX). Trained weights
    are kept; the scales of activations come from data: train the result, or calibrate it (`hwgen.quant.ptq`). Raises
    HwgenError for formats that do not go together, and UnsupportedError naming the layer that cannot be quantized, or
    if the network cannot be traced by torch.fx.
    """
    check_multiplier(multiplier)
    w_options, a_options = dict(weight_options or {}), dict(activation_options or {})
    if multiplier != "exact":
        w_options, a_options = _in_range(weight, activation, multiplier, w_options, a_options)
    found = copy.deepcopy(model)
    ahead, from_input = _sources(found)
    back = GradientQuant(gradient) if isinstance(gradient, str) else gradient
    for name, module in list(found.named_modules()):
        if type(module) in ACTIVATIONS and activation is not None:
            found = _put(found, name, _activation(module, activation, a_options))
    for name, module in list(found.named_modules()):
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and batch_norm_bits is not None:
            found = _put(found, name, FixedBatchNorm(module, batch_norm_bits))
    for name, module in list(found.named_modules()):
        if type(module) not in PRODUCTS or weight is None:
            continue
        source = ahead.get(name)
        feed = None
        if source is None and activation is not None:
            chosen = first if first is not None and name in from_input else activation
            feed = activation_quantizer(chosen, **(a_options if chosen == activation else {}))
        layer = _product(name, module, weight_quantizer(weight, **w_options), feed, multiplier, back)
        if source is not None and activation is not None:
            layer.takes_from(_proxy(found.get_submodule(source)))
        found = _put(found, name, layer)
    found.train(model.training)
    return found


def _in_range(
    weight: str | None, activation: str | None, multiplier: str, w: dict[str, Any], a: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scales for products that have the format of their operands: the greatest of them just fits, and weights get
    about six binades of normal numbers, where the format has as many."""
    if weight is None or weight != activation:
        raise HwgenError(f"{multiplier} takes one minifloat format, not {weight} and {activation}")
    fmt = get(weight)
    kind = lmul_format(fmt, fmt, multiplier)  # type: ignore[arg-type]
    greatest = float(kind.extremes[1])
    share = 2.0 ** max(0, min(math.floor(math.log2(greatest) / 2), BINADES - (kind.bias - 1)))
    return {"target": share, **w}, {"target": greatest / share, **a}


def _sources(model: nn.Module) -> tuple[dict[str, str], set[str]]:
    """The activation layer that feeds each Linear or Conv, and those that the network's own input feeds."""
    whole = nn.Sequential(model) if isinstance(model, (*PRODUCTS, *ACTIVATIONS)) else model
    try:
        graph = torch.fx.Tracer().trace(whole)
    except (torch.fx.proxy.TraceError, TypeError, RuntimeError, ValueError) as error:
        raise UnsupportedError(f"{type(model).__name__} cannot be traced by torch.fx: {error}") from error
    modules = dict(whole.named_modules())
    ahead: dict[str, str] = {}
    from_input: set[str] = set()
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[node.target], PRODUCTS):
            continue
        name = "" if whole is not model else node.target
        source = _walk_back(node.args[0], modules)
        if source.op == "placeholder":
            from_input.add(name)
        if source.op == "call_module" and type(modules[source.target]) in ACTIVATIONS:
            ahead[name] = source.target
    return ahead, from_input


def _walk_back(node: Any, modules: Mapping[str, nn.Module]) -> Any:
    while True:
        transparent = (
            (node.op == "call_module" and isinstance(modules[node.target], TRANSPARENT_MODULES))
            or (node.op == "call_function" and node.target in TRANSPARENT_FUNCTIONS)
            or (node.op == "call_method" and node.target in TRANSPARENT_METHODS)
        )
        if not transparent:
            return node
        node = node.args[0]


def _put(model: nn.Module, name: str, layer: nn.Module) -> nn.Module:
    """The model with a layer replaced: itself, or the layer if that is all there is."""
    if not name:
        return layer
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)
    return model


def _activation(module: nn.Module, fmt: str, options: Options) -> nn.Module:
    if isinstance(module, nn.ReLU):
        return layers.FastReLU(act_quant=activation_quantizer(fmt, unsigned=True, **options))
    quantizer = activation_quantizer(fmt, **options)
    if isinstance(module, nn.Hardtanh):
        low, high = float(module.min_val), float(module.max_val)
        if fmt == "bipolar":
            return qnn.QuantHardTanh(act_quant=quantizer, min_val=low, max_val=high)  # type: ignore[no-any-return]
        # Brevitas leaves the function out where there is a quantizer, which it takes to clip at the same ends.
        return nn.Sequential(nn.Hardtanh(low, high), layers.FastIdentity(act_quant=quantizer))
    return layers.FastIdentity(act_quant=quantizer)


def _proxy(layer: nn.Module) -> nn.Module:
    """The quantizer of an activation layer that `_activation` made."""
    found = layer[1] if isinstance(layer, nn.Sequential) else layer
    proxy = found.act_quant
    assert isinstance(proxy, nn.Module)
    return proxy


def _product(
    name: str, module: nn.Module, weight: Injector, feed: Injector | None, multiplier: str, back: GradientQuant | None
) -> layers.Linear | layers.Conv1d | layers.Conv2d:
    """A Linear or Conv as its Brevitas layer, with the same parameters."""
    options: dict[str, Any] = {"weight_quant": weight, "input_quant": feed, "bias": module.bias is not None}
    options |= {"multiplier": multiplier, "gradient": back}
    made: layers.Linear | layers.Conv1d | layers.Conv2d
    if isinstance(module, nn.Linear):
        made = layers.Linear(module.in_features, module.out_features, **options)
    else:
        assert isinstance(module, nn.Conv1d | nn.Conv2d)
        if module.padding_mode != "zeros":
            raise UnsupportedError(
                f"layer {name!r}: a convolution that pads by {module.padding_mode!r} is not quantized"
            )
        kind = layers.Conv1d if isinstance(module, nn.Conv1d) else layers.Conv2d
        shape = {key: getattr(module, key) for key in ("stride", "padding", "dilation", "groups")}
        made = kind(module.in_channels, module.out_channels, module.kernel_size, **shape, **options)
    # Setting the parameters anew lets the quantizers start from the trained weights.
    made.weight = module.weight
    if module.bias is not None:
        made.bias = module.bias
    return made
