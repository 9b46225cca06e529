"""Figures of the comparisons in docs/results/arith.json, and the page that shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hwgen.tools.files import write_atomic

FOLDER = Path("docs/results")
HEAD = """# Sizes and speeds of arithmetic

Written by `make bench-arith`; the figures are in `arith.json`. LUTs, flip-flops (FF) and carry cells on UltraScale+ by
Yosys (`synth_xilinx -family xcup -flatten -noiopad -noclkbuf -nodsp`), inverters counted as LUTs, a CARRY8 as two
CARRY4. Depth: LUTs and carry cells on the longest path between registers; a CARRY8 counts once, as a CARRY4 does,
though it is twice as long. No vendor tool was run.
"""
SIZE_TEXT = """
## Dot products of blocks of 32 lanes

Exact sums; no DSPs. The peer is an open one, unpipelined, by the same tool. Yosys gives every function a LUT of its
own, in the peer too; cells placed by hand put two functions into one LUT6_2 where five inputs are enough for both, as a
vendor's tools may do by themselves. The row "never two functions in one LUT" has the same architecture without that,
its adders of three operands excepted. L-Mul's sums are exact, its products are not: it is no candidate.
"""
DSP_TEXT = """
## Dot products of blocks of 32 lanes on DSPs

The same with DSPs (no `-nodsp`), pipelined for 200 MHz; exact sums.
"""
MULTIPLIER_TEXT = """
## Multipliers

Error: mean |relative error| over all pairs of mantissas. L-Mul and Mitchell: the smaller of plain logic and placed
cells, zero and saturation handled.

![LUTs and errors of multipliers](multipliers.svg)
"""
GOLDEN_TEXT = """
## Golden arithmetic

Time as a multiple of float32 `numpy @` of the same shape, on one BLAS thread, both in one run: 0.5 is twice as fast.
"""


def sections() -> dict[str, Any]:
    """All sections of arith.json by name."""
    path = FOLDER / "arith.json"
    return json.loads(path.read_text()) if path.exists() else {}


def read(section: str) -> dict[str, Any]:
    """What arith.json has of a section; nothing if it has none."""
    return dict(sections().get(section, {}))


def write(section: str, data: Any) -> None:
    """Put a section's figures into arith.json, and write the page anew from all sections that are there."""
    found = sections()
    found[section] = data
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_atomic(FOLDER / "arith.json", json.dumps(found, indent=1, sort_keys=True) + "\n")
    write_atomic(FOLDER / "arith.md", page(found))


def page(found: dict[str, Any]) -> str:
    parts = [HEAD]
    if "size" in found:
        parts += [SIZE_TEXT, *_sizes(found["size"])]
    if "dsp" in found:
        parts += [DSP_TEXT, *_dsps(found["dsp"])]
    if "multipliers" in found:
        parts += [MULTIPLIER_TEXT, *_multipliers(found["multipliers"])]
    if "golden" in found:
        parts += [GOLDEN_TEXT, *(_ratios(title, table) for title, table in found["golden"].items())]
    return "".join(parts)


def table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _sizes(data: dict[str, Any]) -> list[str]:
    best = [
        [name, str(one["best"]), str(one["peer"]), f"{one['best'] / one['peer']:.0%}", one["state"], one["which"]]
        for name, one in data["formats"].items()
    ]
    aim = f"\nAim: {data['aim']:.0%} of the peer.\n"
    parts = [aim, table(["block format", "best, LUT", "peer, LUT", "of the peer", "aim", "architecture"], best)]
    for name, one in data["formats"].items():
        rows = [
            [row["architecture"], *(str(row[key]) for key in ("lut", "ff", "carry", "depth")), f"{row['ratio']:.0%}"]
            for row in one["tried"]
        ]
        parts += [f"\n### {name}\n", table(["architecture", "LUT", "FF", "carry", "depth", "of the peer"], rows)]
    return parts


def _dsps(data: dict[str, list[dict[str, Any]]]) -> list[str]:
    columns = ["block format", "architecture", "DSP", "LUT", "LUT a lane", "FF", "carry", "goal"]
    keys = ("architecture", "dsp", "lut", "ff", "carry", "goal")
    rows = [
        [name, *(str(row[key]) for key in keys[:3]), f"{row['lut_a_lane']:.1f}", *(str(row[key]) for key in keys[3:])]
        for name, tried in data.items()
        for row in tried
    ]
    return [table(columns, rows)]


def _multipliers(data: dict[str, Any]) -> list[str]:
    parts = []
    for name, entries in data["table"].items():
        rows = [[label, str(lut), str(carry), str(deep), f"{wrong:.2f}"] for label, lut, carry, deep, wrong in entries]
        parts += [f"\n### {name}\n", table(["multiplier", "LUT", "carry", "depth", "error, %"], rows)]
    rows = [[label, str(lut), str(carry), str(deep)] for label, lut, carry, deep in data["lmul_e4m3"]]
    parts += ["\n### L-Mul for E4M3, architectures tried\n", table(["architecture", "LUT", "carry", "depth"], rows)]
    parts += ["\nWhere L-Mul does not win:\n\n", *(f"- {line}\n" for line in data["not_winning"])]
    return parts


def _ratios(title: str, data: dict[str, dict[str, float]]) -> str:
    columns = list(next(iter(data.values())))
    rows = [[name, *(f"{figures[column]:.2f}" for column in columns)] for name, figures in data.items()]
    return f"\n### {title[0].upper() + title[1:]}\n" + table(["", *columns], rows)
