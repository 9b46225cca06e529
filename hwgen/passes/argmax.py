"""Where a final argmax runs: on the hardware if comparing codes is comparing the real numbers, else on the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hwgen.formats import Bipolar, Int
from hwgen.ir import Graph, Node, Op
from hwgen.ops import Activation, Affine, ArgMax, Softmax, TopK
from hwgen.ops.activation import RISING
from hwgen.passes.branches import last_chain
from hwgen.passes.chain import chain, rebuilt, refused, uniform


@last_chain
def split_argmax(graph: Graph) -> Graph:
    """Move a final ArgMax or TopK to the host, from where `absorb_argmax` may take it back once scales are known.

    Raises UnsupportedError naming one that is not the last operation.
    """
    nodes = chain(graph)
    for node in nodes[:-1]:
        if isinstance(node.op, ArgMax | TopK):
            raise refused(node, "it is supported as the last operation only")
    if not nodes or not isinstance(nodes[-1].op, ArgMax | TopK):
        return graph
    return replace(rebuilt(graph, nodes[:-1]), post=(nodes[-1].op,))


@last_chain
def absorb_argmax(graph: Graph) -> Graph:
    """Take a final ArgMax or TopK from the host to the hardware, and drop what never changes which channel is greatest.

    That holds if the codes are integers, all channels have one scale, and only softmax, functions that rise and affine
    operations with one positive factor and one addend for all channels stand between; nothing does ahead of a TopK
    that gives numbers. Otherwise the graph stays as it is.
    """
    nodes = chain(graph)
    last = graph.post[-1] if graph.post else None
    if not isinstance(last, ArgMax | TopK) or (isinstance(last, TopK) and last.give == "codes" and graph.post[:-1]):
        return graph
    if (
        not isinstance(graph.output_type.format, Int | Bipolar)
        or uniform(graph.output_type.scale) is None
        or not _keeps_order(graph.post[:-1])
    ):
        return graph
    taken = {node.name for node in nodes} | set(graph.types)
    kind = last.kind.lower()
    name = next(n for n in (kind, *(f"{kind}_{i}" for i in range(len(taken) + 1))) if n not in taken)
    return replace(rebuilt(graph, [*nodes, Node(name, last, (), name)]), post=())


def _keeps_order(ops: Sequence[Op]) -> bool:
    for op in ops:
        if isinstance(op, Softmax) or (isinstance(op, Activation) and op.function in RISING):
            continue
        if not isinstance(op, Affine):
            return False
        mul, div, add = uniform(op.mul), uniform(op.div), uniform(op.add)
        if mul is None or div is None or add is None or mul / div <= 0:
            return False
    return True
