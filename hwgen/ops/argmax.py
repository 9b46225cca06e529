"""The index of the greatest code of a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwgen.errors import HwgenError
from hwgen.formats import Int
from hwgen.ir import Array, Op, TensorType


@dataclass(frozen=True, eq=False)
class ArgMax(Op):
    """Index of the greatest code along the channels; of equal ones the lowest index, as NumPy and ONNX have it.

    It needs one scale for all channels: otherwise codes of different channels do not compare.
    """

    frozen: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if x.format is not None and len(set(x.scale)) != 1:
            raise HwgenError("argmax compares codes, which needs one scale for all channels")
        return TensorType((*x.shape[:-1], 1), Int.holding(0, x.channels - 1))

    def run(self, *values: Array) -> Array:
        (x,) = values
        return np.asarray(np.argmax(x, axis=-1, keepdims=True), dtype=np.int64)
