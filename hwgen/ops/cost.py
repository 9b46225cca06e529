"""What a folding costs: cycles, exactly, and resources, estimated. hwgen.explore.folding chooses by it.

A formula counts what the gateware instantiates (bits of adders, of registers, of ROMs) in a few terms; how much of each
synthesis makes is fitted, by family, to our own runs of a hundred components of random numbers. docs/results/cost.md
has the errors, also on networks that nothing was fitted to; bench/cost_model.py measures and fits anew. Random weights
are the worst case: trained ones, with many zeros, take less.
"""

from __future__ import annotations

from hwgen.errors import HwgenError
from hwgen.ir import Folding, Graph, Node
from hwgen.ops.cost_layers import add_up, estimate_node
from hwgen.ops.cost_rules import (
    DSP_CHAIN,
    LUT_PRODUCT,
    PLACED_WEIGHT_BITS,
    Products,
    dsp_fields,
    grid_bits,
    is_placed,
    lanes_behind,
    magnitude_bits,
    products_of,
    queue_depth,
    signed_digits,
    wants_block_ram,
    weight_bits,
)
from hwgen.ops.cost_stream import Part, first_lanes, links, slowest_stage, steps, walk
from hwgen.ops.matvec import MatVec
from hwgen.tools.resources import Family, Resources

__all__ = [
    "DSP_CHAIN",
    "LUT_PRODUCT",
    "PLACED_WEIGHT_BITS",
    "Products",
    "Resources",
    "check_folding",
    "dsp_fields",
    "estimate",
    "estimate_node",
    "grid_bits",
    "input_lanes",
    "interval",
    "is_placed",
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
    "weight_bits",
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


def interval(graph: Graph, folding: Folding) -> int:
    """Clocks a frame of the whole accelerator while frames follow each other, as its gateware has it, too."""
    return slowest_stage(links(graph), folding, slowest_unit(graph, folding))


def parts(graph: Graph, folding: Folding, family: Family = "ecp5") -> list[Part]:
    """The accelerator's nodes in order, each with what it costs; raises HwgenError for a folding that does not fit."""
    check_folding(graph, folding)
    return walk(links(graph, family), folding, slowest_unit(graph, folding))


def estimate(graph: Graph, folding: Folding, family: Family = "ecp5") -> Resources:
    """Resources of the whole accelerator, estimated; raises HwgenError for a folding that does not fit the graph."""
    return add_up(part.resources for part in parts(graph, folding, family))
