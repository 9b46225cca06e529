"""FINN's RTL of a chain of nodes as one design with the top `accel`: what FINN itself stitches only with Vivado."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from hwgen.backends import finn_onnx, finn_patch
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Codes
from hwgen.gateware import Design
from hwgen.gateware.top import Stage
from hwgen.ir import Beats, Graph
from hwgen.ops import MatVec, Pool, Requantize, Thresholds, Window
from hwgen.tools.files import atomic_dir
from hwgen.tools.yosys import quote

TOP = "accel"

TEMPLATE = Path(__file__).parent / "finn_rtl" / "accel.sv.j2"

CELL_MODELS = TEMPLATE.with_name("dsp48e2.sv")

DSP48E2 = "2"
"""What FINN calls UltraScale+'s DSP slices in its matrix units."""

# Which of FINN's nodes computes a node of the graph: the first of a kind computes the first such, and so on.
COMPUTES = {
    "MVAU_rtl": (MatVec,),
    "Thresholding_rtl": (Thresholds, Requantize),
    "ConvolutionInputGenerator_rtl": (Window,),
    "Pool_hls": (Pool,),
}

CELLS = {"DSP48E2": "cells_xtra.v", "DSP48E1": "cells_sim.v", "LUT6_2": "cells_sim.v"}
"""AMD's cells in FINN's RTL, and Yosys' file that has their ports."""

STAND_INS = ("Pool_hls",)
"""Nodes that FINN has as HLS only: hwgen's own SystemVerilog, in the template, takes their place."""

AXILITE = ("Thresholding_rtl", "FMPadding_rtl")
"""Nodes with a port to set them up at run time, which nothing does here."""

_AXILITE_OUTPUTS = ("AWREADY", "WREADY", "BVALID", "BRESP", "ARREADY", "RVALID", "RDATA", "RRESP")
_AXILITE_INPUTS = ("AWVALID", "AWADDR", "WVALID", "WDATA", "WSTRB", "BREADY", "ARVALID", "ARADDR", "RREADY")
_WEIGHTS = re.compile(r'"(?:[^"]*/)?memblock\.dat"')
_THRESHOLDS = re.compile(r'(?<=THRESHOLDS_PATH = ")[^"]*/')


@dataclass(frozen=True)
class Part:
    """A stage of the top: `kind` and `top` are FINN's; `node` is the graph's node whose codes come out of it."""

    name: str
    kind: str
    top: str
    node: str | None
    input: Beats
    output: Beats
    cycles: int
    weights: int = 0
    taps: int = 0
    table: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        return f"{self.kind}{f', which computes {self.node}' if self.node else ''}"

    @property
    def in_bits(self) -> int:
        return 8 * self.input.bytes_per_beat

    @property
    def out_bits(self) -> int:
        return 8 * self.output.bytes_per_beat

    @property
    def weight_bits(self) -> int:
        return 8 * ((self.weights + 7) // 8)

    @property
    def axilite(self) -> bool:
        return self.kind in AXILITE


def read_nodes(folder: Path) -> list[dict[str, Any]]:
    """What the driver wrote of FINN's nodes; raises HwgenError where it did not."""
    path = folder / "nodes.json"
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HwgenError(f"{folder} holds no RTL of FINN: {path} cannot be read ({error})") from error
    return found


def parts(graph: Graph, nodes: Sequence[dict[str, Any]]) -> list[Part]:
    """The stages in order, and the last bias behind them; raises UnsupportedError for a node that is no RTL."""
    computing = [node for node in graph.nodes if not finn_onnx.is_skipped(node.op)]
    waiting = {kind: [node.name for node in computing if isinstance(node.op, ops)] for kind, ops in COMPUTES.items()}
    bias = finn_onnx.last_bias(graph)
    made = []
    for entry in nodes:
        if not entry["top"] and entry["kind"] not in STAND_INS:
            raise UnsupportedError(
                f"FINN has no RTL for its node {entry['name']!r} ({entry['kind']}), only HLS, which needs Vitis"
            )
        computes = waiting[entry["kind"]].pop(0) if waiting.get(entry["kind"]) else None
        taken, given = Beats(**entry["input"]), Beats(**entry["output"])
        name, kind = entry["name"], entry["kind"]
        sizes = entry["cycles"], entry["weights"], entry["taps"]
        made.append(Part(name, kind, entry["top"] or "", computes, taken, given, *sizes))
    left = [name for names in waiting.values() for name in names]
    if left:
        raise HwgenError(f"FINN's graph has no node for node {left[0]!r}: it was left out on the way")
    return [*made, _bias(graph, made[-1].output, bias)] if bias.any() else made


def _bias(graph: Graph, sums: Beats, bias: Codes) -> Part:
    fmt = graph.output_type.codes_format
    out = Beats(sums.lanes, max(sums.bits, fmt.bits), True, sums.beats)
    rows = (bias.reshape(-1, sums.lanes) & ((1 << out.bits) - 1)).tolist()
    words = tuple(f"{sum(value << (lane * out.bits) for lane, value in enumerate(row)):x}" for row in rows)
    return Part("bias", "bias", "", finn_onnx.last_node(graph).name, sums, out, 0, table=words)


def stitch(graph: Graph, folder: Path) -> Path:
    """Write folder/rtl: patched copies of FINN's files, their memories in rtl/mem, and accel.sv; gives accel.sv."""
    nodes = read_nodes(folder)
    made = parts(graph, nodes)
    with atomic_dir(folder / "rtl") as out:
        (out / "mem").mkdir()
        for entry in nodes:
            _copy(entry, Path(entry["folder"]), out)
        (out / "accel.sv").write_text(_top(made, nodes))
    return folder / "rtl" / "accel.sv"


def _copy(entry: dict[str, Any], source: Path, out: Path) -> None:
    """The RTL and the memories of one node."""
    for name in entry["files"]:
        if name == "memblock.dat":
            shutil.copyfile(source / name, out / "mem" / f"{entry['top']}.dat")
        elif name.endswith(".dat"):
            shutil.copyfile(source / name, out / "mem" / name)
        elif name.endswith((".v", ".sv")):
            text = _WEIGHTS.sub(f'"mem/{entry["top"]}.dat"', (source / name).read_text())
            (out / name).write_text(finn_patch.apply(name, _THRESHOLDS.sub("mem/", text)))
    for path in map(Path, entry["library"]):
        if path.parent != source and not (out / path.name).exists() and path.name not in finn_patch.LEFT_OUT:
            (out / path.name).write_text(finn_patch.apply(path.name, path.read_text()))


def _top(made: Sequence[Part], nodes: Sequence[dict[str, Any]]) -> str:
    template = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    unused = [*((name, "'0") for name in _AXILITE_INPUTS), *((name, "") for name in _AXILITE_OUTPUTS)]
    ports = ",\n".join(f"        .s_axilite_{name}({value})" for name, value in unused)
    return template.from_string(TEMPLATE.read_text()).render(stages=made, unused_axilite=ports)


def files(folder: Path) -> list[Path]:
    """The RTL of a stitched project in the order to read it in: packages first, accel.sv last."""
    rtl = folder / "rtl"
    found = [path for path in sorted(rtl.iterdir()) if path.suffix in (".sv", ".v") and path.name != "accel.sv"]
    return [*sorted(found, key=lambda path: not path.name.endswith("_pkg.sv")), rtl / "accel.sv"]


def design(graph: Graph, folder: Path) -> Design:
    """The stitched RTL as one text, with the paths of its memories made absolute, and what hwgen's bench needs of it.

    latency and interval are FINN's estimates: the sum and the greatest of its nodes' cycles.
    """
    made = parts(graph, read_nodes(folder))
    memories = (folder / "rtl" / "mem").resolve()
    text = "\n".join(path.read_text() for path in files(folder))
    # FINN's unit with the cells of UltraScale+ that it instantiates, or with its own description of them elsewhere.
    cells = set(re.findall(r"\bparameter\s+VERSION = (\d)", text)) <= {DSP48E2}
    text = f"{text}\n{CELL_MODELS.read_text()}" if cells else f"`define {finn_patch.BEHAVIORAL}\n{text}"
    contents = "".join(f"// {path.name}\n" + path.read_text() for path in sorted(memories.iterdir()))
    cycles = [part.cycles for part in made]
    return Design(
        # Simulators are kept by this text, so it says what is in the memories.
        verilog=text.replace('"mem/', f'"{memories}/') + f"\n// memories: {finn_patch.digest_of(contents)}\n",
        input=made[0].input,
        output=made[-1].output,
        stages=tuple(
            Stage(part.name, part.kind, part.node, part.input, part.output, part.cycles, part.cycles) for part in made
        ),
        latency=sum(cycles),
        interval=max(cycles),
        spans=(),
    )


def expected(graph: Graph, made: Sequence[Stage], trace: dict[str, Codes]) -> dict[str, Codes]:
    """The golden codes of each stream by the name of its node; FINN's sums inside the network are without bias."""
    last = {stage.node: stage for stage in made if stage.node is not None}
    found = {}
    for node in graph.nodes:
        if node.name not in last:
            continue
        codes = trace[node.output]
        if isinstance(node.op, Window) and finn_onnx.pool_behind(graph, node):
            # Windows for a pool come some channels after the other, each with all its pixels.
            lanes = last[node.name].output.lanes
            codes = codes.reshape(-1, node.op.taps, codes.shape[-1] // node.op.taps // lanes, lanes).swapaxes(1, 2)
            codes = codes.reshape(len(trace[node.output]), -1)
        if isinstance(node.op, MatVec) and last[node.name].kind == "MVAU_rtl":
            codes = codes - np.asarray(node.op.bias)
        found[node.name] = codes.reshape(len(codes), -1)
    return found


def blackboxes() -> str:
    """The cells of AMD's that FINN instantiates, without what is in them: Yosys' own list of their ports."""
    import pyosys

    share = Path(pyosys.__file__).parent / "share" / "xilinx"
    found = []
    for name, file in CELLS.items():
        text = (share / file).read_text(encoding="utf-8")
        match = re.search(rf"^module {name}\b(.*?\);)(.*?)^endmodule", text, re.DOTALL | re.MULTILINE)
        if match is None:
            raise HwgenError(f"Yosys' {share / file} has no module {name}")
        parameters = re.findall(r"^\s*(?:parameter|input|output)\b[^;]*;", match[2], re.MULTILINE)
        found.append("\n".join(["(* blackbox *)", f"module {name}{match[1]}", *parameters, "endmodule"]))
    return "\n".join(found) + "\n"


def flatten_script(sources: Sequence[Path], top: str, made: Path) -> str:
    """A Yosys script that makes plain Verilog, `made`, of the module `top` of `sources` and what is in it."""
    names = " ".join(quote(path) for path in sources)
    return f"""\
read_slang --top {top} -DSYNTHESIS --single-unit --ignore-assertions {names}
hierarchy -top {top}
write_verilog -noattr {quote(made)}
"""
