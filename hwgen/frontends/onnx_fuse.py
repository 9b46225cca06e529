"""Activation functions that exporters write as several nodes, put together again; outputs that nothing reads dropped.

Each would be a branch: the function's input is read twice. Only the last node of a pattern is replaced; those that
nothing reads any more are not part of the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hwgen.frontends.onnx_file import OnnxModel, OnnxNode

LEAST_THRESHOLD = 15.0
"""Beyond this softplus(x) is x in float32, up to its last bits, so that exporters may choose between both."""


@dataclass(frozen=True)
class _Graph:
    """The nodes by what they write and by what they read, and the constants of one number."""

    writers: Mapping[str, OnnxNode]
    readers: Mapping[str, list[OnnxNode]]
    numbers: Mapping[str, float]

    def writer(self, tensor: str, *ops: str) -> OnnxNode | None:
        node = self.writers.get(tensor)
        return node if node and node.op in ops else None

    def reader(self, tensor: str, op: str) -> OnnxNode | None:
        """The only node that reads a tensor, if it is of that operation."""
        nodes = self.readers.get(tensor, [])
        return nodes[0] if len(nodes) == 1 and nodes[0].op == op else None

    def scaled(self, tensor: str) -> tuple[str, float]:
        """(tensor, factor) that a product or quotient with one number, or a tensor itself, is."""
        node = self.writer(tensor, "Mul", "Div")
        if node is None or len(node.inputs) != 2:
            return tensor, 1.0
        first, second = node.inputs
        if self.numbers.get(second):
            return first, self.numbers[second] if node.op == "Mul" else 1 / self.numbers[second]
        if first in self.numbers and node.op == "Mul":
            return second, self.numbers[first]
        return tensor, 1.0


def fused(model: OnnxModel) -> OnnxModel:
    """`model` with Silu for x * Sigmoid(x), Gelu for x * (1 + Erf(x / sqrt(2))) / 2, and Softplus for a choice between
    that and x, and TopK with names for those of its outputs alone that are read."""
    graph = _graph(model)
    found: dict[str, OnnxNode] = {}
    for node in model.nodes:
        made = PATTERNS[node.op](graph, node) if node.op in PATTERNS else None
        if made is not None:
            found[made.outputs[0]] = made
    whole = replace(model, nodes=tuple(found.get(node.outputs[0], node) for node in model.nodes))
    return replace(
        whole, nodes=tuple(_named(node, whole, graph) if node.op == "TopK" else node for node in whole.nodes)
    )


def _named(node: OnnxNode, model: OnnxModel, graph: _Graph) -> OnnxNode:
    """A node without names for what nothing reads."""
    used = {*graph.readers, *model.outputs}
    return replace(node, outputs=tuple(name if name in used else "" for name in node.outputs))


def _graph(model: OnnxModel) -> _Graph:
    numbers = {name: float(value.ravel()[0]) for name, value in model.initializers.items() if value.size == 1}
    readers: dict[str, list[OnnxNode]] = {}
    for node in model.nodes:
        value = node.attributes.get("value")
        if node.op == "Constant" and value is not None and np.size(value) == 1:
            numbers[node.outputs[0]] = float(np.ravel(value)[0])
        for tensor in set(node.inputs):
            readers.setdefault(tensor, []).append(node)
    return _Graph({tensor: node for node in model.nodes for tensor in node.outputs}, readers, numbers)


def _silu(graph: _Graph, node: OnnxNode) -> OnnxNode | None:
    for x, gate in (node.inputs, node.inputs[::-1]):
        sigmoid = graph.writer(gate, "Sigmoid")
        if sigmoid and sigmoid.inputs[0] == x:
            return replace(node, op="Silu", inputs=(x,))
    return None


def _gelu(graph: _Graph, erf: OnnxNode) -> OnnxNode | None:
    x, factor = graph.scaled(erf.inputs[0])
    if not math.isclose(factor, math.sqrt(0.5), rel_tol=1e-6):
        return None
    added = graph.reader(erf.outputs[0], "Add")
    if added is None or 1.0 not in [graph.numbers.get(tensor) for tensor in added.inputs]:
        return None
    last, half, has_x = added, 1.0, False
    while not has_x or half != 0.5:
        product = graph.reader(last.outputs[0], "Mul")
        if product is None:
            return None
        other = product.inputs[product.inputs[0] == last.outputs[0]]
        if other in graph.numbers:
            half *= graph.numbers[other]
        else:
            source, factor = graph.scaled(other)
            if has_x or x not in (source, other):
                return None
            has_x, half = True, half * (factor if other != x else 1.0)
        last = product
    return replace(last, op="Gelu", inputs=(x,), attributes={})


def _softplus(graph: _Graph, node: OnnxNode) -> OnnxNode | None:
    chosen, x, otherwise = node.inputs
    greater, softplus = graph.writer(chosen, "Greater"), graph.writer(otherwise, "Softplus")
    if greater is None or softplus is None or softplus.inputs[0] != x or greater.inputs[0] != x:
        return None
    if graph.numbers.get(greater.inputs[1], 0.0) < LEAST_THRESHOLD:
        return None
    return replace(node, op="Softplus", inputs=(x,))


PATTERNS = {"Mul": _silu, "Erf": _gelu, "Where": _softplus}
"""By the operation that a pattern is looked for at."""
