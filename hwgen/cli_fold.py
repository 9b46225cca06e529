"""`hwgen fold`: the folding that is chosen for a network, as a table, a file and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwgen import cli_options as options
from hwgen import console

if TYPE_CHECKING:
    from hwgen.explore.folding import Choice


@options.design_options()
def fold(
    model: options.Model,
    design: options.Design,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file to write, for --fold.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="SVG file of cycles and resources by layer.")] = None,
    as_json: options.Json = False,
) -> None:
    """Choose PE and SIMD of every layer, and show what each comes to by estimate.

    With --interval or --fps: the least cost that keeps it. With --budget alone: the fewest cycles that fit.
    With --fold: what the folds of a file come to.
    """
    import json

    from hwgen import tables
    from hwgen.explore.folding import choose
    from hwgen.tools.files import write_atomic

    wish, board = design.wanted(), design.board_at()
    with console.progress(f"reading and folding {model}"):
        choice = choose(design.graph(model), board, wish, design.fps, design.budget)
    drawn = _plot(choice) if plot else ""
    if out:
        rows = [f"  {json.dumps(name)}: {json.dumps(one.to_json())}" for name, one in choice.folding.items()]
        write_atomic(out, "{\n" + ",\n".join(rows) + "\n}\n")
    if plot:
        write_atomic(plot, drawn)
    if as_json:
        console.print_json({"board": board.name, "clock_mhz": board.clock.design_mhz, **choice.to_json()})
        return
    tables.print_folding(choice, board)
    for path in filter(None, (out, plot)):
        console.out.print(f"written: {path}")


def _plot(choice: Choice) -> str:
    from hwgen.report.plots import folding

    used = {
        kind: [getattr(layer.resources, kind) or 0 for layer in choice.layers] for kind in ("lut", "ff", "bram", "dsp")
    }
    return folding([layer.name for layer in choice.layers], [layer.clocks for layer in choice.layers], used)
