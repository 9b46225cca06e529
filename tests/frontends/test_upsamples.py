"""Upsampling by repeated pixels: Brevitas networks against their forward, ONNX files against the QONNX executor."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from hwgen import golden
from hwgen.errors import UnsupportedError
from hwgen.frontends import qonnx
from hwgen.frontends.brevitas import from_brevitas
from hwgen.ops import Upsample
from hwgen.passes import explain, freeze
from tests.oracles.networks import Builder
from tests.oracles.qonnx_executor import execute


def conv(inner: int, out: int, kernel: int = 3) -> Any:
    return qnn.QuantConv2d(inner, out, kernel, padding=kernel // 2, bias=False, weight_bit_width=4)


class Functional(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, x: Any) -> Any:
        return nn.functional.interpolate(x, **self.options)


LAYERS = {
    "Upsample": nn.Upsample(scale_factor=2),
    "two factors": nn.Upsample(scale_factor=(3, 1)),
    "size": nn.Upsample(size=(8, 12)),
    "UpsamplingNearest2d": nn.UpsamplingNearest2d(scale_factor=2),
    "exact": nn.Upsample(scale_factor=3, mode="nearest-exact"),
    "interpolate": Functional(scale_factor=2.0, mode="nearest"),
}


@pytest.mark.parametrize("behind", [True, False], ids=["behind the quantizer", "ahead of it"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_equal_the_forward(name: str, behind: bool) -> None:
    torch.manual_seed(0)
    between = [nn.BatchNorm2d(4), nn.Sigmoid(), qnn.QuantIdentity(bit_width=4)]
    between = [*between, LAYERS[name]] if behind else [LAYERS[name], *between]
    module = nn.Sequential(qnn.QuantIdentity(bit_width=4), conv(3, 4), *between, conv(4, 2))
    x = torch.randn(10, 3, 4, 3)
    module(x)
    frozen = freeze(from_brevitas(module.eval(), x))
    kinds = [node.op.kind for node in frozen.nodes]
    assert kinds == ["Window", "MatVec", "Thresholds", "Upsample", "Window", "MatVec"]
    want = module(x).detach()
    want = getattr(want, "value", want).numpy().transpose(0, 2, 3, 1)
    got = golden.predict(frozen, x.numpy().astype(np.float64))
    off = np.abs(got - want).reshape(10, -1).max(axis=1)
    assert not (off > min(frozen.output_type.scale) / 2).any()


def test_layers_of_brevitas() -> None:
    for layer in (qnn.QuantUpsample(scale_factor=2), qnn.QuantUpsamplingNearest2d(scale_factor=2)):
        module = nn.Sequential(qnn.QuantIdentity(return_quant_tensor=True), layer, conv(3, 2)).eval()
        graph = from_brevitas(module, torch.randn(2, 3, 4, 4))
        assert [node.op.factors for node in graph.nodes if isinstance(node.op, Upsample)] == [(2, 2)]


def test_signals() -> None:
    torch.manual_seed(0)
    first = qnn.QuantConv1d(3, 4, 3, padding=1, bias=False, weight_bit_width=4)
    second = qnn.QuantConv1d(4, 2, 3, padding=1, bias=False, weight_bit_width=4)
    act = [qnn.QuantReLU(bit_width=4), nn.Upsample(scale_factor=2)]
    module, x = nn.Sequential(qnn.QuantIdentity(bit_width=4), first, *act, second), torch.randn(10, 3, 6)
    module(x)
    frozen = freeze(from_brevitas(module.eval(), x))
    want = module(x).detach()
    want = getattr(want, "value", want).numpy().transpose(0, 2, 1)
    np.testing.assert_allclose(golden.predict(frozen, x.numpy().astype(float))[:, 0], want, atol=1e-4)


def write(path: Path, kind: str, *inputs: Any, ahead: bool = False, opset: int = 13, **attributes: Any) -> Path:
    b, rng = Builder(), np.random.default_rng(2)
    given = ["" if value is None else b.const(value, np.int64 if kind == "sizes" else np.float32) for value in inputs]
    kind = "Resize" if kind == "sizes" else kind
    x = b.op("Conv", b.quant("x", 1 / 8, 4), b.quant(b.const(rng.normal(0, 0.5, (4, 3, 3, 3))), 0.11, 4))
    x = b.op("Relu", x)
    x = b.op(kind, x, *given, **attributes) if ahead else b.quant(x, 0.3, 4)
    x = b.quant(x, 0.3, 4) if ahead else b.op(kind, x, *given, **attributes)
    x = b.op("Conv", x, b.quant(b.const(rng.normal(0, 0.5, (2, 4, 1, 1))), 0.11, 4))
    onnx.save(b.model(x, (5, 3, 5, 4), (5, 2, None, None), opset=opset), path)
    return path


GRID = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
FILES = {
    "scales": ("Resize", (None, [1, 1, 2, 3]), GRID),
    "half pixels": ("Resize", (None, [1, 1, 2, 2]), {"mode": "nearest"}),
    "sizes": ("sizes", (None, None, [5, 4, 9, 2]), GRID),
}


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_files_equal_the_executor(name: str, ahead: bool, tmp_path: Path) -> None:
    kind, inputs, attributes = FILES[name]
    path = write(tmp_path / "m.onnx", kind, *inputs, ahead=ahead, **attributes)
    imported = qonnx.load(path)
    frozen = freeze(imported)
    x = np.random.default_rng(0).normal(0, 1, (5, 3, 5, 4)).astype(np.float32)
    oracle = {name: np.moveaxis(value, 1, -1) for name, value in execute(path, x).items()}
    assert not explain(imported, frozen, x, golden.trace(frozen, x.astype(float)), oracle).unexplained
    assert [node.op.kind for node in frozen.nodes].count("Upsample") == 1


REFUSED = {
    "mode": (("Resize", (None, [1, 1, 2, 2]), {"mode": "linear"}), "mode 'linear' is not supported; nearest is"),
    "grid": (
        ("Resize", (None, [1, 1, 2, 2]), {"mode": "nearest", "coordinate_transformation_mode": "align_corners"}),
        "coordinates 'align_corners' rounded by 'round_prefer_floor' are not supported: pixels are repeated",
    ),
    "fractions": (("Resize", (None, [1, 1, 1.5, 2]), GRID), "its factors 1.5, 2 are not supported; whole numbers of 1"),
    "channels": (("Resize", (None, [1, 2, 2, 2]), GRID), r"its factors .* enlarge the batch or the channels"),
    "few": (("Resize", (None, [1, 1, 2]), GRID), r"it has 1 factors for a tensor of shape \(batch, 4, 3, 2\)"),
    "nothing": (("Resize", (None, None), GRID), "its scales or sizes must be constants"),
    "aspect": (
        ("sizes", (None, None, [5, 4, 9, 2]), {**GRID, "keep_aspect_ratio_policy": "not_larger", "opset": 18}),
        "axes and aspect ratios are not supported",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    (kind, inputs, attributes), message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        qonnx.load(write(tmp_path / "m.onnx", kind, *inputs, **attributes))


def test_layers_that_are_refused() -> None:
    act = qnn.QuantIdentity(bit_width=4)
    for layer, message in (
        (nn.Upsample(scale_factor=2, mode="bilinear"), "mode 'bilinear' is not supported; nearest is"),
        (nn.Upsample(size=(6, 9)), "its factors 1.5, 2.25 are not supported"),
        (Functional(scale_factor=(2, 2)), None),
    ):
        module = nn.Sequential(act, layer, conv(3, 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if message is None:
                from_brevitas(module.eval(), torch.rand(1, 3, 4, 4))
                continue
            with pytest.raises(UnsupportedError, match=message):
                from_brevitas(module.eval(), torch.rand(1, 3, 4, 4))
