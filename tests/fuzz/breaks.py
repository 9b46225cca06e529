"""What may be wrong with an ONNX file, one thing at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hwgen.frontends.onnx_nodes import IMPORTERS
from tests.fuzz.files import model
from tests.fuzz.numbers import Rng, choice
from tests.oracles.networks import DOMAIN

STRANGE = (-(2**31), -3, -1, 0, 1, 2, 3, 7, 64)


def _node(made: onnx.ModelProto, rng: Rng) -> onnx.NodeProto:
    return made.graph.node[int(rng.integers(len(made.graph.node)))]


def _attribute(made: onnx.ModelProto, rng: Rng) -> None:
    """Another value of an attribute, of the same kind or another, or none."""
    nodes = [node for node in made.graph.node if node.attribute]
    if not nodes:
        return
    attributes = choice(rng, *nodes).attribute
    one = attributes[int(rng.integers(len(attributes)))]
    name = one.name
    if rng.random() < 0.25:
        attributes.remove(one)
        return
    old = helper.get_attribute_value(one)
    values = [
        int(choice(rng, *STRANGE)),
        float(choice(rng, np.nan, np.inf, -0.5, 0.0, 1.5)),
        "STRANGE",
        [int(n) for n in rng.choice(STRANGE, int(rng.integers(1, 5)))],
    ]
    if isinstance(old, list | tuple) and rng.random() < 0.6:
        values = [[*old, *old[:1]], list(old[:-1]) or [1], [int(choice(rng, *STRANGE)) for _ in old]]
    elif isinstance(old, int) and rng.random() < 0.6:
        values = [int(n) for n in STRANGE]
    attributes.remove(one)
    attributes.append(helper.make_attribute(name, choice(rng, *values)))


def _new_attribute(made: onnx.ModelProto, rng: Rng) -> None:
    name = choice(
        rng,
        "axis",
        "axes",
        "pads",
        "strides",
        "group",
        "ceil_mode",
        "keepdims",
        "transA",
        "transB",
        "alpha",
        "beta",
        "auto_pad",
        "dilations",
        "largest",
        "sorted",
        "training_mode",
        "epsilon",
        "data_layout",
        "perm",
        "to",
        "storage_order",
        "count_include_pad",
        "output_shape",
        "kernel_shape",
        "mode",
        "allowzero",
        "min",
        "max",
        "value",
    )
    node = _node(made, rng)
    if name not in {one.name for one in node.attribute}:
        node.attribute.append(
            helper.make_attribute(name, choice(rng, -1, 0, 1, 2, 3, 0.5, "X", [1], [0, 1], [2, 2, 2], [1.5, 2.0]))
        )


def _initializer(made: onnx.ModelProto, rng: Rng) -> None:
    """Another shape, another kind of number, or strange numbers."""
    if not made.graph.initializer:
        return
    tensor = made.graph.initializer[int(rng.integers(len(made.graph.initializer)))]
    array = np.array(numpy_helper.to_array(tensor))
    kind = int(rng.integers(9))
    if kind == 0:
        array = array * 0
    elif kind == 1:
        array = -array
    elif kind == 2 and array.dtype.kind == "f" and array.size:
        array = array.copy()
        array.reshape(-1)[int(rng.integers(array.size))] = choice(rng, np.nan, np.inf, -np.inf, 1e30, 1e-30, 2.0**-140)
    elif kind == 3:
        array = array.astype(choice(rng, np.int64, np.float64, np.float16, np.int8, np.uint8, bool))
    elif kind == 4:
        array = array.reshape(*array.shape, 1)
    elif kind == 5:
        array = array.reshape(-1)
    elif kind == 6:
        array = np.zeros((0, *array.shape[1:]), array.dtype)
    elif kind == 7 and array.ndim:
        array = np.concatenate([array, array[:1]])
    else:
        array = np.array(choice(rng, 0, 1, -1, 3, 40, 100, 0.3), array.dtype)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _operation(made: onnx.ModelProto, rng: Rng) -> None:
    node = _node(made, rng)
    node.op_type = choice(
        rng,
        *IMPORTERS,
        "Gather",
        "Slice",
        "Shape",
        "Where",
        "LSTM",
        "Pad",
        "Concat",
        "Sum",
        "Constant",
        "Pow",
        "Sqrt",
        "Split",
        "If",
        "Loop",
    )
    if rng.random() < 0.3:
        node.domain = choice(rng, "", DOMAIN, "com.example", "qonnx.custom_op.channels_last")


def _wiring(made: onnx.ModelProto, rng: Rng) -> None:
    """Inputs that are missing, more, in another order, or from anywhere: cycles too."""
    node, names = _node(made, rng), [t for n in made.graph.node for t in (*n.input, *n.output)]
    inputs, kind = list(node.input), int(rng.integers(7))
    if kind == 0:
        inputs = inputs[:-1]
    elif kind == 1:
        inputs = inputs[::-1]
    elif kind == 2:
        inputs.append(choice(rng, *names))
    elif kind == 3 and inputs:
        inputs[int(rng.integers(len(inputs)))] = choice(rng, *names)
    elif kind == 4 and inputs:
        inputs[int(rng.integers(len(inputs)))] = choice(rng, "", "nowhere")
    elif kind == 5:
        node.output[:] = [choice(rng, *names)]
    else:
        inputs = []
    node.input[:] = inputs


def _nodes(made: onnx.ModelProto, rng: Rng) -> None:
    """A node that is missing, or there twice, or without output."""
    place, kind = int(rng.integers(len(made.graph.node))), int(rng.integers(4))
    if kind == 0:
        del made.graph.node[place]
    elif kind == 1:
        made.graph.node.append(made.graph.node[place])
    elif kind == 2:
        del made.graph.node[place].output[:]
    else:
        rest = list(made.graph.node)[::-1]
        del made.graph.node[:]
        made.graph.node.extend(rest)


def _ends(made: onnx.ModelProto, rng: Rng) -> None:
    """Other inputs and outputs of the whole, other shapes of them, other opsets."""
    kind, value = int(rng.integers(8)), made.graph.input[0]
    if kind == 0:
        dims = value.type.tensor_type.shape.dim
        dims[int(rng.integers(len(dims)))].dim_value = int(choice(rng, *STRANGE))
    elif kind == 1:
        del value.type.tensor_type.shape.dim[-1]
    elif kind == 2:
        value.type.tensor_type.shape.dim.add().dim_value = int(choice(rng, 1, 2))
    elif kind == 3:
        value.type.tensor_type.elem_type = choice(rng, TensorProto.INT8, TensorProto.STRING, TensorProto.BOOL)
    elif kind == 4:
        made.graph.output[0].name = choice(rng, *(t for n in made.graph.node for t in (*n.input, *n.output)), "nowhere")
    elif kind == 5:
        made.opset_import[0].version = int(choice(rng, 0, 1, 5, 9, 11, 18, 22, 99))
    elif kind == 6:
        value.type.ClearField("tensor_type")
    else:
        note = onnx.TensorAnnotation(tensor_name=choice(rng, "x", *(t.name for t in made.graph.initializer)))
        note.quant_parameter_tensor_names.add(
            key="finn_datatype",
            value=choice(rng, "INT2", "BIPOLAR", "FLOAT32", "INT0", "UINT99", "FIXED<8,3>", "strange", ""),
        )
        made.graph.quantization_annotation.append(note)


BREAKS: tuple[Callable[[onnx.ModelProto, Rng], None], ...] = (
    _attribute,
    _attribute,
    _attribute,
    _new_attribute,
    _initializer,
    _initializer,
    _operation,
    _wiring,
    _nodes,
    _ends,
)


def broken(seed: int) -> onnx.ModelProto:
    """A random model with one to three things wrong."""
    rng = np.random.default_rng((seed, 1))
    made = copy.deepcopy(model(int(rng.integers(1 << 30)))[0])
    for _ in range(int(choice(rng, 1, 1, 1, 2, 3))):
        if made.graph.node:
            choice(rng, *BREAKS)(made, rng)
    return made
