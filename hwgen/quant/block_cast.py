"""Block formats on torch tensors: `cast_blocks(x, fmt)` is `fmt.decode(*fmt.encode(x))`, bit for bit."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import max_pool1d, pad

from hwgen.errors import HwgenError
from hwgen.formats import Block, Minifloat
from hwgen.quant.cast import EXPONENT_FIELD, cast, check_castable, limits

FRACTION_BITS = 52
FLOAT_BIAS = 1023
VECTORIZED = 32
"""The least number of elements along the last axis that torch reduces fast."""
FLOAT32_BIAS, FLOAT32_FRACTION_BITS = 127, 23


@lru_cache(maxsize=64)
def check_block(fmt: Block) -> None:
    """Raises HwgenError unless float32 holds the elements and scales of `fmt`."""
    check_castable(fmt.element)
    check_castable(fmt.scale)


def cast_blocks(
    x: Tensor,
    fmt: Block,
    rounding: str = "half_even",
    scale_mode: str | None = None,
    tensor_scale: Tensor | None = None,
    random: Tensor | None = None,
    greatest: Tensor | None = None,
) -> Tensor:
    """What `fmt` makes of float32 blocks `x`, shape (..., blocks, size): as `Block.decode(*Block.encode(x))`.

    scale_mode and rounding: as `Block.encode`. tensor_scale: a scalar, for formats that have one (`tensor_scale_for`).
    NaN or infinity in a block makes all of it NaN. random: as `hwgen.quant.cast.cast`. greatest: `magnitudes(x)`, where
    it is known.
    """
    check_block(fmt)
    known = magnitudes(x) if greatest is None else greatest
    scale = block_scales(known, fmt, scale_mode, tensor_scale).unsqueeze(-1)
    if fmt.power_scale:
        return cast(x / scale, fmt.element, rounding, random, own=True).mul_(scale)
    by = scale
    if not float(scale.amin()) > 0:
        # Elements under a scale of 0 are code 0.
        by = torch.where(scale == 0, torch.inf, scale)
    scaled = x / by if tensor_scale is None else (x * (1 / tensor_scale)).div_(by)
    value = cast(scaled, fmt.element, rounding, random, own=True).mul_(scale)
    if by is not scale:
        # That code is +0: adding -0 changes nothing, adding +0 makes -0 to +0.
        value.add_(torch.where(scale == 0, 0.0, -0.0))
    return value if tensor_scale is None else value.mul_(tensor_scale)


def magnitudes(x: Tensor) -> Tensor:
    """The greatest magnitude of each block of `x`, (..., blocks, size): (..., blocks)."""
    size = x.abs()
    if size.shape[-1] >= VECTORIZED or not size.numel():
        return size.amax(dim=-1)
    # A pool is several times as fast as a reduction of few numbers.
    return max_pool1d(size.reshape(-1, x.shape[-2] * x.shape[-1]), x.shape[-1]).reshape(x.shape[:-1])


def block_scales(
    greatest: Tensor, fmt: Block, scale_mode: str | None = None, tensor_scale: Tensor | None = None
) -> Tensor:
    """What the scales of blocks are worth whose `magnitudes` are given, float32, same shape; NaN where a block holds
    NaN or infinity."""
    if fmt.power_scale:
        return _power_scales(greatest, fmt, scale_mode or "floor")
    if scale_mode not in (None, "nearest"):
        raise HwgenError(f"scale mode {scale_mode!r} is not for {fmt.name}, whose scale is no power of two")
    wanted = greatest / limits(fmt.element)[1]
    if tensor_scale is not None:
        wanted = wanted / tensor_scale
    return cast(wanted, fmt.scale, own=True).add_(greatest - greatest)


def _power_scales(greatest: Tensor, fmt: Block, mode: str) -> Tensor:
    if mode not in ("floor", "even", "ceil"):
        raise HwgenError(f"scale mode {mode!r} is not for {fmt.name}: one of floor, even, ceil")
    low, high = _exponents(fmt.scale)
    if mode == "floor" and low == -FLOAT32_BIAS and fmt.emax >= 0:
        # The exponent field, in place; what float32 holds as subnormal has the least scale in any case.
        field = (greatest.view(torch.int32) & EXPONENT_FIELD).sub_(fmt.emax << FLOAT32_FRACTION_BITS)
        field.clamp_(1 << (FLOAT32_FRACTION_BITS - 1), (high + FLOAT32_BIAS) << FLOAT32_FRACTION_BITS)
        # Infinities and NaN less themselves are NaN.
        return field.view(torch.float32).add_(greatest - greatest)
    # float64 has an exponent for what float32 holds as subnormal.
    bits = greatest.to(torch.float64).view(torch.int64)
    if mode == "even":
        bits = bits + (1 << (FRACTION_BITS - fmt.element.significand_bits))
    elif mode == "ceil":
        bits = bits + ((1 << FRACTION_BITS) - 1)
    field = (bits >> FRACTION_BITS).sub_(FLOAT_BIAS + fmt.emax).clamp_(low, high).add_(FLOAT32_BIAS).to(torch.int32)
    # 2**-127, whose field would be 0, is a subnormal number of float32.
    scale = field.mul_(1 << FLOAT32_FRACTION_BITS).clamp_(min=1 << (FLOAT32_FRACTION_BITS - 1)).view(torch.float32)
    return torch.where(greatest < torch.inf, scale, torch.nan)


@lru_cache(maxsize=16)
def _exponents(scale: Minifloat) -> tuple[int, int]:
    low, high = scale.extremes
    return _log2(low), _log2(high)


def _log2(power: Fraction) -> int:
    return power.numerator.bit_length() - power.denominator.bit_length()


def tensor_scale_for(greatest: Tensor, fmt: Block) -> Tensor:
    """The FP32 scale of a tensor whose greatest magnitude is given: as `Block.tensor_scale`; 1 for zeros."""
    scale = greatest / _whole(fmt)
    return torch.ones_like(scale) if float(scale) == 0 else scale


@lru_cache(maxsize=16)
def _whole(fmt: Block) -> float:
    """The greatest number that a block has under a tensor scale of 1."""
    return float(fmt.element.extremes[1] * fmt.scale.extremes[1])


def to_blocks(x: Tensor, size: int, axis: int) -> Tensor:
    """`x` with `axis` moved last and cut into blocks, (..., blocks, size); zeros fill the last one."""
    moved = x.movedim(axis, -1)
    length = moved.shape[-1]
    left = -length % size
    if left:
        moved = pad(moved, (0, left))
    return moved.reshape(*moved.shape[:-1], (length + left) // size, size)


def from_blocks(blocks: Tensor, length: int, axis: int) -> Tensor:
    """The inverse of `to_blocks` for an axis of `length`."""
    flat = blocks.flatten(-2)
    if flat.shape[-1] != length:
        flat = flat[..., :length]
    return flat.movedim(-1, axis)
