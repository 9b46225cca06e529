"""`hwgen synth`: what an accelerator takes of a board, by synthesis of its components, on this machine or a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwgen import cli_options as options
from hwgen import console

if TYPE_CHECKING:
    from hwgen.flow.boards import Board
    from hwgen.flow.components import Sizes


@options.design_options()
def synth(
    model: options.Model,
    design: options.Design,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", help="A dask scheduler, as tcp://host:8786; default: this machine."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes at a time on this machine; default: all of its."),
    ] = None,
    build: options.BuildRoot = Path("build"),
    as_json: options.Json = False,
) -> None:
    """Synthesise each component of an accelerator on its own, and add up what they take.

    Results are kept by content, so that only what has changed is synthesised again; hwgen report shows them.
    """
    made = design.accelerator(model, build)
    with console.progress(f"synthesising for {made.board.name}") as tell:
        found = made.synthesise(scheduler, workers, tell)
    if as_json:
        console.print_json(found.to_json())
        return
    _print(found, made.board)


def _print(found: Sizes, board: Board) -> None:
    from hwgen.flow.components import SOURCE
    from hwgen.flow.result import UNITS
    from hwgen.tables import table

    rows = table("component", "kind", "layer", *UNITS.values(), "", left=3)
    for part in found.parts:
        used = part.resources.to_json()
        cells = ("not known" if (value := used[kind]) is None else f"{value:,g}" for kind in UNITS)
        rows.add_row(part.name, part.kind, part.node or "", *cells, "kept" if part.reused else "")
    total = found.total.to_json()
    rows.add_section()
    rows.add_row("all", "", "", *("not known" if (value := total[kind]) is None else f"{value:,g}" for kind in UNITS))
    shares = (_share(total[kind], getattr(board.resources, kind)) for kind in UNITS)
    rows.add_row(f"of {board.name}", "", "", *shares)
    console.out.print(rows)
    console.out.print(f"source: {SOURCE}")
    if note := found.to_json()["note"]:
        console.out.print(note)


def _share(used: float | None, available: int) -> str:
    return "" if used is None or not available else f"{100 * used / available:.1f} %"
