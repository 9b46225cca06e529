"""What joins and forks cost: lanes, adders, and the queues in which one branch waits for the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from hwgen.formats import Blocked
from hwgen.ir import Node, TensorType
from hwgen.ops.cost_branches import join
from hwgen.ops.cost_fit import cost
from hwgen.ops.cost_window import line_buffer, row_buffer
from hwgen.ops.join import Add, Concat, Multiply
from hwgen.ops.matvec import MatVec
from hwgen.ops.upsample import Upsample
from hwgen.ops.window import Pool, Window
from hwgen.tools.resources import Family, Resources

JOINS = (Add, Concat, Multiply)


def join_lanes(node: Node, inputs: Sequence[TensorType], come: Sequence[int]) -> int:
    """Lanes of a join behind streams of `come` lanes: as many as the widest of them has, so that it keeps their pace.

    Lanes divide blocks, and tensors side by side have lanes that divide the channels of all: the fewest of those that
    are no fewer.
    """
    widest = max(come)
    sizes = [x.format.block.size for x in inputs if isinstance(x.format, Blocked)]
    if isinstance(node.op, Add | Multiply):
        return math.gcd(widest, *sizes)
    whole = math.gcd(*(x.channels for x in inputs), *sizes)
    return next(n for n in range(1, whole + 1) if whole % n == 0 and (n >= widest or n == whole))


def waiting(node: Node, x: TensorType, y: TensorType) -> Fraction:
    """About how much of a frame a layer with the queue before it has taken in and not yet given, at most."""
    op = node.op
    if isinstance(op, Window):
        buffer = line_buffer(op, x, x.channels)
        height, down = x.shape[0], len(buffer.needed)
        return max(Fraction(old + buffer.rows, height) - Fraction(n, down) for n, old in enumerate(buffer.oldest))
    if isinstance(op, MatVec | Pool):
        return min(Fraction(4 * y.channels, y.size), Fraction(3))
    if isinstance(op, Upsample):
        return Fraction(row_buffer(op, x, x.channels).rows, x.shape[0])
    return Fraction(0)


def waits(
    nodes: Sequence[Node], types: Mapping[str, TensorType], roots: Mapping[str, str]
) -> dict[str, tuple[Fraction, ...]]:
    """For each join how much of a frame waits at each of its inputs for the others.

    nodes: those with gateware, in order; roots: the tensor on whose stream each tensor travels.
    """
    held: dict[str, Fraction] = {}
    found = {}
    for node in nodes:
        come = [held.get(roots.get(tensor, tensor), Fraction(0)) for tensor in node.inputs]
        if isinstance(node.op, JOINS):
            found[node.name] = tuple(max(come) - one for one in come)
            held[node.output] = max(come)
        else:
            held[node.output] = come[0] + waiting(node, types[node.inputs[0]], types[node.output])
    return found


def estimate_join(
    node: Node, inputs: Sequence[TensorType], lanes: int, wait: Sequence[Fraction], family: Family
) -> Resources:
    """Resources of a join on `lanes` lanes, with its queues."""
    depths = [max(2, math.ceil(part * x.size / lanes)) for x, part in zip(inputs, wait, strict=True)]
    return cost(join(node.op, inputs, lanes, depths, family), family)
