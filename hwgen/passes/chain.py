"""Graphs as chains: the shape that every pass takes and gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hwgen.errors import UnsupportedError
from hwgen.ir import Graph, Node, TensorType


def chain(graph: Graph) -> list[Node]:
    """The nodes of a graph in which each reads what the one before it writes, from the only input to the only output.

    Raises UnsupportedError naming the first node, input or output that makes it something else.
    """
    for what, names in (("inputs", [v.name for v in graph.inputs]), ("outputs", list(graph.outputs))):
        if len(names) != 1:
            raise UnsupportedError(f"graph {graph.name!r} has {len(names)} {what} ({', '.join(names)}), not one")
    last = graph.inputs[0].name
    for node in graph.nodes:
        if node.inputs != (last,):
            reads = ", ".join(map(repr, node.inputs))
            raise UnsupportedError(f"node {node.name!r} ({node.op.kind}): reads {reads}, not {last!r}: not a chain")
        last = node.output
    if graph.outputs[0] != last:
        raise UnsupportedError(f"graph {graph.name!r}: the output {graph.outputs[0]!r} is not the last tensor")
    return list(graph.nodes)


def rebuilt(graph: Graph, nodes: Sequence[Node]) -> Graph:
    """`graph` with the chain `nodes` in place of its own; the nodes' inputs are linked anew, in order."""
    last = graph.inputs[0].name
    linked = []
    for node in nodes:
        linked.append(replace(node, inputs=(last,)))
        last = node.output
    return replace(graph, nodes=tuple(linked), outputs=(last,))


def refused(node: Node, reason: str) -> UnsupportedError:
    """The error that names a node, its kind and the reason."""
    return UnsupportedError(f"node {node.name!r} ({node.op.kind}): {reason}")


def read_type(graph: Graph, node: Node) -> TensorType:
    """The type of the tensor that a node of a chain reads."""
    return graph.types[node.inputs[0]]


def uniform(values: Iterable[float]) -> float | None:
    """The one number that all of `values` are, or None."""
    (first, *others) = {float(value) for value in values}
    return None if others else first
