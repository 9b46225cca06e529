"""From a frozen graph and its folding to the accelerator: components, converters, queues, Verilog."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen import ops
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.gateware import timing
from hwgen.gateware.argmax import ArgMax
from hwgen.gateware.beat import beats_of, signature
from hwgen.gateware.block_quantize import BlockQuantize
from hwgen.gateware.branches import Part, queue_depths
from hwgen.gateware.decode import check_decodable
from hwgen.gateware.decoding import Decode
from hwgen.gateware.fifo import Fifo
from hwgen.gateware.fix import Fix
from hwgen.gateware.fork import Fork
from hwgen.gateware.grouped import Grouped
from hwgen.gateware.join import JOINS, Beside, Join, Product, Sum
from hwgen.gateware.matvec import MatVec
from hwgen.gateware.matvec_placed import PlacedMatVec
from hwgen.gateware.pool import Pool, check_pool
from hwgen.gateware.requantize import Requantize
from hwgen.gateware.slice import Slice
from hwgen.gateware.table import Table
from hwgen.gateware.thresholds import Thresholds
from hwgen.gateware.timing import Source
from hwgen.gateware.topk import TopK
from hwgen.gateware.unrolled import ShiftAdd
from hwgen.gateware.upsample import Upsample, check_upsample
from hwgen.gateware.verilog import to_verilog
from hwgen.gateware.width import Gather, Scatter
from hwgen.gateware.window import Window, check_window
from hwgen.ir import Beats, Fold, Folding, Graph, Node, TensorType
from hwgen.ops.cost import check_folding, input_lanes, is_placed, products_of, queue_depth, stream_lanes
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
    ops.Grouped: lambda node, x, lanes, folding: Grouped(node.op, x, folding[node.name]),
    ops.Thresholds: lambda node, x, lanes, folding: Thresholds(node.op, x, lanes),
    ops.Table: lambda node, x, lanes, folding: Table(node.op, x, lanes),
    ops.Requantize: lambda node, x, lanes, folding: Requantize(node.op, x, lanes),
    ops.BlockQuantize: lambda node, x, lanes, folding: BlockQuantize(node.op, x, lanes),
    ops.Fix: lambda node, x, lanes, folding: Fix(node.op, x, lanes),
    ops.Decode: lambda node, x, lanes, folding: Decode(node.op, x, lanes),
    ops.ArgMax: lambda node, x, lanes, folding: ArgMax(node.op, x, lanes),
    ops.TopK: lambda node, x, lanes, folding: TopK(node.op, x),
    ops.Window: lambda node, x, lanes, folding: Window(node.op, x, lanes),
    ops.Upsample: lambda node, x, lanes, folding: Upsample(node.op, x, lanes),
    ops.Pool: lambda node, x, lanes, folding: Pool(node.op, x, lanes),
    ops.Slice: lambda node, x, lanes, folding: Slice(node.op, x, lanes),
}

# What is looked at before anything is built: each raises HwgenError for an operation that cannot be.
CHECKS = {ops.Window: check_window, ops.Upsample: check_upsample, ops.Pool: check_pool}

MODELS = {"CARRY8": "cells_xcup.sv", "DSP48E2": "dsp_xcup.sv"}
"""Files of rtl/ with models of cells, by a cell that tells that they are needed."""

KINDS = {
    MatVec: "matvec",
    PlacedMatVec: "matvec",
    ShiftAdd: "matvec",
    Grouped: "grouped",
    Thresholds: "thresholds",
    Table: "table",
    Requantize: "requantize",
    BlockQuantize: "block_quantize",
    Fix: "fix",
    Decode: "decode",
    ArgMax: "argmax",
    TopK: "topk",
    Window: "window",
    Upsample: "upsample",
    Pool: "pool",
    Slice: "slice",
    Sum: "add",
    Product: "multiply",
    Beside: "concat",
    Fork: "fork",
    Fifo: "fifo",
    Gather: "width",
    Scatter: "width",
}


def check(graph: Graph, folding: Folding) -> list[Node]:
    """The nodes; raises HwgenError naming the first that cannot be built, before anything is."""
    if not graph.is_frozen:
        raise HwgenError(f"graph {graph.name!r} is not frozen: gateware is made of integer operations only")
    graph.input_type, graph.output_type  # noqa: B018  (one of each, or an error)
    nodes = list(graph.nodes)
    read = {graph.outputs[0], *(tensor for node in nodes for tensor in node.inputs)}
    for tensor in graph.types:
        if tensor not in read:
            raise UnsupportedError(f"tensor {tensor!r} is read by no node: all that is computed must be used")
    check_folding(graph, folding)
    for node in nodes:
        x = graph.types[node.inputs[0]]
        if is_wire(node.op, x):
            continue
        if type(node.op) not in BUILDERS and type(node.op) not in JOINS:
            raise UnsupportedError(f"node {node.name!r}: no gateware computes {node.op.kind}")
        try:
            for tensor in node.inputs:
                check_decodable(graph.types[tensor].codes_format)
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


def _bridge(beats: Beats, node: Node, fold: Fold, x: TensorType, *, windows: bool) -> list[wiring.Component]:
    """Components between a stream, of sliding windows perhaps, and the matrix unit of a node, which reads tensor `x`.

    A matrix unit takes a vector at one beat a clock, then nothing while it works on it. The queue takes what comes in
    the meantime, so that nothing before it has to wait for long, and vectors are there when the unit wants them; it
    also ends the chain of stalls. hwgen.ops.cost_layers.queue_depth tells how long it has to be for that.
    """
    lanes = beats.lanes
    if products_of(node.op, x, fold) == "constant":
        # It takes a vector in every clock, so nothing waits before it.
        return _convert(beats, fold.simd)
    return _convert(beats, fold.simd, queue_depth(x, lanes, math.lcm(lanes, fold.simd), windows=windows))


def _unit(node: Node, x: TensorType, lanes: int, folding: Folding, family: Family | None) -> wiring.Component:
    """The component of a node: where a matrix unit is unrolled, its weights become adders; those of narrow weights
    have cells of their own on UltraScale+."""
    if isinstance(node.op, ops.MatVec):
        fold = folding[node.name]
        if products_of(node.op, x, fold) == "constant":
            return ShiftAdd(node.op, x, family)
        if family == "xcup" and is_placed(node.op, x, fold):
            return PlacedMatVec(node.op, x, fold)
        if fold.dsp:
            raise UnsupportedError(
                f"node {node.name!r}: the fold asks for DSPs; that is for products that LUTs make otherwise, of "
                f"weights of 4 bits or fewer, on UltraScale+"
            )
    return BUILDERS[type(node.op)](node, x, lanes, folding)


@dataclass
class _Net:
    """The parts as far as they are wired up, and the streams of each tensor that are not read yet, one a reader.

    carried: tensors that travel on the stream of another one, since a node between passes that on as it is.
    """

    parts: list[Part]
    streams: dict[str, list[tuple[Source, Beats]]]
    carried: dict[str, str]
    readers: Counter[str]

    def root(self, tensor: str) -> str:
        """The tensor on whose stream a tensor travels."""
        return self.carried.get(tensor, tensor)

    def add(self, component: wiring.Component, node: Node | None, *sources: Source) -> Source:
        self.parts.append(Part(component, node, sources))
        return len(self.parts) - 1, 0

    def give(self, tensor: str, source: Source, beats: Beats) -> None:
        """The stream of a tensor, forked where several read it."""
        count = self.readers[tensor]
        if count > 1:
            index, _ = self.add(Fork(beats, count), None, source)
            self.streams[tensor] = [((index, n), beats) for n in range(count)]
        else:
            self.streams[tensor] = [(source, beats)]

    def take(self, tensor: str, between: Callable[[Beats], list[wiring.Component]]) -> Source:
        """The stream of a tensor for its next reader, through the components that have to stand between."""
        source, beats = self.streams[self.root(tensor)].pop(0)
        for component in between(beats):
            source = self.add(component, None, source)
        return source


def _net(graph: Graph, lanes: Mapping[str, int]) -> _Net:
    carried: dict[str, str] = {}
    for node in graph.nodes:
        if node.name not in lanes:
            carried[node.output] = carried.get(node.inputs[0], node.inputs[0])
    read = [carried.get(tensor, tensor) for node in graph.nodes if node.name in lanes for tensor in node.inputs]
    return _Net([], {}, carried, Counter(read))


def parts(graph: Graph, folding: Folding, family: Family | None = None) -> list[Part]:
    """All components, each behind those that it reads, with the node that it computes, if any.

    A node that leaves the stream as it is has none.
    """
    nodes = check(graph, folding)
    lanes = stream_lanes(graph, folding)
    net = _net(graph, lanes)
    start = graph.inputs[0].name
    if net.readers[start] > 1:
        # Reshaped, perhaps, before anything reads it: what that divides goes through all of the frame.
        first = next(node for node in nodes if node.name in lanes)
        net.give(start, (-1, 0), beats_of(graph.types[first.inputs[0]], input_lanes(graph, folding)))
    for node in nodes:
        if node.name in lanes:
            try:
                _add_node(net, node, [graph.types[tensor] for tensor in node.inputs], lanes[node.name], folding, family)
            except HwgenError as error:
                told = str(error)
                raise type(error)(told if repr(node.name) in told else f"node {node.name!r}: {told}") from error
    return net.parts


def _add_node(net: _Net, node: Node, types: list[TensorType], lanes: int, folding: Folding, family: Family | None):
    """The component of a node, behind those that it reads."""
    if type(node.op) in JOINS:
        source = _join(net, node, types, lanes)
    else:
        component = _unit(node, types[0], lanes, folding, family)
        source = net.add(component, node, _ahead(net, node, types[0], component.input.lanes, folding))
    net.give(node.output, source, net.parts[source[0]].component.output)


def _ahead(net: _Net, node: Node, x: TensorType, lanes: int, folding: Folding) -> Source:
    """The stream that a component of one input reads, with all that stands between it and where it comes from."""
    tensor = net.root(node.inputs[0])
    if tensor not in net.streams:
        # What reads the accelerator's input alone has it as it wants it.
        return -1, 0
    if isinstance(node.op, ops.MatVec):
        index, _ = net.streams[tensor][0][0]
        windows = index >= 0 and isinstance(net.parts[index].component, Window)
        return net.take(tensor, lambda beats: _bridge(beats, node, folding[node.name], x, windows=windows))
    return net.take(tensor, lambda beats: _convert(beats, lanes))


def _join(net: _Net, node: Node, types: list[TensorType], lanes: int) -> Source:
    sources = [net.take(tensor, lambda beats: _convert(beats, lanes)) for tensor in node.inputs]
    beats = [x.size // lanes for x in types]
    slack = 1 if isinstance(node.op, ops.Add | ops.Multiply) else max(x.channels // lanes for x in types)
    depths = queue_depths(net.parts, sources, beats, slack)
    return net.add(JOINS[type(node.op)](node.op, types, lanes, depths), node, *sources)


class Accelerator(wiring.Component):
    """Components, connected. Ports: `i`, `o`, the streams of the whole network.

    `latency`, `interval` and `spans` are those of `Design`.
    """

    def __init__(self, components: list[tuple[str, Part]]):
        self.components = components
        found = [part for _, part in components]
        self.input, self.output = found[0].component.input, found[-1].component.output
        timings = [part.component.timing for part in found]
        self.spans = timing.spans(self.input.beats, timings, [part.sources for part in found])
        self.latency = self.spans[-1][1]
        self.interval = max(part.component.interval for part in found)
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def elaborate(self, platform):
        m = Module()
        for name, part in self.components:
            m.submodules[name] = part.component
        for _, part in self.components:
            for sink, (index, output) in zip(_inputs(part.component), part.sources, strict=True):
                if index < 0:
                    wiring.connect(m, wiring.flipped(self.i), sink)
                else:
                    wiring.connect(m, _outputs(self.components[index][1].component)[output], sink)
        wiring.connect(m, self.components[-1][1].component.o, wiring.flipped(self.o))
        return m


def _inputs(component: wiring.Component) -> list:
    if isinstance(component, Join):
        return [getattr(component, f"i{n}") for n in range(len(component.inputs))]
    return [component.i]


def _outputs(component: wiring.Component) -> list:
    if isinstance(component, Fork):
        return [getattr(component, f"o{n}") for n in range(component.count)]
    return [component.o]


def staged(graph: Graph, folding: Folding, family: Family | None = None) -> list[tuple[Stage, wiring.Component]]:
    """The stages of the accelerator in the order of the stream, each with its component; raises as `build`."""
    return [(stage, part.component) for stage, part in _staged(graph, folding, family)]


def _staged(graph: Graph, folding: Folding, family: Family | None) -> list[tuple[Stage, Part]]:
    found: list[tuple[Stage, Part]] = []
    counts: Counter[str] = Counter()
    for part in parts(graph, folding, family):
        component, node = part.component, part.node
        kind = KINDS[type(component)]
        name = f"{kind}{counts[kind]}"
        counts[kind] += 1
        node_name = node.name if node else None
        stage = Stage(name, kind, node_name, component.input, component.output, component.latency, component.interval)
        found.append((stage, part))
    return found


def accelerator_of(
    graph: Graph, folding: Folding, family: Family | None = None
) -> tuple[Accelerator, tuple[Stage, ...]]:
    """The accelerator as a component, and its stages; raises as `build`."""
    found = _staged(graph, folding, family)
    return Accelerator([(stage.name, part) for stage, part in found]), tuple(stage for stage, _ in found)


def build(graph: Graph, folding: Folding, family: Family | None = None) -> Design:
    """The accelerator of a frozen graph; `folding` has a fold for each matrix unit, by node name.

    family: of the FPGA, whose cells may then be instantiated; for simulators the Verilog has models of them.

    Raises HwgenError for a graph that is not frozen or a fold that is missing or does not divide its layer, and
    UnsupportedError for a tensor that nothing reads or a node without gateware; both name it.
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
