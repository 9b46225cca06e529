"""Products in groups on the type that carries a network's integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hwgen.formats import Int
from hwgen.golden.carrier import Carrier
from hwgen.golden.wide import worth_of_codes
from hwgen.ir import TensorType
from hwgen.ops import Grouped
from hwgen.ops.grouped import by_group


def grouped_kernel(op: Grouped, x: TensorType, carrier: type[Any], own: type[Any]) -> Callable[[Carrier], Carrier]:
    """Each group's products and their sums. `own` holds every partial sum exactly; `carrier` is what the rest of the
    network rides on, which may be wider."""
    if op.multiplier != "exact":
        codes = _code_kernel(op)
        return lambda value: codes(value.astype(np.int64)).astype(carrier)
    bias = op.bias.astype(own)
    sums = _by_tap(op, own) if op.channels == 1 else _by_product(op, own)
    worth = None if isinstance(x.codes_format, Int) else worth_of_codes(x.codes_format).astype(own)

    def kernel(value: Carrier) -> Carrier:
        out = sums(value.astype(own, copy=False) if worth is None else worth[value.astype(np.int64)])
        out += bias
        return out.astype(carrier, copy=False)

    return kernel


def _by_tap(op: Grouped, own: type[Any]) -> Callable[[Carrier], Carrier]:
    """Channels by weights of their own: one tap after the other, without a copy of the windows."""
    weight = np.ascontiguousarray(op.worth.T).astype(own)

    def sums(value: Carrier) -> Carrier:
        taps = value.reshape(*value.shape[:-1], op.taps, op.groups)
        if op.rows > 1:
            taps = np.repeat(taps, op.rows, axis=-1)
        out: Carrier = taps[..., 0, :] * weight[0]
        for tap in range(1, op.taps):
            out += taps[..., tap, :] * weight[tap]
        return out

    return sums


def _by_product(op: Grouped, own: type[Any]) -> Callable[[Carrier], Carrier]:
    """A matrix product for each group."""
    weight = np.ascontiguousarray(op.worth.reshape(op.groups, op.rows, -1).swapaxes(1, 2)).astype(own)

    def sums(value: Carrier) -> Carrier:
        parts = by_group(value.reshape(-1, value.shape[-1]), op.groups, op.taps)
        out: Carrier = np.matmul(parts.swapaxes(0, 1), weight).swapaxes(0, 1)
        return out.reshape(*value.shape[:-1], -1)

    return sums


def _code_kernel(op: Grouped) -> Callable[[Carrier], Carrier]:
    """Products that are codes, looked up: one input of every group after the other."""
    weight = op.weight.reshape(op.groups, op.rows, -1)

    def kernel(value: Carrier) -> Carrier:
        parts = by_group(value, op.groups, op.taps)
        out = np.broadcast_to(op.bias.reshape(op.groups, op.rows), (*parts.shape[:-1], op.rows)).copy()
        for place in range(weight.shape[-1]):
            out += op.table[parts[..., place, None], weight[..., place]]
        return out.reshape(*value.shape[:-1], -1)

    return kernel
