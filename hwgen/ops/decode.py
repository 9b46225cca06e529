"""What codes of any format are worth, as integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwgen.errors import HwgenError
from hwgen.formats import Format, Int
from hwgen.formats.grid import grid_range, on_grid
from hwgen.ir import Array, Op, TensorType


@dataclass(frozen=True, eq=False)
class Decode(Op):
    """The numbers that codes of `format` are worth, in units of its grid 2**lsb: exact.

    For what works on integers alone, as sums and maxima over windows, behind codes that are none.
    """

    frozen: ClassVar[bool] = True

    format: Format

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if x.format != self.format:
            raise HwgenError(f"it decodes {self.format.name} codes, the tensor has {x.codes_format.name}")
        scale = tuple(s * 2.0**self.format.lsb for s in x.scale)
        return TensorType(x.shape, Int.holding(*grid_range(self.format)), scale, x.zero_point)

    def run(self, *values: Array) -> Array:
        (x,) = values
        return on_grid(self.format, x)
