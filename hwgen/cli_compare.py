"""`hwgen compare`: one network through several back ends, on the same frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwgen import cli_options as options
from hwgen import console

BOARD = "ultra96"
"""The board of a comparison where none is named: other flows make projects for AMD parts."""


@options.design_options(BOARD)
def compare(
    model: options.Model,
    design: options.Design,
    backends: Annotated[
        str, typer.Option("--backends", help="Names with commas between them: native, hls4ml, finn.")
    ] = "native,hls4ml,finn",
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="Inputs: .npz with x, or .npy. Default: NAME.npz beside it.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; build/HASH/compare without it.")] = None,
    frames: options.Frames = None,
    seed: options.Seed = 1,
    root: options.BuildRoot = Path("build"),
    as_json: options.Json = False,
) -> None:
    """Compare back ends on one network and the same frames: codes, cycles, resources, lines, time.

    Without --data and without data beside the model: random codes. A back end that cannot run is a row with its
    reason; the exit code is then its error's, after everything else has been written.
    """
    from hwgen import compare as comparing
    from hwgen import compare_show, inputs
    from hwgen.compiler import RANDOM_FRAMES

    names = [name.strip() for name in backends.split(",") if name.strip()]
    comparing.check_names(names)
    made = design.accelerator(model, root)
    found = inputs.read_data(data, model)
    codes = made.inputs(found.x if found else None, frames or (None if found else RANDOM_FRAMES), seed)
    folder = out or made.folder / "compare"
    source = found.source if found else f"random codes, seed {seed}"
    with console.progress("comparing") as tell:
        result = comparing.compare(made, codes, names, folder, source, lambda text: tell(text))
    paths = compare_show.write(result, folder)
    if as_json:
        console.print_json(result.to_json())
    else:
        console.out.print(compare_show.title(result), markup=False)
        console.out.print(compare_show.terminal(result))
        for text in compare_show.remarks(result):
            console.out.print(text, markup=False, soft_wrap=True)
        console.out.print(f"written: {', '.join(map(str, paths))}", markup=False, soft_wrap=True)
    result.check()
