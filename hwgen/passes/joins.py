"""Factors and addends ahead of joins: into the weights of sums, or behind the join."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from hwgen.ir import Graph, Node, TensorType
from hwgen.ops import Add, Affine, Concat, Multiply
from hwgen.passes.chain import uniform


def affine_behind_joins(graph: Graph) -> Graph:
    """The same function with affine operations behind the joins that they stand ahead of, where that can be.

    So codes meet. A sum takes one factor for all channels as a weight, a product factors without addends, tensors side
    by side any. Where it cannot be, the join is refused later: real numbers meet.
    """
    while True:
        writers = {node.output: node for node in graph.nodes}
        for node in graph.nodes:
            moved = _moved(node, writers, graph.types)
            if moved is not None:
                gone, behind = moved
                nodes = [one for one in graph.nodes if one is not gone]
                place = nodes.index(node)
                graph = replace(graph, nodes=(*nodes[:place], *behind, *nodes[place + 1 :]))
                break
        else:
            return graph


def _moved(join: Node, writers: dict[str, Node], types: Mapping[str, TensorType]) -> tuple[Node, list[Node]] | None:
    """An affine operation ahead of a join, and the join with what then stands behind it; None where there is none."""
    if not isinstance(join.op, Add | Concat | Multiply):
        return None
    for place, tensor in enumerate(join.inputs):
        ahead = writers.get(tensor)
        if ahead is None or not isinstance(ahead.op, Affine):
            continue
        made = _behind(join, place, ahead.op, types)
        if made is not None:
            op, affine = made
            inputs = (*join.inputs[:place], ahead.inputs[0], *join.inputs[place + 1 :])
            if not (affine.mul != affine.div).any() and not affine.add.any():
                return ahead, [replace(join, op=op, inputs=inputs)]
            codes = replace(join, op=op, inputs=inputs, output=f"{join.output}.codes")
            return ahead, [codes, Node(ahead.name, affine, (codes.output,), join.output)]
    return None


def _behind(
    join: Node, place: int, ahead: Affine, types: Mapping[str, TensorType]
) -> tuple[Add | Concat | Multiply, Affine] | None:
    """The join of what input `place` is without `ahead`, and the operation behind it."""
    op = join.op
    if isinstance(op, Add):
        mul, div = uniform(ahead.mul), uniform(ahead.div)
        weights = list(op.weights or (1.0,) * len(join.inputs))
        factor = Fraction(weights[place]) * Fraction(mul or 0) / Fraction(div or 1)
        if mul is None or div is None or not factor or Fraction(float(factor)) != factor:
            return None
        addend, weights[place] = weights[place] * ahead.add, float(factor)
        return replace(op, weights=tuple(weights)), Affine(np.ones(1), addend)
    if isinstance(op, Multiply):
        return None if ahead.add.any() else (op, Affine(ahead.mul, np.zeros(1), ahead.div))
    sizes = [types[tensor].channels for tensor in join.inputs]

    def whole(values: npt.NDArray[np.float64], rest: float) -> npt.NDArray[np.float64]:
        parts = [np.broadcast_to(values if n == place else rest, size) for n, size in enumerate(sizes)]
        return np.concatenate(parts)

    assert isinstance(op, Concat)
    return op, Affine(whole(ahead.mul, 1.0), whole(ahead.add, 0.0), whole(ahead.div, 1.0))
