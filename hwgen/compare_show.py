"""A comparison of back ends for people: a table in the terminal, compare.md, compare.json and a plot."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from rich.table import Table

from hwgen.compare import KINDS, Comparison, Row
from hwgen.errors import ToolMissingError
from hwgen.tables import table
from hwgen.tools.files import write_atomic

COLUMNS = ("bit-exact", "latency", "interval", *(kind.upper() for kind in KINDS), "lines", "seconds")

TOLD = 10
"""So many differing frames are listed."""


def cells(row: Row) -> list[str]:
    """A back end's cells below `COLUMNS`."""
    exact = {True: "bit-exact", False: "differs", None: "not run"}[row.exact]
    figures = [row.figure(name) for name in ("latency", "interval", *KINDS)]
    # Units stand in the heading.
    numbers = ["not known" if f.value is None else f"{f.value:,.10g}" for f in figures]
    lines = f"{row.made.lines:,}" if row.made else "not known"
    return [exact, *numbers, lines, f"{sum(row.seconds.values()):.1f}" if row.seconds else "not known"]


def remarks(found: Comparison) -> list[str]:
    """What the table does not say: differences, errors, and what the figures are."""
    texts = []
    for row in found.rows:
        if row.wrong:
            listed = ", ".join(map(str, row.wrong[:TOLD])) + (", ..." if len(row.wrong) > TOLD else "")
            texts.append(f"{row.backend} differs: {row.first}; frames {listed}")
        if row.error:
            texts.append(f"{row.backend}: {row.error}")
        if row.made and row.made.note:
            texts.append(f"{row.backend}: {row.made.note}")
    texts.append("Latency and interval in clock cycles, simulated without stalls where not said otherwise.")
    note = f" ({found.note})" if found.note else ""
    texts.append(f"LUT, FF, DSP and BRAM by the same Yosys with the same flags{note}.")
    texts.append("Lines: text written for this network. Seconds: of all tools, indicative only.")
    return texts


def terminal(found: Comparison) -> Table:
    """The table, to print."""
    made = table("back end", *COLUMNS, left=2)
    for row in found.rows:
        made.add_row(row.backend, *cells(row))
    return made


def title(found: Comparison) -> str:
    return f"{found.network} on {found.board} ({found.part}), {found.frames} frames: {found.source or 'codes'}"


def markdown(found: Comparison, plotted: bool = True) -> str:
    """compare.md; plotted: whether compare.svg stands beside it."""
    lines = [f"# {found.network}: one network through several back ends", "", f"{title(found)}.", ""]
    lines += [f"| back end | {' | '.join(COLUMNS)} |", f"|---|---|{'---:|' * (len(COLUMNS) - 1)}"]
    lines += [f"| {row.backend} | {' | '.join(cells(row))} |" for row in found.rows]
    lines += ["", *(f"- {' '.join(text.split())}" for text in remarks(found))]
    lines += ["", "Seconds by step:", ""]
    for row in found.rows:
        steps = ", ".join(f"{step} {spent:.1f}" for step, spent in row.seconds.items())
        lines.append(f"- {row.backend}: {steps or 'not run'}")
    lines.append(f"- golden model: {found.golden_seconds:.3f}")
    if plotted:
        lines += ["", "![Cycles, resources, lines and seconds by back end](compare.svg)"]
    return "\n".join([*lines, ""])


def plot(found: Comparison) -> str:
    """compare.svg, empty where nothing is known to show; raises ToolMissingError without matplotlib."""
    from hwgen.report.plots import bars

    shown: list[tuple[str, list[float | None]]] = [
        ("cycles a frame", [row.figure("interval").value for row in found.rows]),
        *((kind.upper(), [row.figure(kind).value for row in found.rows]) for kind in KINDS),
        ("lines", [row.made.lines if row.made else None for row in found.rows]),
        ("seconds", [round(sum(row.seconds.values()), 1) if row.seconds else None for row in found.rows]),
    ]
    known = [(name, amounts) for name, amounts in shown if any(amounts)]
    if not known:
        return ""
    return bars([row.backend for row in found.rows], known, "compare", "Back ends compared")


def write(found: Comparison, folder: Path) -> list[Path]:
    """compare.json, compare.md and compare.svg in `folder`; no plot without matplotlib or any known figure."""
    texts = {"compare.json": json.dumps(found.to_json(), indent=2) + "\n"}
    with contextlib.suppress(ToolMissingError):
        texts |= {"compare.svg": drawn + "\n"} if (drawn := plot(found)) else {}
    texts["compare.md"] = markdown(found, "compare.svg" in texts)
    for name, text in texts.items():
        write_atomic(folder / name, text)
    return [folder / name for name in texts]
