"""Dot products of scaled blocks against fractions and FP32 additions one by one."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError
from hwgen.formats import Block, Format, get
from hwgen.formats.multiply import MULTIPLIERS, product
from tests.golden.cases import draw, fractions

PAIRS = [
    ("mxfp8e4m3", "mxfp8e4m3"),
    ("mxfp8e5m2", "mxfp8e5m2"),
    ("mxfp8e4m3", "mxfp4"),
    ("mxfp6e3m2", "mxfp6e2m3"),
    ("mxint8", "mxint8"),
    ("mxint8", "mxfp8e5m2"),
    ("nvfp4", "nvfp4"),
    ("nvint4", "fp4ue5m3"),
    ("block<e5m2,e4m3,8>", "block<e5m2,e8m0,8>"),
    ("block<e4m3b300,e8m0,32>", "mxfp8e4m3"),
    ("int8", "mxfp4"),
    ("nvfp4", "e2m1"),
]
Codes = tuple[np.ndarray, np.ndarray]


def element(fmt: Block | Format) -> Format:
    return fmt.element if isinstance(fmt, Block) else fmt


def size(*formats: Block | Format) -> int:
    return next(fmt.size for fmt in formats if isinstance(fmt, Block))


def random_codes(
    fmt: Block | Format, shape: tuple[int, ...], rng: np.random.Generator, spread: int = 255
) -> Codes | np.ndarray:
    """Random element codes of `shape` (..., blocks, size), and scale codes within `spread` of the middle one."""
    elements = draw(element(fmt), shape, rng)
    if not isinstance(fmt, Block):
        return elements
    if not fmt.power_scale:
        return draw(fmt.scale, shape[:-1], rng), elements
    middle = fmt.scale.bias
    low, high = max(0, middle - spread), min(254, middle + spread)
    return rng.integers(low, high + 1, shape[:-1]), elements


def parts(codes: Codes | np.ndarray, fmt: Block | Format) -> tuple[np.ndarray, np.ndarray]:
    """Scales and elements as fractions; a scale of 1 where there is none."""
    if isinstance(fmt, Block):
        assert isinstance(codes, tuple)
        return fractions(fmt.scale, codes[0]), fractions(fmt.element, codes[1])
    assert isinstance(codes, np.ndarray)
    elements = fractions(fmt, codes)
    return np.full(elements.shape[:-1], Fraction(1)), elements


def block_sums(a: Codes, b: Codes, a_format: Block | Format, b_format: Block | Format) -> np.ndarray:
    """Each pair of blocks' exact result, fractions (rows, columns, blocks)."""
    (sa, ea), (sb, eb) = parts(a, a_format), parts(b, b_format)
    return (ea[:, None] * eb).sum(axis=-1) * sa[:, None] * sb


def fp32_of(value: Fraction) -> np.float32:
    """Rounded once to FP32, half to even, by the definition."""
    if value == 0:
        return np.float32(0)
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    exponent -= abs(value) < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, -126) - 23)
    with np.errstate(over="ignore"):
        return np.float32(np.ldexp(float(round(value / unit)), max(exponent, -126) - 23))


@pytest.mark.parametrize(("a", "b"), PAIRS)
@pytest.mark.parametrize("spread", [3, 255])
def test_both_accumulators(a: str, b: str, spread: int) -> None:
    fa, fb = get(a), get(b)
    rng = np.random.default_rng(5)
    k = size(fa, fb)
    x, y = random_codes(fa, (3, 5, k), rng, spread), random_codes(fb, (2, 5, k), rng, spread)
    each = block_sums(x, y, fa, fb)
    exact = golden.block_dot(x, y, fa, fb)
    assert not (exact.saturated | exact.nan).any()
    for i, j in np.ndindex(3, 2):
        assert exact.to_fraction(i, j) == each[i, j].sum()
    expected = np.zeros((3, 2), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for block in range(5):
            expected += np.vectorize(fp32_of, otypes=[np.float32])(each[..., block])
    assert np.array_equal(golden.block_dot(x, y, fa, fb, accumulator="fp32"), expected, equal_nan=True)


@pytest.mark.parametrize(("a", "b"), [pair for pair in PAIRS if "nv" not in "".join(pair) and "block" not in pair[0]])
def test_a_window_takes_exponents_to_its_ends(a: str, b: str) -> None:
    fa, fb = get(a), get(b)
    rng = np.random.default_rng(6)
    k = size(fa, fb)
    x, y = random_codes(fa, (4, 6, k), rng, 3), random_codes(fb, (3, 6, k), rng, 3)
    window = (-2, 4)
    got = golden.block_dot(x, y, fa, fb, window=window)
    (sa, ea), (sb, eb) = parts(x, fa), parts(y, fb)
    scale = sa[:, None] * sb
    held = np.vectorize(lambda s: min(max(s, Fraction(2) ** window[0]), Fraction(2) ** window[1]))(scale)
    integer = (ea[:, None] * eb).sum(axis=-1)
    for i, j in np.ndindex(4, 3):
        assert got.to_fraction(i, j) == (integer * held)[i, j].sum()
    assert np.array_equal(got.saturated, ((held != scale) & (integer != 0)).any(axis=-1))
    assert got.saturated.any()
    assert got.exponent == element(fa).lsb + element(fb).lsb + window[0]


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
@pytest.mark.parametrize("fmt", ["mxfp8e4m3", "mxfp8e5m2", "nvfp4"])
def test_every_multiplier(fmt: str, multiplier: str) -> None:
    kind = get(fmt)
    assert isinstance(kind, Block)
    rng = np.random.default_rng(7)
    x, y = random_codes(kind, (2, 3, kind.size), rng, 9), random_codes(kind, (2, 3, kind.size), rng, 9)
    significand, exponent = product(x[1][:, None], y[1], kind.element, kind.element, multiplier)
    worth = np.frompyfunc(lambda s, e: Fraction(int(s)) * Fraction(2) ** int(e), 2, 1)(significand, exponent)
    scale = fractions(kind.scale, x[0])[:, None] * fractions(kind.scale, y[0])
    expected = (worth.sum(axis=-1) * scale).sum(axis=-1)
    got = golden.block_dot(x, y, kind, kind, multiplier=multiplier)
    assert all(got.to_fraction(*index) == expected[index] for index in np.ndindex(2, 2))


MXFP8, MXFP4, NVFP4 = get("mxfp8e4m3"), get("mxfp4"), get("nvfp4")


def encoded(x: np.ndarray, fmt: Block) -> Codes:
    return fmt.encode(golden.to_blocks(x, fmt.size))


def test_blocks_of_zeros_do_not_saturate() -> None:
    assert isinstance(MXFP8, Block)
    x = np.random.default_rng(0).standard_normal((4, 96))
    x[:, 32:64] = 0
    codes = encoded(x, MXFP8)
    got = golden.block_dot(codes, codes, MXFP8, MXFP8, window=(-24, 8))
    assert (codes[0][:, 1] == 0).all()
    assert not got.saturated.any()
    decoded = MXFP8.decode(*codes).reshape(4, 96)
    assert np.array_equal(got.to_float64(), decoded @ decoded.T)
    alone = encoded(np.zeros((1, 32)), MXFP8)
    assert golden.block_dot(alone, codes_of(alone, 0), MXFP8, MXFP8).to_float64() == 0


def codes_of(codes: Codes, row: int) -> Codes:
    return codes[0][row], codes[1][row]


def test_one_outlier_in_a_block() -> None:
    assert isinstance(MXFP8, Block)
    x = np.full((1, 32), 1e-3)
    x[0, 7] = 448.0
    codes = encoded(x, MXFP8)
    decoded = MXFP8.decode(*codes)[0, 0]
    assert golden.block_dot(codes_of(codes, 0), codes_of(codes, 0), MXFP8, MXFP8).to_float64() == decoded @ decoded


def test_nan_scales_and_elements() -> None:
    assert isinstance(MXFP8, Block)
    rng = np.random.default_rng(8)
    x, y = random_codes(MXFP8, (3, 4, 32), rng, 2), random_codes(MXFP8, (2, 4, 32), rng, 2)
    x[0][1, 2] = 255
    y[1][0, 3, 31] = 0x7F
    nan = np.array([[True, False], [True, True], [True, False]])
    fixed = golden.block_dot(x, y, MXFP8, MXFP8, window=(0, 1))
    assert np.array_equal(fixed.nan, nan)
    assert not (fixed.saturated & nan).any()
    assert np.array_equal(np.isnan(fixed.to_float64()), nan)
    assert np.array_equal(np.isnan(golden.block_dot(x, y, MXFP8, MXFP8, accumulator="fp32")), nan)
    with pytest.raises(HwgenError, match=r"the sum at \(1, 1\) is not a number: an operand was NaN or infinite"):
        fixed.to_fraction(1, 1)


def test_fp32_overflows_and_keeps_subnormals() -> None:
    assert isinstance(MXFP8, Block)
    ones = np.full((3, 32), 0x38)
    for scale, expected in ((254, np.inf), (0, 0.0), (60, np.float32(32 * 3 * 2.0**-134))):
        codes = (np.full(3, scale), ones)
        assert golden.block_dot(codes, codes, MXFP8, MXFP8, accumulator="fp32") == expected


@pytest.mark.parametrize("name", ["mxfp8e5m2", "mxfp8e4m3"])
def test_many_blocks_come_in_parts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fmt = get(name)
    rng = np.random.default_rng(9)
    x, y = random_codes(fmt, (3, 11, 32), rng, 20), random_codes(fmt, (5, 11, 32), rng, 20)
    whole = golden.block_dot(x, y, fmt, fmt, multiplier="lmul"), golden.block_dot(x, y, fmt, fmt, "fp32")
    monkeypatch.setattr("hwgen.golden.block.CHUNK", 60)
    monkeypatch.setattr("hwgen.golden.scaled.CHUNK", 60)
    again = golden.block_dot(x, y, fmt, fmt, multiplier="lmul"), golden.block_dot(x, y, fmt, fmt, "fp32")
    assert np.array_equal(whole[0].integers(), again[0].integers())
    assert np.array_equal(whole[1], again[1])


@pytest.mark.parametrize("name", ["mxfp8e4m3", "mxfp8e5m2", "mxint8", "nvfp4"])
def test_one_product_and_blocks_one_by_one_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fmt = get(name)
    assert isinstance(fmt, Block)
    rng = np.random.default_rng(10)
    x, y = (random_codes(fmt, (rows, 7, fmt.size), rng, 4) for rows in (3, 4))
    for codes in (x, y):
        codes[1][1, 2] = 0
        codes[1][:, 4] = 0
        codes[0][1, 2] = 0
    x[0][2, 5] = fmt.scale.nan_code
    window = (-9, 9) if fmt.power_scale else None
    quick = golden.block_dot(x, y, fmt, fmt, window=window)
    monkeypatch.setattr("hwgen.golden.scaled.MAX_COST", 0)
    slow = golden.block_dot(x, y, fmt, fmt, window=window)
    assert np.array_equal(quick.integers()[:2], slow.integers()[:2])
    assert np.array_equal(quick.to_float64(), slow.to_float64(), equal_nan=True)
    assert quick.exponent == slow.exponent
    assert quick.limbs.shape == slow.limbs.shape
    assert np.array_equal(quick.nan, slow.nan)
    assert quick.nan.tolist() == [[False] * 4, [False] * 4, [True] * 4]
    assert not (quick.saturated | slow.saturated).any()


def test_padding() -> None:
    x = np.arange(10.0).reshape(2, 5)
    assert golden.to_blocks(x, 4, pad=True).shape == (2, 2, 4)
    assert golden.to_blocks(x, 4, pad=True)[1].tolist() == [[5, 6, 7, 8], [9, 0, 0, 0]]
    with pytest.raises(HwgenError, match=r"blocks of 4 do not divide a reduction of 5: make it 4 or 8, or pad it"):
        golden.to_blocks(x, 4)
    with pytest.raises(HwgenError, match=r"blocks of 32 do not divide a reduction of 5: make it 32, or pad it"):
        golden.to_blocks(x, 32)
    with pytest.raises(HwgenError, match=r"blocks of 0 do not cut an array of shape \(2, 5\)"):
        golden.to_blocks(x, 0)


ROW = (np.zeros((1, 2), int), np.zeros((1, 2, 32), int))
SMALL = (np.zeros((1, 4), int), np.zeros((1, 4, 16), int))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: golden.block_dot(ROW, ROW, MXFP8, MXFP8, "fp16"), "unknown accumulator 'fp16': one of fixed, fp32"),
        (lambda: golden.block_dot(ROW, ROW, MXFP8, MXFP8, "fp32", (0, 1)), "a window is for the accumulator 'fixed'"),
        (lambda: golden.block_dot(ROW, ROW, MXFP8, MXFP8, window=(3, 1)), r"a window is \(least, greatest\) exponent"),
        (lambda: golden.block_dot(SMALL, SMALL, NVFP4, NVFP4, window=(0, 1)), "a window is for power-of-two scales"),
        (
            lambda: golden.block_dot(ROW, SMALL, MXFP8, NVFP4),
            "blocks of 32 do not meet blocks of 16: one size for both",
        ),
        (
            lambda: golden.block_dot(ROW, (ROW[0][:, :1], ROW[1][:, :1]), MXFP8, MXFP4),
            "2 blocks do not meet 1: the reductions differ",
        ),
        (
            lambda: golden.block_dot((ROW[0], ROW[1][..., :30]), ROW, MXFP8, MXFP8),
            r"mxfp8e4m3 takes scale codes \(..., blocks\) and element codes \(..., blocks, 32\), "
            r"not \(1, 2\) and \(1, 2, 30\)",
        ),
        (lambda: golden.block_dot(ROW[1], ROW, MXFP8, MXFP8), r"codes of mxfp8e4m3 come as \(scale codes, element"),
        (
            lambda: golden.block_dot(np.zeros(32, int), ROW, get("int8"), MXFP8),
            r"codes of int8 beside blocks have shape \(..., blocks, size\), not \(32,\)",
        ),
        (
            lambda: golden.block_dot(ROW, ROW, MXFP8, MXFP4, multiplier="lmul"),
            "lmul multiplies codes of one format, not e4m3 by e2m1",
        ),
        (
            lambda: golden.block_dot(ROW, ROW, get("block<e4m3,ue4m14,32>"), MXFP8),
            "a block scale has up to 13 mantissa bits here, not 14 as ue4m14",
        ),
        (
            lambda: golden.block_dot((ROW[0] + 256, ROW[1]), ROW, MXFP8, MXFP8),
            r"the codes 256\.\.256 leave the range 0\.\.255 of e8m0",
        ),
    ],
)
def test_refusals(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(HwgenError, match=message):
        call()
