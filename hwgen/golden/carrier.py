"""The types that carry a network's integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Carrier = npt.NDArray[Any]
Kernel = Callable[..., Any]
Kind = type[np.float32] | type[np.float64] | type[np.int64]

EXACT: dict[Kind, int] = {np.float32: 1 << 24, np.float64: 1 << 53, np.int64: 1 << 63}
"""Types that carry integers, and the magnitude below which they carry every one."""


def carrier_of(bound: int) -> Kind:
    """The type that carries integers up to `bound`. Sums of 62 bits come to 2^63 at most, twice over as they may be."""
    return next((kind for kind, limit in EXACT.items() if bound < limit), np.int64)
