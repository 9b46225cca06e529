"""Images made larger by repeating each pixel: nearest neighbours, by whole factors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from hwgen.errors import HwgenError
from hwgen.ir import Array, Op, TensorType
from hwgen.ops.window import Pair


@dataclass(frozen=True, eq=False)
class Upsample(Op):
    """Each pixel `factors` (down, across) times: (rows, columns, C) to (rows * down, columns * across, C)."""

    frozen: ClassVar[bool] = True

    factors: Pair

    def __post_init__(self) -> None:
        if len(self.factors) != 2 or min(self.factors) < 1:
            raise HwgenError(f"an image grows by two factors of 1 or more, not {self.factors}")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if len(x.shape) != 3:
            raise HwgenError(f"images (rows, columns, channels) are made larger, not {x.shape}")
        down, across = self.factors
        return replace(x, shape=(x.shape[0] * down, x.shape[1] * across, x.shape[2]))

    def run(self, *values: Array) -> Array:
        (x,) = values
        down, across = self.factors
        return np.asarray(np.repeat(np.repeat(x, down, axis=1), across, axis=2))
