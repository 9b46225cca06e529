"""Depthwise products on the type that carries a network's integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.formats import Int
from hwgen.formats.grid import on_grid
from hwgen.ops import Depthwise


def depthwise_kernel(op: Depthwise, carrier: type[Any]) -> Callable[[Any], Any]:
    """Each channel's products and their sum; `carrier` holds every partial sum exactly."""
    weight, bias = np.ascontiguousarray(op.worth.T).astype(carrier), op.bias.astype(carrier)
    fmt = op.input_format

    def kernel(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if fmt is not None and not isinstance(fmt, Int):
            value = on_grid(fmt, np.asarray(value, dtype=np.int64)).astype(carrier)
        taps = value.reshape(*value.shape[:-1], *weight.shape)
        out: npt.NDArray[Any] = taps[..., 0, :] * weight[0] + bias
        for tap in range(1, len(weight)):
            out += taps[..., tap, :] * weight[tap]
        return out

    return kernel
