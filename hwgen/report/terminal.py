"""The report in a terminal: one compact rich renderable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwgen.ir.figure import Figure
from hwgen.report.model import Layer, Report

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def terminal(report: Report) -> RenderableType:
    """Layers and totals as tables, and one line each for accuracy, bit-exactness, clock and speed."""
    from rich.console import Group
    from rich.markup import escape

    lines = [f"[bold]{escape(report.network)}[/] on {escape(report.board)}   [dim]{report.graph_hash[:12]}[/]"]
    lines += [f"  {escape(name)}: {text}" for name, text in facts(report)]
    warnings = [f"[yellow]warning:[/] {escape(text)}" for text in report.warnings]
    parts: list[RenderableType] = [*lines]
    if report.layers:
        parts.append(_layers(report))
    if report.resources:
        parts.append(_resources(report))
    return Group(*parts, *warnings)


def facts(report: Report) -> list[tuple[str, str]]:
    """The figures that matter most, as (name, text)."""
    found = []
    for row in report.accuracy:
        share = "not known" if row.fraction is None else f"{row.fraction:.1%} ({row.correct}/{row.total})"
        found.append((f"accuracy, {row.name}", share))
    proof = report.bit_exactness
    found.append(("simulation", proof.text() if proof else "not run"))
    time = report.timing
    target = "" if time.target is None else f", target {time.target:g} MHz"
    found.append(("Fmax", f"{_sourced(time.fmax)}{target}"))
    found.append(("latency", f"{_sourced(time.latency)}, at Fmax {time.latency_us.text()}"))
    found.append(("speed", f"{_sourced(time.interval)} a frame, at Fmax {time.frames_per_second.text()}"))
    return found


def _sourced(figure: Figure) -> str:
    return f"{figure.text()} ({figure.source})" if figure.known else figure.text()


def _layers(report: Report) -> Table:
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for name in ("layer", "kind"):
        table.add_column(name)
    for name in ("PE", "SIMD", "acc bits", "cycles", "LUT", "FF", "BRAM", "DSP"):
        table.add_column(name, justify="right")
    for layer in report.layers:
        table.add_row(escape(layer.name), escape(layer.kind_text), *_cells(layer))
    return table


def _cells(layer: Layer) -> list[str]:
    fixed = [layer.pe, layer.simd, layer.accumulator_bits]
    figures = [layer.cycles, layer.lut, layer.ff, layer.bram, layer.dsp]
    # Units stand in the heading.
    numbers = ["not known" if f.value is None else f"{f.value:,.10g}" for f in figures]
    return ["" if n is None else str(n) for n in fixed] + numbers


def _resources(report: Report) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("resource")
    for name in ("used", "available", "share"):
        table.add_column(name, justify="right")
    table.add_column("source")
    for row in report.resources:
        used = "not known" if row.used.value is None else f"{row.used.value:,.10g}"
        available = "not known" if row.available is None else f"{row.available:,}"
        share = "" if row.fraction is None else f"{row.fraction:.1%}"
        table.add_row(row.name, used, available, share, row.used.source if row.used.known else "")
    return table
