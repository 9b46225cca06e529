"""Block formats: scales, elements, zeros, NaN, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hwgen import formats
from hwgen.errors import HwgenError
from hwgen.formats import BLOCKS, Block, DynamicFixed, Int, Minifloat

ALL = [fmt for fmt in BLOCKS.values() if isinstance(fmt, Block)]
POWERS = [fmt for fmt in ALL if fmt.power_scale]
E8M0, E2M1 = formats.scalar("e8m0"), formats.scalar("e2m1")
NVFP4, MXFP4 = formats.get("nvfp4"), formats.get("mxfp4")
assert isinstance(E8M0, Minifloat)


def blocks(fmt: Block, count: int = 200, seed: int = 0) -> np.ndarray:
    """Blocks of random magnitudes, one in seven of them zero."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, fmt.size)) * np.exp2(rng.integers(-20, 20, (count, 1)))
    x[::7] = 0
    return x.astype(np.float32)


def named(fmt: Block) -> str:
    return fmt.name


@pytest.mark.parametrize("fmt", ALL, ids=named)
def test_a_name_leads_back_to_its_format(fmt: Block) -> None:
    assert formats.get(fmt.name) == fmt
    other = Block(fmt.element, fmt.scale, 8, fmt.has_tensor_scale)
    assert formats.get(other.name) == other


def test_emax_is_that_of_the_specification() -> None:
    wanted = {"mxfp8e4m3": 8, "mxfp8e5m2": 15, "mxfp6e3m2": 4, "mxfp6e2m3": 2, "mxfp4": 2, "mxint8": 0}
    assert {fmt.name: fmt.emax for fmt in POWERS} == wanted


def shared_exponent(row: np.ndarray, fmt: Block, mode: str) -> int:
    """OCP MX sec. 6.3, on exact fractions."""
    greatest = max(abs(Fraction(float(v))) for v in row)
    power = 0
    while Fraction(2) ** power > greatest:
        power -= 1
    while Fraction(2) ** (power + 1) <= greatest:
        power += 1
    if mode == "even":
        step = Fraction(2) ** (power + 1 - fmt.element.significand_bits)
        power += (greatest / step + Fraction(1, 2)) // 1 * step >= Fraction(2) ** (power + 1)
    if mode == "ceil":
        power += greatest > Fraction(2) ** power
    return min(max(power - fmt.emax, -127), 127)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", ["floor", "even", "ceil"])
@pytest.mark.parametrize("fmt", POWERS, ids=named)
def test_power_scales_by_definition(fmt: Block, mode: str, dtype: type) -> None:
    x = blocks(fmt).astype(dtype)
    scales, elements = fmt.encode(x, scale_mode=mode)
    for row, scale, codes in zip(x, scales, elements, strict=True):
        if not row.any():
            assert (scale, codes.any()) == (0, False)
            continue
        shared = shared_exponent(row, fmt, mode)
        assert scale == shared + 127
        # float64 holds x / 2**shared exactly, so there is one rounding.
        assert np.array_equal(codes, fmt.element.encode(np.ldexp(row.astype(np.float64), -shared)))


@pytest.mark.parametrize("fmt", POWERS, ids=named)
def test_numbers_of_the_format_are_kept(fmt: Block) -> None:
    worth = fmt.decode(*fmt.encode(blocks(fmt)))
    assert np.array_equal(fmt.decode(*fmt.encode(worth)), worth)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("fmt", ALL, ids=named)
def test_a_block_with_nan_or_infinity_is_nan(fmt: Block, bad: float) -> None:
    x = np.ones((3, fmt.size))
    x[1, 2] = bad
    scales, elements = fmt.encode(x)
    assert scales[1] == fmt.scale.nan_code
    assert not elements[1].any()
    assert np.array_equal(np.isnan(fmt.decode(scales, elements)), np.repeat([[False], [True], [False]], fmt.size, 1))


@pytest.mark.parametrize("fmt", ALL, ids=named)
def test_zeros_have_scale_zero(fmt: Block) -> None:
    scales, elements = fmt.encode(np.zeros((2, fmt.size)))
    assert not scales.any()
    assert not elements.any()
    assert not fmt.decode(scales, elements).any()


@pytest.mark.parametrize("fmt", POWERS, ids=named)
def test_scales_are_clamped_to_e8m0(fmt: Block) -> None:
    x = np.zeros((3, fmt.size))
    x[:, 0] = [1e-300, 2.0**-149, 1e300]
    scales, elements = fmt.encode(x)
    assert scales.tolist() == [0, 0, 254]
    assert fmt.element.decode(elements)[2, 0] == fmt.element.extremes[1]


def test_a_power_of_two_and_its_neighbour_below() -> None:
    """log2 in FP32 takes the neighbour up; the exponent's bits do not."""
    x = np.zeros((2, 32), dtype=np.float32)
    x[:, 0] = 256, np.nextafter(np.float32(256), np.float32(0))
    assert formats.get("mxfp8e4m3").encode(x)[0].tolist() == [127, 126]


@pytest.mark.parametrize("rounding", ["down", "up", "zero", "away", "odd", "half_up"])
@pytest.mark.parametrize("fmt", POWERS, ids=named)
def test_elements_round_by_name(fmt: Block, rounding: str) -> None:
    x = blocks(fmt, 2000)
    x[3, 1] = 1e-38
    x[4, 1] = -1e-38
    scales, elements = fmt.encode(x, rounding)
    scaled = np.ldexp(x.astype(np.float64), -(scales[:, None] - 127).astype(np.int32))
    assert np.array_equal(elements, fmt.element.encode(scaled, rounding))


@pytest.mark.parametrize("name", ["nvfp4", "nvint4"])
def test_nvfp4_step_by_step(name: str) -> None:
    """Every step in FP32, one after the other."""
    fmt, e4m3 = formats.get(name), formats.scalar("e4m3")
    x = blocks(fmt) * np.float32(1.37)
    top = np.float32(6 if name == "nvfp4" else 7)
    tensor = fmt.tensor_scale(x)
    assert np.float32(tensor) == np.abs(x).max() / np.float32(448 * top)
    scales, elements = fmt.encode(x, tensor_scale=tensor)
    for row, scale, codes in zip(x, scales, elements, strict=True):
        assert scale == e4m3.encode((np.abs(row).max() / top) / np.float32(tensor))
        sb = np.float32(e4m3.decode(scale))
        if sb:
            assert np.array_equal(codes, fmt.element.encode((row * (np.float32(1) / np.float32(tensor))) / sb))
        else:
            assert not codes.any()
    large = np.abs(x).max(axis=1) > np.abs(x).max() / 100
    error = np.abs(fmt.decode(scales, elements, tensor) - x)
    assert (error[large].max(axis=1) <= np.abs(x)[large].max(axis=1) / 5).all()


def test_a_tensor_of_zeros_has_tensor_scale_one() -> None:
    assert NVFP4.tensor_scale(np.zeros((2, 16))) == 1.0


def test_blocks_keep_leading_axes() -> None:
    scales, elements = MXFP4.encode(np.ones((2, 3, 32)))
    assert (scales.shape, elements.shape) == ((2, 3), (2, 3, 32))
    assert MXFP4.decode(scales, elements).shape == (2, 3, 32)


def test_description_of_a_block_format() -> None:
    about = MXFP4.describe()
    assert (about["element"], about["scale"], about["size"], about["bits"]) == ("e2m1", "e8m0", 32, 4.25)
    assert (about["product_bits"], about["accumulator_bits_32"], about["accumulator_bits_4096"]) == (9, 14, None)
    assert (about["min"], about["max"]) == (-6 * 2.0**127, 6 * 2.0**127)
    assert about["least_positive"] == 2.0**-128


def test_dynamic_fixed_point_uses_all_bits() -> None:
    fmt = DynamicFixed(16)
    rng = np.random.default_rng(0)
    for power in (-300, -20, 0, 20, 300):
        x = rng.standard_normal(100) * 2.0**power
        exponent, codes = fmt.encode(x)
        assert 1 << 14 <= np.abs(codes).max() <= 1 << 15
        assert np.abs(fmt.decode(exponent, codes) - x).max() <= 2.0**exponent
    assert fmt.encode(np.zeros(3))[0] == 0
    assert fmt.encode([1.0, -1e9], exponent=0)[1].tolist() == [1, -(1 << 15)]
    assert fmt.describe()["name"] == formats.get("dfp16").name == "dfp16"


def test_down_conversion_by_definition() -> None:
    fmt = DynamicFixed(16)
    rng = np.random.default_rng(0)
    for bits in range(1, 32):
        sums = rng.integers(-(1 << bits), 1 << bits, 50)
        shift = max(0, 17 - (32 - int(np.abs(sums).max()).bit_length()))
        exponent, codes = fmt.down_convert(sums, 5)
        assert exponent == 5 + shift
        assert codes.tolist() == [min(round(Fraction(int(s), 1 << shift)), (1 << 15) - 1) for s in sums]
    assert fmt.down_convert([(1 << 31) - 1], 0)[1].tolist() == [(1 << 15) - 1]
    assert fmt.down_convert([-(1 << 31)], 0)[1].tolist() == [-(1 << 14)]


@pytest.mark.parametrize("mode", ["floor", "even", "ceil"])
@pytest.mark.parametrize("rounding", ["half_even", "half_up", "half_zero"])
@pytest.mark.parametrize("fmt", POWERS, ids=named)
def test_many_blocks_are_encoded_as_few_are(fmt: Block, rounding: str, mode: str) -> None:
    """Large float32 tensors go by a table; float64 ones do not."""
    rng = np.random.default_rng(1)
    x = blocks(fmt, 3000)
    x *= np.exp2(rng.integers(-5, 1, x.shape)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = 0
    x[rng.random(x.shape) < 0.1] *= -0.0
    x[100:110, 0] = [np.nan, np.inf, -np.inf, 1e-45, -1e-40, 1e-38, 2.0**-64, 2.0**-63, 3.4e38, -3.4028235e38]
    # A table's 16 bits stand for many numbers: take some on ties, and one ulp beside them.
    with np.errstate(invalid="ignore"):
        ties = fmt.decode(*fmt.encode(x[:2000].astype(np.float64)))
    x[1000:2000] = np.nextafter(ties[1000:2000].astype(np.float32), np.float32(np.inf))
    x[500:1000] = ties[500:1000] * np.float32(1 + 2.0**-4)
    with np.errstate(invalid="ignore"):
        wanted = fmt.encode(x.astype(np.float64), rounding, mode)
    for dtype in (np.int64, np.int16):
        scales, elements = fmt.encode(x, rounding, mode, dtype=dtype)
        assert elements.dtype == dtype
        assert np.array_equal(scales, wanted[0])
        assert np.array_equal(elements, wanted[1])


ONES = np.ones((1, 32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Block(E2M1, E8M0, 0), "a block has 1 element or more, not 0"),
        (lambda: Block(formats.scalar("bipolar"), E8M0, 32), "elements are minifloats, .*not bipolar"),
        (lambda: Block(Int(4, is_signed=False), E8M0, 32), "elements are signed, and uint4 is not"),
        (lambda: Block(E2M1, Minifloat(8, 0, 127), 32), "power-of-two block scale has neither sign nor zero"),
        (lambda: Block(E2M1, E8M0, 32, True), "a tensor scale goes with block scales that have a mantissa, not .*e8m0"),
        (lambda: MXFP4.encode(np.ones((2, 31))), r"mxfp4 takes blocks of 32 .* not shape \(2, 31\)"),
        (lambda: MXFP4.encode(ONES, scale_mode="nearest"), "'nearest' is not for mxfp4, .* a power of two"),
        (lambda: NVFP4.encode(np.ones((1, 16)), scale_mode="floor"), "'floor' is not for nvfp4, .* no power of two"),
        (lambda: MXFP4.encode(ONES, scale_mode="log"), "unknown scale mode 'log': one of floor, even"),
        (lambda: MXFP4.encode(ONES, dtype=np.float32), "float32 does not hold the codes 0..15 of e2m1"),
        (lambda: formats.get("mxint8").encode(ONES, dtype=np.uint8), r"uint8 does not hold the codes -127..127"),
        (lambda: MXFP4.encode(ONES, "nearest"), "unknown rounding 'nearest'"),
        (lambda: MXFP4.encode(ONES, tensor_scale=2.0), "mxfp4 has no tensor scale"),
        (lambda: MXFP4.decode([1], ONES, 2.0), "mxfp4 has no tensor scale"),
        (lambda: MXFP4.tensor_scale(ONES), "mxfp4 has no tensor scale"),
        (lambda: formats.get("fp4ue5m3").encode(np.ones((1, 16)), tensor_scale=2.0), "fp4ue5m3 has no tensor scale"),
        (lambda: NVFP4.encode(np.ones((1, 16)), tensor_scale=0.0), "a tensor scale is a positive FP32 number, not 0.0"),
        (lambda: NVFP4.tensor_scale([np.inf]), "a tensor that holds NaN or infinity has no scale in nvfp4"),
        (
            lambda: Block(E2M1, Minifloat(5, 3, 15), 2).encode([[np.nan, 1]]),
            "a block holds NaN or infinity, and the scale e5m3 has no NaN",
        ),
        (lambda: formats.get("block<e2m1,int4,32>"), "a block's scale is a minifloat such as e8m0, not int4"),
        (lambda: formats.scalar("mxfp4"), "mxfp4 is no scalar format: its codes share a scale"),
        (lambda: DynamicFixed(3), "dynamic fixed point has 4 to 16 bits, not 3"),
        (lambda: DynamicFixed(16).encode([np.inf]), "infinity has no code in dfp16"),
        (lambda: DynamicFixed(16).encode([np.nan]), "NaN has no code in dfp16"),
        (lambda: DynamicFixed(16).down_convert([1 << 31], 0), "sums of 0..2147483648 leave the 32 bits of dfp16"),
    ],
)
def test_errors(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(HwgenError, match=message):
        call()
