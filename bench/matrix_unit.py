"""A matrix unit of 64 inputs and 32 outputs, and a whole perceptron, on UltraScale+: LUTs beside those of FINN's RTL.

    python bench/matrix_unit.py [--write]

Weights and activations of 4 bits, PE=4, SIMD=8; the perceptron 16-64-32-32-5 with thresholds and weight memories: the
same weights for both, by the same Yosys with the same flags (`synth_xilinx -family xcup -flatten -noiopad -noclkbuf`).
Ours component by component, kept by content in build/components; FINN's RTL, which needs `make finn-env`, as a whole.
FINN's unit alone takes its weights as a stream, and its whole network keeps memories in distributed RAM. Ours have
their weights in block RAM, and their biases in LUTs, which count. Clocks of FINN's are its own estimate.
With --write the figures go into docs/results.
"""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import compiler, formats, ops
from hwgen.backends import finn, finn_stitch
from hwgen.flow import components
from hwgen.flow.boards import load_board
from hwgen.formats import Int
from hwgen.gateware.matvec import MatVec
from hwgen.gateware.matvec_placed import PlacedMatVec
from hwgen.gateware.verilog import to_rtlil
from hwgen.ir import Fold, Graph, Node, TensorType, Value
from hwgen.tools import yosys
from hwgen.tools.files import write_atomic

OUT = Path("docs/results/matrix-unit")
ROOT = Path("build")
SIZES = (16, 64, 32, 32, 5)
SEED = 0

FOLDS = {f"fc{number}": Fold(4, 8) for number in range(3)} | {"fc3": Fold(1, 8)}


def layer(inner: int, out: int, rng: np.random.Generator) -> ops.MatVec:
    return ops.MatVec(rng.integers(-8, 8, (out, inner)), Int(4))


def units() -> dict[str, dict[str, Any]]:
    """The unit by how it is made."""
    op, x = layer(64, 32, np.random.default_rng(SEED)), TensorType((64,), formats.get("uint4"))
    made = {
        "for synthesis to place": MatVec(op, x, Fold(4, 8)),
        "placed, no DSPs": PlacedMatVec(op, x, Fold(4, 8)),
        "placed, three outputs on a DSP": PlacedMatVec(op, x, Fold(4, 8, dsp=True)),
    }
    parts = [components.Component(name, "matvec", None, to_rtlil(unit, "unit")) for name, unit in made.items()]
    sizes = components.synthesise(parts, "xcup", ROOT / "components", workers=1)
    return {part.name: part.resources.to_json() | {"interval": made[part.name].interval} for part in sizes.parts}


def perceptron() -> Graph:
    """Random weights and thresholds of the perceptron."""
    rng = np.random.default_rng(SEED)
    kind, tensor, nodes = TensorType((SIZES[0],), formats.get("uint4")), "x", []
    first = Value("x", kind)
    for number, (inner, out) in enumerate(itertools.pairwise(SIZES)):
        op = layer(inner, out, rng)
        nodes.append(Node(f"fc{number}", op, (tensor,), f"fc{number}_out"))
        kind, tensor = op.infer(kind), f"fc{number}_out"
        if number + 2 < len(SIZES):
            low, high = ops.integer_range(kind)
            steps = np.sort(rng.integers(low // 4, high // 4, (out, 15)), axis=1)
            act = ops.Thresholds(steps, 0, formats.get("uint4"))
            nodes.append(Node(f"act{number}", act, (tensor,), f"act{number}_out"))
            kind, tensor = act.infer(kind), f"act{number}_out"
    return Graph("perceptron", (first,), tuple(nodes), (tensor,))


def perceptrons() -> dict[str, dict[str, Any]]:
    """The perceptron with all units in LUTs, and with those of four outputs on DSPs."""
    found = {}
    for name, dsp in (("placed, no DSPs", False), ("placed, three outputs on a DSP", True)):
        folds = {name: replace(fold, dsp=dsp and fold.pe > 1) for name, fold in FOLDS.items()}
        made = compiler.compile(perceptron(), "ultra96", folds, ROOT)
        sizes = made.synthesise(workers=1)
        found[name] = sizes.total.to_json() | {"interval": made.design.interval, "latency": made.design.latency}
    return found


def peers() -> tuple[dict[str, Any], dict[str, Any]]:
    """FINN's RTL of the same perceptron: its unit of 64 inputs and 32 outputs without weight memory, and the whole."""
    folder = ROOT / "bench" / "matrix-unit-finn"
    finn.emit(perceptron(), FOLDS, folder, load_board("ultra96"))
    entry = next(node for node in finn_stitch.read_nodes(folder) if node["kind"] == "MVAU_rtl" and node["cycles"] == 64)
    found = []
    for name, top in (("unit", entry["top"]), ("whole", finn_stitch.TOP)):
        out = folder / "yosys" / name
        out.mkdir(parents=True, exist_ok=True)
        sources, _ = finn.synthesis(folder, top)
        total = yosys.synthesise(sources, top, "xcup", out).statistics.total.to_json()
        cells = json.loads((out / "stat.json").read_text())["design"]["num_cells_by_type"]
        logic = sum(count for cell, count in cells.items() if cell.startswith("LUT"))
        found.append(total | {"logic": logic})
    return found[0] | {"interval": entry["cycles"]}, found[1] | {"interval": finn.design(folder).interval}


def lines(title: str, rows: dict[str, dict[str, Any]], peer: dict[str, Any]) -> list[str]:
    columns = ["", "LUT", "of FINN", "FF", "of FINN", "BRAM", "DSP", "clocks a frame"]
    found = [f"## {title}", "", f"| {' | '.join(columns)} |", "|---|" + "---:|" * 7]
    sizes = f"{peer['lut']:,} | | {peer['ff']:,} | | {peer['bram']} | {peer['dsp']} | {peer['interval']}"
    found.append(f"| FINN's RTL | {sizes} |")
    found.append(f"| of it LUTs that are no distributed RAM | {peer['logic']:,} |{' |' * 6}")
    for name, row in rows.items():
        shares = [f"{row['lut'] / peer['lut']:.0%}", f"{row['ff'] / peer['ff']:.0%}"]
        cells = [f"{row['lut']:,}", shares[0], f"{row['ff']:,}", shares[1], row["bram"], row["dsp"], row["interval"]]
        found.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return [*found, ""]


def main() -> None:
    assert __doc__
    unit_peer, whole_peer = peers()
    unit, whole = units(), perceptrons()
    text = __doc__.split("\n\n")
    about = text[2].replace("\nWith --write the figures go into docs/results.", "").strip()
    page = [f"# Matrix units\n\n{text[0]}\n\n{about}\n\nWritten by `bench/matrix_unit.py --write`.\n"]
    page += lines("64 inputs, 32 outputs, PE=4, SIMD=8", unit, unit_peer)
    page += lines("16-64-32-32-5, whole", whole, whole_peer)
    print("\n".join(page))
    if "--write" in sys.argv:
        found = {"unit": unit, "perceptron": whole, "finn": {"unit": unit_peer, "perceptron": whole_peer}}
        write_atomic(OUT.with_suffix(".json"), json.dumps(found, indent=1) + "\n")
        write_atomic(OUT.with_suffix(".md"), "\n".join(page).rstrip() + "\n")


if __name__ == "__main__":
    main()
