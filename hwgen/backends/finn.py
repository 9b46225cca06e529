"""The FINN backend: a frozen graph as a FINN project whose RTL, in Verilator, gives the golden model's codes.

`emit` writes the project (`write`) and has FINN make its RTL (`generate`, in FINN's own environment, no Vivado);
`simulate` and `verify` run that RTL, stitched into one top level, under hwgen's own bench; `synthesis` gives it to
Yosys; `build` runs FINN to a bitstream where Vivado is installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hwgen import golden
from hwgen.backends import finn_fold, finn_onnx, finn_stitch
from hwgen.errors import HwgenError, ToolFailedError, ToolMissingError
from hwgen.flow.boards import Board
from hwgen.flow.simulate import Run, SimResult, check
from hwgen.flow.simulate import simulate as run_bench
from hwgen.flow.simulator import OnProgress
from hwgen.ir import Folding, Graph, graph_from_json
from hwgen.ir.figure import Figure
from hwgen.ops import OPS, MatVec, Window
from hwgen.tools import child, yosys
from hwgen.tools.files import atomic_dir, share, write_atomic

if TYPE_CHECKING:
    from hwgen.gateware import Design

VERSION = "1.6.1"
"""The version of finn-plus that the backend is written for and tested with; constraints-finn.txt holds it."""

ENVIRONMENT = ".venv-finn"
"""The folder of FINN's virtual environment, which `make finn-env` fills; HWGEN_FINN_ENV names another."""

BOARDS = {
    "xczu3eg-sbva484-1-e": "Ultra96",
    "xczu3eg-sbva484-1-i": "Ultra96-V2",
    "xc7z020clg400-1": "Pynq-Z1",
    "xczu9eg-ffvb1156-2-e": "ZCU102",
    "xczu7ev-ffvc1156-2-e": "ZCU104",
    "xczu28dr-ffvg1517-2-e": "ZCU111",
    "xczu48dr-ffvg1517-2-e": "RFSoC4x2",
    "xck26-sfvc784-2LV-c": "KV260_SOM",
    "xczu3eg-sfvc784-2-e": "AUP-ZU3_8GB",
}
"""FINN's names of boards that it has a shell for, by part; for AMD's other parts it makes RTL and no bitstream."""

# Run with -P: beside it stands this file, which FINN's own package would be taken for.
_DRIVER = Path(__file__).with_name("finn_driver.py")

STEP = "finn: "
"""How the driver's lines begin that tell FINN's steps."""

TIMEOUT = 3600.0


def emit(
    graph: Graph,
    folding: Folding,
    folder: Path | str,
    board: Board,
    on_line: child.OnLine | None = None,
) -> Path:
    """Write the FINN project of a frozen graph and have FINN make its RTL; see `write` and `generate`.

    Where `generate` fails, what `write` wrote stays in `folder`, and the message says so.
    """
    write(graph, folding, folder, board)
    generate(folder, on_line)
    return Path(folder)


def write(graph: Graph, folding: Folding, folder: Path | str, board: Board) -> Path:
    """Write what FINN builds from; `folder` appears whole. It needs no FINN.

    model.onnx: the network in integers. build.json: FINN's DataflowBuildConfig for the board's part and design clock.
    folding.json, specialize.json: PE and SIMD of each of FINN's nodes from `folding` (by matrix unit, as for the native
    backend), and that all of them be RTL. graph.json: the graph. Raises UnsupportedError naming a node or format that
    FINN's RTL does not carry, HwgenError for a fold that does not divide its layer or a board that is not AMD's.
    """
    if board.vendor != "amd":
        raise HwgenError(f"the FINN backend makes projects for AMD parts; {board.name} has {board.part}")
    model = finn_onnx.to_onnx(graph)
    nodes = finn_fold.folding(graph, folding)
    with atomic_dir(folder, "graph.json") as out:
        (out / "model.onnx").write_bytes(model.SerializeToString())
        _write_json(out / "graph.json", graph.to_json())
        _write_json(out / "folding.json", nodes)
        _write_json(out / "specialize.json", finn_fold.SPECIALIZE)
        _write_json(out / "build.json", configuration(board))
    return Path(folder)


def configuration(board: Board) -> dict[str, Any]:
    """FINN's build configuration, as JSON values."""
    name = BOARDS.get(board.part)
    target = {"board": name, "shell_flow_type": "vivado_zynq"} if name else {"fpga_part": board.part}
    return {
        "output_dir": "finn",
        "synth_clk_period_ns": 1000 / board.clock.design_mhz,
        "generate_outputs": ["estimate_reports"],
        "folding_config_file": "folding.json",
        "specialize_layers_config_file": "specialize.json",
        # Thresholds inside FINN's matrix units would make HLS of them.
        "standalone_thresholds": True,
        # Of even thresholds FINN would make a multiplication by a float32, rounded: not for types of so many bits.
        "requant_bitwidth_threshold": 64,
        # Sizing FIFOs takes Xilinx' simulator; nodes state the depths that they want beside their folding.
        "auto_fifo_depths": True,
        "auto_fifo_strategy": "force_minimal_fifos",
        **target,
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def python() -> Path:
    """The Python of FINN's environment; raises ToolMissingError, which names `make finn-env`, where there is none."""
    named = os.environ.get("HWGEN_FINN_ENV")
    places = [Path(named)] if named else [Path(ENVIRONMENT), share("boards").parent / ENVIRONMENT]
    for place in places:
        # The stamp is the last thing that `make finn-env` writes.
        if (place / ".installed").is_file() and (place / "bin" / "python").exists():
            return (place / "bin" / "python").absolute()
    looked = " or ".join(dict.fromkeys(str(place) for place in places))
    raise ToolMissingError(f"FINN's environment is not there (no {looked}): make it with: make finn-env")


def generate(folder: Path | str, on_line: child.OnLine | None = None, timeout: float = TIMEOUT) -> Path:
    """Run FINN on a project until every node is RTL, and stitch that; gives rtl/accel.sv. Log: finn.log.

    on_line sees FINN's lines; those that begin with STEP tell the step. Raises ToolMissingError without FINN's
    environment, HwgenError with FINN's reason for a project that it refuses, such as a folding; ToolFailedError with
    its last lines and its log's path for a crash, UnsupportedError for a node that FINN makes in HLS; what `write`
    wrote stays.
    """
    folder = Path(folder)
    graph = read_graph(folder)
    try:
        program = python()
    except ToolMissingError as error:
        raise ToolMissingError(f"{error}; the project in {folder} is written, without FINN's RTL") from error
    for old in ("finn", "rtl", "synthesis"):
        shutil.rmtree(folder / old, ignore_errors=True)
    (folder / "nodes.json").unlink(missing_ok=True)
    command: list[str | Path] = [program, "-P", _DRIVER, "front", folder.absolute()]
    log = folder / "finn.log"
    try:
        child.run(command, log=log, cwd=folder, env=_environment(), timeout=timeout, on_line=on_line)
    except ToolFailedError as error:
        refused = _refusal(log, graph)
        if refused:
            raise HwgenError(f"FINN refuses the project in {folder} at {_step(log)}: {refused} (log: {log})") from error
        raise ToolFailedError(f"FINN stopped at {_step(log)}: {error}") from error
    return finn_stitch.stitch(graph, folder)


def _refusal(log: Path, graph: Graph) -> str:
    """What FINN itself has against a project, with the graph's names of its matrix units; "" for a crash."""
    found = re.findall(r"FINN(?:User|Configuration)Error: (.+)", log.read_text(encoding="utf-8", errors="replace"))
    if not found:
        return ""
    units = [node.name for node in graph.nodes if isinstance(node.op, MatVec)]

    def named(match: re.Match[str]) -> str:
        return f"{match[0]} (node {units[int(match[1])]!r})" if int(match[1]) < len(units) else match[0]

    return re.sub(r"\bMVAU_rtl_(\d+)\b", named, str(found[-1]))


def _environment() -> dict[str, str]:
    # FINN's matrices are small: threads only wait for each other.
    return {"PYTHONPATH": "", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def _step(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    steps = [line.removeprefix(STEP) for line in lines if line.startswith(STEP)]
    return f"step {steps[-1]}" if steps else "its start"


def read_graph(folder: Path | str) -> Graph:
    """The graph that a project was made of; raises HwgenError where `folder` is none of ours."""
    path = Path(folder) / "graph.json"
    try:
        return graph_from_json(json.loads(path.read_text(encoding="utf-8")), OPS)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise HwgenError(f"{folder} is no FINN project that hwgen wrote: {path} cannot be read ({error})") from error


def design(folder: Path | str) -> Design:
    """FINN's RTL of a project as hwgen's bench takes it: Verilog with the top `accel`, and its streams."""
    return finn_stitch.design(read_graph(folder), Path(folder))


def simulate(
    folder: Path | str,
    x: npt.ArrayLike,
    simulators: Path | None = None,
    runs: Sequence[Run] = (Run(),),
    timeout: float | None = None,
    on_line: child.OnLine | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[SimResult, ...]:
    """FINN's RTL in Verilator on `x` (as in `golden.run`), once for each of `runs`: codes, cycles, latency, interval.

    `SimResult.codes` are (frames, codes of a frame). The golden codes of every node are compared inside the
    simulation; `SimResult.faults` tells what differed, and nothing is raised for it. simulators: where executables are
    kept (default: in `folder`). Raises HwgenError for a project without RTL, ToolMissingError, ToolFailedError.
    """
    folder = Path(folder)
    graph = read_graph(folder)
    codes = golden.input_codes(graph, x)
    made = finn_stitch.design(graph, folder)
    results = run_bench(
        made,
        codes,
        simulators or folder / "simulators",
        expected=finn_stitch.expected(graph, made.stages, dict(golden.trace(graph, codes))),
        runs=runs,
        timeout=timeout,
        on_line=on_line,
        on_progress=on_progress,
    )
    return tuple(_without_padding_ahead(graph, result) for result in results)


def _without_padding_ahead(graph: Graph, result: SimResult) -> SimResult:
    """The result, where windows of zeros that belong to no frame yet are no fault.

    FINN's padding sends the zeros above an image before its first pixel is there, and the windows that hold nothing
    else follow: behind the last frame they are more than the golden model has.
    """
    padded = {node.name for node in graph.nodes if isinstance(node.op, Window) and any(node.op.padding)}
    watches = tuple(replace(w, extra=0) if w.stream.name in padded else w for w in result.watches)
    return replace(result, watches=watches)


def verify(
    folder: Path | str,
    x: npt.ArrayLike,
    simulators: Path | None = None,
    runs: Sequence[Run] = (Run(),),
    on_line: child.OnLine | None = None,
    on_progress: OnProgress | None = None,
) -> SimResult:
    """Prove FINN's RTL equal to the golden model on `x`, every node, code for code; gives the first run's result.

    Raises MismatchError naming the node, frame, beat, lane and both codes; otherwise as `simulate`.
    """
    results = simulate(folder, x, simulators, runs, on_line=on_line, on_progress=on_progress)
    for result in results:
        check(result)
    return results[0]


def stand_ins(folder: Path | str) -> list[str]:
    """FINN's nodes that are HLS, and hwgen's own SystemVerilog in the stitched RTL: maximum pools."""
    nodes = finn_stitch.read_nodes(Path(folder))
    return [entry["name"] for entry in nodes if entry["kind"] in finn_stitch.STAND_INS]


def synthesis(folder: Path | str, top: str = finn_stitch.TOP) -> tuple[list[Path], str]:
    """(files, top): FINN's RTL as one plain Verilog file, which Yosys reads without a plugin.

    top: the whole, or one of its modules with what is in it. DSP48E2s and LUT6_2s that FINN instantiates stay what
    they are. Raises ToolFailedError, log synthesis/yosys.log.
    """
    rtl = Path(folder) / "rtl"
    if not (rtl / "accel.sv").is_file():
        raise HwgenError(f"{folder} holds no RTL of FINN: {rtl / 'accel.sv'} is missing")
    out = Path(folder) / "synthesis"
    target = out / f"{top}.v"
    if not target.is_file():
        out.mkdir(exist_ok=True)
        write_atomic(out / "blackboxes.v", finn_stitch.blackboxes())
        sources = [out.absolute() / "blackboxes.v", *(path.absolute() for path in finn_stitch.files(Path(folder)))]
        made = out.absolute() / f"{top}.tmp.v"
        # Names of memories are relative to rtl/.
        yosys.run_script(finn_stitch.flatten_script(sources, top, made), log=out / "yosys.log", cwd=rtl)
        made.rename(target)
    return [target], top


def estimates(folder: Path | str) -> dict[str, Figure]:
    """FINN's own estimates: latency and interval in cycles, LUT, DSP and BRAM18; by these names.

    FINN counts no LUT for its RTL matrix units. A project without reports raises HwgenError.
    """
    reports = Path(folder) / "finn" / "report"
    try:
        speed = json.loads((reports / "estimate_network_performance.json").read_text())
        area = json.loads((reports / "estimate_layer_resources.json").read_text())["total"]
    except (OSError, KeyError, ValueError) as error:
        raise HwgenError(f"{folder} has no estimates of FINN in {reports} ({error})") from error
    how = "FINN's estimate reports"
    return {
        "latency": Figure(speed["critical_path_cycles"], "estimate", "cycles", how),
        "interval": Figure(speed["max_cycles"], "estimate", "cycles", how),
        "lut": Figure(area["LUT"], "estimate", "LUT", how + "; matrix units count as 0"),
        "dsp": Figure(area["DSP"], "estimate", "DSP", how),
        "bram": Figure(area["BRAM_18K"], "estimate", "BRAM18", how),
    }


def build(folder: Path | str, timeout: float | None = None, on_line: child.OnLine | None = None) -> Path:
    """Run FINN's whole build, to a bitstream with its driver; gives its folder, finn-build. Log: finn-build.log.

    Raises ToolMissingError where Vivado is not installed or FINN's environment is missing, HwgenError for a part that
    FINN has no shell for, ToolFailedError with FINN's last lines.
    """
    folder = Path(folder)
    read_graph(folder)
    if "board" not in json.loads((folder / "build.json").read_text()):
        raise HwgenError(f"FINN has no shell for the part of {folder}, only for {', '.join(BOARDS.values())}")
    if shutil.which("vivado") is None:
        raise ToolMissingError(
            f"vivado is not installed or not on the PATH: the FINN project in {folder} is written, and builds where "
            "Vivado is with: hwgen build --backend finn"
        )
    command: list[str | Path] = [python(), "-P", _DRIVER, "build", folder.absolute()]
    log = folder / "finn-build.log"
    child.run(command, log=log, cwd=folder, env={"PYTHONPATH": ""}, timeout=timeout, on_line=on_line)
    return folder / "finn-build"


def outputs(graph: Graph, result: SimResult) -> npt.NDArray[np.int64]:
    """The codes of a simulation as the golden model gives them: (frames, *shape)."""
    return result.codes.reshape(len(result.codes), *graph.output_type.shape)
