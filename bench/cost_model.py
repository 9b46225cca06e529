"""The cost model: its data, measured by our own synthesis; the fit of its coefficients; its error on other networks.

    python bench/cost_model.py --measure ecp5 xcup    synthesise the components, for docs/results/cost.json
    python bench/cost_model.py --fit                  coefficients from that, for hwgen/ops/cost_fitted.json
    python bench/cost_model.py --check                compare with networks that nothing was fitted to; docs/results

Without options: all of it. Syntheses are kept by content in build/components.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from measure import parts
from scipy.optimize import nnls

from hwgen.flow import components
from hwgen.flow.components import Component
from hwgen.gateware.verilog import to_rtlil
from hwgen.ops import cost_terms
from hwgen.ops.cost_fit import FILE, KINDS, Terms, coefficients, cost
from hwgen.ops.cost_layers import terms_of
from hwgen.tools.files import write_atomic
from hwgen.tools.resources import FAMILIES, Family

DATA = Path("docs/results/cost.json")
CACHE = Path("build/components")

DRAW = 0.03
"""How much a coefficient is drawn to 1, beside relative errors of 1."""

LEAST = 20
"""LUTs or flip-flops below which errors are taken as shares of this many."""


def read() -> dict[str, Any]:
    return dict(json.loads(DATA.read_text())) if DATA.exists() else {}


def write(found: dict[str, Any]) -> None:
    write_atomic(DATA, json.dumps(found, indent=1) + "\n")


def measure(families: list[Family]) -> None:
    """Synthesise every component that is not known yet, and keep what it takes."""
    found = read()
    for family in families:
        rows = []
        for number, case in enumerate(parts.cases(family)):
            made = Component(f"n{number}", str(case["kind"]), None, to_rtlil(parts.component(case, family), "unit"))
            size = components.synthesise([made], family, CACHE, workers=1).parts[0].resources
            rows.append({"case": case, **size.to_json()})
            print(family, case, size, flush=True)
        found.setdefault("families", {})[family] = rows
        write(found)


def terms(case: parts.Case, family: Family) -> Terms:
    """The terms of a case, as the cost model states them."""
    if case["kind"] == "fifo":
        return cost_terms.queue(parts.beats(case).payload_bits, case["depth"], family)
    if case["kind"] == "width":
        return cost_terms.converter(case["bits"], case["lanes"], case["to"])
    node, x = parts.node(case)
    fold = parts.fold(case) if case["kind"] == "matvec" else None
    found = terms_of(node, x, case.get("lanes", 1), fold, family)
    assert found is not None
    return found


def fit() -> None:
    """Coefficients of each formula: least squares of the relative errors, none below 0, drawn to 1 a little, which is
    what a term is by its own count and what decides where the data do not."""
    fitted: dict[str, Any] = {}
    for family, rows in read()["families"].items():
        formulas: dict[str, list[tuple[Terms, dict[str, Any]]]] = {}
        for row in rows:
            made = terms(row["case"], family)
            formulas.setdefault(made.formula, []).append((made, row))
        fitted[family] = {name: {kind: _solve(data, kind) for kind in KINDS} for name, data in sorted(formulas.items())}
    write_atomic(FILE, json.dumps(fitted, indent=1) + "\n")
    coefficients.cache_clear()


def _solve(data: list[tuple[Terms, dict[str, Any]]], kind: str) -> dict[str, float]:
    place = KINDS.index(kind)
    names = sorted({name for made, _ in data for name, part in made.parts.items() if part[place]})
    if not names:
        return {}
    rows, wanted = [], []
    for made, row in data:
        weight = 1 / max(row[kind], LEAST)
        rows.append([made.parts[name][place] * weight if name in made.parts else 0.0 for name in names])
        wanted.append(row[kind] * weight)
    for number in range(len(names)):
        rows.append([DRAW * (n == number) for n in range(len(names))])
        wanted.append(DRAW)
    found, _ = nnls(np.array(rows), np.array(wanted))
    return {name: round(float(value), 3) for name, value in zip(names, found, strict=True)}


def show() -> dict[str, Any]:
    """The errors of each formula on its own data, by family."""
    found: dict[str, Any] = {}
    for family, rows in read()["families"].items():
        errors: dict[str, dict[str, list[float]]] = {}
        wrong = []
        for row in rows:
            made = terms(row["case"], family)
            guess = cost(made, family)
            for kind in KINDS:
                error = getattr(guess, kind) / max(row[kind], LEAST) - row[kind] / max(row[kind], LEAST)
                errors.setdefault(made.formula, {k: [] for k in KINDS})[kind].append(error)
            blocks = (row["bram"] or 0) * (2 if family == "xcup" else 1)
            if (made.dsp, made.bram) != (row["dsp"], blocks):
                wrong.append([made.formula, [made.dsp, row["dsp"]], [made.bram, blocks], row["case"]])
        found[family] = {
            "formulas": {
                name: {"components": len(one["lut"]), **{k: [_mean(one[k]), _most(one[k])] for k in KINDS}}
                for name, one in sorted(errors.items())
            },
            "counted wrongly": wrong,
        }
    return found


def _mean(errors: list[float]) -> float:
    return round(sum(map(abs, errors)) / len(errors), 3)


def _most(errors: list[float]) -> float:
    return round(max(errors, key=abs), 3)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--measure", nargs="+", choices=FAMILIES)
    options.add_argument("--fit", action="store_true")
    chosen = options.parse_args()
    if chosen.measure:
        measure(chosen.measure)
    if chosen.fit:
        fit()
        print(json.dumps(show(), indent=1))


if __name__ == "__main__":
    main()
