"""FP32 sums over blocks in whole networks, and fixed point made of them, on floating-point arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hwgen.formats import Blocked
from hwgen.formats.blocked import MAX_LISTED_BITS
from hwgen.golden.carrier import Carrier
from hwgen.ops import Fix, MatVec
from hwgen.ops.block_sums import block_reach


def fp32_kernel(op: MatVec, carrier: npt.DTypeLike) -> Callable[[Carrier], Carrier]:
    """FP32 codes of sums over blocks, added in order.

    The numbers of one block and the weights that they meet are integers times two powers of two. So float64 BLAS gives
    a block's sum exactly if those integers' sums stay below 2^53, and the conversion to float32 is the only rounding.
    """
    fmt = op.input_format
    assert isinstance(fmt, Blocked)
    if fmt.bits > MAX_LISTED_BITS or block_reach(op.weight_format, op.weight, fmt) >= 1 << 53:
        return lambda value: op.run(np.asarray(value, dtype=np.int64)).astype(carrier)
    codes = fmt.codes()
    worth = fmt.decode(np.where(fmt.is_number(codes), codes, 0))
    size = fmt.block.size
    weights = op.weight_format.decode(op.weight).reshape(len(op.weight), -1, size)
    columns = [np.ascontiguousarray(weights[:, block].T) for block in range(weights.shape[1])]

    def kernel(value: Carrier) -> Carrier:
        rows = worth[value.astype(np.int64)].reshape(-1, op.weight.shape[1])
        total = np.zeros((len(rows), len(op.weight)), dtype=np.float32)
        for block, column in enumerate(columns):
            total += (rows[:, block * size : (block + 1) * size] @ column).astype(np.float32)
        return total.view(np.uint32).astype(carrier).reshape(*value.shape[:-1], len(op.weight))

    return kernel


def fix_kernel(op: Fix, carrier: npt.DTypeLike) -> Callable[[Carrier], Carrier]:
    """Fixed point of FP32 codes: float64 holds both as long as the integers have 53 bits."""
    most = op.format.max
    if most >= 1 << 53:
        return lambda value: op.run(np.asarray(value, dtype=np.int64)).astype(carrier)

    def kernel(value: Carrier) -> Carrier:
        real = value.astype(np.uint32).view(np.float32).astype(np.float64)
        scaled = np.clip(np.ldexp(real, -op.lsb), -most, most)
        floor = np.floor(scaled)
        floor += (floor != scaled) & (np.mod(floor, 2) == 0)
        return np.asarray(floor.astype(carrier))

    return kernel
