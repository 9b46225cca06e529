"""Exact dot products in every pair of formats against fractions."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen import golden
from hwgen.errors import HwgenError
from hwgen.formats import Format, get
from hwgen.formats.multiply import MULTIPLIERS, product, product_span
from hwgen.golden.split import CARRIERS, split
from tests.golden.cases import ELEMENTS, SMALL, draw, fractions, numbers


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


FP16 = get("fp16")


def extreme(fmt: Format) -> int:
    """The code of the greatest magnitude."""
    codes = numbers(fmt)
    return int(codes[np.argmax(np.abs(fmt.decode(codes)))])


@pytest.mark.parametrize(
    ("fmt", "multiplier"),
    [(fmt, "exact") for fmt in [*ELEMENTS, FP16]]
    + [(fmt, name) for fmt in [*SMALL, FP16] for name in ("lmul_formula", "lmul")],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_greatest_sums_cancelling_and_subnormals(fmt: Format, multiplier: str) -> None:
    top = extreme(fmt)
    length = 4096
    x = np.full((4, length), top)
    x[1, : length // 2] = fmt.encode(0) if fmt.name == "bipolar" else fmt.encode(-fmt.decode(top))
    x[2] = numbers(fmt)[np.abs(fmt.decode(numbers(fmt))).argsort(kind="stable")[min(2, len(numbers(fmt)) - 1)]]
    x[3, 1:] = x[2, 1:]
    y = x.T[:, :2].copy()
    significand, exponent = product(x[:, :, None], y, fmt, fmt, multiplier)
    unit = product_span(fmt, fmt, multiplier)
    whole = (significand.astype(object) * 2 ** (exponent - unit.exponent).astype(object)).sum(axis=1)
    got = golden.dot(x, y, fmt, fmt, multiplier)
    assert got.exponent == unit.exponent
    assert np.array_equal(got.integers(), whole)


def test_long_sums_are_cut_into_parts() -> None:
    rng = np.random.default_rng(4)
    for fmt, length in ((get("int8"), 5000), (get("e4m3"), 300_000), (get("int16"), 10_000)):
        x, y = draw(fmt, (1, length), rng), draw(fmt, (length, 1), rng)
        integer = np.ldexp(fmt.decode(x)[0] * 1.0, -fmt.lsb), np.ldexp(fmt.decode(y)[:, 0], -fmt.lsb)
        expected = sum(int(p) * int(q) for p, q in zip(*integer, strict=True))
        assert golden.dot(x, y, fmt, fmt).integers()[0, 0] == expected


@pytest.mark.parametrize("name", ["e4m3", "e3m2", "int8", "e2m1"])
def test_torch_agrees_where_float64_is_exact(name: str) -> None:
    fmt = get(name)
    rng = np.random.default_rng(5)
    x, y = draw(fmt, (20, 500), rng), draw(fmt, (500, 30), rng)
    expected = torch.from_numpy(fmt.decode(x)) @ torch.from_numpy(fmt.decode(y))
    assert np.array_equal(golden.dot(x, y, fmt, fmt).to_float64(), expected.numpy())


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e2m1", "int8"])
def test_shapes_memory_orders_and_kept_operands(name: str) -> None:
    fmt = get(name)
    rng = np.random.default_rng(6)
    x, y = draw(fmt, (2, 1, 3, 7), rng), draw(fmt, (4, 7, 5), rng)
    expected = fmt.decode(x) @ fmt.decode(y)
    small = np.int8 if name == "int8" else np.uint8
    for left, right in (
        (x, y),
        (x.astype(small), y.astype(small)),
        (np.asfortranarray(x), np.ascontiguousarray(y.swapaxes(1, 2)).swapaxes(1, 2)),
        (golden.operand(x, fmt), golden.operand(y, fmt)),
    ):
        assert np.array_equal(golden.dot(left, right, fmt, fmt).to_float64(), expected)
    a, b = x[0, 0], np.asfortranarray(y[0])
    assert np.array_equal(golden.dot(a, b, fmt, fmt).to_float64(), fmt.decode(a) @ fmt.decode(b))
    assert golden.dot(a[0], b[:, 0], fmt, fmt).shape == ()
    assert golden.dot(a[0], b, fmt, fmt).shape == (5,)
    assert golden.dot(a, b[:, 0], fmt, fmt).shape == (3,)
    kept = golden.operand(b, fmt)
    assert golden.operand(kept, fmt) is kept
    for _ in range(2):
        assert np.array_equal(golden.dot(a, kept, fmt, fmt).to_float64(), fmt.decode(a) @ fmt.decode(b))
    empty = np.zeros((0, 7), int), np.zeros((7, 0), int)
    assert golden.dot(*empty, fmt, fmt).shape == (0, 0)
    assert golden.dot(a[:, :0], b[:0], fmt, fmt).to_float64().tolist() == np.zeros((3, 5)).tolist()


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
@pytest.mark.parametrize(("name", "special"), [("e4m3", 0xFF), ("e5m2", 0x7C), ("e5m2", 0xFE), ("fp16", 0x7C01)])
def test_what_is_no_number_is_flagged(name: str, special: int, multiplier: str) -> None:
    fmt = get(name)
    rng = np.random.default_rng(7)
    x, y = draw(fmt, (3, 6), rng), draw(fmt, (6, 2), rng)
    clean = golden.dot(x, y, fmt, fmt, multiplier)
    assert not clean.nan.any()
    x[1, 4] = special
    got = golden.dot(x, y, fmt, fmt, multiplier)
    assert got.nan.tolist() == [[False] * 2, [True] * 2, [False] * 2]
    assert np.array_equal(got.integers()[::2], clean.integers()[::2])
    y[0, 0] = special
    assert golden.dot(x, y, fmt, fmt, multiplier).nan.tolist() == [[True, False], [True, True], [True, False]]
    with pytest.raises(HwgenError, match=r"the sum at \(0, 0\) is not a number"):
        golden.dot(x, y, fmt, fmt, multiplier).to_fraction(0, 0)


@given(x=st.integers(1, 2**130), y=st.integers(1, 2**130), length=st.integers(0, 10**6))
@settings(max_examples=300, deadline=None)
def test_every_split_is_proven(x: int, y: int, length: int) -> None:
    cut = split(x, y, length)
    limit = {name: limit for name, limit, _ in CARRIERS}[cut.carrier]
    left, right = (
        reach if count == 1 else (1 << width) - 1
        for reach, width, count in ((x, cut.x_width, cut.x_count), (y, cut.y_width, cut.y_count))
    )
    assert cut.depth * left * right <= limit
    assert cut.x_width * cut.x_count >= x.bit_length()
    assert cut.y_width * cut.y_count >= y.bit_length()
    assert cut.depth >= 1


INT8, E4M3 = get("int8"), get("e4m3")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: golden.dot(np.zeros((2, 3), int), np.zeros((4, 2), int), INT8, INT8),
            r"shapes \(2, 3\) and \(4, 2\) do not agree: rows of 3 codes meet columns of 4",
        ),
        (
            lambda: golden.dot(np.zeros((2, 1, 3), int), np.zeros((3, 3, 2), int), INT8, INT8),
            r"shapes \(2, 1, 3\) and \(3, 3, 2\) do not agree in their leading axes",
        ),
        (lambda: golden.dot(1, [1], INT8, INT8), "a dot product takes vectors or matrices, not single codes"),
        (lambda: golden.dot([128], [1], INT8, INT8), r"the codes 128\.\.128 leave the range -128\.\.127 of int8"),
        (lambda: golden.dot([1.0], [1], INT8, INT8), "codes of int8 are integers, not float64"),
        (
            lambda: golden.dot([1], [1], get("fp32"), get("fp32")),
            "a product of fp32 and fp32 by 'exact' needs 555 bits; at most 128 are summed exactly",
        ),
        (
            lambda: golden.dot([1], [1], get("bf16"), get("bf16"), "lmul"),
            "a product of bf16 and bf16 by 'lmul' needs 262 bits",
        ),
        (
            lambda: golden.dot([1], [1], E4M3, INT8, "mitchell"),
            "mitchell multiplies codes of one format, not e4m3 by int8",
        ),
        (lambda: golden.dot([1], [1], E4M3, E4M3, "log"), "unknown multiplier 'log': one of exact, lmul"),
    ],
)
def test_refusals(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(HwgenError, match=message):
        call()
