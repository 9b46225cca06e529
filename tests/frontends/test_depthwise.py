"""Depthwise convolutions from Brevitas and from its export: a unit of their own, and the module's own numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import numpy as np
import pytest
import torch
from brevitas.export import export_qonnx
from torch import nn

from hwgen import golden
from hwgen.frontends import qonnx
from hwgen.frontends.brevitas import from_brevitas
from hwgen.ops import Depthwise
from hwgen.passes import freeze


def network(channels: int = 4, **options: Any) -> Any:
    torch.manual_seed(1)
    options = {"kernel_size": 3, "padding": 1, "weight_bit_width": 4, "bias": True, **options}
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=4),
        qnn.QuantConv2d(channels, channels, groups=channels, **options),
        nn.BatchNorm2d(channels),
        qnn.QuantReLU(bit_width=4),
        qnn.QuantConv2d(channels, 3, 1, bias=False, weight_bit_width=4),
    )


def settled(module: Any, x: Any) -> Any:
    module.train()
    module(x)
    return module.eval()


def equal(frozen: Any, module: Any, x: Any) -> None:
    want = module(x).detach()
    want = getattr(want, "value", want).numpy().transpose(0, 2, 3, 1)
    got = golden.predict(frozen, x.numpy().astype(np.float64))
    off = np.abs(got - want).reshape(len(x), -1).max(axis=1)
    assert not (off > min(frozen.output_type.scale) / 2).any()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 0},
        {"kernel_size": (3, 1), "padding": (1, 0), "dilation": (2, 1)},
        {"weight_scaling_per_output_channel": True},
        {"weight_bit_width": 1, "weight_quant_type": "binary", "padding": 0},
        {"kernel_size": 1, "padding": 0},
    ],
    ids=["3x3", "stride", "dilation", "per channel", "bipolar", "1x1"],
)
def test_a_depthwise_convolution_keeps_its_weights_small(options: dict[str, Any], tmp_path: Path) -> None:
    x = torch.randn(20, 4, 7, 6)
    module = settled(network(**options), x)
    frozen = freeze(from_brevitas(module, x))
    (unit,) = [node.op for node in frozen.nodes if isinstance(node.op, Depthwise)]
    kernel = module[1].kernel_size
    assert unit.weight.shape == (4, kernel[0] * kernel[1])
    equal(frozen, module, x)
    export_qonnx(module, x[:1], tmp_path / "m.onnx")
    again = freeze(qonnx.load(tmp_path / "m.onnx"))
    assert [node.op.kind for node in again.nodes] == [node.op.kind for node in frozen.nodes]
    equal(again, module, x)


def test_other_groups_and_one_channel_are_matrices() -> None:
    x = torch.randn(4, 4, 5, 5)
    grouped = nn.Sequential(
        qnn.QuantIdentity(bit_width=4), qnn.QuantConv2d(4, 8, 3, groups=4, bias=False, weight_bit_width=4)
    )
    frozen = freeze(from_brevitas(settled(grouped, x), x))
    assert [node.op.kind for node in frozen.nodes] == ["Window", "MatVec"]
    equal(frozen, grouped, x)
    single = settled(network(1), x[:, :1])
    assert "Depthwise" not in {node.op.kind for node in freeze(from_brevitas(single, x[:, :1])).nodes}
