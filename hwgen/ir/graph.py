"""The graph: immutable, topologically ordered, typed when it is made, content-hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.ir.op import Op, op_from_json, op_to_json
from hwgen.ir.types import TensorType

JSON_VERSION = 1


@dataclass(frozen=True)
class Node:
    """One operation in a graph: reads the tensors `inputs`, writes the tensor `output`."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class Value:
    """A named tensor that enters the graph."""

    name: str
    type: TensorType


@dataclass(frozen=True)
class Graph:
    """A network.

    inputs, nodes, outputs: the part that becomes hardware; every node stands after those that it reads.
    pre, post: chains of real-valued operations that stay on the host, before the input is encoded and after the
    output is decoded; both are empty until the graph is frozen.
    host_shape: shape of the real numbers that the host starts from, where `pre` changes it; None: the input's.
    input_rounding: how the host rounds when it encodes the input (a name of `hwgen.formats.ROUNDING`).
    """

    name: str
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    pre: tuple[Op, ...] = ()
    post: tuple[Op, ...] = ()
    host_shape: tuple[int, ...] | None = None
    input_rounding: str = "half_even"

    def __post_init__(self) -> None:
        self.types  # noqa: B018  (typing the graph is what checks it)

    @cached_property
    def types(self) -> Mapping[str, TensorType]:
        """The type of every tensor; raises UnsupportedError naming the node that cannot be typed."""
        types = {value.name: value.type for value in self.inputs}
        if len(types) != len(self.inputs):
            raise HwgenError(f"graph {self.name!r} has two inputs of one name")
        names: set[str] = set()
        for node in self.nodes:
            if node.name in names:
                raise HwgenError(f"graph {self.name!r} has two nodes called {node.name!r}")
            names.add(node.name)
            for tensor in node.inputs:
                if tensor not in types:
                    raise HwgenError(f"node {node.name!r} reads {tensor!r}, which nothing before it writes")
            if node.output in types:
                raise HwgenError(f"node {node.name!r} writes {node.output!r}, which exists already")
            try:
                types[node.output] = node.op.infer(*(types[tensor] for tensor in node.inputs))
            except UnsupportedError:
                raise
            except HwgenError as error:
                raise UnsupportedError(f"node {node.name!r} ({node.op.kind}): {error}") from error
        for tensor in self.outputs:
            if tensor not in types:
                raise HwgenError(f"output {tensor!r} of graph {self.name!r} is written by no node")
        return types

    @property
    def input_type(self) -> TensorType:
        """The type of the only input; raises HwgenError if there are more."""
        if len(self.inputs) != 1:
            raise HwgenError(f"graph {self.name!r} has {len(self.inputs)} inputs, not one")
        return self.inputs[0].type

    @property
    def pre_shape(self) -> tuple[int, ...]:
        """Shape of one frame of real numbers as the host receives it."""
        return self.host_shape if self.host_shape is not None else self.input_type.shape

    @property
    def output_type(self) -> TensorType:
        """The type of the only output; raises HwgenError if there are more."""
        if len(self.outputs) != 1:
            raise HwgenError(f"graph {self.name!r} has {len(self.outputs)} outputs, not one")
        return self.types[self.outputs[0]]

    @property
    def is_frozen(self) -> bool:
        """Whether every node and input is integer-only, so that golden model and hardware are defined."""
        return all(node.op.frozen for node in self.nodes) and all(v.type.format for v in self.inputs)

    def consumers(self, tensor: str) -> Iterator[Node]:
        return (node for node in self.nodes if tensor in node.inputs)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values; `graph_from_json` reads it back."""
        return {
            "version": JSON_VERSION,
            "name": self.name,
            "inputs": [{"name": value.name, "type": value.type.to_json()} for value in self.inputs],
            "nodes": [
                {"name": n.name, "inputs": list(n.inputs), "output": n.output, **op_to_json(n.op)} for n in self.nodes
            ],
            "outputs": list(self.outputs),
            "pre": [op_to_json(op) for op in self.pre],
            "post": [op_to_json(op) for op in self.post],
            "host_shape": list(self.host_shape) if self.host_shape is not None else None,
            "input_rounding": self.input_rounding,
        }

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the content, 64 hexadecimal digits: the same network has the same hash on every machine."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def graph_from_json(data: Mapping[str, Any], table: Mapping[str, type[Op]]) -> Graph:
    """The graph that `Graph.to_json` wrote; `table` maps kinds of operations to classes."""
    if data.get("version") != JSON_VERSION:
        raise HwgenError(f"graph JSON has version {data.get('version')!r}; this hwgen reads {JSON_VERSION}")
    nodes = []
    for entry in data["nodes"]:
        fields = {name: value for name, value in entry.items() if name not in ("name", "inputs", "output")}
        nodes.append(Node(entry["name"], op_from_json(fields, table), tuple(entry["inputs"]), entry["output"]))
    return Graph(
        name=data["name"],
        inputs=tuple(Value(v["name"], TensorType.from_json(v["type"])) for v in data["inputs"]),
        nodes=tuple(nodes),
        outputs=tuple(data["outputs"]),
        pre=tuple(op_from_json(op, table) for op in data["pre"]),
        post=tuple(op_from_json(op, table) for op in data["post"]),
        host_shape=tuple(data["host_shape"]) if data["host_shape"] is not None else None,
        input_rounding=data["input_rounding"],
    )
