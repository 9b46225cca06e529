"""A frozen graph as HLS layers: for each a C++ function, its constants, types and tables. It needs no hls4ml.

`TEMPLATES` is the whole list, by the operation's type; an operation of one's own is an entry more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from hwgen import ops
from hwgen.backends import hls4ml_codes, hls4ml_units
from hwgen.backends.hls4ml_cpp import Layer, plain, positions, table
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Bipolar, Fixed, Int, Minifloat
from hwgen.ir import Fold, Folding, Graph, Node, Op, TensorType
from hwgen.ops import Add, BlockQuantize, Concat, Fix, Pool, Upsample, Window, integer_range


def layers(graph: Graph, folding: Folding | None = None) -> list[Layer]:
    """The layers of a frozen graph, in order; `folding` as in the native backend (default: one output at a time).

    Raises UnsupportedError naming the node for operations and formats without a template.
    """
    if not graph.is_frozen:
        raise HwgenError(f"graph {graph.name!r} is not frozen: HLS projects are made of integers only (hwgen.freeze)")
    graph.output_type  # noqa: B018  (one, or an error)
    place = {tensor: n for n, tensor in enumerate([graph.inputs[0].name, *(node.output for node in graph.nodes)])}
    return [
        replace(
            _layer(node, graph, (folding or {}).get(node.name)), inputs=tuple(place[tensor] for tensor in node.inputs)
        )
        for node in graph.nodes
    ]


def _layer(node: Node, graph: Graph, fold: Fold | None) -> Layer:
    inputs, y = [graph.types[tensor] for tensor in node.inputs], graph.types[node.output]
    template, join, kind = TEMPLATES.get(type(node.op)), JOINS.get(type(node.op)), node.op.kind
    try:
        if join is not None and len(inputs) == 2:
            return join(node.name, node.op, inputs[0], inputs[1], y)
        if template is not None and len(inputs) == 1:
            return template(node.name, node.op, inputs[0], y, fold)
    except HwgenError as error:
        raise UnsupportedError(f"node {node.name!r} ({kind}): {error}") from error
    count = f" of {len(inputs)} inputs" if len(inputs) > 1 else ""
    raise UnsupportedError(f"node {node.name!r} ({kind}): the hls4ml backend has no template for this operation{count}")


def block_quantize(name: str, op: BlockQuantize, x: TensorType, y: TensorType) -> Layer:
    """Integers to blocks."""
    block, fmt = op.format.block, x.codes_format
    if not fmt.signed:
        raise HwgenError(f"blocks are made of signed integers, not of {fmt.name}")
    if not block.power_scale:
        return _scaled_quantize(name, op, x, y)
    low, high = (math.frexp(float(end))[1] - 1 for end in block.scale.extremes)
    if isinstance(block.element, Minifloat):
        element = block.element
        if not (element.has_sign and element.has_subnormals):
            raise HwgenError(f"elements of the hls4ml backend have a sign and subnormals; {element.name} has not")
        kind = f"{element.exponent_bits}, {element.mantissa_bits}, {element.bias}, {element.max_magnitude}"
        trait = f"hwgen::float_element<{kind}>"
    else:
        least, most = block.element.code_range
        # A shift goes left for the greatest of a block, and further where the window of scales ends below it.
        lift = max(0, block.emax - block.element.lsb, op.lsb - high - block.element.lsb)
        trait = f"hwgen::integer_element<{block.element.bits}, {block.element.lsb}, {least}, {most}, {lift}>"
    return Layer(
        name,
        "block_quantize",
        "hwgen_block_quantize.h",
        y.shape,
        plain(op.format),
        {
            "n": x.size,
            "size": block.size,
            "lsb": op.lsb,
            "emax": block.emax,
            "scale_low": low,
            "scale_high": high,
            "mode": f"hwgen::{op.rounding}",
        },
        {"element": trait},
    )


def _scaled_quantize(name: str, op: BlockQuantize, x: TensorType, y: TensorType) -> Layer:
    """Integers to blocks whose scales have a mantissa: tables of where scales and elements begin."""
    block = op.format.block
    # No more scales than the greatest number of `x` asks for, and one more than that where no number goes.
    beyond = max(abs(end) for end in integer_range(x)) + 1
    scales = max(1, int(np.count_nonzero(op.scale_bounds < beyond)))
    rows = op.element_bounds[: scales + 1]
    constants = {
        "n": x.size,
        "size": block.size,
        "scales": scales,
        "scale_bits": scales.bit_length(),
        "steps": int(rows.shape[1]),
        "element_bits": block.element.bits,
        "packed": isinstance(block.element, Minifloat),
    }
    tables = (
        table("scale_bounds", "scale_bound_t", np.minimum(op.scale_bounds[:scales], beyond)),
        table("element_bounds", "element_bound_t", np.minimum(rows, beyond)),
    )
    return Layer(name, "scaled_quantize", "hwgen_block_quantize.h", y.shape, plain(op.format), constants, tables=tables)


def window(name: str, op: Window, x: TensorType, y: TensorType) -> Layer:
    """The windows of an image, one after the other."""
    pairs = {"kernel": op.kernel, "stride": op.stride, "dilation": op.dilation}
    if any(op.padding) and op.pad is None:
        raise HwgenError("padding of codes needs the code that it is made of")
    constants = {
        **dict(zip(("rows", "columns", "channels"), x.shape, strict=True)),
        **dict(zip(("down", "across"), y.shape[:2], strict=True)),
        **{f"{key}_{axis}": pair[k] for key, pair in pairs.items() for k, axis in enumerate("hw")},
        "pad_top": op.padding[0],
        "pad_left": op.padding[1],
        "pad": op.pad or 0,
    }
    return Layer(name, "window", "hwgen_image.h", y.shape, plain(x.codes_format), constants)


def pool(name: str, op: Pool, x: TensorType, y: TensorType) -> Layer:
    """The maximum or the sum over the taps of windows."""
    fmt = x.codes_format
    sign_bit = fmt.magnitude_bits if isinstance(fmt, Minifloat) and fmt.has_sign else -1
    constants = {
        "positions": positions(x),
        "taps": op.taps,
        "channels": y.channels,
        "maximum": op.reduce == "max",
        "sign_bit": sign_bit,
    }
    return Layer(name, "pool", "hwgen_image.h", y.shape, plain(y.codes_format), constants)


def argmax(name: str, x: TensorType, y: TensorType) -> Layer:
    """The index of the greatest."""
    if not isinstance(x.codes_format, Int | Bipolar | Fixed):
        raise HwgenError(f"the hls4ml backend finds the greatest of integers, not of {x.codes_format.name}")
    constants = {"positions": positions(x), "channels": x.channels}
    return Layer(name, "argmax", "hwgen_image.h", y.shape, plain(y.codes_format), constants)


def upsample(name: str, op: Upsample, x: TensorType, y: TensorType) -> Layer:
    """Each pixel several times."""
    sizes = dict(zip(("rows", "columns", "channels"), x.shape, strict=True))
    constants = {**sizes, "down": op.factors[0], "across": op.factors[1]}
    return Layer(name, "upsample", "hwgen_image.h", y.shape, plain(x.codes_format), constants)


def reshape(name: str, x: TensorType, y: TensorType) -> Layer:
    """For hls4ml's own dense layer, which finds its width in the shape; it becomes no code."""
    return Layer(name, "reshape", "", y.shape, plain(x.codes_format))


def fix(name: str, op: Fix, x: TensorType, y: TensorType) -> Layer:
    """FP32 to fixed point, rounded to odd."""
    constants = {"n": x.size, "lsb": op.lsb, "most": op.format.max}
    return Layer(name, "fix", "hwgen_fp32.h", y.shape, plain(op.format), constants)


def add(name: str, op: Add, a: TensorType, b: TensorType, y: TensorType) -> Layer:
    """The sum of two tensors."""
    types = {"a_format": hls4ml_units.trait(a.codes_format), "b_format": hls4ml_units.trait(b.codes_format)}
    constants = {"n": y.size, "factor_a": op.factors[0], "factor_b": op.factors[1]}
    return Layer(name, "add", "hwgen_join.h", y.shape, plain(y.codes_format), constants, types)


def concat(name: str, op: Concat, a: TensorType, b: TensorType, y: TensorType) -> Layer:
    """Two tensors side by side."""
    constants = {"positions": positions(y), "channels_a": a.channels, "channels_b": b.channels}
    for part, factor, offset in zip("ab", *op.moves(2), strict=True):
        constants |= {f"factor_{part}": factor, f"offset_{part}": offset}
    return Layer(name, "concat", "hwgen_join.h", y.shape, plain(y.codes_format), constants)


Template = Callable[[str, Any, TensorType, TensorType, Fold | None], Layer]
"""(the node's name, its operation, types of input and output, its fold or None) to its layer.

It raises HwgenError, without the node's name, for what it does not carry.
"""

TEMPLATES: dict[type[Op], Template] = {
    ops.MatVec: hls4ml_units.matvec,
    ops.Grouped: hls4ml_units.grouped,
    ops.Thresholds: lambda name, op, x, y, fold: hls4ml_codes.thresholds(name, op, x, y),
    ops.Requantize: lambda name, op, x, y, fold: hls4ml_codes.requantize(name, op, x, y),
    ops.Table: lambda name, op, x, y, fold: hls4ml_codes.look_up(name, op, x, y),
    ops.BlockQuantize: lambda name, op, x, y, fold: block_quantize(name, op, x, y),
    ops.Fix: lambda name, op, x, y, fold: fix(name, op, x, y),
    ops.Window: lambda name, op, x, y, fold: window(name, op, x, y),
    ops.Upsample: lambda name, op, x, y, fold: upsample(name, op, x, y),
    ops.Pool: lambda name, op, x, y, fold: pool(name, op, x, y),
    ops.ArgMax: lambda name, op, x, y, fold: argmax(name, x, y),
    ops.Reshape: lambda name, op, x, y, fold: reshape(name, x, y),
}
"""The template of each operation."""

JOINS: dict[type[Op], Callable[[str, Any, TensorType, TensorType, TensorType], Layer]] = {
    ops.Add: add,
    ops.Concat: concat,
}
"""The template of each operation of two inputs: (name, operation, types of both inputs and of the output)."""
