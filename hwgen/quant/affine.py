"""A fixed affine function as a module, for networks that are sequences."""

from __future__ import annotations

from torch import Tensor, nn


class Affine(nn.Module):
    """x * mul + add, with constants that are not trained."""

    def __init__(self, mul: float, add: float) -> None:
        super().__init__()
        self.mul, self.add = mul, add

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mul + self.add
