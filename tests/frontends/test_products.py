"""Products of two branches: gates in Brevitas networks and in QONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import numpy as np
import onnx
import torch
from torch import nn

from hwgen import golden
from hwgen.frontends import qonnx
from hwgen.frontends.brevitas import from_brevitas
from hwgen.passes import freeze
from hwgen.passes.ties import explain
from tests.oracles.networks import Builder
from tests.oracles.qonnx_executor import execute


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inp, self.out = qnn.QuantIdentity(bit_width=4), qnn.QuantIdentity(bit_width=4)
        self.value, self.act = qnn.QuantLinear(8, 6, bias=True, weight_bit_width=4), qnn.QuantIdentity(bit_width=5)
        self.gate, self.sigmoid = qnn.QuantLinear(8, 6, bias=True, weight_bit_width=4), qnn.QuantSigmoid(bit_width=5)
        self.fc = qnn.QuantLinear(6, 3, bias=False, weight_bit_width=4)

    def forward(self, x: Any) -> Any:
        x = self.inp(x)
        return self.fc(self.out(self.act(self.value(x)) * self.sigmoid(self.gate(x))))


def test_a_gate_equals_the_forward() -> None:
    torch.manual_seed(0)
    module, x = Gated(), torch.randn(100, 8)
    module(x)
    frozen = freeze(from_brevitas(module.eval(), x))
    assert "Multiply" in {node.op.kind for node in frozen.nodes}
    want = module(x).detach()
    want = getattr(want, "value", want).numpy()
    off = np.abs(golden.predict(frozen, x.numpy().astype(np.float64)) - want).max(axis=1)
    assert not (off > min(frozen.output_type.scale) / 2).any()


def test_a_product_in_a_file_equals_the_executor(tmp_path: Path) -> None:
    b, rng = Builder(), np.random.default_rng(2)
    x = b.quant("x", 1 / 4, 4)
    one, two = (b.op("MatMul", x, b.quant(b.const(rng.normal(0, 0.5, (6, 5))), 0.1, 4)) for _ in range(2))
    x = b.op("Mul", b.quant(one, 0.3, 5), b.quant(b.op("Sigmoid", two), 1 / 31, 5, signed=0))
    out = b.op("MatMul", b.quant(x, 0.2, 5), b.quant(b.const(rng.normal(0, 0.5, (5, 3))), 0.1, 4))
    onnx.save(b.model(out, (20, 6), (20, 3)), tmp_path / "m.onnx")
    imported = qonnx.load(tmp_path / "m.onnx")
    frozen = freeze(imported)
    x = np.random.default_rng(0).normal(0, 1, (20, 6)).astype(np.float32)
    found = explain(imported, frozen, x, golden.trace(frozen, x), execute(tmp_path / "m.onnx", x))
    assert not found.unexplained
