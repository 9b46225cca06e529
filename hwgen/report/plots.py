"""The report's plots, as SVG texts to stand inside HTML. Matplotlib is imported when the first plot is drawn."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from hwgen.errors import ToolMissingError
from hwgen.ir.figure import Figure
from hwgen.report.model import Confusion, Layer, Report, Timing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INK, GRID, BAR, GOOD, BAD = "#1f2933", "#d9dee4", "#3b6ea5", "#2f855a", "#b7472a"
# Nine hues that stay apart for colour-blind eyes (after Paul Tol's "muted"); the last stands for "the rest".
COLOURS = ("#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499")
REST = "#b8bfc8"
KINDS = (("LUT", "lut"), ("FF", "ff"), ("BRAM", "bram"), ("DSP", "dsp"))
MAX_CELLS = 16
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "grid.color": GRID,
    "ytick.major.size": 0,
}


def plots(report: Report) -> dict[str, str]:
    """SVG texts by name: "resources", "latency", "fmax", "confusion"; those without any known figure are left out.

    Raises ToolMissingError if matplotlib is not installed.
    """
    matplotlib = _matplotlib("report.html needs matplotlib for its plots", " and make the report again")
    found: dict[str, str] = {}
    with matplotlib.rc_context(STYLE):
        if any(_value(layer, field) for layer in report.layers for _, field in KINDS):
            found["resources"] = _resources(report)
        if any(layer.end.known for layer in report.layers):
            found["latency"] = _latency(report.layers)
        if report.timing.fmax.known:
            found["fmax"] = _fmax(report.timing)
        if report.confusion:
            found["confusion"] = _confusion(report.confusion)
    return found


def folding(names: Sequence[str], cycles: Sequence[int], used: Mapping[str, Sequence[float]]) -> str:
    """Cycles a frame and resources of each layer as bars, one column for each kind that is used; an SVG text.

    used: amounts by kind ("lut", "ff", "bram", "dsp"), one for each name. Raises ToolMissingError without matplotlib.
    """
    columns = [("cycles a frame", cycles), *((kind, used[field]) for kind, field in KINDS if any(used[field]))]
    return bars(names, columns, "folding", "Cycles and resources by layer")


def bars(names: Sequence[str], columns: Sequence[tuple[str, Sequence[float | None]]], identity: str, title: str) -> str:
    """A row for each name, a column of bars for each (heading, amounts); an SVG text.

    An amount of None is "not known"; each column has at least one that is known and above 0. identity: what the ids in
    the text begin with. Raises ToolMissingError without matplotlib.
    """
    matplotlib = _matplotlib("a plot needs matplotlib")
    with matplotlib.rc_context(STYLE):
        canvas = _canvas(0.24 * len(names) + 0.9, 1.5 * len(columns) + 1.5)
        for number, ((heading, amounts), axes) in enumerate(
            zip(columns, canvas.subplots(1, len(columns), sharey=True, squeeze=False)[0], strict=True)
        ):
            axes.barh(
                range(len(names)), [amount or 0 for amount in amounts], color=GOOD if number == 0 else BAR, height=0.66
            )
            for place, amount in enumerate(amounts):
                if amount != 0:
                    text = "not known" if amount is None else f"{amount:,.10g}"
                    axes.annotate(
                        text, (amount or 0, place), (3, 0), textcoords="offset points", va="center", fontsize=7
                    )
            axes.set_xlim(0, max(amount or 0 for amount in amounts) * 1.5)
            axes.locator_params(axis="x", nbins=2)
            axes.set_xlabel(heading)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        return _svg(canvas, identity, title)


def _matplotlib(needs: str, then: str = "") -> Any:
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise ToolMissingError(f"{needs}: pip install 'hwgen[report]'{then}") from error
    return matplotlib


def _value(layer: Layer, field: str) -> float | None:
    figure: Figure = getattr(layer, field)
    return figure.value


def _axes(height: float, width: float = 7.2) -> tuple[Any, Any]:
    canvas = _canvas(height, width)
    return canvas, canvas.subplots()


def _canvas(height: float, width: float) -> Any:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    # A canvas of its own: no pyplot, so no global state and no display.
    canvas = Canvas(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(canvas)
    return canvas


def _svg(canvas: Any, name: str, title: str) -> str:
    """One figure as an <svg> element; every id starts with `name`, because all plots share one page."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        canvas.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\1{name}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    opening = f'<svg class="plot" role="img" aria-label="{title}"'
    return re.sub(r'<svg([^>]*?) width="[^"]*" height="[^"]*"', rf"{opening}\1", svg, count=1)


def _segments(report: Report, field: str, shown: Sequence[str]) -> list[tuple[str, float]]:
    """(layer, amount) of one resource for the layers in `shown`; "rest" is what the whole design has beyond them."""
    layers = [(layer.name, _value(layer, field) or 0.0) for layer in report.layers]
    parts = [(name, amount) for name, amount in layers if name in shown]
    others = sum(amount for name, amount in layers if name not in shown)
    total = next((r.used.value for r in report.resources if r.name.lower() == field), None)
    rest = others if total is None else max(others, total - sum(amount for _, amount in parts))
    return [*parts, ("rest", rest)] if rest > 0 else parts


def _largest(report: Report) -> list[str]:
    """The layers that get a colour of their own: those with the greatest share of any resource, in network order."""
    reach: dict[str, float] = {}
    for _, field in KINDS:
        amounts = [_value(layer, field) or 0.0 for layer in report.layers]
        for layer, amount in zip(report.layers, amounts, strict=True):
            reach[layer.name] = max(reach.get(layer.name, 0.0), amount / (sum(amounts) or 1.0))
    first = sorted(reach, key=lambda name: -reach[name])[: len(COLOURS)]
    return [name for name in reach if name in first]


def _resources(report: Report) -> str:
    """One bar for each resource, a segment for each layer; lengths are shares of what the board has."""
    shown = _largest(report)
    rows = [(kind, _segments(report, field, shown)) for kind, field in KINDS]
    rows = [(kind, parts) for kind, parts in rows if sum(amount for _, amount in parts)]
    has = {r.name: r.available for r in report.resources}
    of_board = all(has.get(kind) for kind, _ in rows)
    colours = {**dict(zip(shown, COLOURS, strict=False)), "rest": REST}
    canvas, axes = _axes(0.42 * len(rows) + 1.3)
    longest = 0.0
    drawn: set[str] = set()
    for kind, parts in rows:
        total = sum(amount for _, amount in parts)
        whole = float(has[kind] or 0) if of_board else total
        left = 0.0
        for name, amount in parts:
            if amount:
                label = None if name in drawn else name
                share = 100 * amount / whole
                axes.barh(kind, share, left=left, color=colours[name], label=label, height=0.62)
                drawn.add(name)
                left += share
        of = f" of {whole:,.0f}" if of_board else ""
        axes.annotate(f"{total:,.10g}{of}", (left, kind), (5, 0), textcoords="offset points", va="center")
        longest = max(longest, left)
    axes.set_xlim(0, longest * 1.28)
    axes.invert_yaxis()
    axes.set_xlabel("share of the board, %" if of_board else "share of the whole design, %")
    canvas.legend(loc="outside upper left", ncols=min(5, len(drawn)), frameon=False, handlelength=1, fontsize=8)
    return _svg(canvas, "resources", "Resources by layer")


def _latency(layers: Sequence[Layer]) -> str:
    """One bar for each stage, from the cycle of its first input beat to that of its last output beat."""
    canvas, axes = _axes(0.34 * len(layers) + 0.75)
    for layer in layers:
        start, end = layer.start.value, layer.end.value
        if start is None or end is None:
            axes.barh(layer.name, 0)
            axes.annotate("not known", (0, layer.name), (5, 0), textcoords="offset points", va="center")
            continue
        axes.barh(layer.name, end - start + 1, left=start, color=BAR, height=0.62)
        axes.annotate(
            f"{start:,.0f} to {end:,.0f}", (end + 1, layer.name), (5, 0), textcoords="offset points", va="center"
        )
    last = max(layer.end.value or 0 for layer in layers)
    axes.set_xlim(0, max(1.0, last) * 1.22)
    axes.invert_yaxis()
    axes.set_xlabel("clock cycles after the first input beat, first frame")
    return _svg(canvas, "latency", "Latency waterfall")


def _fmax(timing: Timing) -> str:
    canvas, axes = _axes(1.35)
    fmax = timing.fmax.value or 0.0
    axes.barh("Fmax", fmax, color=BAD if timing.met is False else GOOD, height=0.5)
    beyond = max(fmax, *timing.fmax_seeds) if timing.fmax_seeds else fmax
    axes.annotate(f"{fmax:.4g} MHz", (beyond, "Fmax"), (7, 0), textcoords="offset points", va="center")
    if timing.fmax_seeds:
        axes.plot(timing.fmax_seeds, ["Fmax"] * len(timing.fmax_seeds), "o", ms=4, mfc="white", mec=INK)
    limit = max(beyond, timing.target or 0.0)
    if timing.target is not None:
        axes.axvline(timing.target, color=INK, lw=1.4, ls=(0, (4, 2)))
        axes.annotate(
            f"target {timing.target:g} MHz",
            (timing.target, 1),
            (4, -2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
        )
    axes.set_xlim(0, limit * 1.3)
    axes.set_ylim(-0.4, 0.75)
    axes.set_xlabel("MHz")
    return _svg(canvas, "fmax", "Fmax against the target")


def _confusion(confusion: Confusion) -> str:
    size = len(confusion.labels)
    side = min(5.2, 0.42 * size + 1.4)
    canvas, axes = _axes(side, side)
    axes.grid(visible=False)
    rows = [[n / max(1, sum(row)) for n in row] for row in confusion.counts]
    # Rectangles, not imshow: an image would be a bitmap inside the SVG.
    axes.pcolormesh(rows, cmap="Blues", vmin=0, vmax=1.15, edgecolors="white", linewidth=0.5)
    # Beyond MAX_CELLS classes the numbers would not be readable; the table in the JSON has them.
    for i, row in enumerate(confusion.counts) if size <= MAX_CELLS else ():
        for j, count in enumerate(row):
            if count:
                colour = "white" if rows[i][j] > 0.55 else INK
                axes.text(j + 0.5, i + 0.5, str(count), ha="center", va="center", color=colour, fontsize=8)
    if size <= MAX_CELLS:
        centres = [i + 0.5 for i in range(size)]
        axes.set_xticks(centres, confusion.labels)
        axes.set_yticks(centres, confusion.labels)
    axes.tick_params(length=0)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return _svg(canvas, "confusion", "Confusion matrix")
