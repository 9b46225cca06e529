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

import matrix_unit
import numpy as np
from measure import cases, parts
from scipy.optimize import nnls

from hwgen import compiler
from hwgen.flow import components
from hwgen.flow.components import Component
from hwgen.gateware.verilog import to_rtlil
from hwgen.ir import Fold, Graph
from hwgen.ops import cost, cost_branches, cost_terms
from hwgen.ops.cost_fit import FILE, KINDS, Terms, coefficients
from hwgen.ops.cost_fit import cost as cost_of
from hwgen.ops.cost_layers import terms_of
from hwgen.tools.files import write_atomic
from hwgen.tools.resources import FAMILIES, Family

DATA = Path("docs/results/cost.json")
CACHE = Path("build/components")

BOARDS: dict[Family, str] = {"ecp5": "ulx3s", "xcup": "ultra96"}

NETWORKS = (
    ("perceptron", 64),
    ("examples/digits.onnx", 64),
    ("tfc-w2a2", 512),
    ("digits-e4m3", 512),
    ("digits-mxfp4", 512),
    ("digits-separable", 4000),
    ("digits-residual", 8000),
    ("fmnist-int4", 20_000),
    ("fmnist-e3m2", 40_000),
    ("fmnist-mxfp4", 40_000),
)
"""Networks that nothing is fitted to, each with the clocks that a frame may take."""

PERCEPTRON = {f"fc{number}": Fold(4, 8) for number in range(3)} | {"fc3": Fold(1, 8)}
"""The folds of bench/matrix_unit.py."""

DRAW = 0.03
"""How much a coefficient is drawn to 1, beside relative errors of 1."""

LEAST = 20
"""LUTs or flip-flops below which errors are taken as shares of this many."""


def read() -> dict[str, Any]:
    return dict(json.loads(DATA.read_text())) if DATA.exists() else {}


def write(found: dict[str, Any]) -> None:
    write_atomic(DATA, json.dumps(found, indent=1) + "\n")


def measure(families: list[Family], kinds: list[str]) -> None:
    """Synthesise every component of these kinds, or of all, and keep what it takes."""
    for family in families:
        known = {json.dumps(row["case"]): row for row in read().get("families", {}).get(family, [])}
        rows = []
        for number, case in enumerate(cases.cases(family)):
            if kinds and case["kind"] not in kinds:
                rows += [row for row in [known.get(json.dumps(case))] if row]
                continue
            made = Component(f"n{number}", str(case["kind"]), None, to_rtlil(parts.component(case, family), "unit"))
            size = components.synthesise([made], family, CACHE, workers=1).parts[0].resources
            rows.append({"case": case, **size.to_json()})
            print(family, case, size, flush=True)
        found = read()
        found.setdefault("families", {})[family] = rows
        write(found)


def terms(case: cases.Case, family: Family) -> Terms:
    """The terms of a case, as the cost model states them."""
    if case["kind"] == "fifo":
        return cost_terms.queue(parts.beats(case).payload_bits, case["depth"], family)
    if case["kind"] == "width":
        return cost_terms.converter(case["bits"], case["lanes"], case["to"])
    if case["kind"] == "fork":
        return cost_branches.fork(case["count"])
    node, inputs = parts.node(case)
    if "depths" in case:
        return cost_branches.join(node.op, inputs, case["lanes"], case["depths"], family)
    fold = parts.fold(case) if "pe" in case else None
    found = terms_of(node, inputs[0], case.get("lanes", 1), fold, family)
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
            guess = cost_of(made, family)
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


def graph_of(name: str) -> Graph:
    """A QONNX file, frozen; or a network of this name."""
    if name.endswith(".onnx"):
        return compiler.load(name)
    if name == "perceptron":
        return matrix_unit.perceptron()
    from measure import networks

    return networks.digits(name) if name.startswith("digits-") else networks.trained(name)


def check(family: Family, names: list[str]) -> None:
    """Estimate and synthesis of networks that nothing was fitted to, component by component."""
    for name, interval in NETWORKS:
        if name not in names:
            continue
        wish = PERCEPTRON if name == "perceptron" else interval
        # Folds stay as they are once they are in the data, whatever the model would choose today.
        kept = read().get("networks", {}).get(family, {}).get(name, {}).get("folding", wish)
        made = compiler.compile(graph_of(name), BOARDS[family], kept, CACHE.parent)
        row = compared(made, family)
        found = read()
        found.setdefault("networks", {}).setdefault(family, {})[name] = row
        write(found)
        print(family, name, {kind: row[kind] for kind in (*KINDS, "bram", "dsp")}, flush=True)


def compared(made: compiler.Accelerator, family: Family) -> dict[str, Any]:
    """[estimate, synthesis] of an accelerator and of its layers, and of what stands between them."""
    sizes = made.synthesise(workers=1, progress=lambda text, done: print(" ", text, flush=True))
    whole = cost.estimate(made.graph, made.folding, family)
    folds = {node: fold.to_json() for node, fold in made.folding.items()}
    row: dict[str, Any] = {"interval": made.design.interval, "folding": folds, "layers": {}}
    for kind in (*KINDS, "bram", "dsp"):
        found, scale = getattr(sizes.total, kind), 2 if kind == "bram" and family == "xcup" else 1
        row[kind] = [getattr(whole, kind), found * scale]
    for part in cost.parts(made.graph, made.folding, family):
        node, own = part.link.node, part.own
        if part.fold:
            # Without the converter of its sums.
            own = cost.estimate_node(node, part.link.x, part.fold.simd, part.fold, family)
        row["layers"][node.name] = {"kind": node.op.kind} | {
            kind: [getattr(own, kind), _total(sizes, node.name, kind)] for kind in KINDS
        }
    row["between"] = {
        kind: [row[kind][0] - sum(layer[kind][0] for layer in row["layers"].values()), _total(sizes, None, kind)]
        for kind in KINDS
    }
    return row


def _total(sizes: components.Sizes, node: str | None, kind: str) -> float:
    """What the components of a node take, or those of none."""
    return float(sum(getattr(one.resources, kind) or 0 for one in sizes.parts if one.node == node))


HEAD = """# The cost model

Written by `bench/cost_model.py`; the data are in `cost.json`. Formulas count what the gateware instantiates in a few
terms, whose coefficients are fitted to syntheses of components of random numbers, by family. Synthesis by Yosys
(`synth_ecp5`, `synth_xilinx -family xcup -flatten -noiopad -noclkbuf`), component by component.
"""
NETWORK_TEXT = """
## Networks that nothing was fitted to

Trained ones, and a perceptron of random weights. digits-* were trained on the digits for this
(`bench/measure/networks.py`): perceptrons of E4M3 and MXFP4, convolutions with depthwise ones, and with a residual sum,
both in 4 bits. Estimate / synthesis, and the error of the estimate; block RAMs of 18 kbit. Synthesis is the sum over
the components. Latency and interval are not fitted: each component states them as formulas, which simulations confirm
to the clock.

No coefficient is fitted to a network. But what is counted was changed after networks had been missed, so that these are
no strangers to the formulas: ROMs and memories in block RAMs after the Fashion-MNIST networks on ECP5 (25 % of LUTs);
registers of adder trees after the perceptron and digits.onnx on UltraScale+ (23 % and 17 % of flip-flops); queues and
wide products of digits-mxfp4 there (19 % of LUTs); biases, ROMs whose words are no power of two, and thresholds of
digits-separable (21 % of LUTs on ECP5). As strangers, when they were first synthesised, others were estimated so, LUTs
and flip-flops: on UltraScale+ tfc-w2a2 +3 % and +3 %, digits-e4m3 +4 % and -6 %, digits-residual +1 % and +2 %,
fmnist-int4 -4 % and -1 %; on ECP5 digits-e4m3 +11 % and -8 %, digits-residual -11 % and -4 %. The perceptron's five
blocks too many are a ROM that is just as large as one that a block RAM is asked for, but for a bit that never changes.
"""
FORMULA_TEXT = """
## Formulas on their own data

The mean of the absolute errors, and the largest one; of components under 20 LUTs or flip-flops as shares of 20. Where
there are no more components than terms the formula follows them and little is learnt from its errors. Slices, decoders,
and blocks whose scales have a mantissa are estimated by what they instantiate, without a fit.
"""


def page() -> str:
    """docs/results/cost.md."""
    data = read()
    parts = [HEAD, NETWORK_TEXT]
    for family, networks in data.get("networks", {}).items():
        parts += [f"\n### {family}\n\n", "| network | clocks a frame | LUT | error | FF | error | BRAM | DSP |\n"]
        parts.append("|---|" + "---:|" * 7 + "\n")
        for name, row in networks.items():
            cells = [str(row["interval"])]
            for kind in KINDS:
                guess, found = row[kind]
                cells += [f"{guess:,} / {found:,}", f"{guess / found - 1:+.0%}"]
            cells += [f"{row[kind][0]:g} / {row[kind][1]:g}" for kind in ("bram", "dsp")]
            parts.append(f"| {name} | {' | '.join(cells)} |\n")
        parts += _by_kind(networks)
    parts.append(FORMULA_TEXT)
    for family, one in show().items():
        parts += [f"\n### {family}\n\n", "| formula | components | LUT, mean | LUT, most | FF, mean | FF, most |\n"]
        parts.append("|---|" + "---:|" * 5 + "\n")
        for name, row in one["formulas"].items():
            cells = [f"{row[kind][0]:.1%} | {row[kind][1]:+.1%}" for kind in KINDS]
            parts.append(f"| {name} | {row['components']} | {' | '.join(cells)} |\n")
        wrong = one["counted wrongly"]
        parts.append(f"\nBlock RAMs or DSPs are counted wrongly for {len(wrong)} of these components.\n")
    return "".join(parts)


def _by_kind(networks: dict[str, Any]) -> list[str]:
    """Errors of single layers, by kind."""
    lines = []
    for kind in KINDS:
        found: dict[str, list[float]] = {}
        for row in networks.values():
            for layer in row["layers"].values():
                guess, real = layer[kind]
                found.setdefault(layer["kind"], []).append((guess - real) / max(real, LEAST))
        told = [f"{name} {_mean(errors):.0%} (most {_most(errors):+.0%})" for name, errors in sorted(found.items())]
        lines.append(f"\n{kind.upper()} of single layers, mean error: {'; '.join(told)}.\n")
    return lines


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--measure", nargs="+", choices=FAMILIES)
    options.add_argument("--kinds", nargs="+", default=[], help="measure these kinds of components only")
    options.add_argument("--fit", action="store_true")
    options.add_argument("--check", nargs="+", choices=FAMILIES)
    options.add_argument("--networks", nargs="+", default=[name for name, _ in NETWORKS])
    chosen = options.parse_args()
    if chosen.measure:
        measure(chosen.measure, chosen.kinds)
    if chosen.fit:
        fit()
        print(json.dumps(show(), indent=1))
    for family in chosen.check or ():
        check(family, chosen.networks)
    write_atomic(DATA.with_suffix(".md"), page())


if __name__ == "__main__":
    main()
