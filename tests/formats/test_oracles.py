"""Other people's packages over all codes and over dense inputs.

What each can be trusted for: ml_dtypes and torch round float64 through float32, and neither saturates, so both get
clipped float32 numbers; ml_dtypes' E8M0 misreads float32's subnormals and rounds ties up; gfloat takes float64 as it
is, but its ties away from zero begin one ulp of float64 too low.
"""

from __future__ import annotations

import apytypes
import gfloat
import ml_dtypes
import numpy as np
import pytest
from gfloat import formats as gformats

from hwgen import formats
from hwgen.formats import AP_ROUNDING, Block, Fixed, Minifloat, Stochastic, scalar

ML_DTYPES = {
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
    "e3m2": ml_dtypes.float6_e3m2fn,
    "e2m3": ml_dtypes.float6_e2m3fn,
    "e2m1": ml_dtypes.float4_e2m1fn,
    "e8m0": ml_dtypes.float8_e8m0fnu,
    "e3m4_ieee": ml_dtypes.float8_e3m4,
    "e4m3_ieee": ml_dtypes.float8_e4m3,
    "bf16": ml_dtypes.bfloat16,
    "fp16": np.float16,
}
GFLOAT = {
    "e4m3": gformats.format_info_ocp_e4m3,
    "e5m2": gformats.format_info_ocp_e5m2,
    "e3m2": gformats.format_info_ocp_e3m2,
    "e2m3": gformats.format_info_ocp_e2m3,
    "e2m1": gformats.format_info_ocp_e2m1,
    "e8m0": gformats.format_info_ocp_e8m0,
    "bf16": gformats.format_info_bfloat16,
    "fp16": gformats.format_info_binary16,
}
GFLOAT_ROUNDING = {
    "half_even": gfloat.RoundMode.TiesToEven,
    "half_away": gfloat.RoundMode.TiesToAway,
    "zero": gfloat.RoundMode.TowardZero,
    "down": gfloat.RoundMode.TowardNegative,
    "up": gfloat.RoundMode.TowardPositive,
}
MX = ("mxfp8e4m3", "mxfp8e5m2", "mxfp6e3m2", "mxfp6e2m3", "mxfp4")


def minifloat(name: str) -> Minifloat:
    fmt = scalar(name)
    assert isinstance(fmt, Minifloat)
    return fmt


def from_bits(codes: np.ndarray, fmt: Minifloat, dtype: type) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # of signalling NaNs
        return codes.astype(np.uint16 if fmt.bits > 8 else np.uint8).view(dtype).astype(np.float64)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    nan = np.isnan(a)
    return np.array_equal(nan, np.isnan(b)) and np.array_equal(a[~nan].view(np.int64), b[~nan].view(np.int64))


def around(fmt: Minifloat) -> np.ndarray:
    """Numbers and midpoints with their float32 neighbours, within the range."""
    codes = np.arange(0, fmt.max_magnitude + 1, max(1, fmt.max_magnitude // 500))
    numbers = np.unique(np.abs(fmt.decode(codes)))
    points = np.concatenate([numbers, (numbers[1:] + numbers[:-1]) / 2]).astype(np.float32)
    x = np.concatenate([points, np.nextafter(points, np.float32(np.inf)), np.nextafter(points, np.float32(0))])
    return np.clip(np.concatenate([x, -x]), *(np.float32(end) for end in fmt.extremes))


@pytest.mark.parametrize("name", ML_DTYPES)
def test_ml_dtypes_decodes_alike(name: str) -> None:
    fmt = minifloat(name)
    assert same_bits(fmt.decode(fmt.codes()), from_bits(fmt.codes(), fmt, ML_DTYPES[name]))


@pytest.mark.parametrize("name", ML_DTYPES)
def test_ml_dtypes_encodes_alike(name: str) -> None:
    fmt, dtype = minifloat(name), ML_DTYPES[name]
    rng = np.random.default_rng(0)
    spread = rng.standard_normal(100_000) * np.exp(3 * rng.standard_normal(100_000))
    x = np.concatenate([around(fmt), np.clip(spread, *map(float, fmt.extremes)).astype(np.float32)])
    if name == "e8m0":
        x = x[(x >= 2.0**-126) & (np.frexp(x)[0] != 0.75)]
    bits = x.astype(dtype).view(np.uint16 if fmt.bits > 8 else np.uint8)
    assert np.array_equal(fmt.encode(x), bits)
    assert np.array_equal(fmt.encode(x.astype(np.float64)), bits)


@pytest.mark.parametrize("name", GFLOAT)
def test_gfloat_decodes_alike(name: str) -> None:
    fmt = minifloat(name)
    codes = fmt.codes()[:: 1 if fmt.bits <= 8 else 97]
    theirs = np.array([gfloat.decode_float(GFLOAT[name], int(code)).fval for code in codes])
    assert same_bits(fmt.decode(codes), theirs)


@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("rounding", GFLOAT_ROUNDING)
@pytest.mark.parametrize("name", GFLOAT)
def test_gfloat_rounds_alike(name: str, rounding: str, saturate: bool) -> None:
    """From float64, past the greatest number as well."""
    fmt = minifloat(name)
    rng = np.random.default_rng(0)
    low, high = (float(end) for end in fmt.extremes)
    x = np.concatenate(
        [rng.choice(around(fmt), 200).astype(np.float64), [high * 1.01, high * 1.06, high * 1.2, np.inf]]
    )
    x = np.concatenate([x, rng.standard_normal(100) * np.exp(rng.standard_normal(100))])
    below = np.nextafter(x, 0) if rounding != "half_away" else x * (1 - 2.0**-24)
    x = np.concatenate([x, below, -x]) if fmt.has_sign else np.maximum(np.abs(x), low)
    if fmt.overflow_code is None and not saturate:
        x = x[np.abs(x) <= high]
    ours = fmt.decode(fmt.encode(x, rounding, "saturate" if saturate else "ieee"))
    mode = GFLOAT_ROUNDING[rounding]
    theirs = np.array([gfloat.round_float(GFLOAT[name], float(v), mode, saturate) for v in x])
    assert same_bits(ours, theirs)


@pytest.mark.parametrize("name", ["e4m3", "e2m1", "e5m2"])
def test_gfloat_rounds_stochastically_alike(name: str) -> None:
    fmt, kind = minifloat(name), Stochastic(6, seed=9, lanes=2)
    x = np.random.default_rng(0).standard_normal(500)
    mode = gfloat.RoundMode.StochasticFastest
    theirs = [
        gfloat.round_float(GFLOAT[name], v, mode, True, int(r), kind.bits)
        for v, r in zip(x.tolist(), kind.numbers(x.size), strict=True)
    ]
    assert fmt.decode(fmt.encode(x, kind)).tolist() == theirs


AP_TO_APYTYPES = {
    "AP_RND": "TIES_POS",
    "AP_RND_ZERO": "TIES_ZERO",
    "AP_RND_MIN_INF": "TIES_NEG",
    "AP_RND_INF": "TIES_AWAY",
    "AP_RND_CONV": "TIES_EVEN",
    "AP_TRN": "TO_NEG",
    "AP_TRN_ZERO": "TO_ZERO",
}


@pytest.mark.parametrize("overflow", ["SAT", "WRAP"])
@pytest.mark.parametrize("mode", AP_ROUNDING)
@pytest.mark.parametrize("fmt", [Fixed(8, 3), Fixed(6, 6), Fixed(5, -1), Fixed(4, 7)], ids=lambda fmt: fmt.name)
def test_apytypes_rounds_fixed_point_alike(fmt: Fixed, mode: str, overflow: str) -> None:
    x = np.ldexp(np.arange(-3000, 3000), fmt.lsb - 3)
    wide = apytypes.APyFixedArray.from_float(x, int_bits=32, frac_bits=24)
    cast = wide.cast(
        int_bits=fmt.integer,
        frac_bits=fmt.width - fmt.integer,
        quantization=getattr(apytypes.QuantizationMode, AP_TO_APYTYPES[mode]),
        overflow=getattr(apytypes.OverflowMode, overflow),
    )
    name = {"SAT": "saturate", "WRAP": "wrap"}[overflow]
    ours = fmt.encode(x, AP_ROUNDING[mode], name)
    assert np.array_equal(fmt.decode(ours), cast.to_numpy())


def mx_blocks(count: int = 400) -> np.ndarray:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((count, 32)) * np.exp2(rng.integers(-30, 30, (count, 1)))
    x[5] = 0
    # Greatest magnitudes on and beside powers of two and the halves that "even" looks at.
    edges = np.array([1, 1.5, 1.75, 1.875, 1.9375, 1.96875])
    x[10:16, 0] = 64 * np.abs(x[10:16]).max() * edges
    x[20:26, 0] = np.exp2(np.arange(40, 46))
    x = x.astype(np.float32)
    x[26:32, 0] = np.nextafter(x[20:26, 0], np.float32(0))
    return x


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["floor", "even", "ceil"])
@pytest.mark.parametrize("name", MX)
def test_torchao_makes_the_same_blocks(name: str, mode: str) -> None:
    import torch
    from torchao.prototype.mx_formats.config import ScaleCalculationMode
    from torchao.prototype.mx_formats.mx_tensor import to_mx

    fmt = formats.get(name)
    assert isinstance(fmt, Block)
    kinds = {
        "mxfp8e4m3": torch.float8_e4m3fn,
        "mxfp8e5m2": torch.float8_e5m2,
        "mxfp6e3m2": "fp6_e3m2",
        "mxfp6e2m3": "fp6_e2m3",
        "mxfp4": torch.float4_e2m1fn_x2,
    }
    x = mx_blocks()
    theirs = to_mx(torch.from_numpy(x), kinds[name], 32, ScaleCalculationMode[mode.upper()])
    scales, elements = fmt.encode(x, scale_mode=mode)
    assert np.array_equal(scales, theirs[0].view(torch.uint8).numpy().reshape(-1))
    codes = theirs[1].view(torch.uint8).numpy().reshape(len(x), -1)
    if name == "mxfp4":
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(len(x), -1)
    assert np.array_equal(elements, codes)


@pytest.mark.slow
def test_torchao_makes_nvfp4_alike_up_to_fp32_steps() -> None:
    """torchao multiplies by (1 / tensor scale) / block scale: one FP32 rounding is in another place."""
    import torch
    from torchao.prototype.mx_formats.nvfp4_tensor import nvfp4_quantize

    fmt = formats.get("nvfp4")
    assert isinstance(fmt, Block)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((500, 16)).astype(np.float32)
    tensor = fmt.tensor_scale(x)
    theirs = nvfp4_quantize(torch.from_numpy(x), 16, torch.tensor(tensor))
    scales, elements = fmt.encode(x, tensor_scale=tensor)
    assert np.array_equal(scales, theirs[0].view(torch.uint8).numpy().reshape(-1))
    codes = theirs[1].view(torch.uint8).numpy().reshape(len(x), -1)
    codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(len(x), -1)
    differ = elements != codes
    assert differ.mean() < 1e-3
    assert (np.abs(elements - codes)[differ] == 1).all()


def test_gfloat_makes_mxint8_alike() -> None:
    info = gformats.format_info_ocp_int8
    fmt = scalar("fixed<8,2>")
    for code in range(-127, 128):
        assert gfloat.decode_float(info, code & 255).fval == fmt.decode(code)
    for v in np.arange(-2.5, 2.5, 1 / 256).tolist():
        assert fmt.decode(fmt.encode(v)) == gfloat.round_float(info, v, gfloat.RoundMode.TiesToEven, True)
