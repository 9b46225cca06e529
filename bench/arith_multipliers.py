"""Multipliers of minifloats side by side: LUTs, carry cells, logic depth and error on UltraScale+, and a plot.

    python bench/arith_multipliers.py [format ...]

All are combinational and synthesised by the same Yosys with the same flags (`synth_xilinx -family xcup -flatten
-noiopad -noclkbuf -nodsp`); inverters count as LUTs; pairs of small LUTs are not put together. Depth counts LUTs and
carry cells on the longest path. Error is the mean |relative error| over all pairs of mantissas of numbers in [1, 2).
L-Mul and Mitchell are the smaller of plain logic and placed cells. Results are kept by content in
build/arith_multipliers, and so is the plot.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib import wiring

from hwgen.formats import get
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import lmul
from hwgen.gateware.arith.convert import MultiplyRounded
from hwgen.gateware.arith.lmul import LMul, has_own_form
from hwgen.gateware.arith.multiply import Multiply, MultiplyFixed
from hwgen.gateware.arith.table import MAX_TABLE_BITS, MultiplyByTable, RoundByTable
from hwgen.gateware.verilog import to_verilog
from hwgen.tools.cache import step
from hwgen.tools.files import digest
from hwgen.tools.resources import parse_stat
from hwgen.tools.yosys import run_script, synthesis_script

FORMATS = ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "e4m3full", "e5m2full", "ue5m3")
CACHE = Path("build/arith_multipliers")
GOAL, PUBLISHED = 16, 22
COLUMNS = ("LUT", "carry", "depth", "error %")


@dataclass(frozen=True)
class Size:
    """LUTs with inverters, carry cells, and cells on the longest path."""

    lut: int
    carry: int
    depth: int


def measure(component: wiring.Component, flags: str = "-nodsp") -> Size:
    verilog = to_verilog(component, "unit")

    def synthesise(folder: Path) -> None:
        (folder / "unit.v").write_text(verilog)
        script = synthesis_script(["unit.v"], "unit", "xcup", netlist="netlist.json")
        run_script(script.replace("-noclkbuf", f"-noclkbuf {flags}"), cwd=folder)

    folder = step(CACHE, "unit", digest(verilog, f"xcup {flags} 1"), synthesise).path
    total = parse_stat((folder / "stat.json").read_text(), "xcup", "unit").total
    cells = json.loads((folder / "netlist.json").read_text())["modules"]["unit"]["cells"]
    assert total.lut is not None
    assert total.carry is not None
    inverters = sum(cell["type"] == "INV" for cell in cells.values())
    return Size(int(total.lut) + inverters, int(total.carry), depth(cells))


def depth(cells: dict[str, Any]) -> int:
    """Cells on the longest path; multiplexers inside a slice (MUXF) are free."""
    driver: dict[int, str] = {}
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port, "output" if port in ("O", "CO") else "input") == "output":
                driver.update({bit: name for bit in bits if isinstance(bit, int)})
    found: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in found:
            cell = cells[name]
            own = int(not cell["type"].startswith("MUXF"))
            before = {driver[bit] for bits in cell["connections"].values() for bit in bits if bit in driver} - {name}
            sources = [n for n in before if feeds(cells, n, name)]
            found[name] = own + max(map(of, sources), default=0)
        return found[name]

    return max(map(of, cells), default=0)


def feeds(cells: dict[str, Any], source: str, sink: str) -> bool:
    """Whether an output of `source` is an input of `sink`."""
    outputs = ("O", "CO", "O5", "O6")
    out = {bit for port in outputs for bit in cells[source]["connections"].get(port, []) if isinstance(bit, int)}
    ports = cells[sink]["connections"].items()
    return any(bit in out for port, bits in ports if port not in outputs for bit in bits)


def error(fmt: Minifloat, product: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
    """Mean |relative error| in percent over all pairs of mantissas, of codes worth 1 to 2."""
    ones = (fmt.bias << fmt.mantissa_bits) + np.arange(1 << fmt.mantissa_bits)
    x, y = (grid.ravel() for grid in np.meshgrid(ones, ones))
    exact = fmt.decode(x) * fmt.decode(y)
    return float(100 * np.mean(np.abs(product(x, y) - exact) / exact))


def rows(fmt: Minifloat) -> list[tuple[str, Size, float]]:
    """(name, size, error) of every multiplier of one format."""

    def adder(variant: str, *, finite: bool) -> Size:
        families = ("", "xcup") if has_own_form(fmt, variant, "xcup") else ("",)
        sizes = [measure(LMul(fmt, fmt, variant, family=family, finite=finite)) for family in families]
        return min(sizes, key=lambda size: (size.lut, size.carry))

    found = []
    for variant in ("lmul", "mitchell", "lmul_formula_trunc"):
        wrong = error(fmt, lambda x, y, variant=variant: fmt.decode(lmul(x, y, fmt, variant)))  # type: ignore[misc]
        found.append((variant, adder(variant, finite=True), wrong))
        if fmt.special != "none":
            found.append((f"{variant}, NaN too", adder(variant, finite=False), wrong))
    found.append(("exact, unnormalised", measure(Multiply(fmt, fmt)), 0.0))
    found.append(("exact to fixed point", measure(MultiplyFixed(fmt, fmt)), 0.0))
    rounded = error(fmt, lambda x, y: fmt.decode(fmt.encode(fmt.decode(x) * fmt.decode(y))))
    found.append(("exact, rounded", measure(MultiplyRounded(fmt, fmt, fmt)), rounded))
    if 2 * fmt.magnitude_bits <= MAX_TABLE_BITS:
        sizes = [measure(MultiplyByTable(fmt, fmt, family=family)) for family in ("", "xcup")]
        found.append(("table, exact", min(sizes, key=lambda size: (size.lut, size.carry)), 0.0))
        if fmt.special == "none":
            sizes = [measure(RoundByTable(fmt, family=family)) for family in ("", "xcup")]
            found.append(("table, rounded", min(sizes, key=lambda size: (size.lut, size.carry)), rounded))
    return found


def tried(fmt: Minifloat) -> list[tuple[str, Size]]:
    """The architectures of L-Mul that were tried, zero and saturation handled, NaN not."""
    plain = LMul(fmt, fmt, finite=True)
    return [
        ("adder, comparisons and multiplexers, as mapped", measure(plain)),
        ("the same without carry chains (-nocarry)", measure(plain, "-nodsp -nocarry")),
        ("the same without wide multiplexers (-nowidelut)", measure(plain, "-nodsp -nowidelut")),
        ("the same mapped by abc9 (-abc9)", measure(plain, "-nodsp -abc9")),
        ("placed cells: one chain, flushed inside it", measure(LMul(fmt, fmt, finite=True, family="xcup"))),
    ]


def plot(table: dict[str, list[tuple[str, Size, float]]]) -> Path:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5.5))
    names = list(dict.fromkeys(name for found in table.values() for name, _, _ in found if "NaN" not in name))
    for index, name in enumerate(names):
        points = [(fmt, size, wrong) for fmt, found in table.items() for n, size, wrong in found if n == name]
        axes.scatter([s.lut for _, s, _ in points], [w for _, _, w in points], label=name, color=f"C{index}", s=28)
        for fmt, size, wrong in points:
            axes.annotate(fmt, (size.lut, wrong), fontsize=6, xytext=(3, 3), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_xlabel("LUTs (xcup, by Yosys)")
    axes.set_ylabel("mean |relative error|, %")
    axes.legend(fontsize=7)
    path = CACHE / "multipliers.png"
    figure.savefig(path, dpi=150, bbox_inches="tight")
    return path


def main() -> None:
    chosen = [argument for argument in sys.argv[1:] if not argument.startswith("-")] or list(FORMATS)
    table: dict[str, list[tuple[str, Size, float]]] = {}
    for name in chosen:
        fmt = get(name)
        assert isinstance(fmt, Minifloat)
        table[name] = rows(fmt)
        print(f"{name:28}" + "".join(f"{column:>9}" for column in COLUMNS))
        for label, size, wrong in table[name]:
            print(f"  {label:26}{size.lut:9}{size.carry:9}{size.depth:9}{wrong:9.2f}")
    if "e4m3" in table:
        print("\nL-Mul E4M3, architectures tried (zero and saturation handled)")
        found = tried(get("e4m3"))  # type: ignore[arg-type]
        for label, size in found:
            print(f"  {label:50}{size.lut:5} LUT{size.carry:4} carry{size.depth:4} deep")
        best = min(size.lut for _, size in found)
        print(f"  goal {GOAL}: {'met' if best <= GOAL else 'MISSED'} with {best}; published: {PUBLISHED}")
    print("\nWhere L-Mul does not win:")
    for name, entries in table.items():
        ours = next(entry for entry in entries if entry[0] == "lmul")
        for label, size, wrong in entries:
            if "NaN" not in label and label != "lmul" and size.lut <= ours[1].lut and wrong <= ours[2]:
                print(f"  {name}: {label} is no larger ({size.lut} against {ours[1].lut} LUTs), error {wrong:.2f} %")
    print(f"\nplot: {plot(table)}")


if __name__ == "__main__":
    main()
