"""What papers and goals say of the rows of bench/accuracy.py, and what came out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]
NOISE = 2.0
"""Standard errors of a mean difference that count as noise."""


@dataclass(frozen=True)
class Claim:
    """That row `a` is at most `loss` points below row `b`; rows as (weight, multiplier, method)."""

    text: str
    a: tuple[str, str, str]
    b: tuple[str, str, str]
    loss: float = 0.0


def _exact(name: str, method: str = "QAT") -> tuple[str, str, str]:
    return (name, "exact", method)


CLAIMS = [
    *(
        Claim(f"{name}, {how}, beats {name} after training (QFX, arXiv 2401.17544)", _exact(name, method), after)
        for name in ("qfx6", "qfx4")
        for after in [_exact(name, "PTQ round")]
        for how, method in (("trained in it from the start", "QAT"), ("tuned from float", "tuned"))
    ),
    *(
        Claim(f"dfp16, {how}, is within 0.1 of float32 (goal; arXiv 1802.00930)", row, _exact("float32", "float"), 0.1)
        for how, row in (
            ("trained in it", _exact("dfp16")),
            ("tuned from float", _exact("dfp16", "tuned")),
            ("after training", _exact("dfp16", "PTQ round")),
        )
    ),
    Claim("L-Mul in e4m3 is within 0.1 of exact products in e4m3", ("e4m3", "lmul", "QAT"), _exact("e4m3"), 0.1),
    Claim(
        "L-Mul with 3 bits of mantissa (e4m3) beats exact products in e5m2 (arXiv 2410.00907)",
        ("e4m3", "lmul", "QAT"),
        _exact("e5m2"),
    ),
    *(
        Claim(
            f"L-Mul's offset beats Mitchell's product without it in {name} (arXiv 2410.00907)",
            (name, "lmul", "QAT"),
            (name, "mitchell", "QAT"),
        )
        for name in ("e4m3", "e5m2", "e3m2")
    ),
]


def lines(records: Sequence[Record]) -> list[str]:
    """A table of claims: the difference in points on each data set, its standard error, and what it means."""
    datasets = list(dict.fromkeys(r["dataset"] for r in records if r["model"] == "tfc"))
    table = []
    for claim in CLAIMS:
        cells = [_cell(records, dataset, claim) for dataset in datasets]
        if any(cells):
            table.append(f"| {claim.text} | " + " | ".join(cells) + " |")
    if not table:
        return []
    return [
        "## Claims of papers, and goals",
        "",
        "Of the perceptron, in points: the mean of the differences between runs of the same seed ± its standard error.",
        f"*Holds*, *does not reproduce*: it is on that side of what the claim asks for by {NOISE:g} standard errors or",
        "more; *above* and *below*: by less, which may be noise.",
        "",
        "| claim | " + " | ".join(datasets) + " |",
        "| --- |" + " --- |" * len(datasets),
        *table,
        "",
    ]


def _cell(records: Sequence[Record], dataset: str, claim: Claim) -> str:
    a, b = _find(records, dataset, claim.a), _find(records, dataset, claim.b)
    if a is None or b is None:
        return ""
    both = [seed for seed in a["accuracies"] if seed in b["accuracies"]]
    differences = [100 * (a["accuracies"][seed] - b["accuracies"][seed]) for seed in both]
    if len(differences) < 2:
        return ""
    mean, error = statistics.mean(differences), statistics.stdev(differences) / math.sqrt(len(differences))
    over = mean + claim.loss
    if abs(over) >= NOISE * error:
        verdict = "holds" if over >= 0 else "does not reproduce"
    else:
        verdict = "above" if over >= 0 else "below"
    return f"{mean:+.2f} ± {error:.2f}: {verdict}"


def _find(records: Sequence[Record], dataset: str, row: tuple[str, str, str]) -> Record | None:
    want = dict(zip(("weight", "multiplier", "method"), row, strict=True), model="tfc", dataset=dataset)
    return next((r for r in records if all(r[key] == value for key, value in want.items())), None)
