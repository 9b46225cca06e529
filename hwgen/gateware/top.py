"""From a frozen graph and its folding to the accelerator: components, converters, queues, Verilog."""

import math
from collections import Counter
from dataclasses import dataclass

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen import ops
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.gateware import matvec_placed, timing
from hwgen.gateware.argmax import ArgMax
from hwgen.gateware.beat import signature
from hwgen.gateware.block_quantize import BlockQuantize
from hwgen.gateware.decode import check_decodable
from hwgen.gateware.depthwise import Depthwise
from hwgen.gateware.fifo import Fifo
from hwgen.gateware.fix import Fix
from hwgen.gateware.matvec import MatVec
from hwgen.gateware.matvec_placed import PlacedMatVec
from hwgen.gateware.pool import Pool, check_pool
from hwgen.gateware.requantize import Requantize
from hwgen.gateware.table import Table
from hwgen.gateware.thresholds import Thresholds
from hwgen.gateware.unrolled import ShiftAdd
from hwgen.gateware.verilog import to_verilog
from hwgen.gateware.width import Gather, Scatter
from hwgen.gateware.window import Window, check_window
from hwgen.ir import Beats, Fold, Folding, Graph, Node, TensorType
from hwgen.ops.cost import check_folding, products_of, queue_depth, stream_lanes
from hwgen.ops.cost_window import is_wire
from hwgen.tools.files import share
from hwgen.tools.resources import Family


@dataclass(frozen=True)
class Stage:
    """One instance in the accelerator. `name` is that of its instance in the Verilog top."""

    name: str
    kind: str
    node: str | None
    input: Beats
    output: Beats
    latency: int
    interval: int


@dataclass(frozen=True)
class Design:
    """An accelerator as Verilog, module `accel`.

    latency: clocks from the acceptance of a frame's first input beat, by an empty accelerator that is not stalled and
    whose source is always valid, to the acceptance of its last output beat.
    interval: clocks per frame while frames follow each other.
    spans: for each stage the clock that accepts its first input beat of such a frame, and the one that accepts its
    last output beat; clock 0 accepts the frame's first input beat.
    """

    verilog: str
    input: Beats
    output: Beats
    stages: tuple[Stage, ...]
    latency: int
    interval: int
    spans: tuple[tuple[int, int], ...]


# How each layer is built from its node, its input type, the lanes of the stream before it, and the folding.
BUILDERS = {
    ops.MatVec: lambda node, x, lanes, folding: MatVec(node.op, x, folding[node.name]),
    ops.Depthwise: lambda node, x, lanes, folding: Depthwise(node.op, x, folding[node.name]),
    ops.Thresholds: lambda node, x, lanes, folding: Thresholds(node.op, x, lanes),
    ops.Table: lambda node, x, lanes, folding: Table(node.op, x, lanes),
    ops.Requantize: lambda node, x, lanes, folding: Requantize(node.op, x, lanes),
    ops.BlockQuantize: lambda node, x, lanes, folding: BlockQuantize(node.op, x, lanes),
    ops.Fix: lambda node, x, lanes, folding: Fix(node.op, x, lanes),
    ops.ArgMax: lambda node, x, lanes, folding: ArgMax(node.op, x, lanes),
    ops.Window: lambda node, x, lanes, folding: Window(node.op, x, lanes),
    ops.Pool: lambda node, x, lanes, folding: Pool(node.op, x, lanes),
}

# What is looked at before anything is built: each raises HwgenError for an operation that cannot be.
CHECKS = {ops.Window: check_window, ops.Pool: check_pool}

MODELS = {"CARRY8": "cells_xcup.sv", "DSP48E2": "dsp_xcup.sv"}
"""Files of rtl/ with models of cells, by a cell that tells that they are needed."""

KINDS = {
    MatVec: "matvec",
    PlacedMatVec: "matvec",
    ShiftAdd: "matvec",
    Depthwise: "depthwise",
    Thresholds: "thresholds",
    Table: "table",
    Requantize: "requantize",
    BlockQuantize: "block_quantize",
    Fix: "fix",
    ArgMax: "argmax",
    Window: "window",
    Pool: "pool",
    Fifo: "fifo",
    Gather: "width",
    Scatter: "width",
}


def chain(graph: Graph) -> list[Node]:
    """The nodes from input to output, found by tensor name; raises HwgenError unless they are one chain."""
    if not graph.is_frozen:
        raise HwgenError(f"graph {graph.name!r} is not frozen: gateware is made of integer operations only")
    graph.input_type, graph.output_type  # noqa: B018  (one of each, or an error)
    tensor, nodes = graph.inputs[0].name, []
    while consumers := list(graph.consumers(tensor)):
        if len(consumers) > 1 or len(consumers[0].inputs) > 1:
            names = ", ".join(repr(node.name) for node in consumers)
            raise UnsupportedError(f"tensor {tensor!r} does not go to exactly one node of one input, but to {names}")
        nodes.append(consumers[0])
        tensor = consumers[0].output
    if not nodes or len(nodes) != len(graph.nodes) or tensor != graph.outputs[0]:
        raise UnsupportedError(f"graph {graph.name!r} is not one chain of nodes from its input to its output")
    return nodes


def check(graph: Graph, folding: Folding) -> list[Node]:
    """The nodes of the chain; raises HwgenError naming the first that cannot be built, before anything is."""
    nodes = chain(graph)
    check_folding(graph, folding)
    for node in nodes:
        x = graph.types[node.inputs[0]]
        if is_wire(node.op, x):
            continue
        if type(node.op) not in BUILDERS:
            raise UnsupportedError(f"node {node.name!r}: no gateware computes {node.op.kind}")
        try:
            check_decodable(x.codes_format)
            if type(node.op) in CHECKS:
                CHECKS[type(node.op)](node.op, x)
        except HwgenError as error:
            raise type(error)(f"node {node.name!r}: {error}") from error
    if all(is_wire(node.op, graph.types[node.inputs[0]]) for node in nodes):
        raise UnsupportedError(f"graph {graph.name!r} computes nothing: its codes come out as they went in")
    return nodes


def _convert(beats: Beats, lanes: int, queue: int = 0) -> list[wiring.Component]:
    """Components that bring a stream to `lanes` lanes: to more, then a queue of so many beats, then to fewer."""
    components: list[wiring.Component] = []
    wide = math.lcm(beats.lanes, lanes)
    if wide > beats.lanes:
        components.append(Gather(beats, wide))
        beats = components[-1].output
    if queue:
        components.append(Fifo(beats, queue))
    if wide > lanes:
        components.append(Scatter(beats, lanes))
    return components


def _bridge(source: wiring.Component, node: Node, fold: Fold, x: TensorType) -> list[wiring.Component]:
    """Components between a source and the matrix unit of a node, which reads tensor `x`.

    A matrix unit takes a vector at one beat a clock, then nothing while it works on it. The queue takes what comes in
    the meantime, so that nothing before it has to wait for long, and vectors are there when the unit wants them; it
    also ends the chain of stalls. hwgen.ops.cost_layers.queue_depth tells how long it has to be for that.
    """
    lanes = source.output.lanes
    if products_of(node.op, x, fold) == "constant":
        # It takes a vector in every clock, so nothing waits before it.
        return _convert(source.output, fold.simd)
    windows = isinstance(source, Window)
    return _convert(source.output, fold.simd, queue_depth(x, lanes, math.lcm(lanes, fold.simd), windows=windows))


def _unit(node: Node, x: TensorType, lanes: int, folding: Folding, family: Family | None) -> wiring.Component:
    """The component of a node: where a matrix unit is unrolled, its weights become adders; those of narrow weights
    have cells of their own on UltraScale+."""
    if isinstance(node.op, ops.MatVec) and not isinstance(node.op, ops.Depthwise):
        fold = folding[node.name]
        if products_of(node.op, x, fold) == "constant":
            return ShiftAdd(node.op, x, family)
        if family == "xcup" and matvec_placed.fits(node.op, x, fold):
            return PlacedMatVec(node.op, x, fold)
        if fold.dsp:
            raise UnsupportedError(
                f"node {node.name!r}: the fold asks for DSPs; that is for products that LUTs make otherwise, of "
                f"weights of 4 bits or fewer, on UltraScale+"
            )
    return BUILDERS[type(node.op)](node, x, lanes, folding)


def parts(graph: Graph, folding: Folding, family: Family | None = None) -> list[tuple[wiring.Component, Node | None]]:
    """All components in the order of the stream, each with the node it computes, or None.

    A node that leaves the stream as it is has none.
    """
    nodes = check(graph, folding)
    lanes = stream_lanes(graph, folding)
    found: list[tuple[wiring.Component, Node | None]] = []
    for node in nodes:
        if node.name not in lanes:
            continue
        x = graph.types[node.inputs[0]]
        source = found[-1][0] if found else None
        between: list[wiring.Component] = []
        if source and isinstance(node.op, ops.MatVec):
            between = _bridge(source, node, folding[node.name], x)
        elif source:
            between = _convert(source.output, lanes[node.name])
        found += [(component, None) for component in between]
        found.append((_unit(node, x, lanes[node.name], folding, family), node))
    return found


class Accelerator(wiring.Component):
    """The components of a chain, connected. Ports: `i`, `o`, the streams of the whole network.

    `latency`, `interval` and `spans` are those of `Design`.
    """

    def __init__(self, components: list[tuple[str, wiring.Component]]):
        self.components = components
        self.input, self.output = components[0][1].input, components[-1][1].output
        self.spans = timing.spans(self.input.beats, [component.timing for _, component in components])
        self.latency = self.spans[-1][1]
        self.interval = max(component.interval for _, component in components)
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def elaborate(self, platform):
        m = Module()
        for name, component in self.components:
            m.submodules[name] = component
        for (_, source), (_, sink) in zip(self.components, self.components[1:], strict=False):
            wiring.connect(m, source.o, sink.i)
        wiring.connect(m, wiring.flipped(self.i), self.components[0][1].i)
        wiring.connect(m, self.components[-1][1].o, wiring.flipped(self.o))
        return m


def staged(graph: Graph, folding: Folding, family: Family | None = None) -> list[tuple[Stage, wiring.Component]]:
    """The stages of the accelerator in the order of the stream, each with its component; raises as `build`."""
    found: list[tuple[Stage, wiring.Component]] = []
    counts: Counter[str] = Counter()
    for component, node in parts(graph, folding, family):
        kind = KINDS[type(component)]
        name = f"{kind}{counts[kind]}"
        counts[kind] += 1
        node_name = node.name if node else None
        stage = Stage(name, kind, node_name, component.input, component.output, component.latency, component.interval)
        found.append((stage, component))
    return found


def accelerator_of(
    graph: Graph, folding: Folding, family: Family | None = None
) -> tuple[Accelerator, tuple[Stage, ...]]:
    """The accelerator as a component, and its stages; raises as `build`."""
    found = staged(graph, folding, family)
    return Accelerator([(stage.name, component) for stage, component in found]), tuple(stage for stage, _ in found)


def build(graph: Graph, folding: Folding, family: Family | None = None) -> Design:
    """The accelerator of a frozen graph; `folding` has a fold for each matrix unit, by node name.

    family: of the FPGA, whose cells may then be instantiated; for simulators the Verilog has models of them.

    Raises HwgenError for a graph that is not frozen or a fold that is missing or does not divide its layer, and
    UnsupportedError for a graph that is not a chain or a node without gateware; both name the node.
    """
    accelerator, stages = accelerator_of(graph, folding, family)
    verilog = to_verilog(accelerator, "accel")
    models = [share("rtl", name).read_text(encoding="utf-8") for cell, name in MODELS.items() if cell in verilog]
    if models:
        verilog += f"`ifdef VERILATOR\n{''.join(models)}`endif\n"
    return Design(
        verilog=verilog,
        input=accelerator.input,
        output=accelerator.output,
        stages=stages,
        latency=accelerator.latency,
        interval=accelerator.interval,
        spans=tuple(accelerator.spans),
    )
