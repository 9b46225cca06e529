"""QONNX files as Keras tools export them (channels last, quantized biases), against the QONNX executor."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.channels_last import base_wrapped_op
from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
from qonnx.transformation.general import GiveUniqueNodeNames
from qonnx.transformation.infer_shapes import InferShapes

from hwgen import golden
from hwgen.errors import UnsupportedError
from hwgen.frontends import qonnx
from hwgen.ir import Graph
from hwgen.passes import freeze
from tests.oracles import qonnx_executor
from tests.oracles.networks import DOMAIN, Builder

LAST = "qonnx.custom_op.channels_last"
NORM = [np.array([0.5, 1.5, -1.0, 1.25]), np.array([0.25, -0.5, 0.5, 1.0]), np.ones(4), np.array([1.0, 2.0, 0.5, 1.0])]


def weights(b: Builder, *shape: int) -> str:
    rng = np.random.default_rng(len(b.nodes))
    return b.quant(b.const(rng.normal(0, 1, shape)), 0.25, 4.0, narrow=1)


def bias(b: Builder, size: int) -> str:
    return b.quant(b.const(np.linspace(-1.5, 1.25, size)), 0.0625, 8.0)


def relu(b: Builder, tensor: str) -> str:
    return b.quant(b.op("Relu", tensor), 0.5, 4.0, signed=0)


def slide(kernel: int, axes: int, stride: int = 1, pad: int = 0) -> dict[str, Any]:
    return {"kernel_shape": [kernel] * axes, "strides": [stride] * axes, "pads": [pad] * (2 * axes)}


def window(axes: int) -> Callable[[Builder], str]:
    """Channels first: convolutions with a quantized bias, a batch norm, pooling, and a layer of all of it."""

    def build(b: Builder) -> str:
        t = b.quant("x", 0.25, 6.0)
        conv: dict[str, Any] = {**slide(3, axes, pad=1), "dilations": [1] * axes, "group": 1}
        t = b.op("Conv", t, weights(b, 4, 3, *[3] * axes), bias(b, 4), **conv)
        t = relu(b, b.op("BatchNormalization", t, *(b.const(p) for p in NORM), epsilon=1e-3))
        t = b.op("MaxPool", t, **slide(2, axes, 2))
        t = relu(b, b.op("Conv", t, weights(b, 5, 4, *[3] * axes), **{**conv, "pads": [0] * (2 * axes)}))
        t = b.op("Reshape", t, b.const([1, -1], np.int64))
        return b.op("Add", b.op("MatMul", t, weights(b, 5 * (3 if axes == 1 else 6), 6)), bias(b, 6))

    return build


def compared(model: onnx.ModelProto, shape: tuple[int, ...], folder: Path) -> Graph:
    onnx.save(model, folder / "net.onnx")
    graph = freeze(qonnx.load(folder / "net.onnx"))
    x = np.random.default_rng(5).normal(0, 3, (6, *shape)).astype(np.float32)
    want = qonnx_executor.execute(copy.deepcopy(model), x)[model.graph.output[0].name]
    got = golden.predict(graph, x)
    assert np.allclose(got.reshape(want.shape), want, 1e-5, 1e-5)
    assert len(np.unique(want)) > 10
    return graph


@pytest.mark.parametrize(("axes", "moves_input"), [(1, True), (2, False), (2, True)])
def test_networks_that_qonnx_turned_channels_last(
    axes: int, moves_input: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b, sizes = Builder(), (8, 10)[-axes:]
    model = b.model(window(axes)(b), (1, 3, *sizes), (1, 6))
    first = compared(model, (3, *sizes), tmp_path)
    monkeypatch.setattr(base_wrapped_op, "qonnx_make_model", qonnx_executor._make_model)
    made = ModelWrapper(copy.deepcopy(model)).transform(InferShapes())
    made = made.transform(ConvertToChannelsLastAndClean(make_input_channels_last=moves_input))
    made = made.transform(GiveUniqueNodeNames())
    assert sum(node.domain == LAST for node in made.graph.node) == 4
    last = compared(made.model, (*sizes, 3) if moves_input else (3, *sizes), tmp_path)
    kinds = [[node.op.kind for node in graph.nodes if node.op.kind != "Reshape"] for graph in (first, last)]
    assert kinds[0] == kinds[1]


def keras(pool: str, channels: int = 3) -> Callable[[Builder], str]:
    """As Keras converters write it: the input channels last, transposes around each window, weights of Keras' order."""

    def build(b: Builder) -> str:
        t = b.quant("x", 0.25, 6.0)
        if channels == 1:
            t = b.op("Reshape", t, b.const([1, 1, 8, 10], np.int64))
        else:
            t = b.op("Transpose", t, perm=[0, 3, 1, 2])
        kernel = b.op("Transpose", weights(b, 3, 3, channels, 4), perm=[3, 2, 0, 1])
        t = b.op("Transpose", b.op("Conv", t, kernel, **slide(3, 2, pad=1)), perm=[0, 2, 3, 1])
        t = relu(b, b.op("Add", t, bias(b, 4)))
        t = b.op("Mul", t, b.const(np.full((1, 1, 1, 4), 0.5)))
        t = b.quant(t, 0.25, 4.0, signed=0)
        if pool == "MaxPoolNHWC":
            t = b.op(pool, t, domain=DOMAIN, **slide(2, 2, 2))
            t, inner = b.op("Reshape", t, b.const([1, -1], np.int64)), 80
        else:
            t, inner = b.quant(b.op("ReduceMean", t, axes=[1, 2], keepdims=int(pool == "kept")), 0.0625, 8.0), 4
            t = b.op("Flatten", t) if pool == "kept" else t
        return b.op("Add", b.op("MatMul", t, weights(b, inner, 6)), bias(b, 6))

    return build


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pool", ["MaxPoolNHWC", "kept", "dropped"])
def test_networks_as_keras_converters_write_them(pool: str, channels: int, tmp_path: Path) -> None:
    b = Builder()
    model = b.model(keras(pool, channels)(b), (1, 8, 10, channels), (1, 6))
    # qonnx wants to be told what enters MaxPoolNHWC.
    told = [node.input[0] for node in model.graph.node if node.op_type == "MaxPoolNHWC"]
    model.graph.value_info.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 8, 10, 4)) for name in told
    )
    graph = compared(model, (8, 10, channels), tmp_path)
    assert "Transpose" not in [op.kind for op in (*graph.pre, *(node.op for node in graph.nodes))]


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_padding_to_the_same_size(mode: str, tmp_path: Path) -> None:
    b = Builder()
    t = b.quant("x", 0.25, 6.0)
    t = b.op("Conv", t, weights(b, 4, 3, 3, 2), kernel_shape=[3, 2], strides=[2, 1], auto_pad=mode)
    t = b.op("MaxPool", relu(b, t), kernel_shape=[2, 3], strides=[2, 2], auto_pad=mode)
    t = b.op("MatMul", b.op("Flatten", t), weights(b, 4 * 2 * 5, 6))
    compared(b.model(t, (1, 3, 8, 10), (1, 6)), (3, 8, 10), tmp_path)


def test_a_column_made_a_row(tmp_path: Path) -> None:
    b = Builder()
    t = b.op("MatMul", b.op("Transpose", b.quant("x", 0.25, 6.0), perm=[0, 2, 1]), weights(b, 9, 6))
    compared(b.model(b.op("Flatten", t), (1, 9, 1), (1, 6)), (9, 1), tmp_path)


def refusal(build: Callable[[Builder], str], folder: Path, **options: Any) -> str:
    b = Builder()
    onnx.save(b.model(build(b), (1, 3, 8, 10), (1, 3, 8, 10), **options), folder / "net.onnx")
    with pytest.raises(UnsupportedError) as error:
        qonnx.load(folder / "net.onnx")
    return str(error.value)


def test_refused(tmp_path: Path) -> None:
    def bare(b: Builder) -> str:
        return b.op("Conv", b.quant("x", 0.25, 6.0), weights(b, 4, 3, 1, 1), domain=LAST, name="bad")

    def mixed(b: Builder) -> str:
        t = b.op("MaxPool", b.quant("x", 0.25, 6.0), **slide(2, 2))
        return b.op("BatchNormalization", t, *(b.const(p) for p in NORM), domain=LAST, name="bad")

    def unknown(b: Builder) -> str:
        return b.op("MaxPool", b.quant("x", 0.25, 6.0), name="bad", **{**slide(2, 2), "auto_pad": "SAME"})

    def flat(b: Builder) -> str:
        t = b.op("Flatten", b.quant("x", 0.25, 6.0))
        return b.op("MaxPool", t, name="bad", kernel_shape=[2, 2], auto_pad="SAME_UPPER")

    assert refusal(unknown, tmp_path) == "node 'bad' (MaxPool): auto_pad=SAME is not known"
    assert "windows over 2 axes do not fit a tensor of shape (batch, 240)" in refusal(flat, tmp_path)
    assert refusal(bare, tmp_path) == "node 'bad' (Conv): it has no kernel_shape"
    assert "its channels are last, and those of the tensor that it reads are first" in refusal(mixed, tmp_path)
