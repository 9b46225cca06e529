"""Rounding weights up or down as the layer's output wants it (AdaRound, arXiv 2004.10568), in any scalar format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from torch import Tensor, nn

from hwgen.errors import UnsupportedError
from hwgen.formats import Format
from hwgen.quant.cast import cast
from hwgen.quant.fixed import KhotQuant
from hwgen.quant.scaled import ScaledQuant

STEPS = 300
RATE = 1e-2
FRAMES = 256
WARM_UP = 0.2
WEIGHT = 0.1
GAMMA, ZETA = -0.1, 1.1
"""The ends to which the sigmoid is stretched ahead of clipping to 0..1 (eq. 23)."""


def learn_rounding(model: nn.Module, batches: Sequence[Tensor], steps: int = STEPS) -> None:
    """Set every weight to one of its two neighbours in its format, layer by layer, in place.

    The scales must be fixed. Each layer is fitted to the output that its float weights have on the inputs that the
    quantized network gives it, `FRAMES` of them. Raises UnsupportedError for weights of other formats than scalar.
    """
    for name, layer in list(model.named_modules()):
        if isinstance(layer, QuantWeightBiasInputOutputLayer) and layer.weight_quant.is_quant_enabled:
            low, high = _neighbours(name, layer)
            inputs = _inputs(model, layer, batches)
            layer.weight.data = _fit(layer, inputs, low, high, steps)


def _neighbours(name: str, layer: Any) -> tuple[Tensor, Tensor]:
    """The nearest numbers of the format that are not above and not below each weight."""
    inner, weight = layer.weight_quant.tensor_quant, layer.weight.detach()
    if isinstance(inner, ScaledQuant) and not isinstance(inner, KhotQuant):
        scale = inner.scale.detach()
        return tuple(cast(weight / scale, inner.format, way) * scale for way in ("down", "up"))  # type: ignore[return-value]
    if isinstance(getattr(inner, "format", None), Format) or not hasattr(inner, "int_quant"):
        kind = type(inner).__name__
        raise UnsupportedError(f"layer {name!r}: rounding is learned of scalar formats, not of {kind}'s numbers")
    scale, bits = layer.weight_quant.scale().detach(), int(layer.weight_quant.bit_width())
    # Brevitas' integers for weights are narrow.
    greatest = 2 ** (bits - 1) - 1
    steps = weight / scale
    return tuple(way(steps).clamp(-greatest, greatest) * scale for way in (torch.floor, torch.ceil))


def _inputs(model: nn.Module, layer: nn.Module, batches: Sequence[Tensor]) -> Tensor:
    """What the layer multiplies its weight with, as quantized as it is then."""
    kept: list[Tensor] = []

    def keep(module: Any, inputs: Any) -> None:
        value = module.input_quant(inputs[0])
        kept.append(getattr(value, "value", value).detach())

    hook = layer.register_forward_pre_hook(keep)
    with torch.no_grad():
        for batch in batches:
            model(batch)
            if sum(len(part) for part in kept) >= FRAMES:
                break
    hook.remove()
    return torch.cat(kept)[:FRAMES]


def _fit(layer: Any, inputs: Tensor, low: Tensor, high: Tensor, steps: int) -> Tensor:
    weight = layer.weight.detach()
    gap = high - low
    # The stretched sigmoid starts where it gives back the weight itself.
    share = torch.where(gap > 0, (weight - low) / torch.where(gap > 0, gap, 1.0), 0.5).clamp(0.01, 0.99)
    chance = nn.Parameter(torch.logit((share - GAMMA) / (ZETA - GAMMA)))
    optimizer = torch.optim.Adam([chance], lr=RATE)
    multiply = _product(layer)
    with torch.no_grad():
        wanted = multiply(inputs, weight)
        # Errors count in units of the output's own spread, so that one weight of the regularizer serves all layers.
        unit = wanted.var().clamp(min=1e-20)
    for step in range(steps):
        optimizer.zero_grad()
        up = (torch.sigmoid(chance) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
        loss = (multiply(inputs, low + up * gap) - wanted).square().mean() / unit
        if step >= WARM_UP * steps:
            # The exponent falls from 20 to 2, which drives every choice to 0 or 1 (eq. 24).
            progress = (step / steps - WARM_UP) / (1 - WARM_UP)
            sharpness = 20 - 18 * progress
            loss = loss + WEIGHT * (1 - (2 * up - 1).abs().pow(sharpness)).mean()
        loss.backward()
        optimizer.step()
    return torch.where(chance.detach() >= 0, high, low)


def _product(layer: Any) -> Any:
    """The layer's product as a function of input and weight, without bias."""
    if isinstance(layer, nn.Linear):
        return torch.nn.functional.linear
    function = torch.conv1d if isinstance(layer, nn.Conv1d) else torch.conv2d
    return lambda x, w: function(x, w, None, layer.stride, layer.padding, layer.dilation, layer.groups)
