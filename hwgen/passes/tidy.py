"""Drop what changes nothing: identities, shapes that stay, a quantizer behind an equal one; one scale said once."""

from __future__ import annotations

from dataclasses import replace

from hwgen.ir import Graph, Node, Op
from hwgen.ops import Affine, Quantize, Reshape
from hwgen.passes.branches import each_chain
from hwgen.passes.chain import chain, read_type, rebuilt, uniform


@each_chain
def tidy(graph: Graph) -> Graph:
    """The same function with fewer nodes; stage "imported" in and out."""
    kept: list[Node] = []
    for node in chain(graph):
        node = replace(node, op=_one_scale(node.op))
        same_shape = isinstance(node.op, Reshape) and node.op.shape == read_type(graph, node).shape
        if not (same_shape or _is_identity(node.op) or (kept and _repeats(node.op, kept[-1].op))):
            kept.append(node)
    return rebuilt(graph, kept)


def merge_quantizers(graph: Graph) -> Graph:
    """The same function with one quantizer for all equal ones that read one tensor; stage "imported" in and out.

    Layers that quantize their inputs themselves do so with equal ones where branches start.
    """
    first: dict[tuple[object, ...], str] = {}
    same: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(same.get(tensor, tensor) for tensor in node.inputs))
        op = node.op
        if isinstance(op, Quantize):
            key = node.inputs, op.format, op.scale, op.zero_point, op.rounding
            same[node.output] = first.setdefault(key, node.output)
            if same[node.output] != node.output:
                continue
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), outputs=tuple(same.get(tensor, tensor) for tensor in graph.outputs))


def _one_scale(op: Op) -> Op:
    if isinstance(op, Quantize) and len(op.scale) > 1 and uniform(op.scale) is not None:
        return replace(op, scale=op.scale[:1])
    return op


def _is_identity(op: Op) -> bool:
    return isinstance(op, Affine) and bool((op.mul == op.div).all()) and not op.add.any()


def _repeats(op: Op, before: Op) -> bool:
    """Whether `op` quantizes what `before` has just quantized the same way: every value is a fixed point then."""
    if not (isinstance(op, Quantize) and isinstance(before, Quantize)):
        return False
    return (op.format, op.scale, op.zero_point) == (before.format, before.scale, before.zero_point)
