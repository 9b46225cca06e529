"""The table and the plots of bench/accuracy.py."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from accuracy_claims import lines as claims

from hwgen.tools.files import write_atomic

mpl.use("Agg")
from matplotlib import pyplot as plt

KEYS = ("group", "model", "weight", "activation", "multiplier", "method")
NAMES = {"tfc": "perceptron 784-64-64-64-10", "fmnist-cnn": "small CNN"}


def summary(runs: Sequence[dict[str, Any]], rows: Sequence[Any], command: str) -> list[dict[str, Any]]:
    """One record for each row and data set that has a run, in the order of `rows`."""
    records = []
    for row in rows:
        for dataset in sorted({run["dataset"] for run in runs}):
            mine = [r for r in runs if r["dataset"] == dataset and all(r[key] == getattr(row, key) for key in KEYS)]
            if not mine:
                continue
            values = np.array([run["accuracy"] for run in mine])
            golden = [run["golden"] for run in mine if run["golden"] is not None]
            records.append(
                {
                    "model": row.model,
                    "dataset": dataset,
                    "weight": row.weight,
                    "activation": row.activation,
                    "multiplier": row.multiplier,
                    "method": row.method,
                    "group": row.group,
                    "accuracy_mean": float(values.mean()),
                    "accuracy_std": float(values.std(ddof=1)) if len(values) > 1 else None,
                    "seeds": sorted(run["seed"] for run in mine),
                    "accuracies": {run["seed"]: run["accuracy"] for run in mine},
                    "golden_accuracy_mean": float(np.mean(golden)) if golden else None,
                    "other_predictions": sum(run.get("other_predictions", 0) for run in mine) if golden else None,
                    "frames": sum(run["frames"] for run in mine),
                    "codes": [run["codes"] for run in mine if run.get("codes")],
                    "refused": next((run["refused"] for run in mine if run.get("refused")), None),
                    "command": command,
                }
            )
    return records


def write(runs: Sequence[dict[str, Any]], rows: Sequence[Any], folder: Path, command: str) -> None:
    """accuracy.json, accuracy.md and a plot for each data set in `folder`."""
    records = summary(runs, rows, command)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "accuracy.json", json.dumps({"command": command, "rows": records}, indent=1) + "\n")
    datasets = sorted({record["dataset"] for record in records})
    write_atomic(folder / "accuracy.md", "\n".join(_page(records, datasets)) + "\n")
    for dataset in datasets:
        _plot([r for r in records if r["dataset"] == dataset], folder / f"accuracy-{dataset}.svg", dataset)


def _page(records: Sequence[dict[str, Any]], datasets: Sequence[str]) -> list[str]:
    seeds = max(len(record["seeds"]) for record in records)
    lines = [
        "# What each format costs in accuracy",
        "",
        "Written by `make accuracy`; the figures are in `accuracy.json`. Test-set accuracy in percent, mean and sample",
        f"standard deviation over three seeds ({seeds} of float32 and dfp16 on Fashion-MNIST), of networks trained for",
        "a few epochs only: compare rows with each other, not with the best that is known. QAT trains in the format",
        "from the start; tuned: the float network of the same seed trains on in it for as many epochs; PTQ quantizes",
        "that network with 512 training images. Golden: predictions of the frozen integer network that differ from",
        "those of the PyTorch forward pass, of all test images and seeds; a dash where hardware does not carry the",
        "network, with the reason below. In block formats the first layer is of 8-bit integers.",
        "",
        *claims(records),
    ]
    reasons: dict[str, list[str]] = {}
    for model in dict.fromkeys(record["model"] for record in records):
        lines += [f"## {NAMES.get(model, model)}", ""]
        shown = [d for d in datasets if any(r["dataset"] == d and r["model"] == model for r in records)]
        columns = [text for dataset in shown for text in (dataset, "golden differs")]
        lines.append("| weights | activations | multiplier | method | " + " | ".join(columns) + " |")
        lines.append("|" + " --- |" * 4 + " ---: |" * len(columns))
        mine = [record for record in records if record["model"] == model]
        for key in dict.fromkeys(tuple(r[k] for k in ("weight", "activation", "multiplier", "method")) for r in mine):
            cells = list(key)
            for dataset in shown:
                one = next((r for r in mine if r["dataset"] == dataset and _key(r) == key), None)
                cells += _cells(one)
                if one and one["refused"] and one["method"] != "float":
                    reasons.setdefault(one["refused"], []).append(f"{key[0]} {key[2]}")
            lines.append("| " + " | ".join(cells) + " |")
        lines += ["", *(f"![Accuracy on {d}](accuracy-{d}.svg)" for d in shown if model == "tfc"), ""]
    lines += _codes(records)
    if reasons:
        lines += ["Not carried to hardware:", ""]
        lines += [f"- {', '.join(dict.fromkeys(names))}: {reason}" for reason, names in reasons.items()]
    return lines


def _codes(records: Sequence[dict[str, Any]]) -> list[str]:
    """How many codes differ where predictions do, and what they are."""
    found = []
    for record in records:
        if not record["codes"]:
            continue
        total = {key: sum(one[key] for one in record["codes"]) for key in ("frames", "compared", "different", "ties")}
        rest = [one["apart"] for one in record["codes"] if one["apart"] is not None]
        text = (
            f"{total['different']} of {total['compared']:,} in {total['frames']:,} images, {total['ties']} proven ties"
        )
        if rest:
            text += (
                f"; {total['different'] - total['ties']} not proven, of values that differ by {max(rest):.1e} at most"
            )
        found.append(
            f"- {record['weight']}, {NAMES.get(record['model'], record['model'])}, {record['dataset']}: {text}."
        )
    if not found:
        return []
    return [
        "Where predictions differ, these codes of activations do (the first tensor of an image that has any counts,",
        "what is behind it follows). A tie: the exact sum, which the golden model rounds, is as near to the boundary",
        "between both codes as float32, in which PyTorch adds, errs: 16 ulps of the largest magnitude on the way.",
        "",
        *found,
        "",
    ]


def _key(record: dict[str, Any]) -> tuple[str, ...]:
    return tuple(record[k] for k in ("weight", "activation", "multiplier", "method"))


def _cells(record: dict[str, Any] | None) -> list[str]:
    if record is None:
        return ["", ""]
    spread = "" if record["accuracy_std"] is None else f" ± {100 * record['accuracy_std']:.2f}"
    other = "-" if record["other_predictions"] is None else f"{record['other_predictions']} of {record['frames']}"
    return [f"{100 * record['accuracy_mean']:.2f}{spread}", other]


def _plot(records: Sequence[dict[str, Any]], path: Path, dataset: str) -> None:
    shown = [record for record in records if record["model"] == "tfc"]
    labels = []
    for r in shown:
        parts = [r["weight"] if r["weight"] == r["activation"] else f"{r['weight']}/{r['activation']}"]
        parts += [r["multiplier"]] * (r["multiplier"] != "exact") + [r["method"]] * r["method"].startswith("PTQ")
        labels.append(" ".join(parts))
    groups = list(dict.fromkeys(record["group"] for record in shown))
    figure, axes = plt.subplots(figsize=(7, 0.22 * len(shown) + 1))
    places = np.arange(len(shown))
    for index, group in enumerate(groups):
        mine = [k for k, record in enumerate(shown) if record["group"] == group]
        means = [100 * shown[k]["accuracy_mean"] for k in mine]
        errors = [100 * (shown[k]["accuracy_std"] or 0) for k in mine]
        axes.errorbar(
            means, places[mine], xerr=errors, fmt="o", markersize=4, capsize=2, color=f"C{index}", label=group
        )
    axes.set_yticks(places, labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel(f"test accuracy on {dataset}, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="lower left")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
