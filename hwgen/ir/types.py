"""What flows along an edge of the graph: shape, number format, scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import formats
from hwgen.errors import HwgenError
from hwgen.formats import Codes, Format, Real


@dataclass(frozen=True)
class TensorType:
    """The type of one tensor, without the batch axis.

    shape: sizes of the axes after the batch; channels are the last axis.
    format: the format of its codes, or None for real numbers (before the graph is frozen, and on the host).
    scale: what a code's worth is multiplied by to give the real value: one float, or one per channel. float64.
    zero_point: an integer taken from the code's worth before scaling: real = scale * (worth - zero_point).
    """

    shape: tuple[int, ...]
    format: Format | None = None
    scale: tuple[float, ...] = (1.0,)
    zero_point: int = 0

    def __post_init__(self) -> None:
        if not all(isinstance(n, int) and n > 0 for n in self.shape):
            raise HwgenError(f"a tensor's sizes are positive integers, not {self.shape}")
        if len(self.scale) not in (1, self.channels):
            raise HwgenError(f"a scale is one number or one per channel ({self.channels}), not {len(self.scale)}")
        if not all(math.isfinite(s) and s > 0 for s in self.scale):
            raise HwgenError(f"scales are finite and positive, not {min(self.scale)}..{max(self.scale)}")

    @property
    def channels(self) -> int:
        return self.shape[-1] if self.shape else 1

    @property
    def size(self) -> int:
        """Numbers in one frame."""
        return math.prod(self.shape)

    @property
    def codes_format(self) -> Format:
        """The format of its codes; raises HwgenError for a tensor of real numbers."""
        if self.format is None:
            raise HwgenError("a tensor of real numbers has no codes")
        return self.format

    def encode(self, x: npt.ArrayLike, rounding: str = "half_even") -> Codes:
        """Codes of real numbers `x` (batch, *shape): round(x / scale + zero_point), saturated."""
        scaled = np.asarray(x, dtype=np.float64) / np.array(self.scale) + self.zero_point
        return self.codes_format.encode(scaled, rounding)

    def decode(self, codes: npt.ArrayLike) -> Real:
        """Real numbers of codes (batch, *shape)."""
        worth: Real = (self.codes_format.decode(codes) - self.zero_point) * np.array(self.scale)
        return worth

    def to_json(self) -> dict[str, Any]:
        return {
            "shape": list(self.shape),
            "format": self.format.name if self.format else None,
            "scale": list(self.scale),
            "zero_point": self.zero_point,
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> TensorType:
        fmt = formats.scalar(data["format"]) if data["format"] else None
        return TensorType(tuple(data["shape"]), fmt, tuple(data["scale"]), data["zero_point"])
