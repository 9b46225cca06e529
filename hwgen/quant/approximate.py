"""Sums of products as L-Mul, its relatives and Mitchell's multiplier give them (hwgen.formats.multiply), on floats.

With m mantissa bits the product of two normal numbers is sign * 2**(ea + eb) * g(i, j), where i and j are the
mantissas: a sum over 2**m classes of one operand's mantissa, each of them an ordinary product of matrices. Where a
product leaves the range of the format (it flushes to 0, or saturates) this does not hold. The left operands that can
meet this are taken out: if they are few, their products are looked up one by one; if not, each of their magnitudes is
one more class. So every product is the hardware's, whatever the operands are.
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
MAX_BITS = 8
CHUNK = 1 << 22
"""Products that are looked up at once."""

CLASS_COST = 240
"""Operands of a whole class are multiplied in the time in which one operand is looked up (measured, roughly)."""


@dataclass(frozen=True)
class Tables:
    """What `multiplier` makes of two codes of `fmt`.

    products: (2**bits * 2**bits,), by a << bits | b. worth: 2**e * g(i, j) with the sign, (2**bits, 2**m), by the
    code of one operand and the mantissa i of the other. low, high: (2**magnitude_bits,),
    by the magnitude of one operand: the least and greatest magnitude of the other for which g holds.
    """

    fmt: Minifloat
    products: Tensor
    worth: Tensor
    low: Tensor
    high: Tensor


@lru_cache(maxsize=32)
def tables(fmt: Format, multiplier: str) -> Tables:
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
    main = power[:, None] * power[None, :] * factors[np.ix_(magnitude & ((1 << m) - 1), magnitude & ((1 << m) - 1))]
    signless = np.where(magnitude[:, None] >= 1 << m, power[:, None] * factors[:, magnitude & ((1 << m) - 1)].T, 0.0)
    normal = (magnitude >= 1 << m) & (magnitude <= kind.max_magnitude)
    good = (main == worth[:size, :size]) | ~normal[None, :]
    low = np.where(good, -1, magnitude[None, :])
    middle = np.where(good & normal[None, :], magnitude[None, :], 0).max(axis=1)
    # What is bad lies below or above all that is good; without anything good everything is looked up.
    low = np.where(low < middle[:, None], low, -1).max(axis=1) + 1
    high = np.where(middle > 0, middle, -1)
    high = np.where(middle == kind.max_magnitude, size, high)
    single = torch.float32
    return Tables(
        kind,
        torch.tensor(worth.reshape(-1), dtype=single),
        torch.tensor(np.concatenate((signless, -signless)), dtype=single),
        torch.tensor(low),
        torch.tensor(high),
    )


@dataclass(frozen=True)
class Operand:
    """Numbers of a minifloat taken apart: sign * 2**exponent (0 for zeros and subnormals), mantissa, magnitude code."""

    power: Tensor
    mantissa: Tensor
    magnitude: Tensor
    bits: Tensor


def take_apart(x: Tensor, fmt: Minifloat) -> Operand:
    """`x`: float32, numbers of `fmt`. Zeros and subnormals get the magnitude 0: their products are 0."""
    m = fmt.mantissa_bits
    least = np.nextafter(np.float32(2.0 ** (1 - fmt.bias)), np.float32(0))
    bits = torch.nn.functional.hardshrink(x.detach(), float(least)).contiguous().view(torch.int32)
    magnitude = (bits & 0x7FFFFFFF) >> (MANTISSA_BITS - m)
    magnitude.sub_((FLOAT_BIAS - fmt.bias) << m).clamp_(min=0)
    return Operand((bits & -0x00800000).view(torch.float32), magnitude & ((1 << m) - 1), magnitude, bits)


def codes_of(magnitude: Tensor, bits: Tensor, fmt: Minifloat) -> Tensor:
    """The codes, int64, of an operand's magnitudes and bits; that of zero for subnormals."""
    return (magnitude + ((bits < 0) << fmt.magnitude_bits)).to(torch.int64)


@dataclass(frozen=True)
class Planes:
    """Both operands with axis 1 (features or channels) grown by the number of classes, for a product of matrices.

    classes, values: of each left operand; `risk`: the places of left operands (flattened) whose value was made 0, and
    whose products are to be looked up, or None.
    """

    classes: Tensor
    values: Tensor
    right: Tensor
    count: int
    risk: Tensor | None

    def left(self) -> Tensor:
        """Each value in the plane of its class, and 0 in all others."""
        shape = list(self.values.shape)
        spread = torch.zeros(*shape[:2], self.count, *shape[2:], dtype=self.right.dtype)
        spread.scatter_(2, self.classes.to(torch.int64).unsqueeze(2), self.values.to(spread.dtype).unsqueeze(2))
        return spread.flatten(1, 2)


def planes(left: Operand, right: Operand, found: Tables, groups: int, dtype: torch.dtype) -> Planes:
    """`right`: weights (out, in / groups, ...)."""
    risk = at_risk(left, right, found, groups)
    codes = codes_of(right.magnitude, right.bits, found.fmt)
    plain = 1 << found.fmt.mantissa_bits
    if risk is None:
        return Planes(left.mantissa, left.power, _factored(codes, found, dtype), plain, None)
    at = risk.reshape(-1).nonzero().squeeze(1)
    magnitude = left.magnitude.reshape(-1)[at]
    extra = torch.bincount(magnitude, minlength=len(found.low)).nonzero().squeeze(1)
    power = left.power.clone(memory_format=torch.contiguous_format)
    if len(extra) * power.numel() > CLASS_COST * len(at):
        power.view(-1)[at] = 0.0
        return Planes(left.mantissa, power, _factored(codes, found, dtype), plain, at)
    places = torch.zeros(len(found.low), dtype=torch.int32)
    places[extra] = torch.arange(plain, plain + len(extra), dtype=torch.int32)
    classes = left.mantissa.clone(memory_format=torch.contiguous_format)
    classes.view(-1)[at] = places[magnitude]
    power.view(-1)[at] = torch.where(left.bits.reshape(-1)[at] < 0, -1.0, 1.0)
    return Planes(classes, power, _factored(codes, found, dtype, extra), plain + len(extra), None)


def _factored(codes: Tensor, found: Tables, dtype: torch.dtype, extra: Tensor | None = None) -> Tensor:
    """What each class of the left operand is multiplied with, by the codes of the right one: power * g(i, mantissa),
    and the products of the positive numbers of the `extra` magnitudes."""
    table = found.worth
    if extra is not None:
        table = torch.cat((table, found.products.view(1 << found.fmt.bits, -1)[extra].T), dim=1)
    return torch.nn.functional.embedding(codes, table.to(dtype)).movedim(-1, 2).flatten(1, 2)


def at_risk(left: Operand, right: Operand, found: Tables, groups: int) -> Tensor | None:
    """Where g may not hold for a left operand: a mask of its shape, or None if it holds everywhere.

    right: weights (out, in / groups, ...). The left operand's features or channels are axis 1.
    """
    magnitude = right.magnitude.reshape(groups, right.magnitude.shape[0] // groups, right.magnitude.shape[1], -1)
    none = len(found.low) - 1
    least = torch.where(magnitude == 0, none, magnitude).amin(dim=(1, 3)).reshape(-1)
    greatest = magnitude.amax(dim=(1, 3)).reshape(-1)
    shape = [1] * left.magnitude.ndim
    shape[1] = len(least)
    # Channels whose weights are all zero put nothing at risk.
    low = torch.where(greatest == 0, 0, found.low[least]).to(torch.int32)
    high = torch.where(greatest == 0, none, found.high[greatest]).to(torch.int32)
    risk = (left.magnitude < low.view(shape)) & (left.magnitude > 0)
    if int(left.magnitude.amax()) > int(high.amin()):
        risk |= (left.magnitude > high.view(shape)) & (left.magnitude > 0)
    return risk if bool(risk.any()) else None


class ApproximateLinear(torch.autograd.Function):
    """x (..., in), weight (out, in), float32 numbers of the format; the gradient is that of exact products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, found: Tables, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(x, weight)
        flat = x.reshape(-1, x.shape[-1])
        left, right = take_apart(flat, found.fmt), take_apart(weight, found.fmt)
        spread = planes(left, right, found, 1, dtype)
        out = spread.left() @ spread.right.T
        at = spread.risk
        if at is not None:
            columns = at % x.shape[-1]
            row = torch.div(at - columns, x.shape[-1], rounding_mode="floor")
            codes = codes_of(left.magnitude.reshape(-1)[at], left.bits.reshape(-1)[at], found.fmt) << found.fmt.bits
            others = codes_of(right.magnitude, right.bits, found.fmt).T
            for part in _chunks(len(at), len(weight)):
                pairs = codes[part].unsqueeze(1) | others[columns[part]]
                out.index_add_(0, row[part], found.products[pairs].to(dtype))
        return out.to(x.dtype).reshape(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        to_x = grad @ weight if ctx.needs_input_grad[0] else None
        return to_x, flat.T @ x.reshape(-1, x.shape[-1]), None, None


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
    def forward(ctx: Any, x: Tensor, weight: Tensor, found: Tables, window: Window, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.window = window
        left, right = take_apart(x, found.fmt), take_apart(weight, found.fmt)
        spread = planes(left, right, found, window.groups, dtype)
        conv = torch.conv1d if x.ndim == 3 else torch.conv2d
        out = conv(spread.left(), spread.right, None, window.stride, window.padding, window.dilation, window.groups)
        if spread.risk is not None:
            _add_looked_up(out, spread.risk, left, right, found, window)
        return out.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        x, weight = ctx.saved_tensors
        w: Window = ctx.window
        mask = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        zeros = [0] * len(w.stride)
        shape = (None, w.stride, w.padding, w.dilation, False, zeros, w.groups)
        to_x, to_weight, _ = torch.ops.aten.convolution_backward(grad, x, weight, *shape, mask)
        return to_x, to_weight, None, None, None


def _add_looked_up(out: Tensor, risk: Tensor, left: Operand, right: Operand, found: Tables, window: Window) -> None:
    """Add the products of left operands, by their places, to the sums `out`, one place of the kernel at a time."""
    channels_out, channels_in = right.magnitude.shape[0] // window.groups, right.magnitude.shape[1]
    bits = found.fmt.bits
    at = torch.stack(torch.unravel_index(risk, left.magnitude.shape), dim=1)
    codes = codes_of(left.magnitude.reshape(-1)[risk], left.bits.reshape(-1)[risk], found.fmt) << bits
    others = codes_of(right.magnitude, right.bits, found.fmt)
    rows = out.movedim(1, -1).contiguous()
    flat = rows.view(-1, out.shape[1])
    frame, channel, space = at[:, 0], at[:, 1], at[:, 2:]
    size = torch.tensor(out.shape[2:])
    for place in np.ndindex(*right.magnitude.shape[2:]):
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
                flat[:, outputs].index_add_(0, row, found.products[pairs].to(out.dtype))
    out.copy_(rows.movedim(-1, 1))
