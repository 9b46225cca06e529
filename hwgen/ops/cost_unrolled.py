"""What unrolled matrices cost: adders that are shared between outputs, estimated without finding them.

A search for what can be shared takes seconds, so a folding is chosen by a formula: a product of powers of what the
sharing depends on, set on the plans of 33 random matrices (5 to 48 outputs and inputs, weights of 2 to 8 bits, inputs
of 1 to 8): within 7 % of their LUTs on average, 44 % at worst, and within 7 % of their flip-flops (17 % where there is
a register behind every third adder only).
"""

from __future__ import annotations

import math

import numpy as np

from hwgen.ops.cost_fit import Term
from hwgen.ops.matvec import MatVec
from hwgen.tools.resources import Family

Powers = tuple[float, float, float, float, float, float]
"""Of e, digits a row, rows, bits of the input and two more, bits of the greatest weight, digits a weight."""

TWO: tuple[Powers, Powers] = (
    (-1.003, 0.076, -0.062, 1.056, 0.229, -0.121),
    (-0.254, -0.062, -0.048, 0.951, 0.375, -0.119),
)
"""LUTs and flip-flops for each signed digit, with adders of two operands and a register behind each."""

THREE: tuple[Powers, Powers] = (
    (-1.397, 0.012, -0.044, 1.079, 0.254, -0.050),
    (-1.058, -0.125, -0.084, 0.989, 0.148, 0.098),
)
"""The same with adders of three operands and a register behind every third."""


def adders(op: MatVec, bits: int, family: Family) -> Term:
    """The adders of an unrolled matrix whose inputs have `bits` bits."""
    digits = int(op.signed_digits.sum())
    if not digits:
        return Term()
    out, inner = op.weight.shape
    magnitude = op.magnitudes[1].bit_length() + 1
    factors = np.log([math.e, digits / out, out, bits + 2, magnitude, digits / (out * inner)])
    lut, ff = (digits * math.exp(float(np.dot(powers, factors))) for powers in (THREE if family == "xcup" else TWO))
    return Term(lut, ff)
