"""The QONNX importer: what it makes of a file, and the one message for each thing that it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Bipolar, Int
from hwgen.frontends.qonnx import load
from hwgen.ir import Graph
from hwgen.ops import Affine, Dense, Quantize
from hwgen.passes import verify
from tests.oracles.networks import Builder

RNG = np.random.default_rng(31)


def saved(model: onnx.ModelProto, path: Path) -> Graph:
    onnx.save(model, path / "net.onnx")
    return load(path / "net.onnx")


def weights(b: Builder, inner: int = 6, out: int = 4, bits: float = 4.0) -> str:
    return b.quant(b.const(RNG.normal(0, 1, (inner, out))), 0.25, bits)


def start(b: Builder) -> str:
    return b.quant("x", 0.5, 4.0)


def test_a_small_network(tmp_path: Path) -> None:
    b = Builder()
    tensor = b.op("MatMul", start(b), weights(b), name="fc")
    tensor = b.quant(b.op("Relu", tensor, name=""), np.float32(0.1), 3.0, signed=0, mode="FLOOR", zero=2.0)
    graph = saved(b.model(tensor, ("N", 6), ("N", 4)), tmp_path)
    assert verify(graph, "imported") is graph
    assert (graph.name, graph.input_type.shape) == ("net", (6,))
    assert [node.name for node in graph.nodes] == ["Quant_0", "fc", "Relu_3", "Quant_4"]
    assert [node.output for node in graph.nodes] == ["t0", "t2", "t3", "t4"]
    op = graph.nodes[-1].op
    assert isinstance(op, Quantize)
    assert (op.format, op.scale, op.zero_point, op.rounding) == (
        Int(3, is_signed=False),
        (float(np.float32(0.1)),),
        2,
        "down",
    )


def test_weights_get_the_codes_of_float32_arithmetic(tmp_path: Path) -> None:
    b = Builder()
    scale = np.float32(0.1)
    # In float32 each quotient is exactly k + 1/2; in exact arithmetic most are not.
    value = (np.arange(6, dtype=np.float32) + np.float32(0.5)) * scale
    expected = np.clip(np.rint(value / scale), -8, 7).astype(int)
    tensor = b.op("MatMul", start(b), b.quant(b.const(value.reshape(6, 1)), scale, 4.0))
    op = saved(b.model(tensor, (1, 6), (1, 1)), tmp_path).nodes[-1].op
    assert isinstance(op, Dense)
    assert op.weight[0].tolist() == expected.tolist()


def test_scales_per_output_channel_and_a_weight_zero_point(tmp_path: Path) -> None:
    b = Builder()
    scale = RNG.uniform(0.1, 0.2, (4, 1)).astype(np.float32)
    weight = b.quant(b.const(RNG.uniform(0, 3, (4, 6))), scale, 5.0, signed=0, zero=9.0)
    op = saved(b.model(b.op("Gemm", start(b), weight, transB=1), (1, 6), (1, 4)), tmp_path).nodes[-1].op
    assert isinstance(op, Dense)
    assert (op.format, op.zero_point, op.weight.shape) == (Int(5, is_signed=False), 9, (4, 6))
    assert op.scale == tuple(float(s) for s in scale[:, 0])


def test_one_number_in_any_shape_is_one_number(tmp_path: Path) -> None:
    b = Builder()
    tensor = b.op("Add", b.op("Mul", start(b), b.const([[2.0]])), b.const(np.arange(6.0)[None]))
    graph = saved(b.model(tensor, (1, 6), (1, 6)), tmp_path)
    ops = [node.op for node in graph.nodes[1:]]
    assert all(isinstance(op, Affine) for op in ops)
    assert (ops[0].mul.tolist(), ops[1].add.tolist()) == ([2.0], [0, 1, 2, 3, 4, 5])  # type: ignore[attr-defined]


def test_names_are_made_up_where_they_are_missing_or_taken(tmp_path: Path) -> None:
    b = Builder()
    tensor = b.quant("x", 0.5, 4.0)
    b.nodes[0].name = "Relu_1"
    for name in ("", "same", "same"):
        tensor = b.op("Relu", tensor, name=name)
    graph = saved(b.model(tensor, (1, 6), (1, 6)), tmp_path)
    assert [node.name for node in graph.nodes] == ["Relu_1", "Relu_1_", "same", "Relu_3"]


def test_nodes_that_the_output_does_not_need_are_left_out(tmp_path: Path) -> None:
    b = Builder()
    tensor = start(b)
    b.op("LSTM", tensor, tensor, tensor)
    graph = saved(b.model(tensor, (1, 6), (1, 6)), tmp_path)
    assert [node.op.kind for node in graph.nodes] == ["Quantize"]


def test_importing_costs_no_torch_and_no_executor() -> None:
    code = (
        "import sys, hwgen.frontends.qonnx, hwgen.frontends.brevitas, hwgen.passes; "
        "print(*(m for m in ('torch', 'onnx', 'qonnx', 'onnxruntime', 'brevitas') if m in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def then(kind: str, *constants: object, **attributes: object) -> Callable[[Builder], str]:
    """A quantizer, then one node of `kind` with float constants (int64 if they are integers)."""

    def build(b: Builder) -> str:
        inputs = [b.const(c, np.int64 if np.asarray(c).dtype.kind == "i" else np.float32) for c in constants]
        return b.op(kind, start(b), *inputs, name="bad", **attributes)

    return build


def quant(scale: object = 0.5, bits: float = 4.0, **options: object) -> Callable[[Builder], str]:
    def build(b: Builder) -> str:
        tensor = b.quant("x", scale, bits, **options)  # type: ignore[arg-type]
        b.nodes[-1].name = "bad"
        return tensor

    return build


def product(weight: Callable[[Builder], str], kind: str = "MatMul", **attributes: object) -> Callable[[Builder], str]:
    return lambda b: b.op(kind, start(b), weight(b), name="bad", **attributes)


def left(b: Builder) -> str:
    return b.op("MatMul", weights(b), start(b), name="bad")


def gemm_left(b: Builder) -> str:
    return b.op("Gemm", weights(b), start(b), name="bad")


def two_scales(b: Builder) -> str:
    return b.quant(b.const(RNG.normal(0, 1, (6, 4))), RNG.uniform(1, 2, (6, 1)), 4.0)


def nan_weights(b: Builder) -> str:
    tensor = b.quant(b.const(np.full((6, 4), np.nan)), 0.25, 4.0)
    b.nodes[-1].name = "bad"
    return tensor


def constant(kind: str, *values: object, **attributes: object) -> Callable[[Builder], str]:
    """An addend that a node of `kind` computes from constants."""

    def build(b: Builder) -> str:
        return b.op(
            "Add",
            start(b),
            b.op(kind, *(b.const(v) if v is not None else "" for v in values), name="bad", **attributes),
        )

    return build


def dynamic_reshape(b: Builder) -> str:
    tensor = start(b)
    return b.op("Reshape", b.const(np.zeros(6)), b.op("Cast", tensor, to=TensorProto.FLOAT), name="bad")


def batch_norm(**changes: object) -> Callable[[Builder], str]:
    def build(b: Builder) -> str:
        given = {"gamma": np.ones(6), "beta": np.zeros(6), "mean": np.zeros(6), "var": np.ones(6)}
        values = [changes.get(name, value) for name, value in given.items()]
        attributes = {name: value for name, value in changes.items() if name not in given}
        return b.op("BatchNormalization", start(b), *(b.const(v) for v in values), name="bad", **attributes)

    return build


def varying_scale(b: Builder) -> str:
    return b.op("Quant", b.const(np.zeros(6)), start(b), b.const(0.0), b.const(4.0), name="bad", signed=1, narrow=0)


def varying_bound(b: Builder) -> str:
    return b.op("Clip", b.const(np.zeros(6)), start(b), name="bad")


def few_parameters(b: Builder) -> str:
    return b.op("Quant", "x", b.const(0.5), b.const(0.0), name="bad", signed=1, narrow=0)


NAN, INF = float("nan"), float("inf")
REFUSED: dict[str, tuple[Callable[[Builder], str], str]] = {
    "unknown operation": (then("Sin"), r"\(Sin\): this operation is not supported; known: Add, ArgMax"),
    "float weights": (product(lambda b: b.const(np.ones((6, 4)))), "its weights are not quantized: no Quant node"),
    "float NaN weights": (product(lambda b: b.const(np.full((6, 4), NAN))), "its weights hold NaN or infinity"),
    "NaN weights": (product(nan_weights), r"\(Quant\): it quantizes NaN or infinity"),
    "wide weights": (product(lambda b: weights(b, bits=20.0)), "its weights have 20 bits; at most 16 are supported"),
    "scale per input": (product(two_scales), "its weights have a different scale for each input"),
    "weights of rank 1": (
        product(lambda b: b.quant(b.const(np.ones(6)), 0.5, 4.0)),
        r"have shape \(6,\), not that of a",
    ),
    "weights of wrong size": (product(lambda b: weights(b, 5, 4)), "weights take 5 inputs, the tensor has 6"),
    "rows on the left": (left, "a product with the weights on the left needs columns"),
    "gemm on the left": (gemm_left, "its first operand must be the tensor and its second the weights"),
    "transA": (product(weights, "Gemm", transA=1), "transA=1 would exchange the batch and the channels"),
    "zero scale": (quant(0.0), "scales must be positive and finite, not 0.0..0.0"),
    "negative scale": (quant([0.5, -0.5] * 3), r"scales must be positive and finite, not -0.5..0.5"),
    "infinite scale": (quant(INF), "scales must be positive and finite, not inf..inf"),
    "fractional bits": (quant(bits=3.5), "the bit width must be an integer, not 3.5"),
    "too many bits": (quant(bits=17.0), "17 bits; 1 to 16 are supported"),
    "fractional zero point": (quant(zero=0.5), "the zero point must be an integer, not 0.5"),
    "zero points per channel": (
        quant(zero=np.arange(6.0)),
        "one zero point for all channels is supported, not 0.0..5.0",
    ),
    "rounding": (quant(mode="STOCHASTIC"), "unknown rounding mode 'STOCHASTIC': one of ROUND, HALF_EVEN"),
    "narrow bit": (quant(bits=1.0, signed=0, narrow=1), "a narrow range of one unsigned bit has a single code"),
    "bipolar zero point": (quant(bits=1.0, zero=1.0), "one signed bit is bipolar and has no zero point, not 1"),
    "few parameters": (few_parameters, r"it needs 3 parameters behind its input \(scale, zero point, bit width\)"),
    "varying scale": (varying_scale, "its parameters must be constants"),
    "scale of wrong size": (quant(np.ones(5)), r"a constant of shape \(5,\) on a tensor of shape \(batch, 6\)"),
    "NaN addend": (then("Add", np.full(6, NAN)), "a constant operand holds NaN or infinity"),
    "constant of higher rank": (
        then("Mul", np.ones((1, 1, 6))),
        r"a constant of shape \(1, 1, 6\) on a tensor of shape",
    ),
    "division by zero": (then("Div", 0.0), "it divides by zero"),
    "constant divided": (lambda b: b.op("Div", b.const(1.0), start(b), name="bad"), "a constant divided by the tensor"),
    "training": (batch_norm(training_mode=1), "it is in training mode"),
    "variance": (batch_norm(var=-np.ones(6)), r"variance \+ epsilon must be positive, not -0.99"),
    "cast": (then("Cast", to=TensorProto.INT32), "a cast to INT32 would round; only float and double do not"),
    "bounds": (then("Clip", 2.0, 1.0), "its bounds 2.0..1.0 are not in order"),
    "varying bounds": (varying_bound, "its bounds must be constants"),
    "across the batch": (then("Reshape", [2, 3]), r"it reshapes frames of \[6\] to \[2, 3\], across the batch axis"),
    "dynamic shape": (dynamic_reshape, "its shape is not constant: dynamic shapes are not supported"),
    "flatten axis": (then("Flatten", axis=0), "axis 0 does not keep the batch apart; only axis 1 is supported"),
    "squeeze axis": (then("Squeeze", [0]), r"axes \[0\] must name axes behind the batch"),
    "squeeze all": (then("Squeeze"), "must name axes behind the batch"),
    "transpose": (then("Transpose"), r"it permutes the axes of a tensor \[1, 0\]; only moving axes of size 1 is"),
    "softmax axis": (then("Softmax", axis=0), "axis 0 is not the last axis"),
    "argmax axis": (then("ArgMax"), "axis 0 is not the last axis"),
    "last index": (then("ArgMax", axis=1, select_last_index=1), "select_last_index=1 is not supported"),
    "least": (then("TopK", [2], largest=0), "the least numbers are not supported; the greatest are"),
    "unknown constant": (constant("Erf", np.ones(6)), r"\(Erf\): this operation is not supported on constants"),
    "broken constant": (constant("Transpose", np.ones(6), perm=[0, 1]), "its constant cannot be computed: axes don't"),
    "missing constant": (constant("Add", None, np.ones(6)), "an input in the middle is missing"),
    "unknown tensor": (
        lambda b: b.op("Add", start(b), "ghost", name="bad"),
        "it reads 'ghost', which nothing before it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_carried_is_refused_by_name(case: str, tmp_path: Path) -> None:
    build, reason = REFUSED[case]
    b = Builder()
    tensor = build(b)
    with pytest.raises(UnsupportedError, match="node 'bad' .*" + reason) as error:
        saved(b.model(tensor, (3, 6), (3, 6)), tmp_path)
    assert "\n" not in str(error.value)


def test_batch_norm_of_volumes_is_refused(tmp_path: Path) -> None:
    b = Builder()
    tensor = b.op("BatchNormalization", "x", *(b.const(np.ones(3)) for _ in range(4)), name="bad")
    with pytest.raises(UnsupportedError, match=r"it wants images .*, not a tensor of shape \(batch, 3, 2, 2, 2\)"):
        saved(b.model(tensor, (1, 3, 2, 2, 2), (1, 3, 2, 2, 2)), tmp_path)


def test_inputs_and_outputs(tmp_path: Path) -> None:
    def model(shape: tuple[object, ...]) -> onnx.ModelProto:
        b = Builder()
        return b.model(start(b), shape, ("N", 6))

    with pytest.raises(UnsupportedError, match=r"input 'x': the size of axis 1 is 'C'; only the batch may vary"):
        saved(model(("N", "C")), tmp_path)
    with pytest.raises(UnsupportedError, match=r"input 'x': shape \(6,\) has no axis behind the batch"):
        saved(model((6,)), tmp_path)
    two = model(("N", 6))
    two.graph.input.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 6)))
    with pytest.raises(UnsupportedError, match=r"the network has 2 inputs \(x, y\), not one"):
        saved(two, tmp_path)
    two = model(("N", 6))
    two.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 6)))
    with pytest.raises(UnsupportedError, match=r"the network has 2 outputs \(t0, x\), not one"):
        saved(two, tmp_path)
    shapeless = model(("N", 6))
    shapeless.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnsupportedError, match=r"input 'x': its shape is not given"):
        saved(shapeless, tmp_path)
    b = Builder()
    start(b)
    with pytest.raises(UnsupportedError, match=r"output 't1': it does not depend on the input"):
        saved(b.model(b.op("Neg", b.const(np.ones((1, 6)))), (1, 6), (1, 6)), tmp_path)


def test_files_that_are_no_networks(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(HwgenError, match=r"cannot read .*net.onnx: No such file or directory"):
        load(path)
    path.mkdir()
    with pytest.raises(HwgenError, match=r"cannot read .*net.onnx: Is a directory"):
        load(path)
    path.rmdir()
    for content in (b"not a network at all", b"", b"\x08\x07"):
        path.write_bytes(content)
        with pytest.raises(HwgenError, match=r"net.onnx is not an ONNX file, or was cut short"):
            load(path)
    b = Builder()
    whole = b.model(b.op("MatMul", start(b), weights(b)), (1, 6), (1, 4)).SerializeToString()
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(HwgenError, match=r"net.onnx|input 'x'|output |network|node '"):
            load(path)


def test_broken_tensors_and_sparse_ones(tmp_path: Path) -> None:
    b = Builder()
    model = b.model(b.op("Add", start(b), b.const(np.ones(6))), (1, 6), (1, 6))
    model.graph.initializer[-1].raw_data = b"\x00" * 7
    with pytest.raises(HwgenError, match=r"net.onnx: tensor 'c3' cannot be read: "):
        saved(model, tmp_path)
    model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(np.ones(6, np.float32), "c3"))
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [6]))
    with pytest.raises(UnsupportedError, match="sparse initializers are not supported"):
        saved(model, tmp_path)


def test_binary_formats_of_annotations(tmp_path: Path) -> None:
    for datatype, fmt in (
        ("BIPOLAR", Bipolar()),
        ("BINARY", Int(1, is_signed=False)),
        ("INT3", Int(3)),
        ("FLOAT32", None),
    ):
        b = Builder()
        model = b.model(b.op("MatMul", "x", weights(b)), (1, 6), (1, 4))
        note = onnx.TensorAnnotation(tensor_name="x")
        note.quant_parameter_tensor_names.add(key="finn_datatype", value=datatype)
        model.graph.quantization_annotation.append(note)
        first = saved(model, tmp_path).nodes[0].op
        assert (first.format if isinstance(first, Quantize) else None) == fmt
