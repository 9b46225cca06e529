"""What a folding costs: cycles, exactly, and resources, estimated. hwgen.explore.folding chooses by it.

Estimates are of an ECP5 (LUT4). The formulas count what the gateware instantiates (adder bits, registers, ROM bits);
their few constants were set on 15 layers synthesised by Yosys (weights of 1 to 8 bits, 256 to 8,192 of them, folded
and unrolled, random values). With their thresholds and argmax those came out within 22 % in LUTs (on average 8 %) and
19 % in flip-flops, exactly in DSPs, and within two in block RAMs. Random weights are the worst case: trained ones,
with many zeros, take less. Requantize was set on four layers (within 26 % in LUTs and 31 % in flip-flops).
"""

from __future__ import annotations

from hwgen.errors import HwgenError
from hwgen.ir import Folding, Graph, Node
from hwgen.ops.cost_layers import (
    LUT_PRODUCT,
    Products,
    add_up,
    estimate_node,
    grid_bits,
    lanes_behind,
    magnitude_bits,
    products_of,
    queue_depth,
    signed_digits,
    wants_block_ram,
)
from hwgen.ops.cost_stream import Part, first_lanes, links, steps, walk
from hwgen.ops.matvec import MatVec
from hwgen.tools.resources import Resources

__all__ = [
    "LUT_PRODUCT",
    "Products",
    "Resources",
    "check_folding",
    "estimate",
    "estimate_node",
    "grid_bits",
    "input_lanes",
    "lanes_behind",
    "magnitude_bits",
    "matrix_units",
    "parts",
    "products_of",
    "queue_depth",
    "signed_digits",
    "slowest_unit",
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
    return {step.link.node.name: step.lanes for step in steps(links(graph), folding, slowest_unit(graph, folding))}


def input_lanes(graph: Graph, folding: Folding) -> int:
    """Lanes of the accelerator's input where several nodes read it."""
    return first_lanes(links(graph), folding, slowest_unit(graph, folding))


def slowest_unit(graph: Graph, folding: Folding) -> int:
    """Clocks a frame of the slowest matrix unit; 1 where there is none."""
    units = matrix_units(graph)
    return max((op.cycles(graph.types[node.inputs[0]], folding[node.name]) for node, op in units), default=1)


def parts(graph: Graph, folding: Folding) -> list[Part]:
    """The accelerator's nodes in order, each with what it costs; raises HwgenError for a folding that does not fit."""
    check_folding(graph, folding)
    return walk(links(graph), folding, slowest_unit(graph, folding))


def estimate(graph: Graph, folding: Folding) -> Resources:
    """Resources of the whole accelerator, estimated; raises HwgenError for a folding that does not fit the graph."""
    return add_up(part.resources for part in parts(graph, folding))
