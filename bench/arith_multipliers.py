"""Multipliers of minifloats side by side: LUTs, carry cells, logic depth and error on UltraScale+, and a plot.

    python bench/arith_multipliers.py [format ...] [--write]

All are combinational and synthesised by the same Yosys with the same flags (`synth_xilinx -family xcup -flatten
-noiopad -noclkbuf -nodsp`); inverters count as LUTs; pairs of small LUTs are not put together. Depth counts LUTs and
carry cells on the longest path. Error is the mean |relative error| over all pairs of mantissas of numbers in [1, 2).
L-Mul and Mitchell are the smaller of plain logic and placed cells. Results are kept by content in
build/arith_sizes. With --write: into docs/results, with the plot.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from measure import results
from measure.xcup import Size, measure

from hwgen.formats import get
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import lmul
from hwgen.gateware.arith.convert import MultiplyRounded
from hwgen.gateware.arith.lmul import LMul, has_own_form
from hwgen.gateware.arith.multiply import Multiply, MultiplyFixed
from hwgen.gateware.arith.table import MAX_TABLE_BITS, MultiplyByTable, RoundByTable

FORMATS = ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "e4m3full", "e5m2full", "ue5m3")
GOAL, PUBLISHED = 16, 22
Table = dict[str, list[tuple[str, Size, float]]]
"""(name, size, error) of every multiplier, by format."""
COLUMNS = ("LUT", "carry", "depth", "error %")


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


def plot(table: Table) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    # The same text for the same figures.
    mpl.rcParams["svg.hashsalt"] = "multipliers"
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
    results.FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(results.FOLDER / "multipliers.svg", bbox_inches="tight", metadata={"Date": None})


def not_winning(table: Table) -> list[str]:
    """Where L-Mul is neither smaller nor more accurate than another multiplier."""
    found = []
    for name, entries in table.items():
        ours = next(entry for entry in entries if entry[0] == "lmul")
        found += [
            f"{name}: {label} is no larger ({size.lut} against {ours[1].lut} LUTs), error {wrong:.2f} % "
            f"against {ours[2]:.2f} %"
            for label, size, wrong in entries
            if "NaN" not in label and label != "lmul" and size.lut <= ours[1].lut and wrong <= ours[2]
        ]
    return found


def main() -> None:
    chosen = [argument for argument in sys.argv[1:] if not argument.startswith("-")] or list(FORMATS)
    table: Table = {}
    for name in chosen:
        fmt = get(name)
        assert isinstance(fmt, Minifloat)
        table[name] = rows(fmt)
        print(f"{name:28}" + "".join(f"{column:>9}" for column in COLUMNS))
        for label, size, wrong in table[name]:
            print(f"  {label:26}{size.lut:9}{size.carry:9}{size.depth:9}{wrong:9.2f}", flush=True)
    found: list[tuple[str, Size]] = []
    if "e4m3" in table:
        print("\nL-Mul E4M3, architectures tried (zero and saturation handled)")
        found = tried(get("e4m3"))  # type: ignore[arg-type]
        for label, size in found:
            print(f"  {label:50}{size.lut:5} LUT{size.carry:4} carry{size.depth:4} deep")
        best = min(size.lut for _, size in found)
        print(f"  goal {GOAL}: {'met' if best <= GOAL else 'MISSED'} with {best}; published: {PUBLISHED}")
    print("\nWhere L-Mul does not win:")
    for line in not_winning(table):
        print(f"  {line}")
    if "--write" in sys.argv:
        plot(table)
        results.write(
            "multipliers",
            {
                "table": {
                    name: [[n, s.lut, s.carry, s.depth, e] for n, s, e in found] for name, found in table.items()
                },
                "lmul_e4m3": [[label, size.lut, size.carry, size.depth] for label, size in found],
                "not_winning": not_winning(table),
            },
        )


if __name__ == "__main__":
    main()
