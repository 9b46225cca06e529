"""Gradients in the number format of the hardware: training with DFP16 forward and backward, or in FP4."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from hwgen.errors import HwgenError
from hwgen.formats import Block, DynamicFixed, Format, get
from hwgen.quant.block_cast import cast_blocks, check_block, from_blocks, magnitudes, tensor_scale_for, to_blocks
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
        # Each row of the matrix with a random sign; its inverse is its transpose.
        matrix = matrix_of(grad.device) * torch.empty(HADAMARD, 1, device=grad.device).bernoulli_().mul_(2).sub_(1)
        length = grad.shape[1]
        turned = to_blocks(grad, HADAMARD, 1) @ matrix
        if isinstance(self.format, Block) and self.format.size == HADAMARD:
            found = self._cast_blocks(turned, self.format)
        else:
            whole = from_blocks(turned, turned.shape[-1] * turned.shape[-2], 1)
            found = to_blocks(self._cast(whole), HADAMARD, 1)
        return from_blocks(found @ matrix.T, length, 1)

    def _cast(self, grad: Tensor) -> Tensor:
        fmt = self.format
        if isinstance(fmt, Block):
            return from_blocks(self._cast_blocks(to_blocks(grad, fmt.size, 1), fmt), grad.shape[1], 1)
        greatest = grad.abs().amax()
        if isinstance(fmt, DynamicFixed):
            return dynamic_cast(grad, fmt, shared_exponent(greatest, fmt.bits), "half_even", self._random(grad))
        scale = scale_for(greatest, limits(fmt)[1], True)
        return cast(grad / scale, fmt, random=self._random(grad), own=True).mul_(scale)

    def _cast_blocks(self, blocks: Tensor, fmt: Block) -> Tensor:
        greatest = magnitudes(blocks)
        whole = tensor_scale_for(greatest.amax(), fmt) if fmt.has_tensor_scale else None
        return cast_blocks(blocks, fmt, tensor_scale=whole, random=self._random(blocks), greatest=greatest)

    def _random(self, x: Tensor) -> Tensor | None:
        return random_numbers(x) if self.stochastic else None


def hadamard(x: Tensor) -> Tensor:
    """x @ H / 4 along the last axis of 16; its own inverse."""
    if x.shape[-1] != HADAMARD:
        raise HwgenError(f"the Hadamard matrix has {HADAMARD} rows, not {x.shape[-1]}")
    return x @ matrix_of(x.device)


@lru_cache(maxsize=4)
def matrix_of(device: torch.device) -> Tensor:
    """The Hadamard matrix of 16 over 4, by Sylvester's construction; symmetric."""
    matrix = torch.full((1, 1), 0.25)
    while len(matrix) < HADAMARD:
        matrix = torch.cat((torch.cat((matrix, matrix), 1), torch.cat((matrix, -matrix), 1)))
    return matrix.to(device)
