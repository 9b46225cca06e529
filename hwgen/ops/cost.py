"""What a folding costs: cycles, exactly, and resources, estimated; and the cheapest folding for an interval."""

from __future__ import annotations

from hwgen.errors import HwgenError
from hwgen.ir import Folding, Graph, Node
from hwgen.ops.matvec import MatVec


def matrix_units(graph: Graph) -> list[Node]:
    """The nodes that have a fold, in order."""
    return [node for node in graph.nodes if isinstance(node.op, MatVec)]


def check_folding(graph: Graph, folding: Folding) -> None:
    """Raises HwgenError unless `folding` has a fold that divides the layer for each matrix unit, and no other."""
    nodes = matrix_units(graph)
    names = [node.name for node in nodes]
    if extra := sorted(set(folding) - set(names)):
        raise HwgenError(f"the folding names {', '.join(extra)}; matrix units are {', '.join(names) or 'none'}")
    for node in nodes:
        if node.name not in folding:
            raise HwgenError(f"node {node.name!r} is a matrix unit and has no fold")
        try:
            node.op.cycles(graph.types[node.inputs[0]], folding[node.name])  # type: ignore[attr-defined]
        except HwgenError as error:
            raise HwgenError(f"node {node.name!r}: {error}") from error
