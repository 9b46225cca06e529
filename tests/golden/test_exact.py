"""Exact numbers: limbs, and every way in which they are rounded once."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.errors import HwgenError
from hwgen.formats import ENCODE_ROUNDING, Stochastic, get
from hwgen.golden.exact import LIMB, MASK, Exact, add_shifted, carried, limb_count, pieces, shifted

INTEGERS = st.one_of(
    st.integers(-(2**140), 2**140),
    st.integers(-(2**70), 2**70),
    st.builds(
        lambda top, low, sign: sign * ((top << 60) + low),
        st.integers(2**52, 2**54),
        st.integers(-2, 2),
        st.sampled_from([-1, 1]),
    ),
)


def exact(integers: list[int], exponent: int = 0, count: int = 5) -> Exact:
    limbs = [[(n >> (LIMB * i)) & MASK if i < count - 1 else n >> (LIMB * i) for n in integers] for i in range(count)]
    none = np.zeros(len(integers), dtype=np.bool_)
    return Exact(np.array(limbs, dtype=np.int64), exponent, none, none)


@given(st.lists(INTEGERS, min_size=1, max_size=9), st.integers(-300, 100))
@settings(max_examples=300, deadline=None)
def test_rounding_to_floats(values: list[int], exponent: int) -> None:
    number = exact(values, exponent)
    assert number.integers().tolist() == values
    expected = [float(Fraction(n) * Fraction(2) ** exponent) for n in values]
    assert number.to_float64().tolist() == expected
    single = [float_to_single(Fraction(n) * Fraction(2) ** exponent) for n in values]
    assert number.to_float32().tolist() == single


def float_to_single(value: Fraction) -> float:
    """FP32 by the definition: a multiple of the unit in the last place, half to even."""
    if value == 0:
        return 0.0
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    exponent -= abs(value) < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, -126) - 23)
    rounded = round(value / unit) * unit
    if abs(rounded) >= Fraction(2) ** 128:
        return float("inf") if rounded > 0 else float("-inf")
    return float(rounded)


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=9))
@settings(max_examples=100, deadline=None)
def test_one_limb(values: list[int]) -> None:
    number = exact(values, -3, count=1)
    assert number.to_float64().tolist() == [n / 8 for n in values]
    assert number.to_float32().tolist() == [float_to_single(Fraction(n, 8)) for n in values]


@pytest.mark.parametrize("rounding", ENCODE_ROUNDING)
@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e2m1", "int8", "fixed<8,3>", "fp16", "uint4"])
def test_rounding_once_to_a_format(name: str, rounding: str) -> None:
    """Wide numbers next to every code and every middle between two codes."""
    fmt = get(name)
    worth = np.unique(fmt.decode(fmt.codes()[fmt.is_number(fmt.codes())]))[:600]
    points = np.unique(np.concatenate([worth, (worth[1:] + worth[:-1]) / 2]))
    shift = 100
    values = [int(Fraction(p) * 2**shift) + d for p in points for d in (-1, 0, 1)]
    got = exact(values, -shift, count=5).round_to(fmt, rounding)
    # In float64 a distance of 2**-40 of the number stands for the least one: no rounding position lies between.
    near = [p + s * abs(p) * 2.0**-40 if p else s * 2.0**-60 for p in points for s in (-1, 0, 1)]
    expected = fmt.encode(np.array(near), rounding)
    assert np.array_equal(got, expected)


def test_stochastic_rounding_sees_the_exact_number() -> None:
    fmt, rounding = get("int8"), Stochastic()
    values = np.random.default_rng(0).integers(-(2**20), 2**20, 200)
    got = exact([int(v) << 80 for v in values], -94).round_to(fmt, rounding)
    assert np.array_equal(got, fmt.encode(values / 2**14, rounding))


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=5), st.integers(0, 70), st.integers(3, 32))
@settings(max_examples=200, deadline=None)
def test_pieces_and_shifts(values: list[int], shift: int, width: int) -> None:
    array = np.array(values)
    count = -(-(63 + shift) // width)
    cut = pieces(array, shift, width, count)
    assert (np.abs(cut) < 1 << width).all()
    assert [sum(int(p) << (width * i) for i, p in enumerate(column)) for column in cut.T] == [
        v << shift for v in values
    ]
    limbs = np.zeros((limb_count(2**62 << shift), array.size), dtype=np.int64)
    add_shifted(limbs, array >> 10, shift)
    add_shifted(limbs, array >> 10, 0)
    again = carried(limbs + shifted(array >> 2, np.full(array.shape, shift), limbs.shape[0]))
    none = np.zeros(array.shape, dtype=np.bool_)
    expected = [((v >> 10) << shift) + (v >> 10) + ((v >> 2) << shift) for v in values]
    assert Exact(again, 0, none, none).integers().tolist() == expected


def test_limb_counts() -> None:
    assert [limb_count(n) for n in (0, 2**63 - 1, 2**63, 2**95 - 1, 2**95)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact([2**140], 900).to_float64(), "sums around 2.* leave the range of float64"),
        (
            lambda: exact([1]).round_to(get("int52")),
            "rounding to int52 is not proven exact: formats of up to 51 bits are",
        ),
        (
            lambda: exact([2**60], 0, 1).round_to(get("int8"), overflow="wrap"),
            r"overflow 'wrap' is proven exact for sums below 2\^53 times 2\^0",
        ),
    ],
)
def test_refusals(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(HwgenError, match=message):
        call()


def test_not_a_number() -> None:
    limbs = np.array([[3, 4]])
    number = Exact(limbs, 0, np.array([True, False]), np.array([False, False]))
    assert number.round_to(get("e4m3")).tolist() == [0x7F, 0x48]
    assert np.isnan(number.to_float32()).tolist() == [True, False]
    assert exact([300, -300], 0, 1).round_to(get("int8"), overflow="wrap").tolist() == [44, -44]
    with pytest.raises(HwgenError, match="NaN has no code in int8"):
        number.round_to(get("int8"))
