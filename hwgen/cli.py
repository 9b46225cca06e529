"""The command line: `hwgen train | data | fold | compile | verify | run | report | bitstream | flash | ...`.

Commands import what they need when they run, so that `hwgen --help` stays quick and nothing but `train` needs torch.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgen import cli_backends, cli_compare, cli_fold, cli_ip, cli_synth, cli_train, console
from hwgen.cli_backends import Backend
from hwgen.cli_options import (
    Accumulator,
    BuildRoot,
    Design,
    Frames,
    Input,
    Json,
    Model,
    Multiplier,
    Requantize,
    Seed,
    design_options,
)
from hwgen.version import __version__

if TYPE_CHECKING:
    import numpy.typing as npt

app = typer.Typer(
    name="hwgen",
    help="FPGA accelerators from quantized networks, proven bit for bit against a NumPy golden model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The console script."""
    console.guarded(app)


def _version(value: bool) -> None:
    if value:
        console.out.print(f"hwgen {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and end.")
    ] = False,
) -> None:
    del version


cli_train.add_to(app)
app.command()(cli_fold.fold)
app.command()(cli_synth.synth)
app.command()(cli_backends.build)
app.command()(cli_compare.compare)


@app.command()
@design_options()
def compile(  # noqa: A001  (the command's name)
    context: typer.Context,
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for Verilog, manifest, test bench and vectors.")],
    design: Design,
    backend: Backend = cli_backends.NATIVE,
    input: Input = None,  # noqa: A002
    frames: Frames = None,
    seed: Seed = 0,
    build: BuildRoot = Path("build"),
    as_json: Json = False,
) -> None:
    """Compile a network to Verilog, with a manifest, a stand-alone test bench and vectors; or to an HLS project."""
    from hwgen import inputs, tables

    made = cli_backends.for_backend(context, backend, design).accelerator(model, build)
    if not cli_backends.is_native(backend):
        cli_backends.compile_project(made, out, as_json, backend)
        return
    data = inputs.read_data(input, model)
    with console.progress("emitting Verilog, test bench and vectors"):
        made.write(out, data.x if data else None, frames or 16, seed)
    if as_json:
        console.print_json(made.manifest())
        return
    tables.print_design(made)
    console.out.print(f"written to {out}: accel.v, graph.json, manifest.json, test bench and vectors")


@app.command()
@design_options()
def verify(
    context: typer.Context,
    model: Model,
    design: Design,
    backend: Backend = cli_backends.NATIVE,
    input: Input = None,  # noqa: A002
    frames: Frames = None,
    stalled: Annotated[
        int | None, typer.Option("--stalled", min=1, help="At most so many frames in the runs with stalls.")
    ] = None,
    seed: Seed = 1,
    uart: Annotated[
        int, typer.Option("--uart", min=0, help="Also send so many frames through the simulated whole board.")
    ] = 0,
    build: BuildRoot = Path("build"),
    as_json: Json = False,
) -> None:
    """Prove the emitted Verilog bit-exact against the golden model, with and without stalls; or an HLS project.

    Inputs are --input, else the data beside the model (NAME.npz), else random codes over the input's range.
    """
    from hwgen import inputs, tables

    made = cli_backends.for_backend(context, backend, design).accelerator(model, build)
    if not cli_backends.is_native(backend):
        found = cli_backends.verify_project(made, model, input, frames, seed, backend)
        console.print_json(found) if as_json else cli_backends.print_verified(found)
        return
    data = inputs.read_data(input, model)
    with console.progress("verifying") as tell:
        imported = inputs.read_imported(model) if design.as_trained else None
        checked = made.verify(data, frames, seed, uart, imported, tell, stalled)
    if as_json:
        console.print_json(checked)
        return
    tables.print_verified(checked)


@app.command()
def run(
    model: Model,
    input: Annotated[Path, typer.Argument(help=".npy of input codes (integers) or real inputs (floats).")],  # noqa: A002
    out: Annotated[Path, typer.Option("--out", "-o", help=".npy for the output.")],
    on: Annotated[
        str, typer.Option(help="golden, or a board: sim:FOLDER or serial:DEVICE (with --manifest).")
    ] = "golden",
    manifest: Annotated[Path | None, typer.Option(help="Folder or manifest.json of the board's accelerator.")] = None,
    real: Annotated[bool, typer.Option("--real", help="Write real outputs instead of codes.")] = False,
    requantize: Requantize = "auto",
    multiplier: Multiplier = None,
    accumulator: Accumulator = "exact",
) -> None:
    """Run a network: on the golden model, on a simulated board or on a real one."""
    from hwgen import golden, inputs, runtime

    graph = inputs.read_model(model, requantize, multiplier, accumulator)
    x = inputs.read_array(input)
    if on == "golden":
        codes = golden.run(graph, x)
    else:
        sent = golden.input_codes(graph, x)
        with runtime.connect(on, manifest) as device:
            codes = device.run(sent.reshape(len(sent), -1)).reshape(len(sent), *graph.output_type.shape)
    result: npt.NDArray[Any] = golden.finish(graph, codes) if real else codes
    inputs.write_array(out, result)
    console.out.print(f"{len(codes)} frames written to {out}")


@app.command()
@design_options()
def bitstream(
    model: Model,
    design: Design,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Placements to try; Fmax is their median.")] = 1,
    allow_timing_failure: Annotated[
        bool, typer.Option("--allow-timing-failure", help="Keep a bitstream that misses the board's clock.")
    ] = False,
    build: BuildRoot = Path("build"),
    as_json: Json = False,
) -> None:
    """Synthesise, place and route for a board, down to the bitstream."""
    from hwgen import tables

    made = design.accelerator(model, build)
    with console.progress(f"building for {made.board.name}") as tell:
        result = made.build(
            lambda event: tell(f"{event.number}/{event.count} {event.step}", None, event.message),
            seeds,
            allow_timing_failure,
        )
    if as_json:
        console.print_json(result.to_json())
        return
    tables.print_flow(made, result)


@app.command()
@design_options()
def report(
    model: Model,
    design: Design,
    build: BuildRoot = Path("build"),
    as_json: Json = False,
) -> None:
    """Gather what is known of an accelerator into report.json, report.md and report.html."""
    from hwgen import report as reports

    made = design.accelerator(model, build)
    result = made.report()
    reports.write(result, made.folder)
    if as_json:
        console.print_json(result.to_json())
        return
    console.out.print(reports.terminal(result))
    console.out.print(f"report: {made.folder}/report.html (also .md and .json)")


@app.command()
@design_options()
def flash(
    model: Model,
    design: Design,
    build: BuildRoot = Path("build"),
) -> None:
    """Load the bitstream that `hwgen bitstream` made, with the same options, into a connected board."""
    from hwgen.flow import flash as flow_flash

    made = design.accelerator(model, build)
    with console.progress(f"loading {made.board.name}") as tell:
        flow_flash.flash(made.board, made.bitstream_file(), lambda line: tell(line, None))
    console.out.print(f"{made.board.name} is loaded")


@app.command()
def boards(
    name: Annotated[str | None, typer.Argument(help="One board, in full.")] = None, as_json: Json = False
) -> None:
    """List the boards, or show one."""
    from hwgen import tables
    from hwgen.flow.boards import list_boards, load_board

    chosen = [load_board(one) for one in ([name] if name else list_boards())]
    if as_json:
        console.print_json([board.model_dump(mode="json") for board in chosen])
        return
    tables.print_boards(chosen)


formats = typer.Typer(invoke_without_command=True, help="List the number formats, or show the codes of one.")
app.add_typer(formats, name="formats")
app.add_typer(cli_ip.app, name="ip")


@formats.callback()
def list_formats(context: typer.Context, as_json: Json = False) -> None:
    """List the number formats: bits, precision, range, least step, and the bits of exact products and their sums.

    `hwgen formats show NAME` prints one format's codes. Names by pattern: int12, e3m4, fixed<8,3>, block<e2m1,e8m0,16>.
    """
    if context.invoked_subcommand:
        return
    from hwgen import tables
    from hwgen.formats import BLOCKS, CATALOG

    rows = [fmt.describe() for fmt in (*CATALOG.values(), *BLOCKS.values())]
    if as_json:
        console.print_json(rows)
    else:
        tables.print_formats(rows)


@formats.command("show")
def show_format(name: Annotated[str, typer.Argument(help="A format's name.")], as_json: Json = False) -> None:
    """Print every code of one format, with its bits and what it is worth; of a block format, those of its elements."""
    from hwgen import tables
    from hwgen.formats import Format, get

    fmt = get(name)
    about = fmt.describe()
    element = fmt if isinstance(fmt, Format) else fmt.element
    codes = element.codes()
    values = element.decode(codes).tolist()
    if as_json:
        # JSON has no NaN and no infinity: those are strings.
        worth = [value if math.isfinite(value) else str(value) for value in values]
        rows = [{"code": int(code), "value": value} for code, value in zip(codes, worth, strict=True)]
        console.print_json({**about, "codes": rows})
    else:
        tables.print_formats([about])
        tables.print_codes(element, codes.tolist(), values)


if __name__ == "__main__":
    main()
