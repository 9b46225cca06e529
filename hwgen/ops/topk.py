"""The greatest codes of a frame, or where they stand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from hwgen.errors import HwgenError
from hwgen.formats import Int
from hwgen.ir import Array, Op, TensorType


@dataclass(frozen=True, eq=False)
class TopK(Op):
    """The k greatest along the channels, the greatest first; of equal ones those of lower index first, as ONNX has it.

    give: their "indices", or the "codes" themselves. It needs one scale for all channels, as ArgMax does.
    """

    frozen: ClassVar[bool] = True

    k: int
    give: Literal["indices", "codes"] = "indices"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise HwgenError(f"the greatest are 1 or more, not {self.k}")
        if self.give not in ("indices", "codes"):
            raise HwgenError(f"the greatest give their indices or codes, not {self.give!r}")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if x.format is not None and len(set(x.scale)) != 1:
            raise HwgenError("the greatest are compared by codes, which needs one scale for all channels")
        if self.k > x.channels:
            raise HwgenError(f"there are no {self.k} greatest of {x.channels}")
        shape = (*x.shape[:-1], self.k)
        if self.give == "codes":
            return replace(x, shape=shape, scale=x.scale[:1])
        return TensorType(shape, Int.holding(0, x.channels - 1))

    def run(self, *values: Array) -> Array:
        (x,) = values
        # Sorted by the negative, and stable: of equal ones the first stays ahead.
        order = np.argsort(-x, axis=-1, kind="stable")[..., : self.k]
        return np.asarray(np.take_along_axis(x, order, axis=-1) if self.give == "codes" else order.astype(np.int64))
