"""Exact dot products in every pair of formats against fractions."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from hwgen import golden
from hwgen.formats import Format, get
from hwgen.formats.multiply import MULTIPLIERS, product
from tests.golden.cases import ELEMENTS, SMALL, draw, fractions


def holds(sums: golden.Exact, expected: np.ndarray) -> None:
    assert sums.shape == expected.shape
    units = sums.integers()
    scale = Fraction(2) ** sums.exponent
    for index, value in np.ndenumerate(expected):
        assert Fraction(int(units[index])) * scale == value
    assert np.array_equal(sums.to_float64(), expected.astype(float))


@pytest.mark.parametrize(
    ("a", "b"), list(itertools.product([*ELEMENTS, get("fp16")], repeat=2)), ids=lambda fmt: fmt.name
)
def test_every_pair_of_formats(a: Format, b: Format) -> None:
    rng = np.random.default_rng(1)
    x, y = draw(a, (3, 37), rng), draw(b, (37, 2), rng)
    holds(golden.dot(x, y, a, b), fractions(a, x) @ fractions(b, y))


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
@pytest.mark.parametrize("fmt", [*SMALL, get("fp16")], ids=lambda fmt: fmt.name)
def test_every_multiplier(fmt: Format, multiplier: str) -> None:
    rng = np.random.default_rng(2)
    x, y = draw(fmt, (3, 37), rng), draw(fmt, (37, 2), rng)
    significand, exponent = product(x[:, :, None], y, fmt, fmt, multiplier)
    worth = np.frompyfunc(lambda s, e: Fraction(int(s)) * Fraction(2) ** int(e), 2, 1)(significand, exponent)
    holds(golden.dot(x, y, fmt, fmt, multiplier), worth.sum(axis=1))
