"""What a folding costs: cycles, exactly, and resources, estimated; and the cheapest folding for an interval.

Estimates are of an ECP5 (LUT4). The formulas count what the gateware instantiates (adder bits, registers, ROM bits);
their few constants were set on 15 layers synthesised by Yosys (weights of 1 to 8 bits, 256 to 8,192 of them, folded
and unrolled, random values). With their thresholds and argmax those came out within 22 % in LUTs (on average 8 %) and
19 % in flip-flops, exactly in DSPs, and within two in block RAMs. Random weights are the worst case: trained ones,
with many zeros, take less. Requantize was set on four layers (within 26 % in LUTs and 31 % in flip-flops).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from hwgen.errors import HwgenError
from hwgen.formats import Blocked
from hwgen.ir import Fold, Folding, Graph, Node, TensorType
from hwgen.ops.block_quantize import BlockQuantize
from hwgen.ops.cost_layers import (
    BLOCK_LUTS,
    LUT_PRODUCT,
    Products,
    add_up,
    bridge,
    converter,
    estimate_node,
    grid_bits,
    lanes_behind,
    magnitude_bits,
    products_of,
    queue_depth,
    signed_digits,
    wants_block_ram,
)
from hwgen.ops.cost_window import is_wire, line_buffer, window_lanes
from hwgen.ops.matvec import MatVec
from hwgen.ops.window import Pool, Window
from hwgen.tools.resources import Resources

__all__ = [
    "LUT_PRODUCT",
    "Products",
    "Resources",
    "check_folding",
    "choose_folding",
    "estimate",
    "estimate_node",
    "grid_bits",
    "lanes_behind",
    "magnitude_bits",
    "matrix_units",
    "products_of",
    "queue_depth",
    "signed_digits",
    "stream_lanes",
    "wants_block_ram",
]


def matrix_units(graph: Graph) -> list[tuple[Node, MatVec]]:
    """The nodes that have a fold, with their operations, in order."""
    return [(node, node.op) for node in graph.nodes if isinstance(node.op, MatVec)]


def check_folding(graph: Graph, folding: Folding) -> None:
    """Raises HwgenError unless `folding` has a fold that divides the layer for each matrix unit, and no other."""
    names = [node.name for node, _ in matrix_units(graph)]
    if extra := sorted(set(folding) - set(names)):
        raise HwgenError(f"the folding names {', '.join(extra)}; matrix units are: {', '.join(names) or 'none'}")
    for node, op in matrix_units(graph):
        if node.name not in folding:
            raise HwgenError(f"node {node.name!r} is a matrix unit and has no fold")
        try:
            op.cycles(graph.types[node.inputs[0]], folding[node.name])
        except HwgenError as error:
            raise HwgenError(f"node {node.name!r}: {error}") from error


def stream_lanes(graph: Graph, folding: Folding) -> dict[str, int]:
    """Lanes of the stream that each node reads, by node name; nodes that leave the stream as it is are left out."""
    slowest = max((op.cycles(_x(graph, node), folding[node.name]) for node, op in matrix_units(graph)), default=1)
    lanes: dict[str, int] = {}
    behind = _first_lanes(graph, folding, slowest)
    for node in graph.nodes:
        x = _x(graph, node)
        if is_wire(node.op, x):
            continue
        if isinstance(node.op, MatVec):
            lanes[node.name] = folding[node.name].simd
            behind = lanes_behind(node.op, folding[node.name])
            continue
        if isinstance(node.op, Window):
            behind = window_lanes(node.op, x, behind, _reader_fold(graph, node, folding), slowest)
        elif isinstance(node.op, Pool):
            behind = math.gcd(behind, x.channels // node.op.taps)
        lanes[node.name] = behind
    return lanes


def choose_folding(graph: Graph, interval: int) -> dict[str, Fold]:
    """For each matrix unit the cheapest fold that takes at most `interval` clocks a frame, converters counted.

    Raises HwgenError that names the layer and the nearest possible interval when even its full unroll is slower, or
    the sliding windows that are slower with all channels of a pixel at once.
    """
    folding: dict[str, Fold] = {}
    lanes = 0
    for node, op in matrix_units(graph):
        x = _x(graph, node)
        followers = _followers(graph, node)
        folds = _folds(graph, node, op, followers)
        times = {fold: _clocks(graph, node, op, fold) for fold in folds}
        fast = [fold for fold in folds if times[fold] <= interval]
        if not fast:
            most = max(folds, key=lambda fold: (-times[fold], fold.pe * fold.simd))
            raise HwgenError(
                f"node {node.name!r} takes {times[most]} clocks a frame fully unrolled (PE={most.pe}, "
                f"SIMD={most.simd}), so an interval of {interval} is out of reach; the nearest is {times[most]}"
            )
        weights = {f: _weigh(graph, node, op, x, f, lanes, followers, interval) for f in fast}
        fold = min(fast, key=lambda f: (weights[f], f.pe * f.simd, f.pe))
        folding[node.name] = fold
        lanes = lanes_behind(op, fold)
    _check_windows(graph, folding, interval)
    return folding


def estimate(graph: Graph, folding: Folding) -> Resources:
    """Resources of the whole accelerator, estimated; raises HwgenError for a folding that does not fit the graph."""
    check_folding(graph, folding)
    lanes, behind, found = stream_lanes(graph, folding), 0, []
    for node in graph.nodes:
        x, fold = _x(graph, node), folding.get(node.name)
        if node.name not in lanes:
            continue
        if isinstance(node.op, MatVec) and fold:
            found.append(bridge(x, behind, fold.simd, windows=_windows_before(graph, node) is not None))
            found.append(estimate_node(node, x, fold.simd, fold))
            behind = lanes_behind(node.op, fold)
            found.append(converter(graph.types[node.output], fold.pe, behind))
        else:
            found.append(converter(x, behind or lanes[node.name], lanes[node.name]))
            behind = lanes[node.name]
            found.append(estimate_node(node, x, behind))
    return add_up(found)


def _x(graph: Graph, node: Node) -> TensorType:
    return graph.types[node.inputs[0]]


def _windows_before(graph: Graph, node: Node) -> Node | None:
    """The sliding windows that a node reads, directly or in another shape."""
    makers = {one.output: one for one in graph.nodes}
    maker = makers.get(node.inputs[0])
    while maker and is_wire(maker.op, _x(graph, maker)):
        maker = makers.get(maker.inputs[0])
    return maker if maker and isinstance(maker.op, Window) else None


def _reader_fold(graph: Graph, windows: Node, folding: Folding) -> Fold | None:
    """The fold of the matrix unit that reads these windows, if one does."""
    for node, _ in matrix_units(graph):
        if _windows_before(graph, node) is windows:
            return folding.get(node.name)
    return None


def _first_lanes(graph: Graph, folding: Folding, slowest: int) -> int:
    """Lanes of the accelerator's input: those that the first matrix unit or the first windows want, or one."""
    nodes = [node for node in graph.nodes if not is_wire(node.op, _x(graph, node))]
    for node in nodes:
        if isinstance(node.op, MatVec):
            wanted = folding[node.name].simd
        elif isinstance(node.op, Window):
            wanted = window_lanes(node.op, _x(graph, node), 1, _reader_fold(graph, node, folding), slowest)
        else:
            continue
        return math.gcd(wanted, _x(graph, nodes[0]).channels)
    return 1


def _clocks(graph: Graph, node: Node, op: MatVec, fold: Fold) -> int:
    """Clocks a frame of a matrix unit, and of the sliding windows that it reads, on as many lanes."""
    cycles = op.cycles(_x(graph, node), fold)
    windows = _windows_before(graph, node)
    if windows and isinstance(windows.op, Window):
        cycles = max(cycles, line_buffer(windows.op, _x(graph, windows), fold.simd).interval)
    return cycles


def _check_windows(graph: Graph, folding: Folding, interval: int) -> None:
    """Raises HwgenError that names the first sliding windows that do not keep the interval."""
    for name, lanes in stream_lanes(graph, folding).items():
        node = next(one for one in graph.nodes if one.name == name)
        if isinstance(node.op, Window):
            nearest = line_buffer(node.op, _x(graph, node), lanes).interval
            if nearest > interval:
                raise HwgenError(
                    f"node {name!r} takes {nearest} clocks a frame on {lanes} lanes, so an interval of {interval} is "
                    f"out of reach; the nearest is {nearest}"
                )


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _folds(graph: Graph, node: Node, op: MatVec, followers: Iterable[Node]) -> list[Fold]:
    """All folds that divide the layer, and a pixel of the windows that it reads; where blocks share a scale, those
    that keep beats within blocks."""
    out, inner = op.weight.shape
    x, windows = _x(graph, node), _windows_before(graph, node)
    simds = _divisors(_x(graph, windows).channels if windows else inner)
    if isinstance(x.format, Blocked):
        simds = [simd for simd in simds if x.format.block.size % simd == 0]
    folds = [Fold(pe, simd) for pe in _divisors(out) for simd in simds]
    for follower in followers:
        if isinstance(follower.op, BlockQuantize):
            size = follower.op.format.block.size
            folds = [fold for fold in folds if size % lanes_behind(op, fold) == 0]
    return folds


def _followers(graph: Graph, node: Node) -> list[Node]:
    """The nodes behind a matrix unit up to the next one, or the windows that it reads, along the chain."""
    found: list[Node] = []
    read = [_windows_before(graph, unit) for unit, _ in matrix_units(graph)]
    while len(consumers := list(graph.consumers((found or [node])[-1].output))) == 1:
        if isinstance(consumers[0].op, MatVec) or any(consumers[0] is one for one in read):
            break
        found.append(consumers[0])
    return found


def _weigh(
    graph: Graph, node: Node, op: MatVec, x: TensorType, fold: Fold, lanes: int, followers: list[Node], interval: int
) -> float:
    """One number for the cost of a fold: LUTs, half the flip-flops, and BLOCK_LUTS for each block RAM and DSP."""
    behind = lanes_behind(op, fold)
    parts = [estimate_node(node, x, fold.simd, fold), converter(graph.types[node.output], fold.pe, behind)]
    windows = _windows_before(graph, node)
    if windows:
        image = _x(graph, windows)
        parts += [converter(image, lanes or fold.simd, fold.simd), estimate_node(windows, image, fold.simd)]
        lanes = lanes and fold.simd
    parts.append(bridge(x, lanes, fold.simd, windows=windows is not None))
    for one in followers:
        kind = _x(graph, one)
        if is_wire(one.op, kind):
            continue
        if isinstance(one.op, Window):
            behind = window_lanes(one.op, kind, behind, None, interval)
        elif isinstance(one.op, Pool):
            behind = math.gcd(behind, kind.channels // one.op.taps)
        parts.append(estimate_node(one, kind, behind))
    total = add_up(parts)
    if total.lut is None or total.ff is None or total.bram is None or total.dsp is None:
        raise HwgenError(f"the cost of node {node.name!r} or of those behind it is not known")
    return total.lut + total.ff / 2 + BLOCK_LUTS * (total.bram + total.dsp)
