"""Sums of products as L-Mul, its relatives and Mitchell's multiplier give them (hwgen.formats.multiply), on floats.

With m mantissa bits the product of two normal numbers is sign * 2**(ea + eb) * g(i, j), where i and j are the
mantissas: a sum over 2**m classes of the left operand's mantissa, each of them an ordinary product of matrices. What an
operand is worth in each class is read from tables, by the upper bits of its float32. Where a product leaves the range
of the format (it flushes to 0, or saturates) g does not hold. The left operands that can meet this are taken out: those
of a magnitude that few have are looked up one by one, and every other such magnitude is one more class. So every
product is the hardware's, whatever the operands are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwgen.errors import HwgenError
from hwgen.formats import Format, Minifloat
from hwgen.formats.multiply import lmul_format, product

MANTISSA_BITS = 23
FLOAT_BIAS = 127
SPECIAL_EXPONENT = 255
MAX_BITS = 8
CHUNK = 1 << 22
"""Products that are looked up at once."""

CLASS_COST = 240
"""Operands of a whole class are multiplied in the time in which one operand is looked up (measured, roughly)."""


@dataclass(frozen=True)
class Tables:
    """What `multiplier` makes of two codes of `fmt`.

    A place is the sign, exponent and mantissa that the format has room for, of a float32 (`places`); beyond all of
    these lie the codes once more, for operands that are taken out of the ordinary classes.

    products: (2**bits, 2**bits). left: (2**m, all places), the operand's sign * 2**exponent in the class of its
    mantissa. right: (2**m, places), what each class is multiplied with. codes: (places,), int32; that of zero where a
    product is 0. low, high: (2**magnitude_bits,), by the magnitude of one operand: the least and greatest magnitude of
    the other for which g holds. least, greatest: (places,), the magnitude, for minima and maxima: zeros are none.
    """

    fmt: Minifloat
    products: Tensor
    left: Tensor
    right: Tensor
    codes: Tensor
    low: Tensor
    high: Tensor
    least: Tensor
    greatest: Tensor


@lru_cache(maxsize=32)
def tables(fmt: Format, multiplier: str, dtype: torch.dtype = torch.float32) -> Tables:
    """Raises HwgenError for formats that are no minifloats of up to 8 bits, and for unknown multipliers."""
    kind = lmul_format(fmt, fmt, multiplier)
    if kind.bits > MAX_BITS:
        raise HwgenError(f"{multiplier} is trained by tables of up to {MAX_BITS} bits; {kind.name} has {kind.bits}")
    codes = np.arange(1 << kind.bits)
    finite = np.where(kind.is_number(codes), codes, 0)
    significand, exponent = product(finite[:, None], finite[None, :], kind, kind, multiplier)
    worth = np.ldexp(significand.astype(np.float64), exponent.astype(np.int32))
    m, size = kind.mantissa_bits, 1 << kind.magnitude_bits
    one = (kind.bias << m) + np.arange(1 << m)
    factors = worth[one[:, None], one[None, :]]
    magnitude = np.arange(size)
    power = np.ldexp(1.0, (magnitude >> m) - kind.bias)
    mantissa = magnitude & ((1 << m) - 1)
    main = power[:, None] * power[None, :] * factors[np.ix_(mantissa, mantissa)]
    normal = (magnitude >= 1 << m) & (magnitude <= kind.max_magnitude)
    low, high = _ranges((main == worth[:size, :size]) | ~normal[None, :], normal, kind.max_magnitude)

    field = np.arange(1 << (m + 8))
    own = field - ((FLOAT_BIAS - kind.bias) << m)
    inside = (own >= 1 << m) & (own <= kind.max_magnitude)
    own = np.where(inside, own, 0)
    special = np.where(field >> m == SPECIAL_EXPONENT, np.nan, 0.0)
    # NaN stays NaN, so that training notices it.
    left = np.where(inside & (mantissa[own] == np.arange(1 << m)[:, None]), power[own], special)
    right = np.where(inside, power[own] * factors[:, mantissa[own]], special)
    places = np.concatenate((own + size * inside, own))
    taken_out = np.zeros((1 << m, 2 * size))
    return Tables(
        kind,
        torch.tensor(worth, dtype=dtype),
        torch.tensor(np.concatenate((-left, left, taken_out), axis=1), dtype=dtype),
        torch.tensor(np.concatenate((-right, right), axis=1), dtype=dtype),
        torch.tensor(places, dtype=torch.int32),
        torch.tensor(low, dtype=torch.int32),
        torch.tensor(high, dtype=torch.int32),
        torch.tensor(np.tile(np.where(own > 0, own, size - 1), 2), dtype=torch.int32),
        torch.tensor(np.tile(own, 2), dtype=torch.int32),
    )


def _ranges(good: Any, normal: Any, most: int) -> tuple[Any, Any]:
    """`low` and `high` of `Tables`: what is bad lies below or above all that is good; without anything good
    everything is looked up."""
    magnitude = np.arange(len(normal))
    low = np.where(good, -1, magnitude[None, :])
    middle = np.where(good & normal[None, :], magnitude[None, :], 0).max(axis=1)
    low = np.where(low < middle[:, None], low, -1).max(axis=1) + 1
    high = np.where(middle > 0, middle, -1)
    return low, np.where(middle == most, len(normal), high)


def places(x: Tensor, fmt: Minifloat) -> Tensor:
    """Where the tables have numbers of `fmt`, float32: int32, flattened."""
    found = x.reshape(-1).view(torch.int32) >> (MANTISSA_BITS - fmt.mantissa_bits)
    return found.add_(1 << (fmt.mantissa_bits + 8))


@dataclass(frozen=True)
class Planes:
    """Both operands as places, and the tables that say what they are worth in each class.

    risk: the places of left operands (flattened) that no class holds, whose products are to be looked up; codes:
    theirs, int32. None where there are none.
    """

    left: Tensor
    right: Tensor
    by_left: Tensor
    by_right: Tensor
    risk: Tensor | None
    codes: Tensor | None


def planes(x: Tensor, weight: Tensor, found: Tables, groups: int) -> Planes:
    """`x`: axis 1 are features or channels; `weight`: (out, in / groups, ...); numbers of the format."""
    left, right = places(x, found.fmt), places(weight, found.fmt)
    at = at_risk(left, right, x.shape, weight.shape, found, groups)
    if at is None:
        return Planes(left, right, found.left, found.right, None, None)
    bits = found.fmt.magnitude_bits
    codes = found.codes.index_select(0, left.index_select(0, at))
    magnitude = codes & ((1 << bits) - 1)
    counts = torch.bincount(magnitude, minlength=1 << bits)
    extra = (counts * CLASS_COST > len(left)).nonzero().squeeze(1)
    # First of all beyond the places, so that they are in no class.
    left.index_copy_(0, at, codes + found.right.shape[1])
    by_left, by_right = found.left, found.right
    if len(extra):
        by_left, by_right = _with(extra, found)
        few = (counts * CLASS_COST <= len(left)).index_select(0, magnitude).nonzero().squeeze(1)
        at, codes = at.index_select(0, few), codes.index_select(0, few)
    return Planes(left, right, by_left, by_right, *((at, codes) if len(at) else (None, None)))


def _with(extra: Tensor, found: Tables) -> tuple[Tensor, Tensor]:
    """The tables of both operands with a class for each of the `extra` magnitudes: 1 or -1 on the left, and the
    products of the positive number on the right."""
    classes, count = torch.arange(len(extra)), found.right.shape[1]
    ones = torch.zeros(len(extra), found.left.shape[1], dtype=found.left.dtype)
    ones[classes, count + extra] = 1.0
    ones[classes, count + extra + (1 << found.fmt.magnitude_bits)] = -1.0
    products = found.products.index_select(0, extra).index_select(1, found.codes)
    return torch.cat((found.left, ones)), torch.cat((found.right, products))


def at_risk(
    left: Tensor, right: Tensor, shape: torch.Size, kernel: torch.Size, found: Tables, groups: int
) -> Tensor | None:
    """The left operands, by their places in the flattened tensor, for which g may not hold; None if it always does."""
    rows = kernel[0] // groups
    spread = (groups, rows, kernel[1], right.numel() // (kernel[0] * kernel[1]))
    least = found.least.index_select(0, right).view(spread).amin(dim=(1, 3)).view(-1)
    greatest = found.greatest.index_select(0, right).view(spread).amax(dim=(1, 3)).view(-1)
    # Channels whose weights are all zero put nothing at risk.
    none = len(found.low) - 1
    low = found.low.index_select(0, least).masked_fill_(greatest == 0, 0)
    high = found.high.index_select(0, greatest).masked_fill_(greatest == 0, none)
    # Those that some channel puts at risk first, which are few.
    magnitude = torch.arange(none + 1)
    risky = ((magnitude < int(low.amax())) | (magnitude > int(high.amin()))) & (magnitude > 0)
    at = risky.index_select(0, found.greatest).index_select(0, left).nonzero().squeeze(1)
    if not len(at):
        return None
    channel = at if len(shape) == 2 else torch.div(at, shape[2:].numel(), rounding_mode="floor")
    channel = channel % shape[1]
    own = found.greatest.index_select(0, left.index_select(0, at))
    bad = (own < low.index_select(0, channel)) | (own > high.index_select(0, channel))
    chosen = bad.nonzero().squeeze(1)
    return at.index_select(0, chosen) if len(chosen) else None


class ApproximateLinear(torch.autograd.Function):
    """x (..., in), weight (out, in), float32: numbers of the format times `left` and `right`; the gradient is that of
    exact products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, left: Tensor, right: Tensor, found: Tables) -> Tensor:
        ctx.save_for_backward(x, weight)
        flat = x.reshape(-1, x.shape[-1])
        spread = planes(flat / left, weight / right, found, 1)
        out = torch.zeros(len(flat), len(weight), dtype=found.left.dtype)
        one, other = torch.empty_like(flat, dtype=out.dtype), torch.empty_like(weight, dtype=out.dtype)
        for by_left, by_right in zip(spread.by_left, spread.by_right, strict=True):
            torch.index_select(by_left, 0, spread.left, out=one.view(-1))
            torch.index_select(by_right, 0, spread.right, out=other.view(-1))
            out.addmm_(one, other.T)
        if spread.risk is not None and spread.codes is not None:
            _look_up(out, spread, found, x.shape[-1])
        scaled = out.to(x.dtype).mul_(left * right.reshape(-1) if right.ndim else left * right)
        return scaled.reshape(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None, None]:
        x, weight = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        to_x = grad @ weight if ctx.needs_input_grad[0] else None
        return to_x, flat.T @ x.reshape(-1, x.shape[-1]), None, None, None


def _look_up(out: Tensor, spread: Planes, found: Tables, width: int) -> None:
    """Add the products of the left operands at risk to the sums `out`."""
    assert spread.risk is not None
    assert spread.codes is not None
    row = torch.div(spread.risk, width, rounding_mode="floor")
    column = spread.risk - row * width
    codes = spread.codes << found.fmt.bits
    others = found.codes.index_select(0, spread.right).view(-1, width).T.contiguous()
    products = found.products.view(-1)
    for part in _chunks(len(row), out.shape[1]):
        pairs = others.index_select(0, column[part]).add_(codes[part].unsqueeze(1))
        out.index_add_(0, row[part], products.index_select(0, pairs.view(-1)).view(pairs.shape))


def _chunks(count: int, width: int) -> list[slice]:
    step = max(1, CHUNK // max(1, width))
    return [slice(start, start + step) for start in range(0, count, step)]


@dataclass(frozen=True)
class Window:
    """Stride, padding and dilation of a convolution, one number for each spatial axis, and its groups."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class ApproximateConv(torch.autograd.Function):
    """x (batch, in, *space), weight (out, in / groups, *kernel): as `ApproximateLinear`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, left: Tensor, right: Tensor, found: Tables, window: Window
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.window = window
        spread = planes(x / left, weight / right, found, window.groups)
        # Every channel of a group stays in it: classes come after channels.
        lefts = [by.index_select(0, spread.left).view(x.shape) for by in spread.by_left]
        rights = [by.index_select(0, spread.right).view(weight.shape) for by in spread.by_right]
        conv = torch.conv1d if x.ndim == 3 else torch.conv2d
        how = (None, window.stride, window.padding, window.dilation, window.groups)
        out = conv(torch.stack(lefts, dim=2).flatten(1, 2), torch.stack(rights, dim=2).flatten(1, 2), *how)
        if spread.risk is not None:
            _add_looked_up(out, spread, x.shape, weight.shape, found, window)
        scale = left * right
        return out.to(x.dtype).mul_(scale.reshape(-1, *([1] * (x.ndim - 2))) if right.ndim else scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        x, weight = ctx.saved_tensors
        w: Window = ctx.window
        mask = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        zeros = [0] * len(w.stride)
        shape = (None, w.stride, w.padding, w.dilation, False, zeros, w.groups)
        to_x, to_weight, _ = torch.ops.aten.convolution_backward(grad, x, weight, *shape, mask)
        return to_x, to_weight, None, None, None, None


def _add_looked_up(
    out: Tensor, spread: Planes, shape: torch.Size, kernel: torch.Size, found: Tables, window: Window
) -> None:
    """As `_look_up`, one place of the kernel at a time."""
    assert spread.risk is not None
    assert spread.codes is not None
    channels_out, channels_in = kernel[0] // window.groups, kernel[1]
    at = torch.stack(torch.unravel_index(spread.risk, shape), dim=1)
    codes = (spread.codes << found.fmt.bits).to(torch.int64)
    others = found.codes.index_select(0, spread.right).view(kernel).to(torch.int64)
    products = found.products.view(-1)
    rows = out.movedim(1, -1).contiguous()
    flat = rows.view(-1, out.shape[1])
    frame, channel, space = at[:, 0], at[:, 1], at[:, 2:]
    size = torch.tensor(out.shape[2:])
    for place in np.ndindex(*kernel[2:]):
        offset = torch.tensor(window.padding) - torch.tensor(place) * torch.tensor(window.dilation)
        stride = torch.tensor(window.stride)
        reached = space + offset
        target = torch.div(reached, stride, rounding_mode="floor")
        valid = ((reached % stride == 0) & (target >= 0) & (target < size)).all(dim=1)
        for group in range(window.groups):
            chosen = (valid & (channel // channels_in == group)).nonzero().squeeze(1)
            outputs = slice(group * channels_out, (group + 1) * channels_out)
            table = others[(outputs, slice(None), *place)].T
            for part in _chunks(len(chosen), channels_out):
                one = chosen[part]
                row = frame[one]
                for axis in range(len(size)):
                    row = row * size[axis] + target[one, axis]
                pairs = codes[one].unsqueeze(1) | table[channel[one] % channels_in]
                flat[:, outputs].index_add_(0, row, products[pairs])
    out.copy_(rows.movedim(-1, 1))
