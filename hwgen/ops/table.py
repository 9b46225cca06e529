"""Any function of one small code, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Format, Int, Minifloat
from hwgen.ir import Array, Op, TensorType, freeze

MAX_TABLE_BITS = 10
"""Bits of the widest code that is looked up."""


@dataclass(frozen=True, eq=False)
class Table(Op):
    """code[c] = table[c, bits of x[c]]: entry n is for the code whose bits, read as an unsigned number, are n.

    table: codes of `format`, shape (channels or 1, 2**bits of the input's format); of 10 bits at most. Entries of bits
    that are no code of the input (NaN) are never read; they hold any code.
    format, scale, zero_point: those of the output.
    """

    frozen: ClassVar[bool] = True

    table: npt.NDArray[np.int64]
    format: Format
    scale: tuple[float, ...] = (1.0,)
    zero_point: int = 0

    def __post_init__(self) -> None:
        table = np.asarray(self.table, dtype=np.int64)
        sizes = [1 << bits for bits in range(1, MAX_TABLE_BITS + 1)]
        if table.ndim != 2 or 0 in table.shape or table.shape[1] not in sizes:
            raise HwgenError(f"a table has shape (channels, 2**bits), of 1 to {MAX_TABLE_BITS} bits, not {table.shape}")
        if not isinstance(self.format, Int | Bipolar | Minifloat):
            raise HwgenError(f"a table holds integer, bipolar or minifloat codes, not {self.format.name}")
        low, high = self.format.code_range
        if table.min() < low or table.max() > high:
            raise HwgenError(
                f"entries {table.min()}..{table.max()} of a table are not codes of {self.format.name} ({low}..{high})"
            )
        freeze(self, table=table)

    @property
    def entries(self) -> int:
        """Entries of all channels' tables."""
        return int(self.table.size)

    @property
    def memory_bits(self) -> int:
        """Bits of all entries."""
        return self.entries * self.format.bits

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        fmt = x.codes_format
        if not isinstance(fmt, Int | Bipolar | Minifloat):
            raise HwgenError(f"a table is read by integer, bipolar or minifloat codes, not by those of {fmt.name}")
        if self.table.shape[1] != 1 << fmt.bits:
            raise HwgenError(f"a table of {self.table.shape[1]} entries is not read by codes of {fmt.bits} bits")
        if self.table.shape[0] not in (1, x.channels):
            raise HwgenError(f"{self.table.shape[0]} tables for {x.channels} channels")
        return TensorType(x.shape, self.format, self.scale, self.zero_point)

    def run(self, *values: Array) -> Array:
        (x,) = values
        place = x & (self.table.shape[1] - 1)
        return np.asarray(self.table[np.arange(x.shape[-1]) % len(self.table), place])
