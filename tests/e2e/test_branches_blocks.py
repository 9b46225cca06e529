"""Residual networks whose branches meet in blocks: equal to Brevitas' forward on real images, bit-exact as Verilog."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import brevitas.nn as qnn
    import torch
    from torch import nn

    from hwgen import gateware, golden, quant
    from hwgen.explore.folding import least_cost
    from hwgen.flow.simulate import Run
    from hwgen.flow.verify import verify
    from hwgen.frontends.brevitas import from_brevitas
    from hwgen.ir import Graph
    from hwgen.passes import explain, freeze
    from hwgen.quant.data import digits
    from tests.e2e.test_branches import settled

pytestmark = pytest.mark.slow


class Small(nn.Module):  # type: ignore[misc]
    """Images of digits, halved: a residual sum, tensors side by side, one part times the other, a mean; all in blocks.

    kernel: of the convolution beside the identity.
    """

    def __init__(self, name: str, kernel: int, channels: int = 32) -> None:
        super().__init__()
        weight, act = getattr(quant, f"{name}Weight"), getattr(quant, f"{name}Act")
        options = {"bias": False, "weight_quant": weight}
        self.inp = qnn.QuantIdentity(bit_width=8)
        self.stem = qnn.QuantConv2d(1, channels, 3, stride=2, padding=1, bias=False, weight_bit_width=8)
        self.main = qnn.QuantConv2d(channels, channels, kernel, padding=kernel // 2, **options)
        self.mix = qnn.QuantConv2d(2 * channels, 2 * channels, 1, **options)
        self.fc = qnn.QuantLinear(channels, 10, **options)
        for index, size in enumerate((1, 1, 1, 2, 1, 1)):
            self.add_module(f"norm{index}", nn.BatchNorm2d(size * channels))
            self.add_module(f"act{index}", qnn.QuantIdentity(act_quant=act))
        self.mean = nn.AvgPool2d(4)

    def forward(self, x: Any) -> Any:
        x = self.act0(torch.relu(self.norm0(self.stem(self.inp(x)))))
        main = self.act1(torch.relu(self.norm1(self.main(x))))
        x = self.act2(self.norm2(main + x))
        left, right = torch.chunk(self.act3(self.norm3(self.mix(torch.cat([x, main], dim=1)))), 2, dim=1)
        x = self.act4(left * right)
        return self.fc(self.act5(self.mean(x)).flatten(1))


@dataclass(frozen=True)
class Case:
    """A network before and after it is frozen, images that the windows of its scales have not seen, and what Brevitas'
    forward gives for them: at the end, and at each quantizer."""

    imported: Graph
    frozen: Graph
    images: np.ndarray
    want: np.ndarray
    quantized: dict[str, np.ndarray]


def case(name: str, kernel: int = 3) -> Case:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    images = torch.tensor(digits().x_test)
    module = settled(Small(name, kernel), (1, 8, 8), images[:100])
    graph = from_brevitas(module, images[:100])
    quantized: dict[str, np.ndarray] = {}

    def keep(part: str) -> Any:
        # Images have their channels last here.
        return lambda module, inputs, output: quantized.update({part: np.moveaxis(np.asarray(output), 1, -1)})

    for part, layer in module.named_modules():
        if isinstance(layer, qnn.QuantIdentity):
            layer.register_forward_hook(keep(part))
    with torch.no_grad():
        want = np.asarray(module(images[100:]))
    return Case(graph, freeze(graph), images[100:].numpy(), want, quantized)


def agree(found: Case) -> None:
    """The golden model gives what Brevitas does, unless float32 turns a code: then the exact number is proven to lie
    on, or next to, a rounding boundary."""
    codes = golden.trace(found.frozen, found.images)
    comparison = explain(found.imported, found.frozen, found.images, codes, found.quantized)
    assert not comparison.unexplained
    same = np.isclose(golden.predict(found.frozen, found.images), found.want, 1e-4, 1e-4).all(axis=1)
    assert set(np.flatnonzero(~same)) <= set(comparison.differing)
    assert same.mean() > 0.95


def test_golden_equals_the_forward_pass() -> None:
    agree(case("MXFP4"))


def test_branches_of_blocks_are_bit_exact_in_verilog(tmp_path: Path) -> None:
    found = case("MXINT8", kernel=1)
    agree(found)
    choice = least_cost(found.frozen, 40000)
    design = gateware.build(found.frozen, choice.folding)
    assert design.interval == choice.interval
    runs = (Run(), Run(0.4, 0.4, seed=3))
    codes = golden.input_codes(found.frozen, found.images[:8])
    result = verify(found.frozen, design, codes, tmp_path, runs=runs)
    assert (result.latency, result.interval) == (design.latency, design.interval)
    kinds = {stage.kind for stage in design.stages}
    assert kinds >= {"fork", "add", "concat", "multiply", "slice", "decode", "block_quantize"}
