"""What Vitis HLS says of a project, as hwgen's report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hwgen.backends import hls4ml, hls4ml_report
from hwgen.compiler import Accelerator
from hwgen.ir import Graph
from hwgen.ir.figure import Figure
from hwgen.report import Report, timing
from hwgen.report.model import HostSide, Layer, Resource

UNITS = {"lut": "LUT", "ff": "FF", "bram": "BRAM", "dsp": "DSP"}

WARNING = "all figures are estimates that Vitis HLS makes before logic synthesis"


def report(made: Accelerator, folder: Path) -> Report:
    """The report of an accelerator's HLS project that Vitis has synthesised. Raises as `hls4ml_report.figures`."""
    graph, board = made.graph, made.board
    name = hls4ml.project_name(graph)
    whole = hls4ml_report.figures(folder, name)
    period = whole["clock"]
    fmax = Figure(1000 / period.value if period.value else None, "estimate", "MHz", period.how)
    resources = tuple(
        Resource(unit, _tiles(whole)[key], int(getattr(board.resources, key))) for key, unit in UNITS.items()
    )
    return Report(
        network=graph.name,
        graph_hash=graph.hash,
        board=board.name,
        part=board.part,
        command="hwgen build --backend hls4ml",
        tools={"Vitis HLS": hls4ml_report.version(folder, name), "hls4ml": hls4ml.VERSION},
        timing=timing(board.clock.design_mhz, fmax, whole["latency"], whole["interval"]),
        layers=tuple(_layer(made, place, folder) for place in range(len(graph.nodes))),
        resources=resources,
        host=HostSide(tuple(op.kind for op in graph.pre), tuple(op.kind for op in graph.post)),
        warnings=(WARNING,),
    )


def _tiles(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """Resources, with block RAM in tiles of 36 kbit as boards count them; HLS counts halves."""
    half = figures["bram"]
    tiles = Figure(half.value / 2 if half.value is not None else None, half.source, "BRAM", half.how)
    return {**figures, "bram": tiles}


def _layer(made: Accelerator, place: int, folder: Path) -> Layer:
    graph: Graph = made.graph
    node = graph.nodes[place]
    used = hls4ml_report.layer(folder, hls4ml.project_name(graph), place)
    tiles, fold = _tiles(used), made.folding.get(node.name)
    unknown = Figure(None, "estimate", "cycles", hls4ml_report.HOW)
    return Layer(
        name=node.name,
        kind=node.op.kind,
        cycles=used["interval"],
        start=unknown,
        end=unknown,
        lut=tiles["lut"],
        ff=tiles["ff"],
        bram=tiles["bram"],
        dsp=tiles["dsp"],
        pe=fold.pe if fold else None,
        simd=fold.simd if fold else None,
        input_format=graph.types[node.inputs[0]].codes_format.name,
        output_format=graph.types[node.output].codes_format.name,
    )
