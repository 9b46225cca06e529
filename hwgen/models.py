"""Networks to train and compare, each in any pair of number formats; the trained ones come with their weights.

>>> module = models.build("fmnist-cnn", weight="int4", activation="int4")   # untrained
>>> module = models.load("tfc-w2a2")                                        # trained; see the table below

torch is imported when a network is made, not before.
"""

from __future__ import annotations

import itertools
import json
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
FLOAT = "float32"
ZOO = Path(__file__).parent / "zoo"
TRAINED = (
    "tfc-w2a2",
    "tfc-w1a1",
    "digits-mlp",
    "fmnist-int4",
    "fmnist-e3m2",
    "fmnist-lmul",
    "fmnist-mxfp4",
    "fmnist-mxint8",
    "fmnist-qfx6",
    "fmnist-khot2",
    "fmnist-dfp16",
)
"""Names of trained networks that come with weights; beside each, how it was trained and how well it does."""


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
    activation: str = "int4"
    multiplier: str = "exact"


def build(name: str, weight: str | None = None, activation: str | None = None, multiplier: str | None = None) -> Any:
    """A new module of a network of MODELS, in these formats or in its own. Its start follows torch's global seed.

    Raises HwgenError for a name or a format that is not known.
    """
    model = find(name)
    own = model.formats
    return model.make(Formats(weight or own.weight, activation or own.activation, multiplier or own.multiplier))


def load(place: str | Path) -> Any:
    """A trained module in eval mode: of a name in TRAINED, or of a folder that `hwgen train` filled.

    Raises HwgenError for a folder without a trained network of MODELS.
    """
    from hwgen.quant import weights

    if str(place) in TRAINED:
        config, stored = record(str(place))["config"], ZOO / f"{place}.npz"
    else:
        found = [path for path in sorted(Path(place).glob("*.json")) if path.with_suffix(".weights.npz").is_file()]
        if len(found) != 1:
            raise HwgenError(f"{place} is neither one of {', '.join(TRAINED)} nor the folder of one trained network")
        config, stored = json.loads(found[0].read_text())["config"], found[0].with_suffix(".weights.npz")
    return weights.load(build(config["model"], config["weight"], config["activation"], config["multiplier"]), stored)


def record(name: str) -> dict[str, Any]:
    """What `hwgen train` left of a network of TRAINED: its configuration, accuracy on the held-out data, versions."""
    return dict(json.loads((ZOO / f"{name}.json").read_text()))


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
    """Three 3x3 convolutions of stride 2 (28 -> 14 -> 7 -> 4), each with batch normalization and ReLU, and a 4x4 one
    that gives the classes: 38,442 parameters, 0.82 million products a frame.

    Channels are multiples of 32 and sums never cross the order of an image's pixels, so that block formats fit too.
    """
    from torch import nn

    return _convolutional(((32, 2), (32, 2), (64, 2)), (nn.Conv2d(64, 10, 4), nn.Flatten()), formats)


def _fmnist_pool(formats: Formats) -> Any:
    """The last stride is a maximum of 2x2 (7 -> 3), a linear layer gives the classes: 23,098 parameters.

    For formats of single numbers: the greatest of several numbers of different blocks is of no block.
    """
    from torch import nn

    return _convolutional(((16, 2), (32, 2), (48, 1)), (nn.MaxPool2d(2), nn.Flatten(), nn.Linear(432, 10)), formats)


def _convolutional(convolutions: tuple[tuple[int, int], ...], head: tuple[Any, ...], formats: Formats) -> Any:
    """3x3 convolutions of (channels, stride) with batch normalization and ReLU, and the layers `head`."""
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    inner = 1
    for outer, stride in convolutions:
        convolution = nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outer), nn.ReLU()]
        inner = outer
    # The order of a tensor's numbers in memory that convolutions on CPUs are the fastest in.
    whole = nn.Sequential(*layers, *head).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _quantized(whole, formats)


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
    """The float sequence `module` in these formats: its input, its activations and its weights.

    Pixels have no sign where integers need none. In block formats the first layer is of 8-bit integers: it sums over
    pixels, of which there is one channel, or a number that blocks do not divide.
    """
    from torch import nn

    from hwgen.quant import quantize

    weight, activation = (None if name == FLOAT else name for name in (formats.weight, formats.activation))
    if _is_block(weight) or _is_block(activation):
        first = quantize(module[:1], "int8", "uint8")
        return nn.Sequential(*first, *quantize(module[1:], weight, activation, formats.multiplier))
    pixels = f"u{activation}" if re.fullmatch(r"int\d+", activation or "") else None
    return quantize(module, weight, activation, formats.multiplier, first=pixels)


def _is_block(name: str | None) -> bool:
    from hwgen.formats import BLOCKS, Block

    return isinstance(BLOCKS.get(name or ""), Block) or (name or "").startswith("block<")


MODELS = {
    "digits-mlp": Model("64-32-32-10 perceptron", "digits", (64,), _digits_mlp, Formats()),
    "tfc": Model("784-64-64-64-10 perceptron", "mnist", (784,), _tfc, Formats()),
    "tfc-w2a2": Model("tfc, weights and activations of 2 bits", "mnist", (784,), _tfc_w2a2, Formats("int2", "uint2")),
    "tfc-w1a1": Model("tfc, of signs", "mnist", (784,), _tfc_w1a1, Formats("bipolar", "bipolar")),
    "fmnist-cnn": Model("four convolutions", "fashion-mnist", (1, 28, 28), _fmnist_cnn, Formats()),
    "fmnist-pool": Model("three convolutions, maximum, linear", "fashion-mnist", (1, 28, 28), _fmnist_pool, Formats()),
}
"""The networks, by name."""
