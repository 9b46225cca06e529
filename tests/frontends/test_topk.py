"""The greatest numbers or their indices, from Brevitas and QONNX: against torch, and against the QONNX executor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from hwgen import golden
from hwgen.errors import UnsupportedError
from hwgen.formats import Int
from hwgen.frontends import qonnx
from hwgen.frontends.brevitas import from_brevitas
from hwgen.ir import TensorType
from hwgen.ops import Affine, Quantize, TopK
from hwgen.passes import freeze
from tests.conftest import chain
from tests.oracles.networks import Builder
from tests.oracles.qonnx_executor import execute


class Net(nn.Module):
    def __init__(self, end: Any) -> None:
        super().__init__()
        self.inp = qnn.QuantIdentity(bit_width=6)
        self.fc = qnn.QuantLinear(8, 7, bias=False, weight_bit_width=4)
        self.end = end

    def forward(self, x: Any) -> Any:
        return self.end(self.fc(self.inp(x)))


ENDS = {
    "indices": (lambda x: torch.topk(x, 3)[1], "indices"),
    "by name": (lambda x: x.topk(3).indices, "indices"),
    "behind a sigmoid": (lambda x: torch.topk(torch.sigmoid(x), 2, dim=1)[1], "indices"),
    "numbers": (lambda x: torch.topk(x, 3)[0], "codes"),
    "numbers by name": (lambda x: x.topk(3, -1).values, "codes"),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends_equal_the_forward(name: str) -> None:
    end, give = ENDS[name]
    torch.manual_seed(0)
    module, x = Net(end), torch.randn(50, 8)
    module(x)
    frozen = freeze(from_brevitas(module.eval(), x))
    last = frozen.nodes[-1].op
    assert isinstance(last, TopK)
    assert last.give == give
    with torch.no_grad():
        want, sums = module(x), module.fc(module.inp(x))
    sums = getattr(sums, "value", sums).numpy()
    got = golden.predict(frozen, x.numpy().astype(np.float64))
    if give == "codes":
        np.testing.assert_allclose(got, getattr(want, "value", want).numpy(), atol=1e-4)
    else:
        # PyTorch may order equal numbers otherwise.
        chosen = np.take_along_axis(sums, got.astype(int), axis=-1)
        np.testing.assert_allclose(chosen, np.take_along_axis(sums, want.numpy(), axis=-1), atol=1e-6)


def both(x: Any) -> Any:
    found = torch.topk(x, 2)
    return found[0] + found[1]


REFUSED = {
    "least": (lambda x: torch.topk(x, 2, largest=False)[1], "the least numbers are not supported; the greatest are"),
    "part": (lambda x: torch.topk(x, 2)[-1], "it takes part -1 of a tensor; of topk, 0 and 1 are supported"),
    "pair": (lambda x: torch.topk(x, 2), "the module must return one tensor, not the pair that topk gives"),
    "axis": (lambda x: torch.topk(x, 2, 0)[1], "axis 0 is not the last axis"),
    "both": (both, "both the greatest numbers and their indices are used"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    end, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        from_brevitas(Net(end).eval(), torch.randn(3, 8))


def write(path: Path, k: int, outputs: list[str], given: str) -> Path:
    b, rng = Builder(), np.random.default_rng(2)
    x = b.op("MatMul", b.quant("x", 1 / 4, 4), b.quant(b.const(rng.normal(0, 0.5, (6, 8))), 0.5, 3))
    b.nodes.append(helper.make_node("TopK", [x, b.const([k], np.int64)], outputs, name="top"))
    kind = onnx.TensorProto.FLOAT if given == "values" else onnx.TensorProto.INT64
    onnx.save(b.model(given, (20, 6), (20, k), output_type=kind), path)
    return path


@pytest.mark.parametrize("given", ["values", "indices"])
@pytest.mark.parametrize("k", [1, 4])
def test_files_equal_the_executor(k: int, given: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", k, ["values", "indices"], given)
    frozen = freeze(qonnx.load(path))
    x = np.random.default_rng(0).normal(0, 1, (20, 6)).astype(np.float32)
    np.testing.assert_allclose(golden.predict(frozen, x), execute(path, x)[given], atol=1e-5)


def test_a_file_that_uses_both_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", 2, ["values", "indices"], "indices")
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("Mul", ["values", "values"], ["squares"]))
    onnx.save(model, path)
    with pytest.raises(UnsupportedError, match=r"\(TopK\): both the greatest numbers and their indices are used"):
        qonnx.load(path)


def test_what_only_the_host_can_order_stays_there() -> None:
    falls = Affine(np.array([-1.0]), np.zeros(1))
    doubles = Affine(np.array([2.0]), np.zeros(1))
    x = np.array([[1.0, 2.5, -1.0, 0.5]])
    for op, between, post in (
        (TopK(2), (doubles,), 0),
        (TopK(2, "codes"), (doubles,), 2),
        (TopK(2), (falls,), 2),
    ):
        steps = [Quantize(Int(4), (0.5,)), Affine(np.array([1.0]), np.array([0.5])), Quantize(Int(4), (0.5,))]
        whole = [*steps, *between, op]
        graph = chain("n", TensorType((4,)), *((f"n{n}", step) for n, step in enumerate(whole)))
        frozen = freeze(graph)
        assert len(frozen.post) == post
        real = x
        for node in graph.nodes:
            real = node.op.run(real)
        np.testing.assert_array_equal(golden.predict(frozen, x), real)
