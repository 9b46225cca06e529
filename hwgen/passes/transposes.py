"""Images that are flattened: weights behind take the order in which they are streamed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hwgen.formats import Blocked
from hwgen.ir import Graph, Node
from hwgen.ops import Activation, Add, Affine, Concat, Dense, Multiply, Quantize, Relu, Reshape, Transpose
from hwgen.passes.chain import refused

Order = npt.NDArray[np.int64]
"""The place on the stream of each number of a flattened image."""


def absorb_transposes(graph: Graph) -> Graph:
    """Flatten images in the order that they are streamed in: weights behind take that order instead.

    Transpose, Reshape to vectors, element-wise operations, Dense becomes Reshape, the operations, Dense, with the
    columns of the weights, and parameters per channel, in another order; also where a flattened image forks, and where
    it meets others. Transposes ahead of the first quantizer stay: the host does them. Raises UnsupportedError naming
    what no weights take up.
    """
    types = graph.types
    real = {graph.inputs[0].name}
    turned: dict[str, Node] = {}
    orders: dict[str, Order] = {}
    done: list[Node] = []
    for node in graph.nodes:
        op = node.op
        if real >= set(node.inputs) and not isinstance(op, Quantize):
            real.add(node.output)
            done.append(node)
            continue
        if isinstance(op, Transpose):
            turned[node.output] = node
            continue
        if node.inputs[0] in turned:
            before = turned[node.inputs[0]]
            x = types[before.inputs[0]]
            if not isinstance(op, Reshape) or op.shape != (x.size,):
                raise refused(before, "images are transposed in the middle of the network, and not to be flattened")
            orders[node.output] = before.op.run(np.arange(x.size).reshape(1, *x.shape)).reshape(-1)
            done.append(replace(node, inputs=before.inputs))
            continue
        order = _met(node, [orders.get(tensor) for tensor in node.inputs], [types[t].channels for t in node.inputs])
        if order is not None and len(node.inputs) == 1:
            node = _reordered(node, order)
        if order is not None and not isinstance(op, Dense):
            orders[node.output] = order
        done.append(node)
    if graph.outputs[0] in {*orders, *turned}:
        raise refused(graph.nodes[-1], "it gives a flattened image with no weights behind that could take its order")
    return replace(graph, nodes=tuple(done))


def _met(node: Node, orders: list[Order | None], sizes: list[int]) -> Order | None:
    """The order of what a node reads, of `sizes` channels; None where it is the image's own."""
    if all(order is None for order in orders):
        return None
    found = [np.arange(size) if order is None else order for order, size in zip(orders, sizes, strict=True)]
    if isinstance(node.op, Concat):
        starts = np.cumsum([0, *sizes[:-1]])
        return np.concatenate([order + start for order, start in zip(found, starts, strict=True)])
    if isinstance(node.op, Add | Multiply) and any((order != found[0]).any() for order in found):
        raise refused(node, "it meets a flattened image, which is streamed pixel by pixel, in another order")
    return found[0]


def _reordered(node: Node, order: Order) -> Node:
    """The operation on numbers of which number `i` has moved to place `order[i]`."""
    op = node.op

    def moved(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if len(values) == 1:
            return values
        out = np.empty_like(values)
        out[order] = values
        return out

    if isinstance(op, Reshape) and math.prod(op.shape) == len(order) == op.shape[-1]:
        return node
    if isinstance(op, Activation | Relu):
        return node
    if isinstance(op, Quantize) and len(op.scale) == 1 and not isinstance(op.format, Blocked):
        return node
    if isinstance(op, Affine):
        return replace(node, op=Affine(moved(op.mul), moved(op.add), moved(op.div)))
    if isinstance(op, Dense) and not isinstance(op.format, Blocked):
        weight = np.empty_like(op.weight)
        weight[:, order] = op.weight
        return replace(node, op=replace(op, weight=weight))
    raise refused(node, "it depends on the order of a flattened image, which is streamed pixel by pixel")
