"""Read an ONNX file: plain names, attributes and arrays, with every fault of the file reported by its path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.frontends.onnx_schema import STANDARD, check_node

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class OnnxNode:
    """One node: attributes as Python values (bytes decoded, tensors as arrays); absent inputs are ''."""

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def refused(self, reason: str) -> UnsupportedError:
        return UnsupportedError(f"node {self.name!r} ({self.op}): {reason}")


@dataclass(frozen=True)
class OnnxModel:
    """A graph as the file has it.

    inputs: shapes of those inputs that no initializer fills; None or a name where a size is not known.
    quantized: `finn_datatype` annotations of tensors, by tensor.
    """

    name: str
    opset: int
    inputs: Mapping[str, tuple[int | str | None, ...]]
    outputs: tuple[str, ...]
    nodes: tuple[OnnxNode, ...]
    initializers: Mapping[str, Array]
    quantized: Mapping[str, str]


def read_onnx(path: str | Path) -> OnnxModel:
    """The model in the file `path`; raises HwgenError naming the path if it cannot be read as ONNX."""
    # Imported here so that importing hwgen costs nothing.
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(path))
    except OSError as error:
        raise HwgenError(f"cannot read {path}: {error.strerror or error}") from error
    except (DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise HwgenError(f"{path} is not an ONNX file, or was cut short: {_first_line(error)}") from error
    graph = model.graph
    if not graph.node or not graph.output:
        raise HwgenError(f"{path} is not an ONNX file, or was cut short: it holds no graph")
    initializers = {}
    for tensor in graph.initializer:
        initializers[tensor.name] = _array(tensor, path)
    if graph.sparse_initializer:
        raise UnsupportedError(f"{path}: sparse initializers are not supported")
    opset = max((entry.version for entry in model.opset_import if entry.domain in STANDARD), default=1)
    return OnnxModel(
        name=Path(path).stem,
        opset=opset,
        inputs={value.name: _shape(value) for value in graph.input if value.name not in initializers},
        outputs=tuple(value.name for value in graph.output),
        nodes=_nodes(graph, path, opset),
        initializers=initializers,
        quantized={
            entry.tensor_name: pair.value
            for entry in graph.quantization_annotation
            for pair in entry.quant_parameter_tensor_names
            if pair.key == "finn_datatype"
        },
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _array(tensor: Any, path: str | Path) -> Array:
    from onnx import numpy_helper

    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as error:
        raise HwgenError(f"{path}: tensor {tensor.name!r} cannot be read: {_first_line(error)}") from error


def _shape(value: Any) -> tuple[int | str | None, ...]:
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        raise UnsupportedError(f"input {value.name!r}: its shape is not given")
    sizes = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in sizes)


def _nodes(graph: Any, path: str | Path, opset: int) -> tuple[OnnxNode, ...]:
    """Nodes with names: their own where it is unique, else the operation's and a number, as in MatMul_3."""
    given = [node.name for node in graph.node]
    taken = {name for name in given if name}
    used: set[str] = set()
    nodes = []
    for index, node in enumerate(graph.node):
        name = node.name
        if not name or name in used:
            name = f"{node.op_type}_{index}"
            while name in taken or name in used:
                name += "_"
        used.add(name)
        check_node(node, name, opset)
        attributes = {a.name: _attribute(a, path) for a in node.attribute}
        nodes.append(OnnxNode(name, node.op_type, node.domain, tuple(node.input), tuple(node.output), attributes))
    return tuple(nodes)


def _attribute(attribute: Any, path: str | Path) -> Any:
    from onnx import AttributeProto, helper

    if attribute.type == AttributeProto.TENSOR:
        return _array(attribute.t, path)
    value = helper.get_attribute_value(attribute)
    return value.decode(errors="replace") if isinstance(value, bytes) else value
