"""Rounding against definitions in exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwgen.errors import HwgenError
from hwgen.formats import ROUNDING, check_rounding, round_real, round_shift


def reference(x: Fraction, mode: str) -> int:
    """Rounding as IEEE 754 words it, on exact fractions."""
    low, high = math.floor(x), math.ceil(x)
    toward, away = (low, high) if x >= 0 else (high, low)
    if mode in ("down", "up", "zero", "away"):
        return {"down": low, "up": high, "zero": toward, "away": away}[mode]
    if x - low != high - x:
        return round(x)
    even = low if low % 2 == 0 else high
    return {"half_even": even, "half_away": away, "half_zero": toward, "half_up": high}[mode]


@pytest.mark.parametrize("mode", ROUNDING)
@given(x=st.one_of(st.floats(-1e6, 1e6), st.integers(-4000, 4000).map(lambda n: n / 4)))
def test_reals_round_as_fractions_do(mode: str, x: float) -> None:
    assert round_real([x], mode)[0] == reference(Fraction(x), mode)


@pytest.mark.parametrize("mode", ROUNDING)
@pytest.mark.parametrize("x", [0.49999999999999994, -0.49999999999999994, 0.5, -0.5, 1.5, 2.5, -2.5, 2.0**52 + 1])
def test_reals_round_right_beside_ties(mode: str, x: float) -> None:
    assert round_real([x], mode)[0] == reference(Fraction(x), mode)


@pytest.mark.parametrize("mode", ROUNDING)
@given(value=st.integers(-(2**61), 2**61), shift=st.integers(0, 61))
def test_shifts_round_as_fractions_do(mode: str, value: int, shift: int) -> None:
    assert int(round_shift(value, shift, mode)) == reference(Fraction(value, 1 << shift), mode)


@pytest.mark.parametrize("mode", ROUNDING)
def test_every_small_shift(mode: str) -> None:
    values = np.arange(-64, 65)
    for shift in range(6):
        expected = [reference(Fraction(int(v), 1 << shift), mode) for v in values]
        assert round_shift(values, shift, mode).tolist() == expected


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(HwgenError, match="unknown rounding 'nearest': one of half_even, half_away"):
        check_rounding("nearest")
