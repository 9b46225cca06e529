"""Convolutions in groups from Brevitas and from its export: a unit of their own, and the module's own numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import numpy as np
import pytest
import torch
from brevitas.export import export_qonnx
from torch import nn

from hwgen import golden, quant
from hwgen.frontends import qonnx
from hwgen.frontends.brevitas import from_brevitas
from hwgen.ops import Grouped
from hwgen.passes import explain, freeze
from tests.oracles.qonnx_executor import execute


def network(channels: int = 4, out: int = 4, groups: int = 4, bits: int = 4, **options: Any) -> Any:
    torch.manual_seed(1)
    options = {"kernel_size": 3, "padding": 1, "weight_bit_width": 4, "bias": True, **options}
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=bits),
        qnn.QuantConv2d(channels, out, groups=groups, **options),
        nn.BatchNorm2d(out),
        qnn.QuantReLU(bit_width=4),
        qnn.QuantConv2d(out, 3, 1, bias=False, weight_bit_width=4),
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


BINARY = {"weight_bit_width": 1, "weight_quant_type": "binary", "padding": 0}


CASES: dict[str, dict[str, Any]] = {
    "3x3": {},
    "stride": {"stride": 2, "padding": 0},
    "dilation": {"kernel_size": (3, 1), "padding": (1, 0), "dilation": (2, 1)},
    "per channel": {"weight_scaling_per_output_channel": True},
    "bipolar": BINARY,
    "1x1": {"kernel_size": 1, "padding": 0},
    "two outputs a channel": {"out": 8},
    "two groups": {"groups": 2, "out": 6, "weight_scaling_per_output_channel": True},
    "two groups, bipolar": {"groups": 2, "out": 2, **BINARY},
}


@pytest.mark.parametrize("name", CASES)
def test_a_convolution_in_groups_keeps_its_weights_small(name: str) -> None:
    x = torch.randn(20, 4, 7, 6)
    module = settled(network(**CASES[name]), x)
    frozen = freeze(from_brevitas(module, x))
    (unit,) = [node.op for node in frozen.nodes if isinstance(node.op, Grouped)]
    kernel, groups = module[1].kernel_size, module[1].groups
    assert unit.groups == groups
    assert unit.weight.shape == (module[1].out_channels, kernel[0] * kernel[1] * 4 // groups)
    equal(frozen, module, x)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("per channel", "two groups, bipolar")]


@pytest.mark.parametrize("name", ["two groups", *SLOW])
def test_exports_equal_the_module_and_the_executor(name: str, tmp_path: Path) -> None:
    x = torch.randn(20, 4, 7, 6)
    module = settled(network(**CASES[name]), x)
    path, few = tmp_path / "m.onnx", x[:4].numpy()
    export_qonnx(module, x[:4], path)
    imported = qonnx.load(path)
    frozen = freeze(imported)
    assert [node.op.kind for node in frozen.nodes].count("Grouped") == 1
    equal(frozen, module, x)
    oracle = {name: np.moveaxis(value, 1, -1) for name, value in execute(path, few).items()}
    assert not explain(imported, frozen, few, golden.trace(frozen, few.astype(float)), oracle).unexplained


def test_one_channel_is_a_matrix() -> None:
    x = torch.randn(4, 1, 5, 5)
    frozen = freeze(from_brevitas(settled(network(1, groups=1), x), x))
    assert "Grouped" not in {node.op.kind for node in frozen.nodes}


@pytest.mark.parametrize("multiplier", ["lmul", "mitchell"])
def test_channels_multiply_by_codes(multiplier: str) -> None:
    x = torch.randn(20, 4, 5, 5)
    torch.manual_seed(1)
    module = nn.Sequential(
        quant.Conv2d(
            *(4, 8, 3),
            **{"groups": 4, "bias": False, "multiplier": multiplier},
            **{"input_quant": quant.E3M2Act, "weight_quant": quant.E3M2Weight},
        ),
    )
    settled(module, x)
    frozen = freeze(from_brevitas(module, x))
    (unit,) = [node.op for node in frozen.nodes if isinstance(node.op, Grouped)]
    assert unit.multiplier == multiplier
    np.testing.assert_allclose(
        golden.predict(frozen, x.numpy().astype(np.float64)),
        module(x).detach().numpy().transpose(0, 2, 3, 1),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("groups", [32, 8, 1])
def test_blocks_reach_across_groups(groups: int) -> None:
    x = torch.randn(40, 32, 3, 3)
    torch.manual_seed(1)
    weights = {"bias": False, "weight_quant": quant.MXFP4Weight}
    module = nn.Sequential(
        qnn.QuantIdentity(act_quant=quant.MXFP4Act), qnn.QuantConv2d(32, 32, 2, groups=groups, **weights)
    )
    settled(module, x)
    frozen = freeze(from_brevitas(module, x))
    assert [node.op.kind for node in frozen.nodes] == ["Window", "Grouped" if groups > 1 else "MatVec"]
    want = module(x).detach().numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(golden.predict(frozen, x.numpy().astype(np.float64)), want, rtol=1e-5, atol=1e-5)
