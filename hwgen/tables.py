"""What the commands print for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from hwgen.console import out
from hwgen.formats import DESCRIBED_TERMS, Format

if TYPE_CHECKING:
    from hwgen.compiler import Accelerator
    from hwgen.explore.folding import Choice
    from hwgen.flow.boards import Board
    from hwgen.flow.result import FlowResult


def table(*columns: str, left: int = 1) -> Table:
    """An empty table; the first `left` columns are text, the others numbers."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number < left else "right", overflow="fold")
    return made


def print_design(accelerator: Accelerator) -> None:
    """The stages with folding and cycles, and what stays on the host."""
    design = accelerator.design
    rows = table("stage", "kind", "PE", "SIMD", "lanes in", "lanes out", "latency", "cycles/frame", left=2)
    for stage in design.stages:
        fold = accelerator.folding.get(stage.node or "")
        pe, simd = (str(fold.pe), str(fold.simd)) if fold else ("", "")
        lanes = str(stage.input.lanes), str(stage.output.lanes)
        rows.add_row(stage.name, stage.kind, pe, simd, *lanes, str(stage.latency), str(stage.interval))
    out.print(rows)
    mhz = accelerator.board.clock.design_mhz
    rate = f"{mhz * 1e6 / design.interval:,.0f} frames/s at {mhz:g} MHz"
    out.print(f"latency {design.latency} cycles, {design.interval} cycles a frame (from formulas): {rate}")
    for place, ops in (("before", accelerator.graph.pre), ("after", accelerator.graph.post)):
        if ops:
            out.print(f"on the host, {place} the accelerator: {', '.join(op.kind for op in ops)}")


def print_folding(choice: Choice, board: Board) -> None:
    """The layers with their folds, cycles and estimated resources, and the whole against the board."""
    from hwgen.explore.folding import budget
    from hwgen.explore.options import KINDS

    columns = ("out x in", "positions", "PE", "SIMD", "lanes", "cycles", "of interval", "LUT", "FF", "BRAM", "DSP")
    rows = table("layer", "kind", *columns, left=2)
    for layer in choice.layers:
        shape = f"{layer.shape[0]}x{layer.shape[1]}" if layer.shape else ""
        fold = (str(layer.fold.pe), str(layer.fold.simd)) if layer.fold else ("", "")
        share = f"{100 * layer.clocks / choice.interval:.0f} %"
        used = [_figure(getattr(layer.resources, kind)) for kind in KINDS]
        cells = (shape, f"{layer.positions:,}", *fold, str(layer.lanes), f"{layer.clocks:,}", share, *used)
        rows.add_row(layer.name, layer.kind, *cells)
    totals: list[float | None] = [getattr(choice.resources, kind) for kind in KINDS]
    shares = [
        "" if total is None or not have else f"{100 * total / have:.1f} %"
        for total, have in zip(totals, budget(board, 1).have, strict=True)
    ]
    rows.add_section()
    rows.add_row("all", *[""] * 8, *map(_figure, totals))
    rows.add_row(f"of {board.name}", *[""] * 8, *shares)
    out.print(rows)
    mhz = board.clock.design_mhz
    out.print(f"{choice.interval:,} cycles a frame: {mhz * 1e6 / choice.interval:,.0f} frames/s at {mhz:g} MHz")
    proof = {True: "proven to be the best by this estimate", False: "perhaps not the best: the search was cut short"}
    cost = "not known" if choice.cost is None else f"{choice.cost:,.10g} (LUT + FF/2 + 64 for each BRAM and DSP)"
    out.print(f"cost {cost}; {'as given' if choice.optimal is None else proof[choice.optimal]}")


def _figure(value: float | None) -> str:
    return "not known" if value is None else f"{value:,.10g}"


def print_verified(checked: Mapping[str, Any]) -> None:
    """What `hwgen verify` proved."""
    for row in checked["accuracy"]:
        share = 100 * row["correct"] / row["total"]
        out.print(f"accuracy, {row['name']}: {row['correct']}/{row['total']} ({share:.2f} %)")
    for row in checked["differences"]:
        out.print(
            f"{row['node']}: {row['different']} of {row['compared']} codes differ from the float network, "
            f"{row['ties']} of them float ties"
        )
    exact = checked["verify"]
    rows = table("run", "frames", "stall in", "stall out", "seed", "latency", "interval")
    for run in exact["runs"]:
        cells = [run[key] for key in ("frames", "stall_in", "stall_out", "seed", "latency", "interval")]
        rows.add_row(run["name"], *("" if cell is None else f"{cell:,.10g}" for cell in cells))
    out.print(rows)
    out.print(f"beats compared: {sum(exact['beats'].values()):,} on {len(exact['beats'])} streams, in all runs")
    if checked["board"]:
        out.print(f"simulated board over UART: {checked['board']['frames']} frames equal")
    out.print(f"[bold green]bit-exact[/]: {exact['frames']}/{exact['frames']} frames")


def print_flow(accelerator: Accelerator, result: FlowResult) -> None:
    """Resources, clock and where the bitstream is."""
    rows = table("resource", "used", "available", "%", "source")
    for kind, one in result.resources.items():
        value = one.used.value
        share = "" if value is None or not one.available else f"{100 * value / one.available:.1f}"
        used = _figure(value)
        rows.add_row(kind.upper(), used, str(one.available), share, one.used.source)
    out.print(rows)
    for clock, figure in result.fmax.items():
        target = result.target.get(clock)
        wanted = f", {target:g} MHz wanted" if target else ""
        if figure.value is not None:
            out.print(f"clock {clock}: {figure.value:.1f} MHz ({figure.source}){wanted}")
    if result.reused:
        out.print(f"unchanged and reused: {', '.join(result.reused)}")
    if result.bitstream:
        out.print(f"bitstream: {result.bitstream}")
    out.print(f"build folder: {accelerator.folder}")


def print_boards(boards: Sequence[Board]) -> None:
    """One board a line; the whole of a single one."""
    rows = table("board", "part", "clock MHz", "LUT", "FF", "BRAM", "DSP", "cycles/frame", "shell", left=2)
    for board in boards:
        have = board.resources
        numbers = (f"{board.clock.design_mhz:g}", have.lut, have.ff, have.bram, have.dsp, board.default_interval)
        rows.add_row(board.name, board.part, *map(str, numbers), board.shell)
    out.print(rows)
    if len(boards) == 1:
        out.print(boards[0].description)


def print_formats(rows: Sequence[Mapping[str, Any]]) -> None:
    """One format a line; the last columns are the bits of an exact product and of a sum of 32 and of 4096 of them."""
    made = table("format", "bits", "precision", "least", "greatest", "step", "product", "sum 32", "sum 4096")
    for row in rows:
        figures = [row[key] for key in ("bits", "significand_bits", "min", "max", "least_positive", "product_bits")]
        figures += [row[f"accumulator_bits_{terms}"] for terms in DESCRIBED_TERMS]
        made.add_row(row["name"], *("" if figure is None else f"{figure:g}" for figure in figures))
    out.print(made)


def print_codes(fmt: Format, codes: Sequence[int], values: Sequence[float]) -> None:
    """Every code of a format with its bits and its worth."""
    made = table("code", "bits", "value", left=0)
    for code, value in zip(codes, values, strict=True):
        made.add_row(str(code), format(code & ((1 << fmt.bits) - 1), f"0{fmt.bits}b"), f"{value:.17g}")
    out.print(made)
