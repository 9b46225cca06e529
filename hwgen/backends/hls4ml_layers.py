"""A frozen graph as HLS layers: for each a C++ function, its constants, types and tables. It needs no hls4ml."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hwgen.backends.hls4ml_cpp import Layer, Table, cpp, plain, word
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Bipolar, Blocked, Fixed, Format, Int, Minifloat
from hwgen.formats.grid import ladder
from hwgen.formats.multiply import lmul_correction, lmul_offset, product_span
from hwgen.golden import proven_line
from hwgen.ir import Fold, Folding, Graph, Node, TensorType
from hwgen.ops import (
    ArgMax,
    BlockQuantize,
    Fix,
    MatVec,
    Pool,
    Requantize,
    Reshape,
    Thresholds,
    Window,
    integer_range,
)
from hwgen.ops import Table as LookUp

MAX_FLOAT = 1 << 53
"""hls4ml writes its own layers' tables by way of float64, which holds integers below this."""

LINE_STEPS = 15
"""Thresholds of more steps than this become multiply, add and shift where that is proven equal."""

LINE_BITS = 24
"""Bits of that slope."""


def layers(graph: Graph, folding: Folding | None = None) -> list[Layer]:
    """The layers of a frozen chain, in order; `folding` as in the native backend (default: one output at a time).

    Raises UnsupportedError naming the node for operations and formats without a template.
    """
    if not graph.is_frozen:
        raise HwgenError(f"graph {graph.name!r} is not frozen: HLS projects are made of integers only (hwgen.freeze)")
    last, made = graph.inputs[0].name, []
    for node in graph.nodes:
        if node.inputs != (last,):
            raise UnsupportedError(f"node {node.name!r} reads {node.inputs}, not {last!r}: only chains become HLS")
        made.append(_layer(node, graph, (folding or {}).get(node.name)))
        last = node.output
    return made


def _layer(node: Node, graph: Graph, fold: Fold | None) -> Layer:
    x, y = graph.types[node.inputs[0]], graph.types[node.output]
    op = node.op
    try:
        if type(op) is MatVec:
            return _matvec(node.name, op, x, y, fold)
        if isinstance(op, Thresholds):
            return _thresholds(node.name, op, x, y)
        if isinstance(op, Requantize):
            return _requantize(node.name, op, x, y)
        if isinstance(op, BlockQuantize):
            return _block_quantize(node.name, op, x, y)
        if isinstance(op, Window):
            return _window(node.name, op, x, y)
        if isinstance(op, Pool):
            return _pool(node.name, op, x, y)
        if isinstance(op, ArgMax):
            return _argmax(node.name, x, y)
        if isinstance(op, Fix):
            constants = {"n": x.size, "lsb": op.lsb, "most": op.format.max}
            return Layer(node.name, "fix", "hwgen_fp32.h", y.shape, plain(op.format), constants)
        if isinstance(op, LookUp):
            return _look_up(node.name, op, x, y)
        if isinstance(op, Reshape):
            # For hls4ml's own dense layer, which finds its width in the shape; it becomes no code.
            return Layer(node.name, "reshape", "", y.shape, plain(x.codes_format))
    except HwgenError as error:
        raise UnsupportedError(f"node {node.name!r} ({op.kind}): {error}") from error
    raise UnsupportedError(f"node {node.name!r} ({op.kind}): the hls4ml backend has no template for this operation")


def _table(name: str, kind: str, values: npt.ArrayLike, fmt: Int | None = None) -> Table:
    array = np.asarray(values, dtype=np.int64)
    return Table(name, kind, array, fmt or Int.holding(int(array.min()), int(array.max())))


def _positions(x: TensorType) -> int:
    return x.size // x.channels


def _matvec(name: str, op: MatVec, x: TensorType, y: TensorType, fold: Fold | None) -> Layer:
    block = _block(op, x)
    chosen = fold or Fold(1, block)
    op.cycles(x, chosen)  # raises where the fold does not divide
    if block % chosen.simd:
        raise HwgenError(f"SIMD must divide the blocks: SIMD={chosen.simd}, blocks of {block}")
    integers = isinstance(x.codes_format, Int | Bipolar | Fixed) and not _is_float(op.weight_format)
    if integers and len(x.shape) == 1 and 1 << y.codes_format.bits <= MAX_FLOAT:
        return _dense(name, op, x, y, chosen)
    weights, w_format = op.weight, op.weight_format
    if not _is_float(w_format):
        weights = op.worth
        w_format = Int.holding(min(-1, int(weights.min())), int(weights.max()))
    table = _table("weights", "weight_t", weights, plain(w_format))
    n_out, n_in = op.weight.shape
    sizes = {"positions": _positions(x), "n_in": int(n_in), "n_out": int(n_out), "pe": chosen.pe, "simd": chosen.simd}
    x_trait, w_trait = _trait(x.codes_format), _trait(w_format)
    elements = [f.block.element if isinstance(f, Blocked) else f for f in (w_format, x.codes_format)]
    span = product_span(elements[0], elements[1], op.multiplier)
    types = {
        "x_format": x_trait,
        "w_format": w_trait,
        "product": _product(op.multiplier, elements[1], x_trait, w_trait, span.bits),
    }
    if op.accumulator == "fp32":
        constants = {**sizes, "block": block, "exponent": op.weight_format.lsb + x.codes_format.lsb}
        types["block_t"] = f"ap_int<{(span.reach * block).bit_length() + 1}>"
        return Layer(name, "matvec_fp32", "hwgen_fp32.h", y.shape, plain(y.codes_format), constants, types, (table,))
    # The accumulator's unit may be coarser than the least product; integer weights are in that unit already.
    least = product_span(op.weight_format, x.codes_format, op.multiplier).exponent
    shift = op.unit(x) - least if _is_float(op.weight_format) else 0
    # Whatever wraps on the way is right in the end, since the accumulator's width holds every sum.
    result = plain(y.codes_format)
    types["block_t"] = f"ap_int<{(span.reach * chosen.simd).bit_length() + 1}>"
    types["accum_t"] = f"ap_int<{result.width + shift}>"
    tables = (table, _table("biases", "bias_t", op.bias))
    return Layer(name, "matvec", "hwgen_matvec.h", y.shape, result, {**sizes, "shift": shift}, types, tables)


def _block(op: MatVec, x: TensorType) -> int:
    """Inputs that share a scale, and whose weights do: all, where neither side comes in blocks."""
    block = x.codes_format.block.size if isinstance(x.codes_format, Blocked) else op.weight.shape[1]
    if isinstance(op.weight_format, Blocked):
        op.weight_format.check_shared(op.weight)
        block = int(np.gcd(block, op.weight_format.block.size))
    return int(block)


def _is_float(fmt: Format) -> bool:
    return isinstance(fmt, Minifloat | Blocked)


def _dense(name: str, op: MatVec, x: TensorType, y: TensorType, fold: Fold) -> Layer:
    """hls4ml's own dense layer, every type stated; bipolar codes enter as they are, with doubled weights."""
    weights, bias = op.worth, op.bias
    if isinstance(x.codes_format, Bipolar):
        weights, bias = 2 * weights, bias - weights.sum(axis=1)
    low, high = int(weights.min()), int(weights.max())
    width = Int.holding(min(low, -1), high).width
    # hls4ml takes 2-bit weights for ternary ones and would read -2 as 1.
    fmt = Int(max(width, 3) if low < -1 else width)
    n_out, n_in = weights.shape
    tables = (_table("weight", "weight_t", weights.T, fmt), _table("bias", "bias_t", bias))
    reuse = (n_in // fold.simd) * (n_out // fold.pe)
    return Layer(name, "dense", "", y.shape, plain(y.codes_format), tables=tables, reuse=reuse)


def _trait(fmt: Format) -> str:
    """The C++ type that tells what codes of `fmt` are worth."""
    if isinstance(fmt, Bipolar):
        return "hwgen::bipolar"
    if isinstance(fmt, Int | Fixed):
        return f"hwgen::integer<{fmt.bits}, {word(fmt.signed)}>"
    if isinstance(fmt, Minifloat):
        flags = f"{word(fmt.has_sign)}, {word(fmt.has_subnormals)}"
        return f"hwgen::minifloat<{fmt.exponent_bits}, {fmt.mantissa_bits}, {flags}>"
    if isinstance(fmt, Blocked):
        return f"hwgen::blocked<{_trait(fmt.block.element)}, {fmt.block.scale.bits}>"
    raise HwgenError(f"the hls4ml backend has no template for {fmt.name}")


def _product(multiplier: str, fmt: Format, x_trait: str, w_trait: str, bits: int) -> str:
    if multiplier == "exact":
        return f"hwgen::exact_product<{x_trait}, {w_trait}, {bits}>"
    assert isinstance(fmt, Minifloat)
    if not fmt.has_sign:
        raise HwgenError(f"L-Mul templates take formats with a sign; {fmt.name} has none")
    if multiplier == "lmul_formula_trunc":
        numbers = f"{lmul_correction(fmt.mantissa_bits)}, {fmt.bias}, {fmt.max_magnitude}, {bits}"
        return f"hwgen::truncated_formula<{x_trait}, {numbers}>"
    return f"hwgen::added_codes<{x_trait}, {lmul_offset(fmt, multiplier)}, {fmt.max_magnitude}, {bits}>"


def _thresholds(name: str, op: Thresholds, x: TensorType, y: TensorType) -> Layer:
    line = _line(op, x) if op.steps > LINE_STEPS and isinstance(op.format, Int) else None
    if line is not None:
        return _requantize(name, line, x, y)
    codes = ladder(op.format)[op.base : op.base + op.steps + 1]
    rows, steps = op.thresholds.shape
    count = Int.holding(0, int(steps))
    return Layer(
        name,
        "thresholds",
        "hwgen_requantize.h",
        y.shape,
        plain(op.format),
        {"positions": _positions(x), "channels": x.channels, "rows": int(rows), "steps": int(steps)},
        {"count_t": cpp(count)},
        (_table("thresholds", "threshold_t", op.thresholds), _table("codes", "code_t", codes, plain(op.format))),
    )


def _look_up(name: str, op: LookUp, x: TensorType, y: TensorType) -> Layer:
    rows, entries = op.table.shape
    constants = {"positions": _positions(x), "channels": x.channels, "rows": int(rows), "entries": int(entries)}
    tables = (_table("codes", "code_t", op.table, plain(op.format)),)
    return Layer(name, "table", "hwgen_requantize.h", y.shape, plain(op.format), constants, tables=tables)


def _line(op: Thresholds, x: TensorType) -> Requantize | None:
    """Multiply, add, shift and clip that equal the thresholds; None where that is not so.

    A slope >= 0 makes both sides monotonic: it is enough that they agree at every threshold and one below it.
    """
    fitted = proven_line(op, x, np.float64)
    if fitted is None:
        return None
    assert isinstance(op.format, Int)
    slope, offset = (np.asarray(part, dtype=np.float64) for part in fitted)
    if slope.max() <= 0:
        return None
    shift = LINE_BITS - int(np.frexp(slope.max())[1])
    if not 0 <= shift <= 62:
        return None
    multiplier = np.rint(np.ldexp(slope, shift)).astype(np.int64)
    addend = np.rint(np.ldexp(offset, shift))
    if np.abs(addend).max() >= MAX_FLOAT:
        return None
    last = op.first + op.steps
    parameters = multiplier, addend.astype(np.int64), np.array([shift])
    line = Requantize(*parameters, "down", op.first, last, op.format, op.scale, op.zero_point)
    try:
        line.infer(x)
    except HwgenError:  # the product would need more bits than are proven
        return None
    low, high = integer_range(x)
    for points in (op.thresholds, op.thresholds - 1):
        at = np.clip(points, low, high).T
        if not np.array_equal(line.run(at), op.run(at)):
            return None
    return line


def _requantize(name: str, op: Requantize, x: TensorType, y: TensorType) -> Layer:
    low, high = integer_range(x)
    parameters = op.multiplier, op.offset, op.shift
    rows = max(part.size for part in parameters)
    multipliers, offsets, shifts = (np.broadcast_to(part, (rows,)) for part in parameters)
    reach = max(-low, high)
    worst = max(reach * int(m) + abs(int(b)) for m, b in zip(multipliers, offsets, strict=True))
    product_bits = worst.bit_length() + 1
    return Layer(
        name,
        "requantize",
        "hwgen_requantize.h",
        y.shape,
        plain(op.format),
        {
            "positions": _positions(x),
            "channels": x.channels,
            "rows": rows,
            "product_bits": product_bits,
            "code_bits": max(product_bits, abs(op.zero_point).bit_length() + 1, op.format.width + 1) + 2,
            "zero_point": op.zero_point,
            "low": op.low,
            "high": op.high,
            "mode": f"hwgen::{op.rounding}",
        },
        {},
        (
            _table("multipliers", "multiplier_t", multipliers),
            _table("offsets", "offset_t", offsets),
            _table("shifts", "shift_t", shifts),
        ),
    )


def _block_quantize(name: str, op: BlockQuantize, x: TensorType, y: TensorType) -> Layer:
    block, fmt = op.format.block, x.codes_format
    if not fmt.signed:
        raise HwgenError(f"blocks are made of signed integers, not of {fmt.name}")
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


def _window(name: str, op: Window, x: TensorType, y: TensorType) -> Layer:
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


def _pool(name: str, op: Pool, x: TensorType, y: TensorType) -> Layer:
    fmt = x.codes_format
    sign_bit = fmt.magnitude_bits if isinstance(fmt, Minifloat) and fmt.has_sign else -1
    constants = {
        "positions": _positions(x),
        "taps": op.taps,
        "channels": y.channels,
        "maximum": op.reduce == "max",
        "sign_bit": sign_bit,
    }
    return Layer(name, "pool", "hwgen_image.h", y.shape, plain(y.codes_format), constants)


def _argmax(name: str, x: TensorType, y: TensorType) -> Layer:
    if not isinstance(x.codes_format, Int | Bipolar | Fixed):
        raise HwgenError(f"the hls4ml backend finds the greatest of integers, not of {x.codes_format.name}")
    constants = {"positions": _positions(x), "channels": x.channels}
    return Layer(name, "argmax", "hwgen_image.h", y.shape, plain(y.codes_format), constants)
