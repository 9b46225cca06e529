"""What must hold of a graph at each stage."""

from __future__ import annotations

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Bipolar, Blocked, Int, Minifloat
from hwgen.ir import Graph, Node
from hwgen.ops import (
    Activation,
    Add,
    Affine,
    ArgMax,
    BlockQuantize,
    Concat,
    Decode,
    Dense,
    Fix,
    MatVec,
    Multiply,
    Pool,
    Quantize,
    Relu,
    Requantize,
    Reshape,
    Slice,
    Softmax,
    Table,
    Thresholds,
    TopK,
    Transpose,
    Upsample,
    Window,
)
from hwgen.passes.branches import readers
from hwgen.passes.chain import read_type, refused

REAL = (
    Activation,
    Add,
    Affine,
    ArgMax,
    Concat,
    Dense,
    Multiply,
    Pool,
    Quantize,
    Relu,
    Reshape,
    Slice,
    Softmax,
    TopK,
    Transpose,
    Upsample,
    Window,
)
INTEGER = (
    Add,
    ArgMax,
    BlockQuantize,
    Concat,
    Decode,
    Fix,
    MatVec,
    Multiply,
    Pool,
    Requantize,
    Reshape,
    Slice,
    Table,
    Thresholds,
    TopK,
    Upsample,
    Window,
)
JOINS = (Add, Concat, Multiply)
STAGES = ("imported", "frozen")


def verify(graph: Graph, stage: str) -> Graph:
    """`graph` itself, if it keeps the rules of its stage; raises HwgenError or UnsupportedError naming the node.

    imported: real-valued operations on a real-valued input; nothing on the host yet.
    frozen: integer operations on codes; real-valued operations in `pre` and `post` only.
    At both: one input and one output, every tensor is read, only joins read several, every weight is a code of its
    format.
    """
    if stage not in STAGES:
        raise HwgenError(f"unknown stage {stage!r}: one of {', '.join(STAGES)}")
    _check_ways(graph)
    if stage == "imported":
        if graph.input_type.format is not None:
            raise UnsupportedError(f"graph {graph.name!r}: an imported graph takes real numbers, not codes")
        if graph.pre or graph.post:
            raise UnsupportedError(f"graph {graph.name!r}: an imported graph has nothing on the host")
    elif graph.input_type.format is None:
        raise UnsupportedError(f"graph {graph.name!r}: a frozen graph takes codes, not real numbers")
    allowed = REAL if stage == "imported" else INTEGER
    for node in graph.nodes:
        if not isinstance(node.op, allowed):
            raise refused(node, f"it does not belong in {'an imported' if stage == 'imported' else 'a frozen'} graph")
        _check_weights(node)
        if stage == "frozen":
            _check_codes(graph, node)
    for op in (*graph.pre, *graph.post):
        if not isinstance(op, REAL):
            raise UnsupportedError(f"graph {graph.name!r}: {op.kind} cannot run on the host")
    return graph


def _check_ways(graph: Graph) -> None:
    for what, names in (("inputs", [v.name for v in graph.inputs]), ("outputs", list(graph.outputs))):
        if len(names) != 1:
            raise UnsupportedError(f"graph {graph.name!r} has {len(names)} {what} ({', '.join(names)}), not one")
    read = readers(graph)
    for node in graph.nodes:
        if (len(node.inputs) > 1) != isinstance(node.op, JOINS):
            raise refused(node, f"it reads {', '.join(map(repr, node.inputs))}; only joins read several tensors")
        if not read[node.output]:
            raise refused(node, f"nothing reads {node.output!r}, which it writes")
    if not read[graph.inputs[0].name]:
        raise UnsupportedError(f"graph {graph.name!r}: nothing reads the input {graph.inputs[0].name!r}")


def _check_weights(node: Node) -> None:
    if isinstance(node.op, Dense):
        weight, fmt = node.op.weight, node.op.format
    elif isinstance(node.op, MatVec):
        weight, fmt = node.op.weight, node.op.weight_format
    else:
        return
    low, high = fmt.code_range
    if weight.min() < low or weight.max() > high:
        raise refused(node, f"weights {weight.min()}..{weight.max()} are not codes of {fmt.name} ({low}..{high})")


def _check_codes(graph: Graph, node: Node) -> None:
    x = read_type(graph, node).format
    if isinstance(node.op, Window) and any(node.op.padding) and node.op.pad is None:
        raise refused(node, "it pads codes, and no code to do so is given")
    if isinstance(node.op, Pool) and isinstance(x, Minifloat) and node.op.input_format != x:
        raise refused(node, f"a maximum of {x.name} codes needs to know that format (input_format)")
    for kind in (*(graph.types[tensor] for tensor in node.inputs), graph.types[node.output]):
        if not isinstance(kind.format, Int | Bipolar | Minifloat | Blocked):
            raise refused(node, "it reads or writes numbers that are not integer, bipolar, minifloat or block codes")
