"""Split off what the host does: everything ahead of the first quantizer, and what is left behind the last codes."""

from __future__ import annotations

from dataclasses import replace

from hwgen.errors import UnsupportedError
from hwgen.ir import Graph, Value
from hwgen.ops import Dense, Quantize, Reshape
from hwgen.passes.branches import first_chain, last
from hwgen.passes.chain import chain, rebuilt, refused


@first_chain
def split_input(graph: Graph) -> Graph:
    """Move the nodes ahead of the first quantizer to `graph.pre`; that quantizer becomes the input's type.

    The input takes the name of the quantizer's tensor, and `graph.input_rounding` its rounding.
    Raises UnsupportedError for a matrix product of numbers that were never quantized.
    """
    nodes = chain(graph)
    for node in nodes:
        if isinstance(node.op, Dense):
            raise refused(node, "it multiplies real numbers: there is no quantizer ahead of it")
        if isinstance(node.op, Quantize):
            break
    else:
        raise UnsupportedError(f"graph {graph.name!r}: it has no quantizer, so nothing of it can be integer hardware")
    index = nodes.index(node)
    split = replace(
        graph,
        inputs=(Value(node.output, graph.types[node.output]),),
        nodes=(),
        outputs=(node.output,),
        pre=tuple(before.op for before in nodes[:index]),
        host_shape=graph.input_type.shape,
        input_rounding=node.op.rounding,
    )
    return rebuilt(split, nodes[index + 1 :])


def split_output(graph: Graph) -> Graph:
    """Move the real-valued operations behind the last integer one to `graph.post`.

    Raises UnsupportedError naming a real-valued node that has an integer one behind it, or if no node is left.
    """
    split = last(graph, _split_last)
    for node in split.nodes:
        if not node.op.frozen:
            raise refused(node, "it works on real numbers in the middle of the network, and no pass could absorb it")
    if not split.nodes:
        raise UnsupportedError(f"graph {graph.name!r}: no layer is left for the hardware")
    return split


def _split_last(part: Graph) -> Graph:
    nodes = chain(part)
    count = len(nodes)
    while count and (not nodes[count - 1].op.frozen or isinstance(nodes[count - 1].op, Reshape)):
        count -= 1
    return replace(rebuilt(part, nodes[:count]), post=(*(node.op for node in nodes[count:]), *part.post))
