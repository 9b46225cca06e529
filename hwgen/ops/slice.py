"""Some of the channels of a tensor, as splits and slices of networks take them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from hwgen.errors import HwgenError
from hwgen.formats import Blocked
from hwgen.ir import Array, Op, TensorType


@dataclass(frozen=True, eq=False)
class Slice(Op):
    """Channels `start` to `stop` - 1. Blocks stay whole."""

    frozen: ClassVar[bool] = True

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise HwgenError(f"a slice takes channels from 0 on, one or more, not {self.start} to {self.stop}")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if self.stop > x.channels:
            raise HwgenError(f"channels {self.start} to {self.stop} are taken of {x.channels}")
        fmt = x.format
        if isinstance(fmt, Blocked) and (self.start % fmt.block.size or self.stop % fmt.block.size):
            raise HwgenError(f"channels {self.start} to {self.stop} cut blocks of {fmt.block.size}")
        scale = x.scale if len(x.scale) == 1 else x.scale[self.start : self.stop]
        return replace(x, shape=(*x.shape[:-1], self.stop - self.start), scale=scale)

    def run(self, *values: Array) -> Array:
        (x,) = values
        return x[..., self.start : self.stop]
