"""How a frozen graph is run: which operations go together, and the kernel of each.

One floating-point type carries all integers of a network where it is proven to hold them; where it does not, int64
does. A kernel takes and gives arrays of that type, and equals the operation's own `run` on int64.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from hwgen.errors import HwgenError
from hwgen.formats import ROUNDING, Bipolar, Int
from hwgen.formats.grid import on_grid
from hwgen.golden.carrier import EXACT, Carrier, Kernel, Kind, carrier_of
from hwgen.golden.grouped import grouped_kernel
from hwgen.golden.images import pooling_kernel, window_kernel
from hwgen.golden.levels import thresholds_kernel
from hwgen.golden.products import convolution_kernel, convolves, matvec_kernel
from hwgen.golden.singles import fix_kernel, fp32_kernel
from hwgen.ir import Graph, Node, TensorType
from hwgen.ops import Add, Concat, Fix, Grouped, MatVec, Multiply, Pool, Requantize, Reshape, Thresholds, Window

LEAVING = (MatVec, Grouped, Add, Multiply)
"""Operations whose kernels never write into what they read, nor give a part of it back."""


@dataclass(frozen=True)
class Step:
    """One kernel. inputs: the tensors that it reads, and whether one is kept for a later step that reads it too."""

    kernel: Kernel
    inputs: tuple[tuple[str, bool], ...]
    output: str


@dataclass(frozen=True)
class Plan:
    """The steps of a run, the type that carries their integers, and the most numbers of a frame that a step writes."""

    steps: tuple[Step, ...]
    carrier: Kind
    largest: int


@lru_cache(maxsize=64)
def plan(graph: Graph, every: bool = False) -> Plan:
    """How to run `graph`; every: write each tensor, also those that lie between operations that go together."""
    if not graph.is_frozen:
        raise HwgenError(f"graph {graph.name!r} is not frozen: the golden model runs integers only (hwgen.freeze)")
    graph.input_type, graph.output_type  # noqa: B018  (one of each, or an error)
    bound = max((_magnitude(node, graph) for node in graph.nodes), default=1)
    carrier = carrier_of(bound)
    readers = Counter([*graph.outputs, *(tensor for node in graph.nodes for tensor in node.inputs)])
    left = Counter(readers)
    steps = []
    for nodes in [(node,) for node in graph.nodes] if every else _together(graph, readers):
        kernel = _joint_kernel(nodes, graph, carrier)
        first, last = nodes[0], nodes[-1]
        leaves = len(nodes) > 1 or type(last.op) in LEAVING
        if not leaves and any(readers[tensor] > 1 for tensor in first.inputs):
            kernel = _keeping(kernel)
        inputs = []
        for tensor in first.inputs:
            left[tensor] -= 1
            inputs.append((tensor, left[tensor] > 0))
        steps.append(Step(kernel, tuple(inputs), last.output))
    written = [graph.inputs[0].name, *(step.output for step in steps)]
    return Plan(tuple(steps), carrier, max(graph.types[name].size for name in written))


def _keeping(kernel: Kernel) -> Kernel:
    """The kernel on copies: it may write into what it reads, and others read that too."""
    return lambda *values: kernel(*(value.copy() for value in values))


def _together(graph: Graph, readers: Counter[str]) -> Iterator[tuple[Node, ...]]:
    """The nodes in order, those together that one kernel computes: no tensor between them is read by another."""
    reader = {tensor: node for node in graph.nodes for tensor in node.inputs}
    taken: set[str] = set()
    for node in graph.nodes:
        nodes = [node]
        while nodes[-1].output in reader and readers[nodes[-1].output] == 1 and len(nodes) < 3:
            nodes.append(reader[nodes[-1].output])
        found = next((part for end in (3, 2) if _is_joint(part := tuple(nodes[:end]), graph)), (node,))
        if node.name not in taken:
            taken.update(one.name for one in found)
            yield found


def _is_joint(nodes: tuple[Node, ...], graph: Graph) -> bool:
    """Whether there is a kernel for such operations behind each other."""
    match [node.op for node in nodes]:
        case [Window(), Pool() as pool]:
            return pool.input_format is None
        case [Window(), MatVec() as op] if type(op) is MatVec:
            return convolves(op, carrier_of(_magnitude(nodes[1], graph)))
        case [Thresholds() as levels, Window() as window, Pool() as pool]:
            # The maximum of numbers that rise with others is that of the greatest of those.
            return isinstance(levels.format, Int | Bipolar) and not any(window.padding) and pool.reduce == "max"
        case _:
            return False


def _joint_kernel(nodes: tuple[Node, ...], graph: Graph, carrier: Kind) -> Kernel:
    x = graph.types[nodes[0].inputs[0]]
    match [node.op for node in nodes]:
        case [Window() as window, Pool() as pool]:
            return pooling_kernel(window, pool, _image(x))
        case [Window() as window, MatVec() as op]:
            return convolution_kernel(window, op, x, carrier, carrier_of(_magnitude(nodes[1], graph)))
        case [Thresholds() as levels, Window() as window, Pool() as pool]:
            pooled = pooling_kernel(window, pool, _image(x))
            rise = thresholds_kernel(levels, replace(x, shape=graph.types[nodes[-1].output].shape), carrier)
            return lambda value: rise(pooled(value))
        case _:
            return _kernel(nodes[0], graph, carrier)


def _image(x: TensorType) -> tuple[int, int, int]:
    rows, columns, channels = x.shape
    return rows, columns, channels


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
    if isinstance(node.op, Concat | Reshape):
        return node.op.run
    if isinstance(node.op, MatVec) and node.op.accumulator == "fp32":
        return fp32_kernel(node.op, carrier)
    if isinstance(node.op, Fix):
        return fix_kernel(node.op, carrier)
    if isinstance(node.op, Grouped):
        return grouped_kernel(node.op, x, carrier, carrier_of(_magnitude(node, graph)))
    if isinstance(node.op, MatVec):
        return matvec_kernel(node.op, x, carrier, carrier_of(_magnitude(node, graph)))
    if isinstance(node.op, Thresholds):
        return thresholds_kernel(node.op, x, carrier)
    if isinstance(node.op, Requantize):
        return _requantize_kernel(node.op, x, carrier)
    if isinstance(node.op, Window):
        return window_kernel(node.op, _image(x))
    if isinstance(node.op, Pool) and node.op.input_format is None:
        return node.op.run
    op = node.op
    return lambda *values: op.run(*(np.asarray(value, dtype=np.int64) for value in values)).astype(carrier)


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
