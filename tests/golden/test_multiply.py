"""Products of codes: L-Mul's variants against their definition, exact products against float64 and other packages."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError
from hwgen.formats import get
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import (
    CODE_MULTIPLIERS,
    MULTIPLIERS,
    lmul_by_definition,
    lmul_fraction_bits,
    lmul_offset,
    product,
    product_span,
)
from tests.golden.cases import SMALL, draw, fractions, numbers

FORMATS = [*SMALL, get("ue5m3"), Minifloat(3, 0, 3, "ieee"), Minifloat(2, 4, 1), Minifloat(4, 1, 6, "nan")]
WIDE = [get("bf16"), get("fp16"), get("fp32")]
name = {"ids": lambda value: getattr(value, "name", value)}


@pytest.mark.parametrize("variant", CODE_MULTIPLIERS)
@pytest.mark.parametrize("fmt", FORMATS, **name)
def test_every_pair_is_as_defined(fmt: Minifloat, variant: str) -> None:
    codes = fmt.codes()
    found = golden.lmul(codes[:, None], codes, fmt, variant)
    assert np.array_equal(found, found.T)
    a, b = np.triu_indices(codes.size)
    pairs = zip(codes[a].tolist(), codes[b].tolist(), strict=True)
    assert found[a, b].tolist() == [lmul_by_definition(x, y, fmt, variant) for x, y in pairs]


@pytest.mark.parametrize("variant", CODE_MULTIPLIERS)
@pytest.mark.parametrize("fmt", WIDE, **name)
def test_wide_formats_are_as_defined(fmt: Minifloat, variant: str) -> None:
    rng = np.random.default_rng(3)
    corners = np.array([0, 1, (1 << fmt.mantissa_bits) - 1, 1 << fmt.mantissa_bits, fmt.max_magnitude])
    one = fmt.bias << fmt.mantissa_bits
    a, b = (
        np.concatenate([corners, corners + 1, rng.integers(0, 1 << fmt.bits, 90), one + rng.integers(0, 99, 30)])
        for _ in range(2)
    )
    expected = [[lmul_by_definition(x, y, fmt, variant) for y in b.tolist()] for x in a.tolist()]
    assert np.array_equal(golden.lmul(a[:, None], b, fmt, variant), expected)


@pytest.mark.parametrize(
    ("fmt", "offset"),
    [
        ("e4m3", 0x37),
        ("e5m2", 0x3B),
        ("e3m2", 0x0B),
        ("e2m3", 7),
        ("e2m1", 1),
        ("bf16", 0x3F78),
        ("fp32", 0x3F780000),
    ],
)
def test_offsets(fmt: str, offset: int) -> None:
    kind = get(fmt)
    assert isinstance(kind, Minifloat)
    assert lmul_offset(kind) == offset
    assert lmul_offset(kind, "mitchell") == kind.bias << kind.mantissa_bits


def test_the_correction_of_the_paper() -> None:
    assert [lmul_fraction_bits(m) for m in range(9)] == [0, 1, 2, 3, 3, 4, 4, 4, 4]


@pytest.mark.parametrize(
    ("mantissa_bits", "variant", "percent"),
    [
        (2, "lmul", 14.7),
        (2, "lmul_formula", 11.1),
        (2, "mitchell", 3.57),
        (3, "lmul", 5.24),
        (3, "lmul_formula", 6.89),
        (3, "mitchell", 3.78),
        (4, "lmul", 5.14),
        (4, "lmul_formula", 6.94),
        (4, "mitchell", 3.83),
        (7, "lmul", 2.66),
        (7, "lmul_formula", 7.51),
        (7, "mitchell", 3.85),
    ],
)
def test_mean_relative_error_over_all_mantissas(mantissa_bits: int, variant: str, percent: float) -> None:
    """To the last digit that is stated."""
    fmt = Minifloat(6, mantissa_bits, 31)
    codes = (31 << mantissa_bits) + np.arange(1 << mantissa_bits)
    a, b = codes[:, None], codes[None, :]
    significand, exponent = product(a, b, fmt, fmt, variant)
    error = np.abs(np.ldexp(significand.astype(float), exponent.astype(np.int32)) / (fmt.decode(a) * fmt.decode(b)) - 1)
    tolerance = 0.05 if percent > 10 else 0.005
    assert 100 * error.mean() == pytest.approx(percent, abs=tolerance)


@pytest.mark.parametrize("fmt", SMALL, **name)
def test_one_times_x(fmt: Minifloat) -> None:
    """Mitchell's one is a neutral element; L-Mul's is not."""
    one = fmt.bias << fmt.mantissa_bits
    normal = np.arange(1 << fmt.mantissa_bits, fmt.max_magnitude + 1)
    assert np.array_equal(golden.lmul(one, normal, fmt, "mitchell"), normal)
    assert not np.array_equal(golden.lmul(one, normal, fmt), normal)


@pytest.mark.parametrize(
    ("fmt", "a", "b", "result"),
    [
        ("e4m3", 0x7F, 0x00, 0x7F),
        ("e4m3", 0xFF, 0x38, 0x7F),
        ("e4m3", 0x7E, 0xFE, 0xFE),
        ("e4m3", 0x87, 0x38, 0x00),
        ("e4m3", 0x88, 0x08, 0x00),
        ("e5m2", 0x7C, 0xBC, 0xFC),
        ("e5m2", 0xFC, 0xFC, 0x7C),
        ("e5m2", 0x7C, 0x03, 0x7E),
        ("e5m2", 0x7F, 0x3C, 0x7E),
        ("e5m2", 0xFB, 0x7B, 0xFB),
    ],
)
def test_corners(fmt: str, a: int, b: int, result: int) -> None:
    for variant in CODE_MULTIPLIERS:
        assert golden.lmul(a, b, get(fmt), variant) == result


@pytest.mark.parametrize("b", SMALL, **name)
@pytest.mark.parametrize("a", SMALL, **name)
def test_exact_products_are_those_of_another_package(a: Minifloat, b: Minifloat) -> None:
    types = {
        "e4m3": "float8_e4m3fn",
        "e5m2": "float8_e5m2",
        "e3m2": "float6_e3m2fn",
        "e2m3": "float6_e2m3fn",
        "e2m1": "float4_e2m1fn",
    }
    x, y = numbers(a)[:, None], numbers(b)
    significand, exponent = product(x, y, a, b)
    expected = [
        codes.astype(np.uint8).view(getattr(ml_dtypes, types[fmt.name])).astype(np.float64)
        for codes, fmt in ((x, a), (y, b))
    ]
    assert np.array_equal(np.ldexp(significand.astype(float), exponent.astype(np.int32)), expected[0] * expected[1])


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
@pytest.mark.parametrize("fmt", [*FORMATS, get("fp16")], **name)
def test_no_product_leaves_its_span(fmt: Minifloat, multiplier: str) -> None:
    span = product_span(fmt, fmt, multiplier)
    codes = numbers(fmt) if fmt.bits <= 8 else draw(fmt, (200,), np.random.default_rng(0))
    significand, exponent = product(codes[:, None], codes, fmt, fmt, multiplier)
    some = significand != 0
    assert (exponent[some] >= span.exponent).all()
    above = (exponent[some] - span.exponent).tolist()
    reached = max(abs(s) << e for s, e in zip(significand[some].tolist(), above, strict=True))
    assert reached <= span.reach
    if fmt.bits <= 8:
        assert reached == span.reach


@pytest.mark.parametrize(
    ("pair", "lsb", "bits"),
    [("e4m3", -18, 37), ("e5m2", -32, 65), ("e3m2", -8, 19), ("e2m3", -6, 13), ("e2m1", -2, 9), ("int8n", 0, 15)],
)
def test_widths_of_exact_products(pair: str, lsb: int, bits: int) -> None:
    span = product_span(get(pair), get(pair))
    assert (span.exponent, span.bits) == (lsb, bits)


def test_products_of_integers_and_mixed_formats() -> None:
    a, b = get("int8"), get("e2m1")
    x, y = a.codes()[:, None], b.codes()
    significand, exponent = product(x, y, a, b)
    assert np.array_equal(np.ldexp(significand.astype(float), exponent.astype(np.int32)), x * b.decode(y))
    assert fractions(a, np.array([[-128]]))[0, 0] == -128


E4M3, E8M0, INT8 = get("e4m3"), get("e8m0"), get("int8")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: golden.lmul(1, 2, E4M3, "lmul2"),
            "unknown multiplier 'lmul2': one of exact, lmul, lmul_formula, lmul_formula_trunc, mitchell",
        ),
        (
            lambda: golden.lmul(1, 2, E4M3, "lmul_formula"),
            "the result of 'lmul_formula' is no code; `product` gives it as significand and exponent",
        ),
        (lambda: golden.lmul(1, 2, E4M3, "exact"), "the result of 'exact' is no code"),
        (lambda: golden.lmul(1, 2, INT8), "lmul multiplies minifloats, not int8"),
        (lambda: golden.lmul(1, 2, E8M0, "mitchell"), "mitchell needs a format with a zero; e8m0 has none"),
        (lambda: golden.lmul(1, 256, E4M3), r"the codes 256\.\.256 leave the range 0\.\.255 of e4m3"),
        (lambda: golden.lmul(0.5, 1, E4M3), "codes of e4m3 are integers, not float64"),
        (lambda: product(1, 2, E4M3, get("e5m2"), "lmul"), "lmul multiplies codes of one format, not e4m3 by e5m2"),
        (lambda: product(0x7F, 2, E4M3, E4M3), "the codes of e4m3 hold NaN or infinity, which has no exact product"),
        (lambda: lmul_offset(E4M3, "lmul_formula"), "'lmul_formula' is no packed adder: one of lmul, mitchell"),
        (
            lambda: product_span(get("fp32"), get("fp32")),
            "a product of fp32 and fp32 by 'exact' needs 555 bits; at most 128 are summed exactly",
        ),
        (
            lambda: product(1, 1, get("int40"), get("int30")),
            "a product of int40 and int30 needs 70 bits and a sign; 63 are had",
        ),
    ],
)
def test_refusals(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(HwgenError, match=message):
        call()
