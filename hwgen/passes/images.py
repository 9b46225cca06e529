"""Windows, pooling and flattened images: brought into an order in which integers do all of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Blocked, Int, Minifloat
from hwgen.formats.grid import ladder
from hwgen.ir import Graph, Node, TensorType
from hwgen.ops import Activation, Affine, Dense, Pool, Quantize, Relu, Upsample, Window
from hwgen.passes.branches import each_chain
from hwgen.passes.chain import chain, rebuilt, refused
from hwgen.passes.opposite import opposites


@each_chain
def order_pools(graph: Graph) -> Graph:
    """Move maxima to where they are of codes; stage "imported" in and out.

    A quantizer does not fall, so that it may run ahead of the maximum behind which it stands: fewer bits are compared.
    Blocks are quantized together, so that there the maximum goes ahead instead, to the sums of the matrix product:
    over ReLUs, and over factors, whose signs go into the weights. Raises UnsupportedError where they cannot.
    """
    nodes = chain(graph)
    done: list[Node] = []
    for node in nodes:
        done.append(node)
        if isinstance(node.op, Quantize) and _is_max(done[-2:-1]):
            if isinstance(node.op.format, Blocked):
                _pool_ahead(done, node)
            elif len(node.op.scale) == 1:
                _quantize_ahead(done)
    return rebuilt(graph, done)


@each_chain
def order_upsamples(graph: Graph) -> Graph:
    """Move repeated pixels behind what treats each number alone, so that it works on fewer; stage "imported"."""
    done: list[Node] = []
    for node in chain(graph):
        done.append(node)
        place = len(done) - 1
        while place and isinstance(done[place - 1].op, Upsample) and isinstance(node.op, POINTWISE):
            upsample = done[place - 1]
            # A tensor keeps the name of its last step.
            done[place - 1] = replace(node, output=f"{node.output}.small")
            done[place] = replace(upsample, output=node.output)
            place -= 1
    return rebuilt(graph, done)


POINTWISE = (Activation, Affine, Quantize, Relu)
"""Operations on each number alone, of which some have parameters per channel."""


def _is_max(nodes: list[Node]) -> bool:
    return bool(nodes) and isinstance(nodes[-1].op, Pool) and nodes[-1].op.reduce == "max"


def _quantize_ahead(done: list[Node]) -> None:
    """[..., window, pool, quantizer] to [..., quantizer, window, pool]; a tensor keeps the name of its last step."""
    window, pool, quantizer = done[-3:]
    done[-3:] = [
        replace(quantizer, output=f"{quantizer.output}.whole"),
        window,
        replace(pool, output=quantizer.output),
    ]


def _pool_ahead(done: list[Node], quantizer: Node) -> None:
    """[product, affine and ReLUs, window, pool, quantizer] to [product, window, pool, affine and ReLUs, quantizer]."""
    place = len(done) - 3
    while place and isinstance(done[place - 1].op, Affine | Relu):
        place -= 1
    between, pair = done[place:-3], done[-3:-1]
    signs = np.ones(1)
    for node in between:
        if isinstance(node.op, Affine):
            signs = signs * np.sign(node.op.mul / node.op.div)
    if (signs == 0).any():
        raise refused(quantizer, "a factor ahead of the maximum is zero")
    source = done[place - 1] if place else None
    if (signs < 0).any():
        if source is None or not isinstance(source.op, Dense):
            raise refused(quantizer, "factors ahead of the maximum are negative, with no weights to negate")
        flips = np.broadcast_to(signs < 0, (source.op.weight.shape[0],))
        try:
            done[place - 1] = replace(source, op=flipped(source.op, flips))
        except HwgenError as error:
            raise refused(source, str(error)) from error
        between = _behind_flipped(between, flips, quantizer)
    done[place:-1] = [*pair, *between]


def _behind_flipped(between: list[Node], flips: npt.NDArray[np.bool_], quantizer: Node) -> list[Node]:
    """The same functions of sums of which some are negated: up to the first negative factor of each."""
    made = []
    pending = flips
    for node in between:
        op = node.op
        if isinstance(op, Affine) and pending.any():
            negative = pending & (op.mul / op.div < 0)
            kept = pending & ~negative
            op = Affine(np.where(negative, -op.mul, op.mul), np.where(kept, -op.add, op.add), op.div)
            node, pending = replace(node, op=op), kept
        elif pending.any():
            raise refused(quantizer, "a ReLU ahead of the maximum stands ahead of a negative factor")
        made.append(node)
    return made


def flipped(op: Dense, channels: npt.NDArray[np.bool_]) -> Dense:
    """The product with the sums of some outputs negated, by their weights; exact. Raises as `opposites`."""
    if isinstance(op.format, Int):
        worth = np.where(channels[:, None], op.zero_point - op.weight, op.weight - op.zero_point)
        return replace(op, weight=worth, format=Int.holding(int(worth.min()), int(worth.max())), zero_point=0)
    weight, fmt = opposites(op.weight, op.format, channels)
    return replace(op, weight=weight, format=fmt)


@each_chain
def pad_codes(graph: Graph) -> Graph:
    """Give windows the code that their padding is made of, and maxima of minifloats the format they compare by."""
    nodes = chain(graph)
    made = []
    x: TensorType = graph.input_type
    for node in nodes:
        if isinstance(node.op, Window) and any(node.op.padding) and x.format is not None:
            node = replace(node, op=replace(node.op, pad=_pad(node, node.op, x)))
        if isinstance(node.op, Pool) and node.op.reduce == "max" and isinstance(x.format, Minifloat):
            node = replace(node, op=replace(node.op, input_format=x.format))
        x = node.op.infer(x)
        made.append(node)
    return rebuilt(graph, made)


def _pad(node: Node, op: Window, x: TensorType) -> int:
    fmt = x.codes_format
    if op.fill == "low":
        return int(ladder(fmt)[0]) if isinstance(fmt, Minifloat) else fmt.code_range[0]
    if isinstance(fmt, Bipolar):
        raise refused(node, "it pads with zeros, which bipolar codes have none for")
    if isinstance(fmt, Int) and not fmt.min <= x.zero_point <= fmt.max:
        raise refused(node, f"it pads with zeros, and the zero point {x.zero_point} is no code of {fmt.name}")
    return x.zero_point
