"""Nodes that ONNX has not are refused by name, whatever is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from hwgen.errors import UnsupportedError
from tests.frontends.test_qonnx import saved, start, weights
from tests.oracles.networks import Builder

NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}

MADE: dict[str, tuple[Callable[[Builder], str], str]] = {
    "kind": (
        lambda b: b.op("Flatten", start(b), name="bad", axis="one"),
        "its attribute 'axis' is STRING, where ONNX has INT",
    ),
    "kind of a list": (
        lambda b: b.op("Transpose", start(b), name="bad", perm=1),
        "its attribute 'perm' is INT, where ONNX has INTS",
    ),
    "kind of a quantizer's": (
        lambda b: b.op("Quant", "x", b.const(1.0), b.const(0.0), b.const(4.0), name="bad", domain="qonnx", signed="no"),
        "its attribute 'signed' is STRING, where ONNX has INT",
    ),
    "missing": (lambda b: b.op("Cast", start(b), name="bad"), "its attribute 'to' is missing"),
    "too few inputs": (lambda b: b.op("Mul", start(b), name="bad"), "it reads 1 tensors, where ONNX has 2 to 2"),
    "too many inputs": (lambda b: b.op("Mul", *[start(b)] * 3, name="bad"), "it reads 3 tensors, where ONNX has 2 to"),
    "windows": (
        lambda b: b.op("Conv", "x", weights(b), name="bad", strides=[1]),
        "windows over 0 axes are not supported; 1 and 2 are",
    ),
    "bounds": (
        lambda b: b.op("Clip", start(b), b.const([0.0, 1.0]), name="bad"),
        "its bounds are one number each, not 2",
    ),
    "sizes": (
        lambda b: b.op("Resize", start(b), "", "", b.const([3.0]), name="bad", **NEAREST),
        "it has 1 sizes for a tensor of shape",
    ),
    "no constant": (
        lambda b: b.op("Sub", start(b), "", name="bad"),
        "it reads the tensor and a constant, or several tensors",
    ),
    "empty weights": (
        lambda b: b.op("Conv", "x", b.quant(b.const(np.zeros((0, 3, 2))), 1.0, 4.0), name="bad"),
        r"its weights, of shape \(0, 3, 2\), are none",
    ),
    "no weights": (
        lambda b: b.op("Gemm", start(b), "", name="bad"),
        "its first operand must be the tensor and its second the weights",
    ),
}


@pytest.mark.parametrize("case", MADE)
def test_nodes_that_onnx_has_not_are_refused(case: str, tmp_path: Path) -> None:
    make, reason = MADE[case]
    b = Builder()
    with pytest.raises(UnsupportedError, match=f"node 'bad' .*{reason}"):
        saved(b.model(make(b), (3, 6), (3, 6)), tmp_path)


@pytest.mark.parametrize("strides", [[1], [1, 1, 1]])
def test_windows_have_a_stride_for_each_axis(strides: list[int], tmp_path: Path) -> None:
    b = Builder()
    weight = b.quant(b.const(np.ones((2, 3, 2, 2))), 1.0, 4.0)
    tensor = b.op("Conv", b.quant("x", 1.0, 4.0), weight, name="bad", strides=strides)
    with pytest.raises(UnsupportedError, match=r"node 'bad' .*windows over 2 axes do not fit a tensor of shape"):
        saved(b.model(tensor, (1, 3, 4, 4), (1, 2, 3, 3)), tmp_path)


def test_what_a_node_writes(tmp_path: Path) -> None:
    b = Builder()
    model = b.model(b.op("Relu", start(b), name="bad"), (3, 6), (3, 6))
    model.graph.node.append(helper.make_node("Neg", ["t0"], ["t1"], name="again"))
    with pytest.raises(UnsupportedError, match=r"node 'again' \(Neg\): it writes 't1', which exists already"):
        saved(model, tmp_path)
    del model.graph.node[-1]
    model.graph.node[-1].output[:] = []
    with pytest.raises(UnsupportedError, match=r"node 'bad' \(Relu\): it writes no tensor"):
        saved(model, tmp_path)


def test_outputs_and_inputs_without_a_name_are_no_cycle(tmp_path: Path) -> None:
    b = Builder()
    tensor = b.quant("x", 1.0, 4.0)
    tensor = b.op("Resize", tensor, "", b.const([1.0, 1.0, 2.0, 1.0]), **NEAREST)
    tensor = b.op("MatMul", b.op("Flatten", tensor), weights(b, 8, 4))
    b.nodes.append(helper.make_node("TopK", [tensor, b.const([2], np.int64)], ["values", "indices"]))
    graph = saved(b.model("indices", (1, 2, 2, 1), (1, 2)), tmp_path)
    assert [node.op.kind for node in graph.nodes][-1] == "TopK"
