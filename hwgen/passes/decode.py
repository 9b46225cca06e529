"""Integers where operations take nothing else, behind codes of other formats."""

from __future__ import annotations

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Blocked, Int, Minifloat
from hwgen.ir import Graph, Node, Op, TensorType
from hwgen.ops import Activation, Affine, Decode, Pool, Quantize, Relu
from hwgen.passes.activate import MAX_AUTO_TABLE_BITS
from hwgen.passes.branches import each_chain
from hwgen.passes.chain import chain, rebuilt, refused


@each_chain
def decode_codes(graph: Graph) -> Graph:
    """The same function with a Decode ahead of what wants integers and meets codes of another format.

    Sums over windows are of integers, and maxima of all but blocks. Codes that are quantized again are looked up in a
    table, unless they are blocks or have too many bits for one.
    Raises UnsupportedError naming the operation for codes whose numbers are too wide on a common grid.
    """
    done: list[Node] = []
    x: TensorType = graph.input_type
    for node in chain(graph):
        if x.format is not None and _wants_integers(node.op, x):
            tensor = done[-1].output if done else graph.inputs[0].name
            try:
                worth = Decode(x.format).infer(x)
            except HwgenError as error:
                raise refused(node, f"its input {tensor!r} is no row of integers: {error}") from error
            done.append(Node(f"{node.name}.decode", Decode(x.format), (), f"{node.output}.worth"))
            x = worth
        done.append(node)
        x = node.op.infer(x)
    return rebuilt(graph, done)


def _wants_integers(op: Op, x: TensorType) -> bool:
    if isinstance(x.format, Int):
        return False
    if isinstance(op, Pool):
        return op.reduce == "sum" or not isinstance(x.format, Bipolar | Minifloat)
    again = isinstance(op, Activation | Affine | Quantize | Relu)
    return again and (isinstance(x.format, Blocked) or x.codes_format.bits > MAX_AUTO_TABLE_BITS)
