"""Networks to train and compare, each in any pair of number formats; the trained ones come with their weights.

>>> module = models.build("fmnist-cnn", weight="int4", activation="uint4")   # untrained
>>> module = models.load("tfc-w2a2")                                        # trained; see the table below

torch is imported when a network is made, not before.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwgen.errors import HwgenError

if TYPE_CHECKING:
    from hwgen.quant.config import TrainConfig
    from hwgen.quant.train import Job

DIGITS_HIDDEN = (32, 32)
TFC_HIDDEN = (64, 64, 64)
CNN_CHANNELS = (16, 32, 32)


@dataclass(frozen=True)
class Model:
    """One network: `make(formats)` gives the module; `shape` is that of a frame of `dataset` as it takes it."""

    about: str
    dataset: str
    shape: tuple[int, ...]
    make: Callable[[Formats], Any]
    formats: Formats


@dataclass(frozen=True)
class Formats:
    """Names of the formats of weights and activations, and of the multiplier; float32 leaves a network as it is."""

    weight: str = "int4"
    activation: str = "uint4"
    multiplier: str = "exact"


def build(name: str, weight: str | None = None, activation: str | None = None, multiplier: str | None = None) -> Any:
    """A new module of a network of MODELS, in these formats or in its own. Its start follows torch's global seed.

    Raises HwgenError for a name or a format that is not known.
    """
    model = find(name)
    own = model.formats
    return model.make(Formats(weight or own.weight, activation or own.activation, multiplier or own.multiplier))


def find(name: str) -> Model:
    """The network called `name`."""
    if name not in MODELS:
        raise HwgenError(f"there is no network {name!r}; known: {', '.join(MODELS)}")
    return MODELS[name]


def job(config: TrainConfig, data_folder: Path | None = None) -> Job:
    """What `hwgen.quant.train.train` takes: the network and the data that a configuration names."""
    from hwgen.quant import data
    from hwgen.quant.train import Job

    model = find(config.model)
    if config.dataset not in data.DATASETS:
        raise HwgenError(f"there is no data set {config.dataset!r}; known: {', '.join(data.DATASETS)}")
    if (config.dataset == "digits") != (model.dataset == "digits"):
        raise HwgenError(f"{config.model} takes images of {model.dataset}, not of {config.dataset}")
    return Job(
        config,
        lambda: build(config.model, config.weight, config.activation, config.multiplier),
        lambda: data.load(config.dataset, data_folder).shaped(*model.shape),
    )


def _perceptron(sizes: tuple[int, ...], formats: Formats) -> Any:
    """Linear, batch normalization and ReLU for each size but the last; a linear layer with a bias at the end."""
    from torch import nn

    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(inner, outer, bias=False), nn.BatchNorm1d(outer), nn.ReLU()]
    return _quantized(nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1])), formats)


def _digits_mlp(formats: Formats) -> Any:
    return _perceptron((64, *DIGITS_HIDDEN, 10), formats)


def _tfc(formats: Formats) -> Any:
    return _perceptron((784, *TFC_HIDDEN, 10), formats)


def _fmnist_cnn(formats: Formats) -> Any:
    """Three convolutions of 3x3, each with batch normalization, ReLU and 2x2 maximum: 28 -> 14 -> 7 -> 3."""
    from torch import nn

    layers: list[nn.Module] = []
    inner = 1
    for outer in CNN_CHANNELS:
        convolution = nn.Conv2d(inner, outer, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outer), nn.ReLU(), nn.MaxPool2d(2)]
        inner = outer
    head = nn.Linear(inner * 9, 10)
    return _quantized(nn.Sequential(*layers, nn.Flatten(), head), formats)


def _tfc_w2a2(formats: Formats) -> Any:
    """Weights -1, 0, 1 times one scale for each layer; pixels and activations of 2 bits without sign."""
    from brevitas import nn as qnn
    from brevitas.quant import Int8WeightPerTensorFloat, Int32Bias, Uint8ActPerTensorFloat
    from torch import nn

    _only("tfc-w2a2", formats)
    weight = {"weight_quant": Int8WeightPerTensorFloat, "weight_bit_width": 2}
    act = {"act_quant": Uint8ActPerTensorFloat, "bit_width": 2, "return_quant_tensor": True}
    layers: list[nn.Module] = [qnn.QuantIdentity(**act)]
    inner = 784
    for outer in TFC_HIDDEN:
        layers += [qnn.QuantLinear(inner, outer, bias=False, **weight), nn.BatchNorm1d(outer), qnn.QuantReLU(**act)]
        inner = outer
    # A bias in units of the accumulator, so that the logits are exact integers times one scale.
    return nn.Sequential(*layers, qnn.QuantLinear(inner, 10, bias=True, bias_quant=Int32Bias, **weight))


def _tfc_w1a1(formats: Formats) -> Any:
    """Weights, pixels (above or below one half) and activations are signs."""
    from brevitas import nn as qnn
    from brevitas.quant import Int32Bias, SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst
    from torch import nn

    from hwgen.quant.affine import Affine

    _only("tfc-w1a1", formats)
    act = {"act_quant": SignedBinaryActPerTensorConst, "return_quant_tensor": True}
    layers: list[nn.Module] = [Affine(2.0, -1.0), qnn.QuantIdentity(**act)]
    weight = {"weight_quant": SignedBinaryWeightPerTensorConst}
    inner = 784
    for outer in TFC_HIDDEN:
        layers += [qnn.QuantLinear(inner, outer, bias=False, **weight), nn.BatchNorm1d(outer), qnn.QuantIdentity(**act)]
        inner = outer
    return nn.Sequential(*layers, qnn.QuantLinear(inner, 10, bias=True, bias_quant=Int32Bias, **weight))


def _only(name: str, formats: Formats) -> None:
    own = MODELS[name].formats
    if formats != own:
        raise HwgenError(f"{name} is trained in {own} alone, not in {formats}; tfc takes other formats")


def _quantized(module: Any, formats: Formats) -> Any:
    """The float network `module`, a sequence, in these formats: its input, activations and weights."""
    from torch import nn

    if formats == Formats("float32", "float32"):
        return module
    weight, act, bias = _integer_quantizers(formats)
    from brevitas import nn as qnn

    layers: list[nn.Module] = [qnn.QuantIdentity(**act)]
    for layer in module:
        if isinstance(layer, nn.Linear):
            options = {"bias": True, "bias_quant": bias} if layer.bias is not None else {"bias": False}
            layers.append(qnn.QuantLinear(layer.in_features, layer.out_features, **options, **weight))
        elif isinstance(layer, nn.Conv2d):
            shape = {"kernel_size": layer.kernel_size, "padding": layer.padding}
            layers.append(qnn.QuantConv2d(layer.in_channels, layer.out_channels, bias=False, **shape, **weight))
        elif isinstance(layer, nn.ReLU):
            layers.append(qnn.QuantReLU(**act))
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def _integer_quantizers(formats: Formats) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Keyword arguments of Brevitas' layers for weights and activations, and the quantizer of biases."""
    from brevitas.quant import Int8WeightPerTensorFloat, Int32Bias, Uint8ActPerTensorFloat

    weight = re.fullmatch(r"int([2-8])", formats.weight)
    act = re.fullmatch(r"uint([2-8])", formats.activation)
    if weight is None or act is None or formats.multiplier != "exact":
        raise HwgenError(f"{formats}: weights are int2 to int8 and activations uint2 to uint8, or both float32")
    return (
        {"weight_quant": Int8WeightPerTensorFloat, "weight_bit_width": int(weight[1])},
        {"act_quant": Uint8ActPerTensorFloat, "bit_width": int(act[1]), "return_quant_tensor": True},
        Int32Bias,
    )


MODELS = {
    "digits-mlp": Model("64-32-32-10 perceptron", "digits", (64,), _digits_mlp, Formats()),
    "tfc": Model("784-64-64-64-10 perceptron", "mnist", (784,), _tfc, Formats()),
    "tfc-w2a2": Model("tfc, weights and activations of 2 bits", "mnist", (784,), _tfc_w2a2, Formats("int2", "uint2")),
    "tfc-w1a1": Model("tfc, of signs", "mnist", (784,), _tfc_w1a1, Formats("bipolar", "bipolar")),
    "fmnist-cnn": Model("three convolutions and a linear layer", "fashion-mnist", (1, 28, 28), _fmnist_cnn, Formats()),
}
"""The networks, by name."""
