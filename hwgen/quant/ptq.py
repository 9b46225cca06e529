"""Quantization after training, from a few hundred frames of data and without labels, with Brevitas' own passes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from brevitas.graph.calibrate import bias_correction_mode, calibration_mode
from brevitas.graph.gpfq import gpfq_mode
from brevitas.graph.gptq import gptq_mode
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from torch import Tensor, nn

from hwgen.errors import HwgenError
from hwgen.quant.equalize import equalize_weights, smooth_activations
from hwgen.quant.learned_round import learn_rounding
from hwgen.quant.rewrite import quantize
from hwgen.quant.scaled import ScaledQuant

Method = Literal["round", "gptq", "gpfq", "learned"]
METHODS = ("round", "gptq", "gpfq", "learned")
BATCH = 64
HALVINGS = 4
FINE_STEPS = 16


def ptq(
    model: nn.Module,
    calib: Tensor | npt.NDArray[Any] | Iterable[Tensor],
    weight: str = "int8",
    activation: str | None = "int8",
    method: Method = "round",
    *,
    equalize: bool = False,
    smooth: float | None = None,
    correct_bias: bool = True,
    search: bool = True,
    **options: Any,
) -> nn.Module:
    """A quantized copy of the trained `model` in eval mode; no training.

    calib: real inputs, (frames, *shape), cut into batches of 64, or batches. weight, activation and options: as
    `hwgen.quant.quantize`. method: how weights are rounded: "round", to the nearest; "gptq" (arXiv 2210.17323) and
    "gpfq" (arXiv 2201.11113), column by column, each making up for the error of those ahead; "learned", up or down as
    the layer's output is nearest on the calibration data (AdaRound, arXiv 2004.10568). equalize: first even out the
    ranges of the weights of neighbouring layers (arXiv 1906.04721), for which BatchNorm is merged into the layer ahead
    of it. smooth: then move that share, 0 to 1, of what the channels of activations differ in into the weights behind
    them (SmoothQuant, arXiv 2211.10438). correct_bias: last take the mean error of each layer's output out of its
    bias; layers without bias get one. search: choose the scales of this package's own scalar quantizers by least
    squared error instead of by the greatest magnitude.

    Raises HwgenError for an unknown method, a share that is none, or data without frames, and UnsupportedError naming
    the layer whose format the method does not round, or if torch.fx cannot trace what is to be equalized; otherwise as
    `quantize`.
    """
    if method not in METHODS:
        raise HwgenError(f"unknown method {method!r}: one of {', '.join(METHODS)}")
    if smooth is not None and not 0 <= smooth <= 1:
        raise HwgenError(f"the share that is moved from activations to weights is 0 to 1, not {smooth:g}")
    batches = _batches(calib)
    source = copy.deepcopy(model).eval()
    if equalize:
        equalize_weights(source)
    if smooth is not None:
        smooth_activations(source, batches, smooth)
    found = quantize(source, weight, activation, **options).eval()
    with torch.no_grad():
        with calibration_mode(found):
            for batch in batches:
                found(batch)
        _settle(found, batches, search)
        if method in ("gptq", "gpfq"):
            _column_by_column(found, batches, method)
    if method == "learned":
        learn_rounding(found, batches)
    if correct_bias:
        with torch.no_grad(), bias_correction_mode(found):
            for batch in batches:
                found(batch)
    return found.eval()


def _batches(calib: Tensor | npt.NDArray[Any] | Iterable[Tensor]) -> list[Tensor]:
    whole = isinstance(calib, Tensor | np.ndarray)
    parts = torch.split(torch.as_tensor(calib, dtype=torch.float32), BATCH) if whole else calib
    batches = [torch.as_tensor(part, dtype=torch.float32) for part in parts]
    if not sum(len(batch) for batch in batches):
        raise HwgenError("calibration needs at least one frame of data")
    return batches


def products(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers with quantized weights, by name."""
    layers = (pair for pair in model.named_modules() if isinstance(pair[1], QuantWeightBiasInputOutputLayer))
    return [(name, layer) for name, layer in layers if layer.weight_quant.is_quant_enabled]


def _settle(model: nn.Module, batches: Sequence[Tensor], search: bool) -> None:
    """Fix the scales of own scalar quantizers: as the statistics have them, or by least squared error."""
    weights = {}
    for _, layer in products(model):
        inner = layer.weight_quant.tensor_quant  # type: ignore[union-attr]
        if isinstance(inner, ScaledQuant):
            weights[inner] = layer.weight.detach()  # type: ignore[operator]
    for inner, weight in weights.items():
        inner.freeze(best_scale(inner, weight) if search else None)
    acts = [m for m in model.modules() if isinstance(m, ScaledQuant) and m not in weights and m.scaling != "one"]
    searched = [inner for inner in acts if search]
    errors: dict[ScaledQuant, Tensor] = {}

    def measure(inner: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(inner, ScaledQuant)
        found = squared_errors(inner, inputs[0], inner.scale.detach())
        errors[inner] = errors[inner] + found if inner in errors else found

    hooks = [inner.register_forward_pre_hook(measure) for inner in searched]
    if searched:
        for batch in batches:
            model(batch)
    for hook in hooks:
        hook.remove()
    for inner in acts:
        factor = factors(inner)[int(errors[inner].argmin())] if inner in errors else 1.0
        inner.freeze(inner.scale.detach() * factor)


def factors(inner: ScaledQuant) -> list[float]:
    """What the scale of the greatest magnitude is tried to be shrunk by, in order."""
    if inner.power_of_two:
        return [2.0**-k for k in range(HALVINGS)]
    return [1.0 - k / (FINE_STEPS + 2) for k in range(FINE_STEPS)]


def squared_errors(inner: ScaledQuant, x: Tensor, scale: Tensor) -> Tensor:
    """The squared error of the cast at each of `factors`: (factors, channels) for channels with scales of their own,
    else (factors, 1)."""
    axes = tuple(range(1, x.ndim)) if scale.ndim else tuple(range(x.ndim))
    found = []
    for factor in factors(inner):
        tried = scale * factor
        error = (inner.cast(x / tried) * tried - x).square().sum(dim=axes)
        found.append(error.reshape(-1))
    return torch.stack(found)


def best_scale(inner: ScaledQuant, weight: Tensor) -> Tensor:
    """The scale with the least squared error on a weight, per channel where scales are."""
    scale = inner.scale.detach()
    if inner.scaling == "one":
        return scale
    chosen = squared_errors(inner, weight, scale).argmin(dim=0)
    return scale * torch.tensor(factors(inner))[chosen].reshape(scale.shape)


def _column_by_column(model: nn.Module, batches: Sequence[Tensor], method: str) -> None:
    mode = gptq_mode if method == "gptq" else gpfq_mode
    # GPFQ compares with the float weights.
    with mode(model, create_weight_orig=method == "gpfq", use_quant_activations=True) as steps:
        for _ in range(steps.num_layers):
            for batch in batches:
                steps.model(batch)
            steps.update()
    for _, layer in products(model):
        if hasattr(layer, "weight_orig"):
            del layer.weight_orig
