"""Casts with straight-through gradients, as autograd functions: one node each, whatever the forward pass takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy
import torch
from torch import Tensor

LN2 = math.log(2.0)
Cast = Callable[[Tensor], Tensor]


def _inside(grad: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    """`grad` where low <= x <= high, else 0, in one pass: the gradient of hardtanh, which leaves out both ends."""
    return torch.ops.aten.hardtanh_backward(grad, x, *_around(low, high))  # type: ignore[no-any-return]


def _passed(ctx: Any, grad: Tensor, x: Tensor) -> Tensor:
    """`grad` inside of the range. Where nobody wants it for `x` itself, and all is inside, no pass is spent on it."""
    if not ctx.needs_input_grad[0] and float(x.amax()) <= ctx.high and float(x.amin()) >= ctx.low:
        return grad
    return _inside(grad, x, ctx.low, ctx.high)


@lru_cache(maxsize=256)
def _around(low: float, high: float) -> tuple[float, float]:
    """The float32 neighbours outside of a range."""
    below = numpy.nextafter(numpy.float32(low), numpy.float32(-numpy.inf))
    above = numpy.nextafter(numpy.float32(high), numpy.float32(numpy.inf))
    return float(below), float(above)


def _difference(grad: Tensor, found: Tensor, inside: Tensor, scaled: Tensor, shape: torch.Size) -> Tensor:
    """grad * found - inside * scaled, summed to `shape`."""
    if not shape:
        return torch.dot(grad.reshape(-1), found.reshape(-1)) - torch.dot(inside.reshape(-1), scaled.reshape(-1))
    return (grad * found).sub_(inside * scaled).sum_to_size(shape)


class _ScaledCast(torch.autograd.Function):
    """scale * cast(x / scale); see `scaled_cast`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, cast: Cast, low: float, high: float) -> Tensor:
        scaled = x / scale
        found = cast(scaled)
        ctx.low, ctx.high = low, high
        ctx.shape = scale.shape
        if ctx.needs_input_grad[1]:
            ctx.save_for_backward(scaled, found)
            return found * scale
        ctx.save_for_backward(scaled, None)
        return found.mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        scaled, found = ctx.saved_tensors
        to_x = _passed(ctx, grad, scaled)
        if found is None:
            return to_x, None, None, None, None
        # Of scale * q(x / scale): q - x / scale inside of the range, q outside (LSQ, arXiv 1902.08153, eq. 3).
        return to_x, _difference(grad, found, to_x, scaled, ctx.shape), None, None, None


class _PlainCast(torch.autograd.Function):
    """cast(x), whose gradient is the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cast: Cast) -> Tensor:
        return cast(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class _ExponentCast(torch.autograd.Function):
    """scale * cast(x / scale) for a scale that `exponent` gives; see `exponent_cast`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, exponent: Tensor, scale: Tensor, cast: Cast, low: float, high: float) -> Tensor:
        scaled = x / scale
        found = cast(scaled)
        ctx.low, ctx.high = low, high
        ctx.save_for_backward(scaled, found, scale)
        return found * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        scaled, found, scale = ctx.saved_tensors
        to_x = _passed(ctx, grad, scaled)
        to_scale = _difference(grad, found, to_x, scaled, scale.shape)
        return to_x, to_scale.mul_(scale).mul_(LN2), None, None, None, None


class _DirectCast(torch.autograd.Function):
    """`cast(x)`, whose result scales with 2**exponent; see `direct_cast`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, exponent: Tensor | None, cast: Cast, low: float, high: float) -> Tensor:
        value = cast(x)
        ctx.low, ctx.high = low, high
        ctx.save_for_backward(x, value if ctx.needs_input_grad[1] else None)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        x, value = ctx.saved_tensors
        to_x = _passed(ctx, grad, x)
        if value is None:
            return to_x, None, None, None, None
        return to_x, _difference(grad, value, to_x, x, torch.Size()).mul_(LN2), None, None, None


class _Backward(torch.autograd.Function):
    """The identity, whose gradient is cast."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cast: Cast) -> Tensor:
        ctx.cast = cast
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.cast(grad), None


def scaled_cast(x: Tensor, scale: Tensor, cast: Cast, low: float, high: float) -> Tensor:
    """scale * cast(x / scale). dy/dx is 1 where low <= x / scale <= high, else 0; a scale that needs a gradient gets
    cast(x / scale) - x / scale inside and cast(x / scale) outside. `scale` broadcasts against `x`."""
    return _ScaledCast.apply(x, scale, cast, low, high)  # type: ignore[no-any-return,no-untyped-call]


def plain_cast(x: Tensor, cast: Cast) -> Tensor:
    """cast(x); dy/dx is 1."""
    return _PlainCast.apply(x, cast)  # type: ignore[no-any-return,no-untyped-call]


def exponent_cast(x: Tensor, exponent: Tensor, scale: Tensor, cast: Cast, low: float, high: float) -> Tensor:
    """scale * cast(x / scale), where `scale` is 2**exponent, or 2**round(exponent), whose rounding has gradient 1.

    dy/dx is 1 where low <= x / scale <= high, else 0. dy/dexponent is scale ln2 (cast(x / scale) - x / scale) inside,
    y ln2 outside: that of TQT (arXiv 1903.08066, sec. 3.3), and, with the sign turned round, that of the binary point
    in QFX (arXiv 2401.17544, sec. 3.2).
    """
    return _ExponentCast.apply(x, exponent, scale, cast, low, high)  # type: ignore[no-any-return,no-untyped-call]


def direct_cast(x: Tensor, exponent: Tensor | None, cast: Cast, low: float, high: float) -> Tensor:
    """As `exponent_cast`, where `cast` has the scale in it, one for all, and so have `low` and `high`."""
    return _DirectCast.apply(x, exponent, cast, low, high)  # type: ignore[no-any-return,no-untyped-call]


def cast_gradient(x: Tensor, cast: Cast) -> Tensor:
    """`x` itself; the gradient that comes back goes through `cast`."""
    return _Backward.apply(x, cast)  # type: ignore[no-any-return,no-untyped-call]


def power_of_two(exponent: Tensor) -> Tensor:
    """2**exponent of integers that float32 holds, exact, float32: within -126..127, to which others are clamped."""
    if not exponent.ndim and exponent.device.type == "cpu":
        return one_power(float(exponent))
    field = exponent.clamp(-126, 127).to(torch.int32).add_(127)
    return field.mul_(1 << 23).view(torch.float32)


@lru_cache(maxsize=512)
def one_power(exponent: float) -> Tensor:
    """`power_of_two` of one number, faster than of tensors; NaN stays NaN, so that training notices it.

    Not to be written to.
    """
    return torch.tensor(exponent if math.isnan(exponent) else 2.0 ** min(127.0, max(-126.0, exponent)))
