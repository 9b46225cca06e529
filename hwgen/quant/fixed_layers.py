"""The element-wise operators of a network in fixed point (QFX, arXiv 2401.17544): batch normalization, sums, averages.

Additions and multiplications grow bits exactly, as those of ap_fixed do; what is rounded is the constants here, and the
result where `bits` are given. A result of more than 24 bits is rounded by float32, which carries it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hwgen.errors import HwgenError
from hwgen.formats import Fixed
from hwgen.quant.cast import cast
from hwgen.quant.fixed import PointQuant


class FixedBatchNorm(nn.Module):
    """x * factor + offset for each channel (axis 1): batch normalization whose factors and offsets, gamma / sqrt(var +
    eps) and beta - mean * factor, are fixed point of `bits` bits with a trained binary point each.

    While training mean and variance are the batch's, and running ones are kept; in eval mode they are the running ones,
    so that factors and offsets are constants. Made from a BatchNorm1d or BatchNorm2d with parameters and statistics.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, bits: int = 16) -> None:
        super().__init__()
        if not (norm.affine and norm.track_running_stats):
            raise HwgenError("batch normalization in fixed point needs parameters and running statistics")
        self.norm = norm
        self.factor_quant = PointQuant(bits)
        self.offset_quant = PointQuant(bits)

    def constants(self) -> tuple[Tensor, Tensor]:
        """(factors, offsets) of eval mode, quantized, (channels,). Raises HwgenError ahead of any training."""
        found = self._quantized(self.norm.running_mean, self.norm.running_var)
        return found[0].detach(), found[1].detach()

    def _quantized(self, mean: Tensor | None, variance: Tensor | None) -> tuple[Tensor, Tensor]:
        assert mean is not None
        assert variance is not None
        factor = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
        offset = self.norm.bias - mean * factor
        return self.factor_quant(factor)[0], self.offset_quant(offset)[0]

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.norm.running_mean, self.norm.running_var
        if self.training:
            axes = [axis for axis in range(x.ndim) if axis != 1]
            variance, mean = torch.var_mean(x, dim=axes, correction=0)
            self._keep(mean.detach(), variance.detach(), x.numel() // x.shape[1])
        factor, offset = self._quantized(mean, variance)
        shape = (1, -1, *([1] * (x.ndim - 2)))
        return x * factor.view(shape) + offset.view(shape)

    def _keep(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Running statistics as PyTorch keeps them, with the unbiased variance."""
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        assert self.norm.num_batches_tracked is not None
        self.norm.num_batches_tracked.add_(1)
        share = self.norm.momentum or 1 / int(self.norm.num_batches_tracked)
        self.norm.running_mean.lerp_(mean, share)
        self.norm.running_var.lerp_(variance * count / max(1, count - 1), share)


class FixedAdd(nn.Module):
    """x + y, exact; with `bits` the sum is brought to fixed point with a trained binary point."""

    def __init__(self, bits: int | None = None) -> None:
        super().__init__()
        self.sum_quant = None if bits is None else PointQuant(bits)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        total = x + y
        if self.sum_quant is None:
            return total
        found: Tensor = self.sum_quant(total)[0]
        return found


class FixedAverage(nn.Module):
    """Averages over windows: exact sums times 1 / size in fixed point of `bits` bits without sign, `reciprocal`."""

    def __init__(self, kernel_size: int, stride: int | None = None, bits: int = 16) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride or kernel_size
        size = kernel_size * kernel_size
        # 1 / size lies in (2**-n, 2**(1-n)], n being the bits of size: the point that uses all bits of the constant.
        self.format = Fixed(bits, 2 - size.bit_length(), is_signed=False)
        self.reciprocal = float(cast(torch.tensor([1 / size]), self.format))

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, channels, height, width)."""
        total = torch.nn.functional.avg_pool2d(x, self.kernel_size, self.stride, divisor_override=1)
        return total * self.reciprocal
