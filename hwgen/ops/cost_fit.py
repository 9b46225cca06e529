"""Costs as sums of terms. A formula names its terms; how much of each synthesis makes is fitted to our own runs.

The data, the fit and its errors: bench/cost_model.py, docs/results/cost.md. A family or a formula that nothing was
fitted to takes the terms as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from hwgen.tools.resources import Family, Resources

FILE = Path(__file__).with_name("cost_fitted.json")

KINDS = ("lut", "ff")
"""What is fitted; block RAMs and DSPs are counted."""


class Term(NamedTuple):
    """LUTs and flip-flops as the gateware states them: bits of adders, of ROMs, of registers."""

    lut: float = 0
    ff: float = 0

    def __add__(self, other: object) -> Term:
        assert isinstance(other, Term)
        return Term(self.lut + other.lut, self.ff + other.ff)

    def times(self, count: float) -> Term:
        return Term(count * self.lut, count * self.ff)


@dataclass(frozen=True)
class Terms:
    """A component by the terms of one formula; block RAMs (of 18 kbit) and DSPs."""

    formula: str
    parts: Mapping[str, Term] = field(default_factory=dict)
    bram: float = 0
    dsp: float = 0


@cache
def coefficients() -> Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]:
    """By family, formula, "lut" or "ff", and term."""
    return dict(json.loads(FILE.read_text(encoding="utf-8"))) if FILE.exists() else {}


def cost(terms: Terms, family: Family) -> Resources:
    """What a component takes of a device of `family`; of an iCE40 as of an ECP5, whose LUTs are alike."""
    known = coefficients().get("ecp5" if family == "ice40" else family, {}).get(terms.formula, {})
    sums = [
        sum(known.get(kind, {}).get(name, 1.0) * part[place] for name, part in terms.parts.items())
        for place, kind in enumerate(KINDS)
    ]
    return amount(sums[0], sums[1], terms.bram, terms.dsp)


def amount(lut: float = 0, ff: float = 0, bram: float = 0, dsp: float = 0) -> Resources:
    return Resources(round(lut), round(ff), round(bram), round(dsp), None)


def add_up(parts: Iterable[Resources]) -> Resources:
    """The sum of each kind; None where one of them is unknown."""
    every = list(parts)

    def total(kind: str) -> float | None:
        values = [getattr(one, kind) for one in every]
        return None if None in values else sum(values)

    return Resources(total("lut"), total("ff"), total("bram"), total("dsp"), None)
