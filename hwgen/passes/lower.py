"""Turn matrix products of real numbers into integer ones on codes."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Blocked, Int, Minifloat
from hwgen.formats.grid import on_grid
from hwgen.ir import Graph, Node, TensorType
from hwgen.ops import Affine, Dense, Grouped, GroupedDense, MatVec, Quantize
from hwgen.ops.join import Add, Concat, aligned, beside, product_of
from hwgen.ops.matvec import ACCUMULATORS
from hwgen.passes.blocks import narrowed
from hwgen.passes.branches import along, each_chain
from hwgen.passes.chain import chain, read_type, rebuilt, refused, uniform
from hwgen.passes.fix import fix_behind
from hwgen.passes.opposite import opposites


@each_chain
def affine_behind_dense(graph: Graph) -> Graph:
    """Move every affine operation between a quantizer and a matrix product behind that product.

    W(x * mul / div + add) = (W x) * mul / div + W add, for one mul and div for all channels; the weights' own scale
    follows as another affine operation, so that nothing is rounded but W add, once, to float64.
    Raises UnsupportedError if the channels have different factors.
    """
    done: list[Node] = []
    for node in chain(graph):
        moved: list[Node] = []
        if isinstance(node.op, Dense):
            while done and isinstance(done[-1].op, Affine):
                affine = done.pop()
                moved.insert(0, replace(affine, op=_moved(affine, node, node.op), output=f"{affine.output}.moved"))
        if isinstance(node.op, Dense) and moved:
            product = replace(node, op=replace(node.op, scale=(1.0,)), output=f"{node.output}.product")
            scale = Node(f"{node.name}.scale", Affine(np.array(node.op.scale), np.zeros(1)), (), node.output)
            done.extend([product, *moved, scale])
        else:
            done.append(node)
    return rebuilt(graph, done)


def _moved(affine: Node, node: Node, dense: Dense) -> Affine:
    op = affine.op
    assert isinstance(op, Affine)
    mul, div = uniform(op.mul), uniform(op.div)
    if mul is None or div is None:
        raise refused(affine, f"it scales the inputs of {node.name!r} by a different factor in each channel")
    worth = dense.format.decode(dense.weight) - dense.zero_point
    through = np.array([math.fsum(row) for row in worth * dense.reads(op.add)])
    return Affine(np.array([mul]), through, np.array([div]))


def lower_dense(graph: Graph, multiplier: str | None = None, accumulator: str = "exact") -> Graph:
    """Replace every Dense by a MatVec on the codes that it reads, zero points folded in.

    acc = sum (w - zw) (x - zx): zw goes into the weights, whose format then is the narrowest that holds them, and
    zx * sum (w - zw) into the bias. The scale of the sum is the product of both scales, in float64, which is exact
    for float32 parameters. multiplier: see MatVec; None: what each Dense has.
    accumulator: see MatVec; "fp32" is for the layers that read blocks, with a Fix ahead of what follows if a quantizer
    does, and others add exactly.
    Raises UnsupportedError for an input that is not codes, or has a scale per channel, or operands that the
    multiplier does not take; HwgenError for an unknown accumulator, or "fp32" where no layer reads blocks.
    """
    if accumulator not in ACCUMULATORS:
        raise HwgenError(f"unknown accumulator {accumulator!r}: one of {', '.join(ACCUMULATORS)}")
    lowered = along(graph, lambda part: _lowered(part, multiplier, accumulator), _joined)
    made = [node.op for node in lowered.nodes if isinstance(node.op, MatVec)]
    if accumulator == "fp32" and all(op.accumulator == "exact" for op in made):
        first = next((node for node in graph.nodes if isinstance(node.op, Dense)), graph.nodes[0])
        found = read_type(graph, first).format
        name = found.name if found else "real numbers"
        raise refused(
            first, f"accumulator 'fp32' adds up block after block; it reads {name}, and no layer reads blocks"
        )
    return lowered


def _lowered(part: Graph, multiplier: str | None, accumulator: str) -> Graph:
    """One chain of `lower_dense`."""
    nodes = chain(part)
    lowered = []
    for index, node in enumerate(nodes):
        if not isinstance(node.op, Dense):
            lowered.append(node)
            continue
        op = _matvec(part, node, node.op, multiplier or node.op.multiplier, accumulator)
        lowered.append(replace(node, op=op))
        fix = fix_behind(lowered[-1], read_type(part, node), nodes[index + 1 :])
        lowered += [fix] if fix else []
    return rebuilt(part, lowered)


def _joined(node: Node, types: tuple[TensorType, ...]) -> Node:
    """A join of codes: a sum gets the factors that bring its inputs to one scale."""
    for tensor, kind in zip(node.inputs, types, strict=True):
        if kind.format is None:
            raise refused(node, f"its input {tensor!r} is real numbers: no quantizer stands directly ahead of it")
    try:
        if isinstance(node.op, Add):
            return replace(node, op=aligned(types, node.op.weights))
        return replace(node, op=beside(types) if isinstance(node.op, Concat) else product_of(types))
    except HwgenError as error:
        raise refused(node, f"of {' and '.join(map(repr, node.inputs))}: {error}") from error


def _matvec(graph: Graph, node: Node, op: Dense, multiplier: str, accumulator: str) -> MatVec:
    x = read_type(graph, node)
    if x.format is None:
        raise refused(node, f"its input {node.inputs[0]!r} is real numbers: no quantizer stands directly ahead of it")
    scale = uniform(x.scale)
    if scale is None:
        raise refused(node, "its input has a different scale in each channel")
    if isinstance(op, GroupedDense) and accumulator == "fp32" and isinstance(x.format, Blocked):
        try:
            op = op.expanded()
        except HwgenError as error:
            raise refused(node, str(error)) from error
    weight, fmt = op.weight, op.format
    if op.zero_point:
        if not isinstance(fmt, Int):
            raise refused(node, f"weights of {fmt.name} have no zero point, not {op.zero_point}")
        weight, fmt = weight - op.zero_point, holding(weight - op.zero_point)
    if isinstance(fmt, Blocked):
        weight, fmt = narrowed(weight, fmt)
    if x.zero_point and not isinstance(x.format, Int):
        raise refused(node, f"an input of {x.format.name} has no zero point, not {x.zero_point}")
    if accumulator == "fp32" and isinstance(x.format, Blocked):
        if multiplier != "exact":
            raise refused(node, f"accumulator 'fp32' adds up exact products, not those of {multiplier}")
        zero = np.zeros(1, dtype=np.int64)
        return MatVec(weight, fmt, zero, tuple(scale * s for s in op.scale), x.format, accumulator="fp32")
    worth = on_grid(fmt, weight)
    # Integer weights stay the numbers that they are; of others no layer uses the whole grid.
    shift = 0 if multiplier != "exact" or isinstance(fmt, Int | Bipolar) else _common_zeros(worth)
    bias = -x.zero_point * (worth >> shift).sum(axis=1)
    input_format = None if isinstance(x.format, Int) else x.format
    if multiplier != "exact" and not (isinstance(fmt, Minifloat) and fmt == x.format):
        raise refused(node, f"{multiplier} multiplies minifloats of one format, not {fmt.name} by {x.format.name}")
    made = MatVec(weight, fmt, bias, (1.0,), input_format, multiplier, shift)
    if isinstance(op, GroupedDense):
        made = Grouped(weight, fmt, bias, (1.0,), input_format, multiplier, shift, groups=op.groups, taps=op.taps)
    # A unit of the accumulator is a power of two, so that no scale is rounded but by its own product.
    unit = 2.0 ** made.unit(x)
    return replace(made, scale=tuple(scale * s * unit for s in op.scale))


def _common_zeros(worth: npt.NDArray[np.int64]) -> int:
    """The power of two that all numbers are multiples of; 0 where all are 0."""
    bits = int(np.bitwise_or.reduce(worth, axis=None))
    return (bits & -bits).bit_length() - 1 if bits else 0


def holding(worth: npt.NDArray[np.int64]) -> Int:
    """The narrowest integer format that holds all of `worth`; at least one bit."""
    return Int.holding(int(worth.min()), int(worth.max()))


def negated(op: MatVec, channels: npt.NDArray[np.bool_]) -> MatVec:
    """`op` with the sums of some output channels negated, by their weights and bias; raises as `opposites`."""
    weight, fmt = opposites(op.weight, op.weight_format, channels)
    return replace(op, weight=weight, weight_format=fmt, bias=np.where(channels, -op.bias, op.bias))


@each_chain
def absorb_bias(graph: Graph) -> Graph:
    """Move addends that are whole multiples of the accumulator's scale into the bias of the MatVec ahead of them.

    In the middle of the network only exact multiples move. Behind the last product, where a remainder would be left
    to the host, an addend also counts as a multiple if it is the float32 rounding of one, as the biases that
    quantization-aware training exports are: scale and product each rounded to float32, so 2^-22 of it at most, and
    below 2^20 units, where that is less than a quarter of one.
    """
    given = chain(graph)
    last = max((i for i, node in enumerate(given) if isinstance(node.op, MatVec)), default=0)
    trailing = not any(isinstance(node.op, Quantize) for node in given[last:])
    nodes: list[Node] = []
    for node in given:
        before = nodes[-1] if nodes else None
        if (
            before
            and isinstance(before.op, MatVec)
            and isinstance(node.op, Affine)
            and before.op.accumulator == "exact"
        ):
            bias = _whole(node.op, before.op, robust=trailing and before.name == given[last].name)
            if bias is not None:
                nodes[-1] = replace(before, op=replace(before.op, bias=before.op.bias + bias), output=node.output)
                continue
        nodes.append(node)
    return rebuilt(graph, nodes)


def _whole(op: Affine, matvec: MatVec, robust: bool) -> npt.NDArray[np.int64] | None:
    """The addend in units of the accumulator, or None unless it is whole in every channel and nothing is scaled."""
    if (op.mul != op.div).any():
        return None
    out = matvec.weight.shape[0]
    add, scale = np.broadcast_to(op.add, (out,)), np.broadcast_to(np.array(matvec.scale), (out,))
    bias = []
    for value, unit in zip(add, scale, strict=True):
        count = Fraction(float(value)) / Fraction(float(unit))
        near = round(count)
        if count != near and not (robust and abs(near) < 1 << 20 and abs(count - near) * (1 << 22) <= abs(count)):
            return None
        bias.append(near)
    if max(map(abs, bias)) >= 1 << 52:
        return None
    return np.array(bias, dtype=np.int64)
