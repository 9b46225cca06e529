"""`--backend hls4ml` and `finn` of `hwgen compile` and `verify`, and `hwgen build`: projects of other flows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgen import cli_options as options
from hwgen import console
from hwgen.errors import HwgenError

if TYPE_CHECKING:
    from hwgen.compiler import Accelerator
    from hwgen.formats import Codes

NATIVE = "native"

FINN = "finn"

BACKENDS = (NATIVE, "hls4ml", FINN)

DEFAULT_BOARD = "ultra96"
"""The board of a project where none is named: the native backend's own has no part that Vitis or FINN knows."""

Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        help="native: Verilog. For AMD boards (ultra96): hls4ml, a Vitis HLS project; finn, a FINN project and RTL.",
    ),
]


def is_native(backend: str) -> bool:
    """Whether `backend` is hwgen's own; raises HwgenError for an unknown name."""
    if backend not in BACKENDS:
        raise HwgenError(f"unknown backend {backend!r}: one of {', '.join(BACKENDS)}")
    return backend == NATIVE


def for_backend(context: typer.Context, backend: str, design: options.Design) -> options.Design:
    """The design, on the backend's default board where the command line names none."""
    source = context.get_parameter_source("board")
    named = source is None or source.name != "DEFAULT"
    return design if is_native(backend) or named else replace(design, board=DEFAULT_BOARD)


def write_project(made: Accelerator, out: Path, trace: bool = False) -> None:
    """Write the HLS project of an accelerator's network; raises HwgenError for other vendors' boards."""
    from hwgen.backends import hls4ml

    hls4ml.write(made.graph, out, made.board.part, made.board.clock.design_mhz, made.folding, trace)


def compile_project(made: Accelerator, out: Path, as_json: bool, backend: str = "hls4ml") -> None:
    """`hwgen compile --backend hls4ml` and `finn`."""
    from hwgen.backends import hls4ml

    if backend == FINN:
        _compile_finn(made, out, as_json)
        return
    with console.progress("writing the HLS project"):
        write_project(made, out)
    name = hls4ml.project_name(made.graph)
    if as_json:
        facts = {"backend": "hls4ml", "project": name, "part": made.board.part, "hash": made.graph.hash}
        console.print_json({**facts, "mhz": made.board.clock.design_mhz, "files": hls4ml.emitted(out)})
        return
    console.out.print(
        f"written to {out}: the Vitis HLS project {name} for {made.board.part} at {made.board.clock.design_mhz:g} MHz, "
        f"{len(hls4ml.emitted(out))} files; build it with: cd {out} && vitis-run --mode hls --tcl build_prj.tcl",
        soft_wrap=True,
    )


def _compile_finn(made: Accelerator, out: Path, as_json: bool) -> None:
    from hwgen.backends import finn

    with console.progress("FINN") as tell:
        _emit_finn(made, out, tell)
    estimated = finn.estimates(out)
    if as_json:
        figures = {name: figure.to_json() for name, figure in estimated.items()}
        facts = {"backend": FINN, "part": made.board.part, "hash": made.graph.hash, "stand_ins": finn.stand_ins(out)}
        console.print_json({**facts, "mhz": made.board.clock.design_mhz, "estimates": figures})
        return
    console.out.print(
        f"written to {out}: the FINN project for {made.board.part} at {made.board.clock.design_mhz:g} MHz, "
        f"and FINN's RTL, stitched in {out / 'rtl' / 'accel.sv'}; FINN estimates:",
        soft_wrap=True,
    )
    for name, figure in estimated.items():
        console.out.print(f"  {name:9}{figure.text()}")


def _emit_finn(made: Accelerator, out: Path, tell: console.Tell) -> None:
    """Write the project and run FINN, telling its steps."""
    from hwgen.backends import finn

    def on_line(line: str) -> None:
        if line.startswith(finn.STEP):
            tell(f"FINN: step {line.removeprefix(finn.STEP)}")

    tell("starting FINN")
    finn.emit(made.graph, made.folding, out, made.board, on_line)


def verify_project(
    made: Accelerator, model: Path, data: Path | None, frames: int | None, seed: int, backend: str = "hls4ml"
) -> dict[str, Any]:
    """`hwgen verify --backend hls4ml` and `finn`: their simulation against the golden model; what was compared, as JSON
    values."""
    from hwgen import inputs
    from hwgen.compiler import RANDOM_FRAMES

    found = inputs.read_data(data, model)
    codes = made.inputs(found.x if found else None, frames or (None if found else RANDOM_FRAMES), seed)
    folder = made.folder / backend
    facts = _verify_finn(made, folder, codes) if backend == FINN else _verify_hls4ml(made, folder, codes)
    source = found.source if found else f"random codes, seed {seed}"
    return {"backend": backend, "folder": str(folder), "frames": len(codes), "source": source, "exact": True, **facts}


def _verify_hls4ml(made: Accelerator, folder: Path, codes: Codes) -> dict[str, Any]:
    from hwgen.backends import hls4ml

    with console.progress("verifying") as tell:
        tell("writing the HLS project")
        write_project(made, folder, trace=True)
        tell("compiling the C simulation")
        library = hls4ml.compile_simulation(folder)
        tell("comparing with the golden model")
        hls4ml.verify(folder, codes, library)
    return {}


def _verify_finn(made: Accelerator, folder: Path, codes: Codes) -> dict[str, Any]:
    from hwgen.backends import finn
    from hwgen.flow.verify import RUNS

    whole = len(RUNS) * len(codes)

    def simulated(done: int) -> None:
        tell(f"simulating: {done} of {whole} frames", done / whole)

    with console.progress("verifying") as tell:
        _emit_finn(made, folder, tell)
        tell("compiling the simulator")
        result = finn.verify(
            folder,
            codes,
            made.root / "simulators",
            RUNS,
            on_progress=lambda run, done: simulated(run * len(codes) + done),
        )
    facts = {"runs": len(RUNS), "latency": result.latency, "interval": result.interval}
    return {**facts, "stand_ins": finn.stand_ins(folder)}


def print_verified(checked: dict[str, Any]) -> None:
    what = "FINN's RTL in" if checked["backend"] == FINN else "the C simulation of"
    console.out.print(
        f"bit-exact: {what} {checked['folder']} gives the golden model's codes "
        f"on {checked['frames']} frames ({checked['source']})",
        soft_wrap=True,
    )
    if checked["backend"] == FINN:
        console.out.print(
            f"every node, without stalls and with: {checked['runs']} runs; latency {checked['latency']} cycles"
        )
        for name in checked["stand_ins"]:
            console.out.print(f"node {name} is HLS in FINN: hwgen's own SystemVerilog stood in for it", soft_wrap=True)


@options.design_options(DEFAULT_BOARD)
def build(
    context: typer.Context,
    model: options.Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the project.")],
    design: options.Design,
    backend: Backend = "hls4ml",
    root: options.BuildRoot = Path("build"),
    as_json: options.Json = False,
) -> None:
    """Write the project of another flow and run that flow's tools: Vitis HLS, or FINN with Vivado."""
    from hwgen import report as reports
    from hwgen import vitis_report
    from hwgen.backends import hls4ml

    if is_native(backend):
        raise HwgenError("hwgen build runs the tools of other flows; the native backend's are run by hwgen bitstream")
    made = for_backend(context, backend, design).accelerator(model, root)
    if backend == FINN:
        _build_finn(made, out, as_json)
        return
    with console.progress(f"building {out}") as tell:
        tell("writing the HLS project")
        write_project(made, out)
        tell("running Vitis HLS")
        hls4ml.build(out)
        found = vitis_report.report(made, out)
    reports.write(found, out)
    if as_json:
        console.print_json(found.to_json())
        return
    console.out.print(reports.terminal(found))
    console.out.print(f"built in {out} (log: {out / 'vitis.log'}); report: {out}/report.html (also .md and .json)")


def _build_finn(made: Accelerator, out: Path, as_json: bool) -> None:
    from hwgen.backends import finn

    with console.progress(f"building {out}") as tell:
        tell("writing the FINN project")
        finn.write(made.graph, made.folding, out, made.board)
        tell("running FINN and Vivado")
        folder = finn.build(out)
    if as_json:
        console.print_json({"backend": FINN, "folder": str(folder)})
        return
    console.out.print(f"built in {folder} (log: {out / 'finn-build.log'})", soft_wrap=True)
