"""Residual networks of Brevitas' own blocks: imported as they are, equal to their forward, bit-exact as Verilog."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import brevitas.nn as qnn
    import torch
    from brevitas.quant import Int8WeightPerTensorFloat, Int32Bias, TruncTo8bit
    from brevitas_examples.bnn_pynq.models import model_with_cfg
    from brevitas_examples.bnn_pynq.models.resnet import QuantBasicBlock, make_quant_conv2d
    from torch import nn

    from hwgen import formats, gateware, golden
    from hwgen.explore.folding import least_cost
    from hwgen.flow.simulate import Run
    from hwgen.flow.verify import verify
    from hwgen.frontends.brevitas import from_brevitas
    from hwgen.ir import Graph
    from hwgen.ops import Add, Quantize
    from hwgen.passes import freeze

pytestmark = pytest.mark.slow

BYTES = Quantize(formats.scalar("uint8"), (1 / 255,))


class Small(nn.Module):  # type: ignore[misc]
    """A ResNet of the same blocks as Brevitas' ResNet18, narrower: an identity, then one that halves the image."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        act = qnn.QuantReLU(bit_width=bits, return_quant_tensor=True)
        options = {"act_bit_width": bits, "weight_bit_width": bits, "weight_quant": Int8WeightPerTensorFloat}
        self.conv = make_quant_conv2d(3, 4, 3, 8, Int8WeightPerTensorFloat, padding=1)
        self.norm, self.act = nn.BatchNorm2d(4), act
        self.one = QuantBasicBlock(4, 4, shared_quant_act=act, **options)
        self.two = QuantBasicBlock(4, 8, stride=2, **options)
        self.pool = qnn.TruncAvgPool2d(kernel_size=4, trunc_quant=TruncTo8bit, float_to_int_impl_type="FLOOR")
        self.linear = qnn.QuantLinear(8, 5, bias=True, weight_bit_width=8, bias_quant=Int32Bias)

    def forward(self, x: Any) -> Any:
        x = self.two(self.one(self.act(self.norm(self.conv(x)))))
        x = self.pool(x)
        return self.linear(x.view(x.size(0), -1))


def settled(module: nn.Module, shape: tuple[int, ...], images: torch.Tensor | None = None) -> nn.Module:
    """The module with statistics and scales of `images`, by default random ones, and factors of both signs, in eval
    mode."""
    torch.manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, -1.5, 1.5)
            nn.init.uniform_(part.bias, -0.3, 0.6)
    with torch.no_grad():
        for _ in range(3):
            module(torch.rand(32, *shape) if images is None else images)
    return module.eval()


def images(frames: int, shape: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (frames, *shape), generator=generator) / 255


def imported(module: nn.Module, x: torch.Tensor) -> tuple[Graph, np.ndarray]:
    """The graph, and what Brevitas' forward gives."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        want = module(x)
        return from_brevitas(module, x, input_quantizer=BYTES), np.asarray(getattr(want, "value", want))


def test_residual_blocks_are_bit_exact_in_verilog(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    module = settled(Small(4), (3, 8, 8))
    x = images(40, (3, 8, 8))
    graph, want = imported(module, x)
    frozen = freeze(graph)
    assert [node.op.factors for node in frozen.nodes if isinstance(node.op, Add)] == [(1, 1), (1, 1)]
    got = golden.predict(frozen, x.numpy())
    # A float tie somewhere inside may turn a code; then the frame follows.
    same = np.isclose(got, want, 1e-4, 1e-4).all(axis=1)
    assert same.all(), same
    choice = least_cost(frozen, 5000)
    assert choice.optimal
    design = gateware.build(frozen, choice.folding)
    assert design.interval == choice.interval
    codes = golden.input_codes(frozen, x.numpy()[:8])
    runs = (Run(), Run(0.4, 0.4, seed=3), Run(stall_out=0.7, seed=4))
    result = verify(frozen, design, codes, tmp_path, runs=runs)
    assert (result.latency, result.interval) == (design.latency, design.interval)
    assert {"add", "add_1"} <= result.beats.keys()


def test_resnet18_equals_brevitas() -> None:
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, _ = model_with_cfg("resnet18_4w4a", pretrained=False)
    module = settled(module, (3, 32, 32))
    x = images(4, (3, 32, 32))
    graph, want = imported(module, x)
    frozen = freeze(graph)
    np.testing.assert_allclose(golden.predict(frozen, x.numpy()), want, 1e-4, 1e-4)
