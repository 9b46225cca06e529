"""Whole networks as others export them, built here node for node: import, freeze, and agree with the executor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hwgen import golden
from hwgen.formats import Bipolar, Int
from hwgen.frontends.qonnx import load
from hwgen.ir import Graph
from hwgen.ops import MatVec, Thresholds
from hwgen.passes import Comparison, explain, freeze
from tests.oracles.networks import Builder
from tests.oracles.qonnx_executor import execute

pytest.importorskip("qonnx")
RNG = np.random.default_rng(23)


def agree(model: onnx.ModelProto, x: np.ndarray, path: Path) -> tuple[Graph, Comparison]:
    onnx.save(model, path)
    imported = load(path)
    frozen = freeze(imported)
    oracle = execute(model, x)
    comparison = explain(imported, frozen, x, golden.trace(frozen, golden.encode(frozen, x)), oracle)
    assert not comparison.unexplained
    same = np.setdiff1d(np.arange(len(x)), comparison.differing)
    output = oracle[model.graph.output[0].name].reshape(len(x), -1)
    mine = golden.predict(frozen, x).reshape(len(x), -1)
    np.testing.assert_allclose(mine[same], output[same], rtol=1e-5, atol=1e-5)
    return frozen, comparison


def norm(b: Builder, tensor: str, size: int) -> str:
    values = (RNG.uniform(0.5, 2, size) * RNG.choice([-1, 1], size), RNG.normal(0, 1, size))
    values = (*values, RNG.normal(0, 9, size), RNG.uniform(5, 60, size))
    return b.op("BatchNormalization", tensor, *(b.const(v) for v in values), epsilon=1e-5, momentum=0.9)


def test_binary_weights_behind_a_computed_reshape(tmp_path: Path) -> None:
    """Initializers as inputs, float pre-processing, a shape computed from the input, a norm spelt out at the end."""
    b = Builder()
    size = b.op("Gather", b.op("Shape", "x"), b.const(0, np.int64), axis=0)
    shape = b.op("Concat", b.op("Unsqueeze", size, b.const([0], np.int64)), b.const([-1], np.int64), axis=0)
    tensor = b.op("Reshape", "x", shape)
    tensor = b.op("Sub", b.op("Mul", tensor, b.const([2.0])), b.const([1.0]))
    tensor = b.quant(tensor, 1.0, 2.0, narrow=1)
    for inner, out in ((64, 16), (16, 16)):
        weight = b.bipolar(b.const(RNG.normal(0, 1, (out, inner))), 1.0)
        tensor = norm(b, b.op("MatMul", tensor, b.op("Transpose", weight, perm=[1, 0])), out)
        tensor = b.quant(tensor, 1.0, 2.0, narrow=1)
    weight = b.bipolar(b.const(RNG.normal(0, 1, (10, 16))), 1.0)
    tensor = b.op("MatMul", tensor, b.op("Transpose", weight, perm=[1, 0]))
    tensor = b.op("Sub", tensor, b.const([0.8]))
    tensor = b.op("Div", tensor, b.op("Pow", b.const([336.3]), b.const([0.5])))
    tensor = b.op("Add", b.op("Mul", tensor, b.const([0.76])), b.const([-1.16]))
    model = b.model(tensor, (1, 1, 8, 8), (1, 10))
    model.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in model.graph.initializer
    )
    x = RNG.random((12, 1, 8, 8)).astype(np.float32)
    frozen, _ = agree(model, x, tmp_path / "net.onnx")
    assert [op.kind for op in frozen.pre] == ["Reshape", "Affine", "Affine"]
    assert [op.kind for op in frozen.post] == ["Affine"] * 4
    assert [n.op.kind for n in frozen.nodes] == ["MatVec", "Thresholds", "MatVec", "Thresholds", "MatVec"]
    assert isinstance(frozen.nodes[0].op, MatVec)
    assert frozen.nodes[0].op.weight_format == Bipolar()


def test_an_annotated_binary_input_and_a_binary_output(tmp_path: Path) -> None:
    """No quantizer at the input, only the annotation that it is bipolar; (x + 1) / 2 ahead of the first product."""
    b = Builder()
    tensor = b.op("Div", b.op("Add", "x", b.const([1.0])), b.const(2.0))
    for inner, out in ((30, 16), (16, 12), (12, 1)):
        scale = np.float32(RNG.uniform(0.5, 9))
        weight = b.quant(b.const(RNG.integers(-1, 2, (out, inner)) * scale), scale, 2.0, narrow=1)
        tensor = b.op("Gemm", tensor, weight, b.const(RNG.normal(0, 1, out)), transB=1)
        if out > 1:
            tensor = b.quant(b.op("Relu", norm(b, tensor, out)), np.float32(RNG.uniform(0.05, 0.5)), 8.0, signed=0)
    tensor = b.bipolar(tensor, 1.0)
    model = b.model(tensor, (50, 30), (50, 1))
    note = onnx.TensorAnnotation(tensor_name="x")
    note.quant_parameter_tensor_names.add(key="finn_datatype", value="BIPOLAR")
    model.graph.quantization_annotation.append(note)
    frozen, _ = agree(model, RNG.choice([-1.0, 1.0], (50, 30)).astype(np.float32), tmp_path / "net.onnx")
    assert (frozen.input_type.format, frozen.output_type.format) == (Bipolar(), Bipolar())
    assert not frozen.pre
    assert not frozen.post


def test_weights_on_the_left_and_columns(tmp_path: Path) -> None:
    b = Builder()
    tensor = b.quant("x", 0.25, 4.0)
    weight = b.quant(b.const(RNG.normal(0, 1, (5, 6))), 0.125, 4.0)
    tensor = b.op("Flatten", b.op("Relu", b.op("MatMul", weight, tensor)))
    model = b.model(b.quant(tensor, 0.5, 4.0, signed=0), (40, 6, 1), (40, 5))
    frozen, comparison = agree(model, RNG.normal(0, 1, (40, 6, 1)).astype(np.float32), tmp_path / "net.onnx")
    assert [n.op.kind for n in frozen.nodes] == ["MatVec", "Requantize"]
    assert comparison.differing == ()


def test_everything_that_moves_numbers_only(tmp_path: Path) -> None:
    b = Builder()
    tensor = b.op("Transpose", "x", perm=[0, 2, 3, 1])
    tensor = b.op("Squeeze", b.op("Unsqueeze", tensor, b.const([1], np.int64)), b.const([1, 4], np.int64))
    tensor = b.op("Identity", b.op("Dropout", b.op("Cast", tensor, to=TensorProto.FLOAT)))
    tensor = b.quant(b.op("Flatten", tensor), 0.25, 4.0, signed=0)
    # Weights stored (in, out, 1), reshaped, transposed twice, sliced, gathered and scaled again.
    weight = b.quant(b.const(RNG.normal(0, 1, (14, 5, 1))), 0.125, 4.0)
    weight = b.op("Mul", b.op("Reshape", weight, b.const([14, 5], np.int64)), b.const(0.5))
    weight = b.op("Slice", weight, b.const([0], np.int64), b.const([12], np.int64), b.const([0], np.int64))
    weight = b.op("Gather", weight, b.const([4, 1, 2, 0, 3], np.int64), axis=1)
    weight = b.op("Transpose", b.op("Transpose", weight, perm=[1, 0]), perm=[1, 0])
    tensor = b.op("Add", b.op("MatMul", tensor, weight), b.op("Neg", b.const(np.arange(5.0) / 16)))
    model = b.model(b.quant(b.op("Clip", tensor, b.const(0.0), b.const(1.0)), 0.0625, 6.0), (20, 1, 3, 4), (20, 5))
    frozen, comparison = agree(model, RNG.random((20, 1, 3, 4)).astype(np.float32), tmp_path / "net.onnx")
    assert [op.kind for op in frozen.pre] == ["Reshape"]
    assert comparison.differing == ()


@pytest.mark.parametrize("kind", ["ArgMax", "TopK", "Softmax"])
def test_ends(kind: str, tmp_path: Path) -> None:
    b = Builder()
    weight = b.quant(b.const(RNG.normal(0, 1, (12, 5))), 0.125, 4.0)
    tensor = b.op("MatMul", b.quant("x", 0.25, 4.0), weight)
    if kind == "TopK":
        b.nodes.append(helper.make_node("TopK", [tensor, b.const([1], np.int64)], ["values", "indices"], axis=1))
        model = b.model("indices", (30, 12), (30, 1), output_type=TensorProto.INT64)
    elif kind == "ArgMax":
        tensor = b.op("ArgMax", b.op("Softmax", tensor, axis=1), axis=1)
        model = b.model(tensor, (30, 12), (30, 1), output_type=TensorProto.INT64)
    else:
        model = b.model(b.op("Softmax", tensor, axis=-1), (30, 12), (30, 5))
    frozen, _ = agree(model, RNG.normal(0, 1, (30, 12)).astype(np.float32), tmp_path / "net.onnx")
    kinds = [n.op.kind for n in frozen.nodes] + [op.kind for op in frozen.post]
    assert kinds == (["MatVec", "Softmax"] if kind == "Softmax" else ["MatVec", "ArgMax"])


def test_alpha_and_beta_of_gemm(tmp_path: Path) -> None:
    b = Builder()
    weight = b.quant(b.const(RNG.normal(0, 1, (12, 5))), 0.125, 4.0)
    bias = b.const(RNG.integers(-9, 9, 5) / 8)
    tensor = b.op("Gemm", b.quant("x", 0.25, 4.0), weight, bias, alpha=0.5, beta=2.0)
    tensor = b.quant(tensor, 0.25, 6.0, mode="FLOOR")
    tensor = b.op("Sub", b.const(3.0), tensor)
    model = b.model(b.quant(tensor, 0.25, 4.0), (30, 12), (30, 5))
    agree(model, RNG.normal(0, 1, (30, 12)).astype(np.float32), tmp_path / "net.onnx")


def test_a_gemm_of_dyadic_constants_is_exact(tmp_path: Path) -> None:
    b = Builder()
    weight = b.quant(b.const(RNG.normal(0, 1, (12, 5))), 0.125, 4.0)
    bias = b.const(RNG.integers(-9, 9, 5) / 8)
    tensor = b.op("Gemm", b.quant("x", 0.25, 4.0), weight, bias, alpha=0.5, beta=2.0)
    tensor = b.op("Sub", b.const(np.arange(5.0)), tensor)
    model = b.model(b.quant(tensor, 0.25, 6.0, mode="FLOOR"), (90, 12), (90, 5))
    frozen, comparison = agree(model, RNG.normal(0, 1, (90, 12)).astype(np.float32), tmp_path / "net.onnx")
    assert comparison.differing == ()
    assert isinstance(frozen.nodes[1].op, Thresholds)


def test_one_signed_bit_is_bipolar_and_one_unsigned_bit_is_not(tmp_path: Path) -> None:
    b = Builder()
    weight = b.quant(b.const(RNG.normal(0, 1, (12, 5))), 0.5, 1.0, signed=1)
    tensor = b.op("MatMul", b.quant("x", 0.25, 1.0, signed=0, kind="IntQuant"), weight)
    model = b.model(tensor, (30, 12), (30, 5))
    frozen, comparison = agree(model, RNG.normal(0, 1, (30, 12)).astype(np.float32), tmp_path / "net.onnx")
    assert comparison.differing == ()
    assert (frozen.input_type.format, frozen.nodes[0].op.weight_format) == (Int(1, is_signed=False), Bipolar())  # type: ignore[attr-defined]


def test_annotated_weights_need_no_quantizer(tmp_path: Path) -> None:
    b = Builder()
    weight = b.const(RNG.integers(-2, 2, (12, 5)))
    model = b.model(b.op("MatMul", b.quant("x", 0.25, 3.0), weight), (30, 12), (30, 5))
    note = onnx.TensorAnnotation(tensor_name=weight)
    note.quant_parameter_tensor_names.add(key="finn_datatype", value="INT2")
    model.graph.quantization_annotation.append(note)
    frozen, _ = agree(model, RNG.normal(0, 1, (30, 12)).astype(np.float32), tmp_path / "net.onnx")
    assert frozen.nodes[0].op.weight_format == Int(2)  # type: ignore[attr-defined]
