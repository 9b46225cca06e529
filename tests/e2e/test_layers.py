"""One network of the layers that no trained network here has, from Brevitas to verified RTL, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import pytest
import torch
from torch import nn

import hwgen

pytestmark = pytest.mark.slow


def conv(inner: int, out: int, kernel: int, **options: Any) -> Any:
    return qnn.QuantConv2d(inner, out, kernel, padding=kernel // 2, bias=False, weight_bit_width=3, **options)


class Net(nn.Module):
    """Tables, thresholds that fall, products in groups, repeated pixels, a gate, and the three greatest at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            qnn.QuantIdentity(bit_width=6), conv(2, 4, 3), qnn.QuantIdentity(bit_width=8), nn.Sigmoid()
        )
        self.body = nn.Sequential(
            qnn.QuantIdentity(bit_width=4), conv(4, 4, 3, groups=4, stride=2), nn.GELU(), qnn.QuantIdentity(bit_width=4)
        )
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), conv(4, 4, 1), qnn.QuantIdentity(bit_width=4))
        self.gate = nn.Sequential(conv(4, 4, 1, groups=2), qnn.QuantSigmoid(bit_width=4))
        self.out = nn.Sequential(qnn.QuantIdentity(bit_width=3), nn.Flatten())
        self.fc = qnn.QuantLinear(64, 5, bias=False, weight_bit_width=2)

    def forward(self, x: Any) -> Any:
        low = self.body(self.stem(x))
        both = self.up(low) * self.gate(nn.functional.interpolate(low, scale_factor=2))
        return torch.topk(self.fc(self.out(both)), 3)[1]


def test_a_network_of_many_layers_is_bit_exact(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = Net(), torch.randn(40, 2, 4, 4)
    net(x)
    accelerator = hwgen.compile(hwgen.from_brevitas(net.eval(), x), root=tmp_path)
    kinds = {node.op.kind for node in accelerator.graph.nodes}
    assert {"Grouped", "Multiply", "Table", "TopK", "Upsample"} <= kinds
    checked = accelerator.verify(frames=12)["verify"]
    assert checked["bit_exact"]
    assert checked["frames"] == 12
    sizes = {layer.name: layer.kind_text for layer in accelerator.report().layers}
    assert sizes["body.0"] == "table (256 x 4 bits)"
