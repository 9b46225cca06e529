"""The vectorised formats against the definitions on exact fractions, on dense sets of inputs."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from hwgen import formats
from hwgen.errors import HwgenError
from hwgen.formats import CATALOG, ENCODE_ROUNDING, Block, Fixed, Int, Minifloat, Stochastic, scalar
from hwgen.formats.definition import (
    decode_minifloat,
    encode_block,
    encode_fixed,
    encode_minifloat,
    round_fraction,
    shared_exponent,
)

SMALL = [fmt for fmt in CATALOG.values() if isinstance(fmt, Minifloat) and fmt.bits <= 8]
LARGE = [fmt for fmt in CATALOG.values() if isinstance(fmt, Minifloat) and fmt.bits > 8]
# Every shape of 3 to 5 bits, and one of each kind of special.
SHAPES = [Minifloat(e, bits - 1 - e, (1 << (e - 1)) - 1) for bits in range(3, 6) for e in range(1, bits)]
SPECIALS = [
    scalar(name) for name in ("e3m2_nan", "e3m2_ieee", "e3m0_ieee", "e4m0", "ue4m2_ieee", "e2m2b-5", "ue3m2_nosub")
]


def named(fmt: object) -> str:
    return fmt.name  # type: ignore[attr-defined, no-any-return]


def same(a: float | Fraction, b: float) -> bool:
    if math.isnan(b):
        return math.isnan(a)
    return a == b and str(a).startswith("-") == str(b).startswith("-")


@pytest.mark.parametrize("fmt", [*SMALL, *SHAPES, *SPECIALS, scalar("e5m5_ieee")], ids=named)
def test_every_code_is_worth_what_the_definition_says(fmt: Minifloat) -> None:
    for code, worth in zip(fmt.codes().tolist(), fmt.decode(fmt.codes()).tolist(), strict=True):
        assert same(decode_minifloat(fmt, code), worth), code
        assert fmt.is_number(code) == math.isfinite(worth)


def dense(fmt: Minifloat, numbers: np.ndarray | None = None) -> np.ndarray:
    """Numbers, midpoints, each with its neighbours one ulp of float64 away, what lies far outside, both signs."""
    if numbers is None:
        codes = fmt.codes()
        numbers = np.unique(np.abs(fmt.decode(codes[fmt.is_number(codes)])))
    top = numbers[-1]
    # One step past the greatest number, where an exponent without end would go on, and far beyond.
    beyond = [top + (top - numbers[-2]) if numbers.size > 1 else 2 * top, 2 * top, 1.9 * top, 1e300, np.inf]
    points = np.concatenate([numbers, beyond, [5e-324, 1e-310, 1e-50, 0.0]])
    finite = points[np.isfinite(points)]
    middle = np.concatenate([(numbers[:-1] + numbers[1:]) / 2, (beyond[0] + top)[None] / 2])
    all_points = np.concatenate([finite, middle])
    around = [np.nextafter(all_points, np.inf), np.nextafter(all_points, 0)]
    x = np.concatenate([points, middle, *around])
    return np.unique(np.concatenate([x, -x]).view(np.int64)).view(np.float64)


def check(fmt: Minifloat, x: np.ndarray, rounding: str) -> None:
    """Both ways to overflow; they are defined alike for all that does not."""
    saturated = [encode_minifloat(fmt, v, rounding, "saturate") for v in x.tolist()]
    equal(fmt, x, rounding, "saturate", saturated)
    inside = (np.abs(x) < float(fmt.extremes[1])) & ((x >= 0) | fmt.has_sign)
    wanted = list(itertools.compress(saturated, inside))
    try:
        outside = [encode_minifloat(fmt, v, rounding, "ieee") for v in x[~inside].tolist()]
    except HwgenError:
        with pytest.raises(HwgenError, match=r"overflow=.saturate"):
            fmt.encode(x, rounding, "ieee")
        equal(fmt, x[inside], rounding, "ieee", wanted)
    else:
        equal(fmt, np.concatenate([x[inside], x[~inside]]), rounding, "ieee", wanted + outside)


def equal(fmt: Minifloat, x: np.ndarray, rounding: str, overflow: str, wanted: list[int]) -> None:
    assert fmt.encode(x, rounding, overflow).tolist() == wanted
    # Many numbers go by a table.
    assert fmt.encode(np.resize(x, 40_000), rounding, overflow)[: x.size].tolist() == wanted
    single = x[np.abs(x) < 1e38].astype(np.float32)
    many = np.resize(single, 40_000)
    few = fmt.encode(single.astype(np.float64), rounding, overflow)
    assert np.array_equal(fmt.encode(many, rounding, overflow)[: single.size], few)


@pytest.mark.parametrize("rounding", [name for name in ENCODE_ROUNDING if name != "stochastic"])
@pytest.mark.parametrize("fmt", [*SMALL, *SHAPES, *SPECIALS], ids=named)
def test_encode_is_the_definition(fmt: Minifloat, rounding: str) -> None:
    check(fmt, dense(fmt), rounding)


@pytest.mark.parametrize("rounding", [name for name in ENCODE_ROUNDING if name != "stochastic"])
@pytest.mark.parametrize("fmt", LARGE, ids=named)
def test_encode_of_wide_formats_is_the_definition(fmt: Minifloat, rounding: str) -> None:
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.integers(0, fmt.max_magnitude, 20), [0, 1, 2, fmt.max_magnitude - 1]])
    low = np.sort(np.concatenate([fmt.decode(codes), fmt.decode(codes + 1)]))
    check(fmt, dense(fmt, np.unique(low)), rounding)


@pytest.mark.parametrize("bits", [1, 4, 8, 24])
@pytest.mark.parametrize("fmt", [*SMALL, *SPECIALS[:4]], ids=named)
def test_stochastic_rounding_is_the_definition(fmt: Minifloat, bits: int) -> None:
    x = dense(fmt)
    x = x[np.abs(x) < 1e100]
    kind = Stochastic(bits, seed=77, lanes=3)
    random = [Fraction(int(r), 1 << bits) for r in kind.numbers(x.size)]
    wanted = [encode_minifloat(fmt, v, "stochastic", random=r) for v, r in zip(x.tolist(), random, strict=True)]
    assert fmt.encode(x, kind).tolist() == wanted


@pytest.mark.parametrize("exponent", [-130, -7, 0, 9, 127])
@pytest.mark.parametrize("rounding", ["half_even", "up", "odd"])
def test_scaled_encoding_rounds_once(rounding: str, exponent: int) -> None:
    fmt = formats.scalar("e4m3")
    x = dense(fmt)
    x = np.ldexp(x[np.abs(x) < 1e100], exponent)
    wanted = [encode_minifloat(fmt, Fraction(v) / Fraction(2) ** exponent if v else v, rounding) for v in x.tolist()]
    assert fmt.encode_scaled(x, exponent, rounding).tolist() == wanted


FIXED = [Fixed(4, 2), Fixed(5, -3), Fixed(3, 7), Fixed(4, 1, is_signed=False), Fixed(6, 3, narrow=True), Int(4)]
FIXED_OVERFLOW = ["saturate", "saturate_zero", "saturate_symmetric", "wrap", "wrap_sign_magnitude"]


# A narrow range does not wrap and an unsigned one has no sign: both are refused (test_fixed.py).
FIXED_CASES = [
    pytest.param(fmt, overflow, id=f"{fmt.name}-{overflow}")
    for fmt, overflow in itertools.product(FIXED, FIXED_OVERFLOW)
    if not (fmt.code_range[0] == -fmt.code_range[1] and "wrap" in overflow)
    and (fmt.signed or overflow != "wrap_sign_magnitude")
]


@pytest.mark.parametrize("rounding", ENCODE_ROUNDING)
@pytest.mark.parametrize(("fmt", "overflow"), FIXED_CASES)
def test_fixed_point_is_the_definition(fmt: Fixed | Int, rounding: str, overflow: str) -> None:
    points = np.ldexp(np.arange(-150, 151) / 4, fmt.lsb)
    x = np.concatenate(
        [points, np.nextafter(points, np.inf), np.nextafter(points, -np.inf), [-1e-300, 5e-324, -5e-324]]
    )
    kind = Stochastic(5, seed=3) if rounding == "stochastic" else rounding
    random = Stochastic(5, seed=3).numbers(x.size)
    wanted = [
        encode_fixed(fmt, v, rounding, overflow, Fraction(int(r), 32)) for v, r in zip(x.tolist(), random, strict=True)
    ]
    assert fmt.encode(x, kind, overflow).tolist() == wanted


@pytest.mark.parametrize("mode", ["floor", "even", "ceil"])
@pytest.mark.parametrize("name", ["mxfp8e4m3", "mxfp8e5m2", "mxfp6e3m2", "mxfp6e2m3", "mxfp4", "mxint8"])
def test_blocks_are_the_definition(name: str, mode: str) -> None:
    fmt = formats.get(name)
    assert isinstance(fmt, Block)
    rng = np.random.default_rng(5)
    x = rng.standard_normal((60, 32)) * np.exp2(rng.integers(-140, 120, (60, 1)))
    # The greatest of each block stands on or beside what decides about its exponent.
    edges = [1.0, 1.5, 1.75, 1.875, 1.9375, 1.96875, 1.9921875, 1.99609375]
    for row, (edge, off) in zip(x, itertools.product(edges, (-1, 0, 1)), strict=False):
        top = np.ldexp(edge, int(np.ceil(np.log2(np.abs(row).max()))))
        row[3] = np.nextafter(top, off * np.inf) if off else top
    x[55:57] = [[0.0], [-0.0]]
    x[57, 4] = np.nan
    for kind in (x, x.astype(np.float32)):
        scales, elements = fmt.encode(kind, scale_mode=mode)
        wanted = [encode_block(fmt, row, scale_mode=mode) for row in kind.tolist()]
        assert scales.tolist() == [scale for scale, _ in wanted]
        assert elements.tolist() == [codes for _, codes in wanted]


def test_the_definition_of_a_shared_exponent() -> None:
    fmt = formats.get("mxfp4")
    assert isinstance(fmt, Block)
    assert [shared_exponent(fmt, [7.0], mode) for mode in ("floor", "even", "ceil")] == [0, 1, 1]


def test_the_definition_of_rounding() -> None:
    assert [round_fraction(Fraction(5, 2), name) for name in ENCODE_ROUNDING] == [2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encode_minifloat(scalar("e2m1"), math.nan), "NaN has no code in e2m1"),
        (lambda: encode_minifloat(scalar("e2m1"), math.inf, overflow="ieee"), "infinity has no code in e2m1"),
    ],
)
def test_errors(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(HwgenError, match=message):
        call()
