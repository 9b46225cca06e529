"""Random networks with a folding, by seed."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.explore.folding import least_cost
from hwgen.formats import Blocked
from hwgen.ir import Fold, Graph, Node, Op, TensorType
from hwgen.ops import cost
from hwgen.ops.cost_stream import grouped_folds
from tests.fuzz.draw import Net, network
from tests.fuzz.numbers import Rng, choice

FAMILIES = ("ecp5", "ice40", "xcup")
MOST_CLOCKS = 160
"""Clocks a frame of the slowest unit: so that simulations in Amaranth take about a second."""


@dataclass(frozen=True)
class Case:
    """A frozen graph, its folding, and the FPGA's family; wanted: the interval that the folding was chosen for."""

    seed: int
    graph: Graph
    folding: dict[str, Fold]
    family: str
    wanted: int | None = None

    def __str__(self) -> str:
        """A few lines that tell what it is."""
        graph = self.graph
        rows = [f"seed {self.seed}, family {self.family}, input {_told(graph.inputs[0].type)}"]
        for node in graph.nodes:
            fold = self.folding.get(node.name)
            rows.append(
                f"  {node.name} {node.op.kind} <- {', '.join(node.inputs)}: {_told(graph.types[node.output])}"
                f"{f' PE={fold.pe} SIMD={fold.simd}' + (' dsp' if fold.dsp else '') if fold else ''}{_extra(node.op)}"
            )
        return "\n".join(rows)


def _told(kind: TensorType) -> str:
    return f"{'x'.join(map(str, kind.shape))} {kind.codes_format.name}"


def _extra(op: Op) -> str:
    if isinstance(op, ops.Window):
        return f" {op.kernel} stride {op.stride} padding {op.padding} dilation {op.dilation} pad {op.pad}"
    if isinstance(op, ops.MatVec):
        return f" {op.weight.shape} {op.weight_format.name} {op.multiplier} {op.accumulator} shift {op.shift}"
    if isinstance(op, ops.Requantize):
        return f" {op.rounding} {op.low}..{op.high}"
    return ""


def fold_of(net: Net, node: Node, op: ops.MatVec, family: str) -> Fold:
    """A fold of a matrix unit: both extremes are as likely as anything between."""
    rng, x = net.rng, net.types[node.inputs[0]]
    if isinstance(op, ops.Grouped):
        return choice(rng, *grouped_folds(op))
    out, inner = op.weight.shape
    inner = int(np.gcd(inner, x.format.block.size)) if isinstance(x.format, Blocked) else inner
    pes, simds = ([d for d in range(1, n + 1) if n % d == 0] for n in (out, inner))
    kind = rng.random()
    pe, simd = int(choice(rng, *pes)), int(choice(rng, *simds))
    if kind < 0.2:
        pe, simd = 1, 1
    elif kind < 0.35:
        pe, simd = pes[-1], simds[-1]
    fold = Fold(pe, simd)
    placed = family == "xcup" and pe > 1 and cost.is_placed(op, x, fold)
    return Fold(pe, simd, bool(placed and rng.random() < 0.5))


def chosen_case(seed: int, graph: Graph, family: str, rng: Rng) -> Case | None:
    """Every third network has the folding that is chosen for a random interval; None for the others."""
    if rng.random() > 0.33 or not cost.matrix_units(graph):
        return None
    interval = int(2 ** rng.uniform(2, 8))
    try:
        chosen = least_cost(graph, interval, family=family)
    except HwgenError as error:
        nearest = re.search(r"the nearest is (\d+)", str(error))
        if nearest is None:
            raise
        interval = int(nearest[1])
        chosen = least_cost(graph, interval, family=family)
    if interval > 2 * MOST_CLOCKS or max(kind.size for kind in graph.types.values()) > 2 * MOST_CLOCKS:
        return None
    return Case(seed, graph, dict(chosen.folding), family, interval)


def case(seed: int) -> Case | None:
    """The network of a seed; None if none that is small enough was found in a few tries."""
    rng = np.random.default_rng(seed)
    for _ in range(20):
        try:
            net = network(rng)
            graph = net.graph()
            family = choice(rng, *FAMILIES)
            if (chosen := chosen_case(seed, graph, family, rng)) is not None:
                return chosen
            for _ in range(10):
                folding = {node.name: fold_of(net, node, op, family) for node, op in cost.matrix_units(graph)}
                most = max(kind.size for kind in graph.types.values())
                if cost.slowest_unit(graph, folding) <= MOST_CLOCKS and most <= 2 * MOST_CLOCKS:
                    return Case(seed, graph, folding, family)
        except HwgenError:
            continue
    return None
