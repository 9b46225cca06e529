"""Whole networks: what an accelerator must compute, bit for bit. Codes in, codes out, integers only.

`run`, `trace` and `predict` execute a frozen graph. Every operation is defined by its own `run` on int64; here the
same numbers are computed faster: integers ride on floating-point BLAS where every partial sum is proven to stay below
2^24 (float32) or 2^53 (float64), and thresholds become one multiply-add and a floor where that is proven equal. Where
a network needs wider integers, int64 carries them, and matrix products ride on BLAS in pieces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import ROUNDING, Bipolar, Blocked, Codes, Int, Real
from hwgen.formats.grid import ladder, on_grid
from hwgen.golden.grouped import grouped_kernel
from hwgen.golden.packed import packed_columns, unpacked
from hwgen.golden.singles import fix_kernel, fp32_kernel
from hwgen.golden.wide import wide_kernel, worth_of_codes
from hwgen.ir import Array, Graph, Node, TensorType
from hwgen.ops import Add, Concat, Fix, Grouped, MatVec, Pool, Requantize, Thresholds, Window, integer_range
from hwgen.ops.window import windows

Carrier = npt.NDArray[Any]
Kernel = Callable[..., Any]
Kind = type[np.float32] | type[np.float64] | type[np.int64]

EXACT: dict[Kind, int] = {np.float32: 1 << 24, np.float64: 1 << 53, np.int64: 1 << 63}
"""Types that carry integers, and the magnitude below which they carry every one."""

MAX_HELD = 1 << 19
"""The most numbers of one tensor that `run` has in hand at a time, so that they stay in the cache: of larger batches a
few frames after the other."""

MAX_TABLE = 1 << 24
"""The most entries of a look-up table over a layer's inputs."""


def run(graph: Graph, x: npt.ArrayLike) -> Codes:
    """Output codes of a frozen graph, int64 of shape (frames, *output shape).

    `x`, of shape (frames, *input shape) or one frame without the first axis: input codes if its type is an integer
    one, real numbers (first taken through the host's part and encoded, see `encode`) if it is a floating-point one.
    Raises HwgenError for a wrong shape, a code outside the input's format, NaN or infinity, or a graph not frozen.
    """
    steps, carrier = _plan(graph)
    codes = input_codes(graph, x)
    step = max(1, MAX_HELD // max(kind.size for kind in graph.types.values()))
    parts = []
    for start in range(0, max(1, len(codes)), step):
        held = {graph.inputs[0].name: codes[start : start + step].astype(carrier)}
        for one in steps:
            held[one.output] = one.kernel(*(held[name] if kept else held.pop(name) for name, kept in one.inputs))
        parts.append(np.asarray(held[graph.outputs[0]], dtype=np.int64))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def trace(graph: Graph, x: npt.ArrayLike) -> dict[str, Codes]:
    """The codes of every tensor by its name, the input included; `x` as in `run`."""
    steps, carrier = _plan(graph)
    codes = input_codes(graph, x)
    tensors = {graph.inputs[0].name: codes}
    held = {graph.inputs[0].name: codes.astype(carrier)}
    for one in steps:
        value = one.kernel(*(held[name] if kept else held.pop(name) for name, kept in one.inputs))
        held[one.output] = value
        tensors[one.output] = np.asarray(value, dtype=np.int64)
    return tensors


def encode(graph: Graph, x: npt.ArrayLike) -> Codes:
    """Input codes of real numbers `x` (frames, *shape): what the host does before the accelerator (`graph.pre`)."""
    real = np.asarray(x, dtype=np.float64)
    if not np.isfinite(real).all():
        raise HwgenError("the input holds NaN or infinity")
    shape = graph.pre_shape
    if real.shape != shape and real.shape[1:] != shape:
        raise HwgenError(f"the input has shape {real.shape}; the network takes (frames, {_sizes(shape)})")
    real = real.reshape(-1, *shape)
    for op in graph.pre:
        real = op.run(real)
    return graph.input_type.encode(real, graph.input_rounding)


def predict(graph: Graph, x: npt.ArrayLike) -> Real:
    """What the whole network gives: run on codes, decoded, and taken through the host's last part (`graph.post`)."""
    return finish(graph, run(graph, x))


def finish(graph: Graph, codes: npt.ArrayLike) -> Real:
    """Real outputs (frames, *shape) from an accelerator's output codes: decoding and `graph.post`."""
    real: Array = graph.output_type.decode(np.asarray(codes, dtype=np.int64))
    for op in graph.post:
        real = op.run(real)
    return np.asarray(real, dtype=np.float64)


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def input_codes(graph: Graph, x: npt.ArrayLike) -> Codes:
    """What `run` takes, checked, as codes (frames, *input shape)."""
    array = np.asarray(x)
    if array.dtype.kind == "f":
        return encode(graph, array)
    if array.dtype.kind not in "iub":
        raise HwgenError(f"the input is an array of {array.dtype}; codes are integers, real inputs are floats")
    kind = graph.input_type
    if array.shape == kind.shape:
        array = array[None]
    if array.shape[1:] != kind.shape or array.ndim != len(kind.shape) + 1:
        raise HwgenError(f"the input has shape {array.shape}; the network takes (frames, {_sizes(kind.shape)})")
    codes = array.astype(np.int64)
    if codes.size:
        low, high = kind.codes_format.code_range
        least, greatest = codes.min(), codes.max()
        if least < low or greatest > high:
            raise HwgenError(
                f"the input's codes {least}..{greatest} leave the range {low}..{high} of {kind.codes_format.name}"
            )
        if not kind.codes_format.is_number(codes).all():
            raise HwgenError(f"the input's codes of {kind.codes_format.name} hold NaN or infinity")
        if isinstance(kind.codes_format, Blocked):
            kind.codes_format.check_shared(codes)
    return codes


@dataclass(frozen=True)
class _Step:
    """One node. inputs: the tensors that it reads, and whether one is kept for a later node that reads it too."""

    kernel: Kernel
    inputs: tuple[tuple[str, bool], ...]
    output: str


@lru_cache(maxsize=64)
def _plan(graph: Graph) -> tuple[tuple[_Step, ...], Kind]:
    """The steps of a run, and the type that carries their integers."""
    if not graph.is_frozen:
        raise HwgenError(f"graph {graph.name!r} is not frozen: the golden model runs integers only (hwgen.freeze)")
    graph.input_type, graph.output_type  # noqa: B018  (one of each, or an error)
    bound = max((_magnitude(node, graph) for node in graph.nodes), default=1)
    carrier = _carrier(bound)
    readers = Counter([*graph.outputs, *(tensor for node in graph.nodes for tensor in node.inputs)])
    left = Counter(readers)
    steps = []
    for node in graph.nodes:
        kernel = _kernel(node, graph, carrier)
        if any(readers[tensor] > 1 for tensor in node.inputs):
            kernel = _keeping(kernel)
        inputs = []
        for tensor in node.inputs:
            left[tensor] -= 1
            inputs.append((tensor, left[tensor] > 0))
        steps.append(_Step(kernel, tuple(inputs), node.output))
    return tuple(steps), carrier


def _keeping(kernel: Kernel) -> Kernel:
    """The kernel on copies: it may write into what it reads, and others read that too."""
    return lambda *values: kernel(*(value.copy() for value in values))


def _carrier(bound: int) -> Kind:
    """The type that carries integers up to `bound`. Sums of 62 bits come to 2^63 at most, twice over as they may be."""
    return next((kind for kind, limit in EXACT.items() if bound < limit), np.int64)


def _magnitude(node: Node, graph: Graph) -> int:
    """A bound of every integer, partial sums in any order included, that the node's kernel carries."""
    x = graph.types[node.inputs[0]]
    if isinstance(node.op, Add):
        inputs = [graph.types[tensor] for tensor in node.inputs]
        ends = [max(map(abs, pair)) for pair in node.op.ends]
        return max(sum(ends), *(max(map(abs, x.codes_format.code_range)) for x in inputs))
    if not isinstance(node.op, MatVec) or node.op.accumulator == "fp32":
        codes = graph.types[node.output].codes_format
        return max(abs(end) for end in codes.code_range)
    low, high = node.op.product_range(x)
    # BLAS may add positive and negative terms in any order: each side alone stays below the sum of magnitudes. Twice,
    # because bipolar operands are carried as codes and doubled weights.
    return 2 * int((np.maximum(-low, high).astype(object).sum(axis=1) + np.abs(node.op.bias).astype(object)).max())


def _kernel(node: Node, graph: Graph, carrier: Kind) -> Kernel:
    x = graph.types[node.inputs[0]]
    if isinstance(node.op, Add):
        return _add_kernel(node.op, carrier)
    if isinstance(node.op, Concat):
        return node.op.run
    if isinstance(node.op, MatVec) and node.op.accumulator == "fp32":
        return fp32_kernel(node.op, carrier)
    if isinstance(node.op, Fix):
        return fix_kernel(node.op, carrier)
    if isinstance(node.op, Grouped):
        return grouped_kernel(node.op, x, carrier, _carrier(_magnitude(node, graph)))
    if isinstance(node.op, MatVec):
        return _matvec_kernel(node.op, x, carrier, _carrier(_magnitude(node, graph)))
    if isinstance(node.op, Thresholds):
        return _thresholds_kernel(node.op, x, carrier)
    if isinstance(node.op, Requantize):
        return _requantize_kernel(node.op, x, carrier)
    if isinstance(node.op, Window):
        return _window_kernel(node.op, x)
    if isinstance(node.op, Pool) and node.op.input_format is None:
        return node.op.run
    op = node.op
    return lambda *values: op.run(*(np.asarray(value, dtype=np.int64) for value in values)).astype(carrier)


def _on_codes(op: MatVec, x: TensorType) -> tuple[Codes, Codes]:
    """Weights and bias that act on the input's codes instead of their worth: bipolar is worth 2 * code - 1."""
    if isinstance(x.codes_format, Bipolar):
        return 2 * op.worth, op.bias - op.worth.sum(axis=1)
    return op.worth, op.bias


def _matvec_kernel(op: MatVec, x: TensorType, carrier: Kind, own: Kind) -> Kernel:
    """own: the type that carries the sums of this layer, which the rest of the network may not do with."""
    if op.multiplier != "exact":
        return lambda value: op.run(np.asarray(value, dtype=np.int64)).astype(carrier)
    if own is not carrier:
        narrow = _matvec_kernel(op, x, own, own)
        return lambda value: narrow(value.astype(own)).astype(carrier)
    weight, bias = _on_codes(op, x)
    if own is np.int64:
        return wide_kernel(weight, bias, x.codes_format)
    # Integers and bipolar codes enter the product as they are, other codes by what they are worth on their grid.
    plain = isinstance(x.codes_format, Int | Bipolar)
    worth = None if plain else worth_of_codes(x.codes_format).astype(carrier)
    reach = max(map(abs, x.codes_format.code_range)) if worth is None else int(np.abs(worth).max())
    packed = packed_columns(weight, reach, EXACT[own])
    columns, base = packed or (weight.T, 0)
    matrix = np.ascontiguousarray(columns.astype(carrier))
    offset = bias.astype(carrier) if bias.any() else None

    def kernel(value: Carrier) -> Carrier:
        operand: Carrier = value if worth is None else worth[value.astype(np.int64)]
        # One product of two matrices, whatever the axes in front of the channels.
        out: Carrier = operand.reshape(-1, len(matrix)) @ matrix
        if base:
            out = unpacked(out, base, len(weight))
        if offset is not None:
            out += offset
        return out.reshape(*operand.shape[:-1], len(weight))

    return kernel


def _add_kernel(op: Add, carrier: Kind) -> Kernel:
    def kernel(*values: Carrier) -> Carrier:
        total: Carrier = np.zeros((), carrier)
        for factor, fmt, value in zip(op.factors, op.formats, values, strict=True):
            worth: Carrier = value
            if not isinstance(fmt, Int):
                worth = on_grid(fmt, np.asarray(value, dtype=np.int64)).astype(carrier)
            total = total + (worth if factor == 1 else worth * carrier(factor))
        return total

    return kernel


def _window_kernel(op: Window, x: TensorType) -> Kernel:
    """Windows by a strided view and one copy; what carries the codes stays as it is."""
    top, left, bottom, right = op.padding
    rows, columns, channels = x.shape
    down, across = op.positions(rows, columns)

    def kernel(value: Carrier) -> Carrier:
        if any(op.padding):
            padded = np.full((len(value), rows + top + bottom, columns + left + right, channels), op.pad, value.dtype)
            padded[:, top : top + rows, left : left + columns] = value
            value = padded
        return windows(value, op).reshape(len(value), down, across, -1)

    return kernel


def _requantize_kernel(op: Requantize, x: TensorType, carrier: Kind) -> Kernel:
    reach = max(abs(end) for end in x.codes_format.code_range)
    product = int((np.abs(op.multiplier).astype(object) * reach + np.abs(op.offset).astype(object)).max())
    if carrier is np.int64 or product + abs(op.zero_point) >= EXACT[carrier]:
        return lambda value: op.run(np.asarray(value, dtype=np.int64)).astype(carrier)
    multiplier, offset = op.multiplier.astype(carrier), op.offset.astype(carrier)
    scale = np.ldexp(carrier(1), -op.shift.astype(np.int32))
    rounding, zero_point, low, high = ROUNDING[op.rounding], carrier(op.zero_point), carrier(op.low), carrier(op.high)

    def kernel(value: Carrier) -> Carrier:
        # The sum is an exact integer and the scale a power of two, so only the named rounding rounds.
        out = rounding((value * multiplier + offset) * scale)
        return np.clip(out + zero_point, low, high).astype(carrier, copy=False)

    return kernel


def _thresholds_kernel(op: Thresholds, x: TensorType, carrier: Kind) -> Kernel:
    line = proven_line(op, x, carrier) if isinstance(op.format, Int | Bipolar) and carrier is not np.int64 else None
    if line is None:
        return _table_kernel(op, x, carrier)
    slope, offset = line
    first, last = carrier(op.first), carrier(op.first + op.steps)

    def kernel(value: Carrier) -> Carrier:
        # In place: a kernel owns what the one before it made.
        value *= slope
        value += offset
        np.floor(value, out=value)
        return np.clip(value, first, last, out=value)

    return kernel


def _table_kernel(op: Thresholds, x: TensorType, carrier: Kind) -> Kernel:
    """Thresholds of any shape: one look-up in a table over the input's range, where it is of reasonable size."""
    low, high = x.codes_format.code_range
    rungs = ladder(op.format).astype(carrier)

    # searchsorted on the right counts the thresholds that are not above the value, as the definition does.
    def searched(value: Carrier) -> Carrier:
        if len(op.thresholds) == 1:
            return rungs[op.base + np.searchsorted(op.thresholds[0], value, side="right")]
        columns = [np.searchsorted(row, value[..., c], side="right") for c, row in enumerate(op.thresholds)]
        return rungs[op.base + np.stack(columns, axis=-1)]

    if op.thresholds.shape[0] * (high - low + 1) > MAX_TABLE:
        return searched
    every = np.arange(low, high + 1)
    table = searched(np.broadcast_to(every[:, None], (every.size, len(op.thresholds)))).T.ravel()
    start = np.arange(op.thresholds.shape[0]) * every.size - low
    return lambda value: table[value.astype(np.int64) + start]


def proven_line(op: Thresholds, x: TensorType, carrier: Kind) -> tuple[Carrier, Carrier] | None:
    """(slope, offset) per channel such that clip(floor(x * slope + offset)) equals the thresholds, or None.

    A floating-point multiply by a slope >= 0, an add and a floor each are monotonic in x. So it is enough that the
    result is right at every threshold and one below it: between those points neither side can change.
    """
    low, high = integer_range(x)
    slope, offset = _fit_line(op.thresholds, low, high)
    a: Carrier = slope.astype(carrier)
    b: Carrier = (offset + op.first).astype(carrier)
    for points in (op.thresholds, op.thresholds - 1):
        at = np.clip(points, low, high)
        value = np.floor(at.astype(carrier) * a[:, None] + b[:, None])
        value = np.clip(value, carrier(op.first), carrier(op.first + op.steps))
        counts = [np.searchsorted(row, some, side="right") for row, some in zip(op.thresholds, at, strict=True)]
        expected = op.first + np.stack(counts)
        if not np.array_equal(value, expected):
            return None
    return a, b


def _fit_line(table: Codes, low: int, high: int) -> tuple[Real, Real]:
    """The line whose floor counts the thresholds with the most room to spare, one per row of `table`.

    For threshold t number k (from 1) a line a*x + b needs a*t + b >= k (unless t is out of reach) and
    a*(t - 1) + b < k (unless t always counts). For a given a that leaves an interval of b, whose width is concave in
    a: a ternary search finds the widest.
    """
    number = np.arange(1, table.shape[1] + 1, dtype=np.float64)
    reachable, avoidable = table <= high, table > low

    def interval(a: Real) -> tuple[Real, Real]:
        at_least = np.where(reachable, number - a[:, None] * table, -np.inf).max(axis=1)
        below = np.where(avoidable, number - a[:, None] * (table - 1), np.inf).min(axis=1)
        # A channel that is constant on one side has one bound only.
        at_least = np.where(np.isinf(at_least), np.minimum(below, 1.0) - 1.0, at_least)
        below = np.where(np.isinf(below), at_least + 1.0, below)
        return at_least, below

    left, right = np.zeros(table.shape[0]), np.full(table.shape[0], table.shape[1] + 1.0)
    for _ in range(120):
        third = (right - left) / 3
        a, b = left + third, right - third
        wider = np.diff(interval(a), axis=0)[0] >= np.diff(interval(b), axis=0)[0]
        right, left = np.where(wider, b, right), np.where(wider, left, a)
    slope = (left + right) / 2
    at_least, below = interval(slope)
    return slope, (at_least + below) / 2
