"""Networks to check the cost model on: trained ones of the package, and small ones, trained here on the digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hwgen import compiler, models
from hwgen.ir import Graph
from hwgen.quant import data, quantize, weights
from hwgen.quant.config import TrainConfig
from hwgen.quant.train import Job, train

FOLDER = Path("build/cost-model")


class Residual(nn.Module):
    """A convolution, two more beside an identity, the mean of the pixels, classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.one = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        # What is added has one scale.
        self.ahead, self.after = nn.ReLU(), nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.classes = nn.Linear(256, 10)

    def forward(self, x: Any) -> Any:
        x = self.ahead(self.stem(x))
        x = self.after(x + self.ahead(self.two(self.one(x))))
        return self.classes(torch.flatten(self.pool(x), 1))


def separable() -> nn.Module:
    """Depthwise convolutions of 3x3, each ahead of one of 1x1, between a convolution and the classes."""
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    for inner, outer, stride in ((16, 24, 2), (24, 32, 2)):
        for made in (nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False), nn.Conv2d(inner, outer, 1)):
            layers += [made, nn.BatchNorm2d(made.out_channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10))


IMAGES: dict[str, Callable[[], nn.Module]] = {"digits-residual": Residual, "digits-separable": separable}


def _made(name: str) -> nn.Module:
    """The network `name`, untrained: one of IMAGES in 4 bits, or digits-FORMAT, the digits perceptron."""
    if name in IMAGES:
        return quantize(IMAGES[name](), "int4", "int4", first="uint8")
    fmt = name.removeprefix("digits-")
    return models.build("digits-mlp", fmt, fmt)


def digits(name: str) -> Graph:
    """A network trained on the digits, frozen; kept in FOLDER."""
    shape = (1, 8, 8) if name in IMAGES else (64,)
    config = TrainConfig(
        name=name, model=name, dataset="digits", epochs=6, batch=32, learning_rate=0.01, seed=1, threads=1
    )
    loaded = data.load("digits", None).shaped(*shape)
    stored = FOLDER / f"{name}.weights.npz"
    if not stored.exists():
        train(Job(config, lambda: _made(name), lambda: loaded), FOLDER, restart=True)
    return compiler.from_brevitas(weights.load(_made(name), stored), loaded.x_test[:64])


def trained(name: str) -> Graph:
    """A network of the package, frozen."""
    shape = models.find(models.record(name)["config"]["model"]).shape
    x = np.random.default_rng(1).random((64, *shape), dtype=np.float32)
    return compiler.from_brevitas(models.load(name), x)
