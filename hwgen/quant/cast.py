"""Scalar formats on torch tensors: `cast(x, fmt)` is `fmt.decode(fmt.encode(x))`, bit for bit, without leaving torch.

float32 holds every number of these formats and every step in between exactly: divisions are by powers of two, and
what is rounded is at most 24 bits long. Tests compare with the formats themselves over the whole catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Fixed, Format, Int, Minifloat, check_rounding

FLOAT32_BITS = 24
FLOAT32_LEAST = -149
FLOAT32_GREATEST = 2.0**128
EXPONENT_FIELD = 0x7F800000
BELOW_ONE = 1 - 2.0**-24
RANDOM_BITS = 8
"""Random bits of one stochastic rounding, as `hwgen.formats.Stochastic` has them by default."""


def _half_away(x: Tensor) -> Tensor:
    size = x.abs()
    whole = size.floor()
    return torch.copysign(whole + (size - whole >= 0.5), x)


def _half_zero(x: Tensor) -> Tensor:
    size = x.abs()
    whole = size.floor()
    return torch.copysign(whole + (size - whole > 0.5), x)


def _half_up(x: Tensor) -> Tensor:
    whole = x.floor()
    return whole + (x - whole >= 0.5)


def _away(x: Tensor) -> Tensor:
    return torch.copysign(x.abs().ceil(), x)


ROUNDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "half_even": torch.round,
    "half_away": _half_away,
    "half_zero": _half_zero,
    "half_up": _half_up,
    "down": torch.floor,
    "up": torch.ceil,
    "zero": torch.trunc,
    "away": _away,
}
"""`hwgen.formats.ROUNDING` on torch tensors."""


def random_numbers(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One random number for each element of `x`, as float32: a multiple of 2**-RANDOM_BITS in 0..1, 1 left out."""
    # Eight bytes at once: drawing is what takes time.
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
    drawn = words.random_(-(2**63), None, generator=generator).view(torch.uint8)[: x.numel()]
    return drawn.to(torch.float32).mul_(2.0**-RANDOM_BITS).view(x.shape)


def cast(
    x: Tensor, fmt: Format, rounding: str = "half_even", random: Tensor | None = None, own: bool = False
) -> Tensor:
    """What `fmt` makes of the float32 tensor `x`: `fmt.decode(fmt.encode(x, rounding))`, float32, same shape.

    Numbers outside of the range saturate; NaN stays NaN, in formats without NaN too, so that training notices it.
    rounding: a name of `hwgen.formats.ROUNDING`. random: numbers in 0..1 of `x`'s shape (`random_numbers`) round
    stochastically instead: floor(steps + random), of magnitudes in minifloats and of the signed number elsewhere. own:
    `x` may be written over, which spares the cache.
    Raises HwgenError for a format whose numbers float32 does not hold, an unknown rounding, and other tensors.
    """
    low, high, unit = _bounds(fmt, rounding)
    if x.dtype != torch.float32:
        raise HwgenError(f"numbers are cast to {fmt.name} from float32, not from {x.dtype}")
    if isinstance(fmt, Minifloat):
        return _cast_minifloat(x, fmt, rounding, random, low, high, own=own)
    if isinstance(fmt, Bipolar):
        return torch.where(x >= 0, 1.0, -1.0).masked_fill_(x.isnan(), torch.nan)
    steps = x * (1 / unit) if fmt.lsb else x if own else x.clone()
    if random is not None:
        # Infinities are brought in first.
        steps = _floor_with(steps.clamp_(low / unit, high / unit), random)
    else:
        steps = steps.round_() if rounding == "half_even" else ROUNDERS[rounding](steps)
    steps.clamp_(low / unit, high / unit)
    # Integers have one zero: adding +0 makes it the positive one.
    return (steps.mul_(unit) if fmt.lsb else steps).add_(0.0)


def cast_at(x: Tensor, fmt: Format, scale: float) -> Tensor:
    """`scale * cast(x / scale, fmt)` for a power of two, without the division: the grid itself is scaled.

    Rounds half to even. Only for what `casts_at` allows; `scale` is 2**-100 to 2**100.
    """
    low, high, unit = _bounds(fmt, "half_even")
    if isinstance(fmt, Minifloat):
        return _cast_minifloat(x, fmt, "half_even", None, low * scale, high * scale, scale)
    step = unit * scale
    steps = (x * (1 / step)).round_().clamp_(low / unit, high / unit)
    return steps.mul_(step).add_(0.0)


def casts_at(fmt: Format) -> bool:
    """Whether `cast_at` does `fmt`: minifloats with a mantissa and subnormals, integers and fixed point."""
    if isinstance(fmt, Minifloat):
        return fmt.mantissa_bits > 0 and fmt.has_subnormals and fmt.lsb > -20 and fmt.extremes[1] < 1 << 20
    return isinstance(fmt, Fixed | Int)


@lru_cache(maxsize=256)
def _bounds(fmt: Format, rounding: str) -> tuple[float, float, float]:
    """(least, greatest, unit) of a format, and all checks, once for each pair."""
    check_rounding(rounding)
    check_castable(fmt)
    return (*limits(fmt), 2.0**fmt.lsb)


@lru_cache(maxsize=256)
def limits(fmt: Format) -> tuple[float, float]:
    """(least, greatest) finite number."""
    low, high = fmt.extremes
    return float(low), float(high)


@lru_cache(maxsize=256)
def check_castable(fmt: Format) -> None:
    """Raises HwgenError unless float32 holds every number of `fmt`."""
    if not isinstance(fmt, Minifloat | Fixed | Int | Bipolar):
        raise HwgenError(f"{fmt.name} is no minifloat, fixed point or integer format")
    low, high = fmt.extremes
    greatest = max(abs(low), abs(high))
    if fmt.lsb < FLOAT32_LEAST or greatest >= FLOAT32_GREATEST or _precision(fmt) > FLOAT32_BITS:
        raise HwgenError(f"numbers of {fmt.name} do not fit into float32, in which networks are trained")


def _precision(fmt: Format) -> int:
    """Bits of the longest significand; a power of two, as the least code of an integer, needs one only."""
    if isinstance(fmt, Minifloat | Bipolar):
        return fmt.significand_bits
    return max(abs(code).bit_length() for code in (fmt.code_range[0] + 1, fmt.code_range[1]))


def _floor_with(steps: Tensor, random: Tensor) -> Tensor:
    """floor(steps + random) without rounding the sum."""
    whole = steps.floor()
    # steps - whole is inexact for tiny negative steps alone: 1 then, but less than 1 in truth. The sign of the
    # difference to 1 - random is right, whatever is rounded, and its floor is 0 for up and -1 for down.
    up = (steps - whole).clamp_(max=BELOW_ONE).sub_(1 - random).floor_()
    return whole.add_(up).add_(1.0)


def _cast_minifloat(
    x: Tensor,
    fmt: Minifloat,
    rounding: str,
    random: Tensor | None,
    low: float,
    high: float,
    scale: float = 1.0,
    own: bool = False,
) -> Tensor:
    # The greatest number is on the grid: clamping ahead of rounding is the same, and keeps infinities out.
    clamped = x.clamp_(low, high) if own else x.clamp(low, high)
    if fmt.has_sign and not fmt.has_subnormals:
        least = 2.0 ** (fmt.lsb + fmt.mantissa_bits)
        clamped = torch.copysign(clamped.abs().clamp_(min=least), clamped)
    # The power of two at or below |x|, from the exponent field; subnormals share the step of the least normal binade.
    step = (clamped.view(torch.int32) & EXPONENT_FIELD).view(torch.float32)
    step.clamp_(min=2.0 ** (fmt.lsb + fmt.mantissa_bits) * scale).mul_(2.0**-fmt.mantissa_bits)
    if rounding == "half_even" and random is None and fmt.mantissa_bits:
        rounded = torch.div(clamped, step, out=clamped).round_().mul_(step)
        return rounded if fmt.has_sign else rounded.add_(0.0)
    steps = torch.div(clamped, step)
    if random is not None:
        rounded = torch.copysign(_floor_with(steps.abs(), random), steps)
        return rounded.mul_(step).clamp_(low, high)
    if rounding == "half_even":
        rounded = _ties_to_even_code(clamped, step, torch.round(steps), fmt)
    else:
        rounded = torch.copysign(ROUNDERS[rounding](steps), clamped)
    rounded.mul_(step)
    return rounded if fmt.has_sign else rounded.add_(0.0)


def _ties_to_even_code(clamped: Tensor, step: Tensor, rounded: Tensor, fmt: Minifloat) -> Tensor:
    """Without mantissa bits a tie, 1.5 steps, goes to 1 or 2 steps, whichever has the even exponent field."""
    tie = clamped.abs() == 1.5 * step
    if not bool(tie.any()):
        return rounded
    field = torch.frexp(step).exponent - 1 + fmt.bias
    odd = (field & 1).to(torch.float32)
    return torch.where(tie, torch.copysign(1 + odd, clamped), rounded)
