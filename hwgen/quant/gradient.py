"""Gradients in the number format of the hardware: training with DFP16 forward and backward, or in FP4."""

from __future__ import annotations

import torch
from torch import Tensor

from hwgen.errors import HwgenError
from hwgen.formats import Block, DynamicFixed, Format, get
from hwgen.quant.block_cast import cast_blocks, check_block, from_blocks, tensor_scale_for, to_blocks
from hwgen.quant.cast import cast, check_castable, limits, random_numbers
from hwgen.quant.dynamic import dynamic_cast, shared_exponent
from hwgen.quant.scaled import scale_for

HADAMARD = 16


class GradientQuant:
    """A cast for gradients (batch, features or channels, ...): scales are found anew for every gradient.

    number_format: a name or format; blocks lie along axis 1, and a scalar format has a power-of-two scale from the
    greatest magnitude. stochastic: round stochastically, which keeps the mean of the gradient (needed at 4 bits).
    hadamard: turn groups of 16 features by a Hadamard matrix with random signs ahead of the cast and back after it,
    which spreads outliers: as if both operands of the gradient's products had been turned (arXiv 2502.20586, sec. 4).
    """

    def __init__(
        self, number_format: str | Format | Block | DynamicFixed, stochastic: bool = True, hadamard: bool = False
    ):
        self.format = get(number_format) if isinstance(number_format, str) else number_format
        if isinstance(self.format, Block):
            check_block(self.format)
        elif isinstance(self.format, Format):
            check_castable(self.format)
        self.stochastic = stochastic
        self.hadamard = hadamard

    def __call__(self, grad: Tensor) -> Tensor:
        """The gradient, quantized; same shape."""
        if not self.hadamard:
            return self._cast(grad)
        length = grad.shape[1]
        groups = to_blocks(grad, HADAMARD, 1)
        signs = torch.where(torch.rand(HADAMARD, device=grad.device) < 0.5, -1.0, 1.0)
        turned = from_blocks(hadamard(groups * signs), groups.shape[-1] * groups.shape[-2], 1)
        back = to_blocks(self._cast(turned), HADAMARD, 1)
        return from_blocks(hadamard(back) * signs, length, 1)

    def _cast(self, grad: Tensor) -> Tensor:
        fmt = self.format
        if isinstance(fmt, Block):
            blocks = to_blocks(grad, fmt.size, 1)
            whole = tensor_scale_for(grad.abs().amax(), fmt) if fmt.has_tensor_scale else None
            found = cast_blocks(blocks, fmt, tensor_scale=whole, random=self._random(blocks))
            return from_blocks(found, grad.shape[1], 1)
        greatest = grad.abs().amax()
        if isinstance(fmt, DynamicFixed):
            return dynamic_cast(grad, fmt, shared_exponent(greatest, fmt.bits), "half_even", self._random(grad))
        scale = scale_for(greatest, limits(fmt)[1], True)
        return cast(grad / scale, fmt, random=self._random(grad)).mul_(scale)

    def _random(self, x: Tensor) -> Tensor | None:
        return random_numbers(x) if self.stochastic else None


def hadamard(x: Tensor) -> Tensor:
    """x @ H / 4 along the last axis of 16, in four stages of additions; its own inverse."""
    if x.shape[-1] != HADAMARD:
        raise HwgenError(f"the Hadamard matrix has {HADAMARD} rows, not {x.shape[-1]}")
    shape = x.shape
    for stage in (8, 4, 2, 1):
        pairs = x.reshape(*shape[:-1], -1, 2, stage)
        low, high = pairs.unbind(dim=-2)
        x = torch.stack((low + high, low - high), dim=-2).reshape(shape)
    return x * 0.25
