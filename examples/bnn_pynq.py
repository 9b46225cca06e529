"""Brevitas' own networks bnn_pynq with random weights: TFC, SFC, LFC and CNV of 1 and 2 bits, and ResNet18 of 4 bits.

`hwgen import examples/bnn_pynq.py:cnv_2w2a -o build/cnv` writes one as the files that the other commands read.
Their weights are torch's random start; their batch norms have the statistics of real images and random factors.
"""

import warnings
from functools import partial

import numpy as np
import torch
from brevitas import nn as qnn
from brevitas.quant import Uint8ActPerTensorFloat
from brevitas_examples.bnn_pynq.models import model_with_cfg
from sklearn.datasets import load_digits, load_sample_images
from torch import nn

FRAMES = 520


def network(name: str) -> tuple[nn.Module, np.ndarray]:
    """One network as Brevitas makes it, and real images for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        module, _ = model_with_cfg(name, pretrained=False)
    if name.startswith("resnet18"):
        # Alone of these, it takes images of 8 bits as they are: quantizing them changes nothing.
        pixels = qnn.QuantIdentity(act_quant=Uint8ActPerTensorFloat, scaling_impl_type="const", scaling_init=1.0)
        module = nn.Sequential(pixels, module)
    x = digits() if name.startswith(("tfc", "sfc", "lfc")) else photographs()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) and part.affine:
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.3, 0.3)
    module.train()
    with torch.no_grad():
        module(torch.from_numpy(x[:64]))
    return module.eval(), x


def digits() -> np.ndarray:
    """scikit-learn's handwritten digits, three times as large in a frame of 28x28, 0 to 1: (frames, 1, 28, 28)."""
    images = load_digits().images[:FRAMES] / 16
    large = images.repeat(3, axis=1).repeat(3, axis=2)
    return np.pad(large, ((0, 0), (2, 2), (2, 2)))[:, None].astype(np.float32)


def photographs() -> np.ndarray:
    """Tiles of scikit-learn's two photographs, in a random order, 0 to 1: (frames, 3, 32, 32)."""
    images = np.stack(load_sample_images().images)[:, :416]
    tiles = images.reshape(2, 13, 32, 20, 32, 3).transpose(0, 1, 3, 5, 2, 4).reshape(FRAMES, 3, 32, 32)
    return (np.random.default_rng(1).permutation(tiles) / 255).astype(np.float32)


tfc_1w1a, tfc_1w2a, tfc_2w2a = (partial(network, f"tfc_{bits}") for bits in ("1w1a", "1w2a", "2w2a"))
sfc_1w1a, sfc_1w2a, sfc_2w2a = (partial(network, f"sfc_{bits}") for bits in ("1w1a", "1w2a", "2w2a"))
lfc_1w1a, lfc_1w2a = (partial(network, f"lfc_{bits}") for bits in ("1w1a", "1w2a"))
cnv_1w1a, cnv_1w2a, cnv_2w2a = (partial(network, f"cnv_{bits}") for bits in ("1w1a", "1w2a", "2w2a"))
resnet18_4w4a = partial(network, "resnet18_4w4a")
