"""Block formats on torch tensors: `cast_blocks(x, fmt)` is `fmt.decode(*fmt.encode(x))`, bit for bit."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from hwgen.errors import HwgenError
from hwgen.formats import Block, Minifloat
from hwgen.quant.cast import cast, check_castable, limits

FRACTION_BITS = 52
FLOAT_BIAS = 1023
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
) -> Tensor:
    """What `fmt` makes of float32 blocks `x`, shape (..., blocks, size): as `Block.decode(*Block.encode(x))`.

    scale_mode and rounding: as `Block.encode`. tensor_scale: a scalar, for formats that have one (`tensor_scale_for`).
    NaN or infinity in a block makes all of it NaN. random: as `hwgen.quant.cast.cast`.
    """
    check_block(fmt)
    scale = block_scales(x, fmt, scale_mode, tensor_scale).unsqueeze(-1)
    if fmt.power_scale:
        return cast(x / scale, fmt.element, rounding, random).mul_(scale)
    scaled = x / scale if tensor_scale is None else (x * (1 / tensor_scale)).div_(scale)
    if bool((scale == 0).any()):
        # Elements under a scale of 0 are code 0.
        scaled = torch.where(scale == 0, 0.0, scaled)
    value = cast(scaled, fmt.element, rounding, random).mul_(scale)
    return value if tensor_scale is None else value.mul_(tensor_scale)


def block_scales(x: Tensor, fmt: Block, scale_mode: str | None = None, tensor_scale: Tensor | None = None) -> Tensor:
    """What each block's scale is worth, shape (..., blocks), float32; NaN where a block holds NaN or infinity."""
    greatest = x.abs().amax(dim=-1)
    if fmt.power_scale:
        return _power_scales(greatest, fmt, scale_mode or "floor")
    if scale_mode not in (None, "nearest"):
        raise HwgenError(f"scale mode {scale_mode!r} is not for {fmt.name}, whose scale is no power of two")
    wanted = greatest / limits(fmt.element)[1]
    if tensor_scale is not None:
        wanted = wanted / tensor_scale
    return cast(wanted, fmt.scale).masked_fill_(~torch.isfinite(greatest), torch.nan)


def _power_scales(greatest: Tensor, fmt: Block, mode: str) -> Tensor:
    if mode not in ("floor", "even", "ceil"):
        raise HwgenError(f"scale mode {mode!r} is not for {fmt.name}: one of floor, even, ceil")
    # float64 has an exponent for what float32 holds as subnormal.
    bits = greatest.to(torch.float64).view(torch.int64)
    if mode == "even":
        bits = bits + (1 << (FRACTION_BITS - fmt.element.significand_bits))
    elif mode == "ceil":
        bits = bits + ((1 << FRACTION_BITS) - 1)
    low, high = _exponents(fmt.scale)
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
    whole = float(fmt.element.extremes[1] * fmt.scale.extremes[1])
    scale = greatest / whole
    return torch.where(scale == 0, 1.0, scale)


def to_blocks(x: Tensor, size: int, axis: int) -> Tensor:
    """`x` with `axis` moved last and cut into blocks, (..., blocks, size); zeros fill the last one."""
    moved = x.movedim(axis, -1)
    left = -moved.shape[-1] % size
    if left:
        moved = pad(moved, (0, left))
    return moved.reshape(*moved.shape[:-1], -1, size)


def from_blocks(blocks: Tensor, length: int, axis: int) -> Tensor:
    """The inverse of `to_blocks` for an axis of `length`."""
    flat = blocks.flatten(-2)[..., :length]
    return flat.movedim(-1, axis)
