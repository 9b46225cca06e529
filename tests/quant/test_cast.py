"""Casts in torch give what the formats themselves give, bit for bit."""

import numpy as np
import pytest
import torch

from hwgen.errors import HwgenError
from hwgen.formats import BLOCKS, CATALOG, ROUNDING, Block, Format, Stochastic, get, scalar
from hwgen.quant.block_cast import block_scales, cast_blocks, from_blocks, tensor_scale_for, to_blocks
from hwgen.quant.cast import cast, check_castable, random_numbers

OTHERS = ("e3m4", "e2m2", "e3m0", "e2m0", "e1m2", "e5m1", "e3m2_nosub", "ue3m4", "e4m3b9", "fixed<6,8>", "e2m3_ieee")
WIDE = {name for name, fmt in CATALOG.items() if fmt.bits > 16}
SCALARS = sorted((set(CATALOG) - WIDE) | set(OTHERS) | {"fp32"})


def numbers(fmt: Format, rng: np.random.Generator) -> np.ndarray:
    """All numbers of a format, the ties between them, their neighbours, and what is tiny, huge or zero."""
    if fmt.bits <= 16:
        codes = fmt.codes()
        worth = np.unique(fmt.decode(codes[fmt.is_number(codes)]))
    else:
        worth = np.array([float(end) for end in fmt.extremes])
    spread = rng.standard_normal(500) * float(fmt.extremes[1]) * 2.0 ** rng.integers(-20, 3, 500)
    special = [0.0, -0.0, np.inf, -np.inf, 1e-30, -1e-30, 1e-40, -1e-40, 3e38]
    with np.errstate(over="ignore"):
        x = np.concatenate([worth, (worth[1:] + worth[:-1]) / 2, spread, special]).astype(np.float32)
        up, down = (np.nextafter(x, np.float32(end)) for end in (np.inf, -np.inf))
    return np.concatenate([x, up, down])


def bits(x: np.ndarray) -> list[int]:
    with np.errstate(over="ignore"):
        return x.astype(np.float32).view(np.int32).tolist()


@pytest.mark.parametrize("name", SCALARS)
def test_a_cast_is_encode_and_decode(name: str) -> None:
    fmt = scalar(name)
    x = numbers(fmt, np.random.default_rng(1))
    for rounding in ("half_even",) if fmt.bits > 8 else ROUNDING:
        # What underflows on the way to steps above 1 is 0 to every rounding but the directed ones.
        real = x if fmt.lsb <= 0 else x[(np.abs(x) > 1e-37) | (x == 0)]
        with np.errstate(invalid="ignore"):  # of infinity, which the formats' own roundings subtract from itself
            want = fmt.decode(fmt.encode(real, rounding))
        assert bits(cast(torch.from_numpy(real), fmt, rounding).numpy()) == bits(want), rounding


@pytest.mark.parametrize("name", ["e4m3", "e2m1", "e5m2", "int8", "fixed<8,3>"])
def test_a_stochastic_cast_takes_the_formats_random_numbers(name: str) -> None:
    fmt = scalar(name)
    x = (np.random.default_rng(2).standard_normal(4000) * 3).astype(np.float32)
    random = Stochastic(bits=8, seed=7)
    want = fmt.decode(fmt.encode(x, random))
    share = torch.from_numpy(random.numbers(x.size).astype(np.float32) / 256)
    assert bits(cast(torch.from_numpy(x), fmt, random=share).numpy()) == bits(want)


def test_nan_stays_nan_even_where_the_format_has_none() -> None:
    for name in ("e4m3", "e2m1", "int8", "bipolar", "fixed<8,3>"):
        assert cast(torch.tensor([torch.nan]), scalar(name)).isnan().all()


def test_formats_that_float32_does_not_hold_are_refused() -> None:
    with pytest.raises(HwgenError, match=r"numbers of int32 do not fit into float32"):
        cast(torch.zeros(1), scalar("int32"))
    with pytest.raises(HwgenError, match=r"numbers of e5m2b200 do not fit into float32"):
        check_castable(scalar("e5m2b200"))
    with pytest.raises(HwgenError, match=r"unknown rounding 'nearest'"):
        cast(torch.zeros(1), scalar("int8"), "nearest")
    with pytest.raises(HwgenError, match=r"numbers are cast to int8 from float32, not from torch.float64"):
        cast(torch.zeros(1, dtype=torch.float64), scalar("int8"))
    with pytest.raises(HwgenError, match=r"dfp16 is no minifloat, fixed point or integer format"):
        check_castable(get("dfp16"))  # type: ignore[arg-type]


BLOCK_NAMES = [name for name, fmt in BLOCKS.items() if isinstance(fmt, Block)]


def blocks(fmt: Block, rng: np.random.Generator) -> np.ndarray:
    """Blocks of every size of number, of zeros, of subnormals, and of ties."""
    x = rng.standard_normal((300, fmt.size)) * 2.0 ** rng.integers(-140, 120, (300, 1))
    x[:50] = rng.standard_normal((50, fmt.size)) * 2.0 ** rng.integers(-20, 3, (50, fmt.size))
    x[50:80] = np.round(x[50:80] / np.abs(x[50:80]).max(axis=1, keepdims=True) * 8) / 8
    x[80], x[81], x[82], x[83] = 0.0, -0.0, 1e-44, 3.4e38
    return x.astype(np.float32)


@pytest.mark.parametrize("name", [*BLOCK_NAMES, "block<e3m0,e8m0,16>", "block<int8,e4m3,16>", "block<e2m1,e8m0,8>"])
def test_a_cast_of_blocks_is_encode_and_decode(name: str) -> None:
    fmt = get(name)
    assert isinstance(fmt, Block)
    x = blocks(fmt, np.random.default_rng(3))
    whole = fmt.tensor_scale(x) if fmt.has_tensor_scale else 1.0
    scale = tensor_scale_for(torch.from_numpy(x).abs().amax(), fmt) if fmt.has_tensor_scale else None
    assert scale is None or float(scale) == whole
    for mode in ("floor", "even", "ceil") if fmt.power_scale else (None,):
        for rounding in ("half_even", "half_away", "zero"):
            want = fmt.decode(*fmt.encode(x, rounding, mode, whole), whole)
            found = cast_blocks(torch.from_numpy(x), fmt, rounding, mode, scale).numpy()
            assert bits(found) == bits(want), (mode, rounding)


def test_nan_in_a_block_makes_all_of_it_nan() -> None:
    x = torch.ones(2, 32)
    x[0, 3], x[1, 5] = torch.nan, torch.inf
    assert cast_blocks(x, get("mxfp4")).isnan().all()  # type: ignore[arg-type]


def test_a_wrong_scale_mode_is_named() -> None:
    with pytest.raises(HwgenError, match=r"scale mode 'nearest' is not for mxfp4: one of floor, even, ceil"):
        block_scales(torch.ones(1, 32), get("mxfp4"), "nearest")  # type: ignore[arg-type]
    with pytest.raises(HwgenError, match=r"scale mode 'floor' is not for nvfp4, whose scale is no power of two"):
        block_scales(torch.ones(1, 16), get("nvfp4"), "floor")  # type: ignore[arg-type]


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_blocks_are_filled_with_zeros_and_put_back(axis: int) -> None:
    x = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(0))
    cut = to_blocks(x, 4, axis)
    assert cut.shape[-1] == 4
    assert float(cut.sum()) == pytest.approx(float(x.sum()), abs=1e-5)
    assert torch.equal(from_blocks(cut, x.shape[axis], axis), x)


@pytest.mark.parametrize("name", ["int8", "e4m3", "fixed<8,3>"])
def test_infinities_saturate_in_stochastic_rounding_too(name: str) -> None:
    fmt = get(name)
    x = torch.tensor([torch.inf, -torch.inf, torch.nan])
    found = cast(x, fmt, random=random_numbers(x)).tolist()
    assert found[:2] == [float(fmt.extremes[1]), float(fmt.extremes[0])]
    assert found[2] != found[2]


def test_random_numbers_are_multiples_of_their_least_and_all_come_up() -> None:
    drawn = random_numbers(torch.empty(999, 7), torch.Generator().manual_seed(0))
    assert drawn.shape == (999, 7)
    assert torch.equal(torch.unique(drawn * 256), torch.arange(256.0))
