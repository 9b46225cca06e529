"""Sliding windows over images, and pooling of them. Images are (rows, columns, channels): channels last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Format, Int, Minifloat
from hwgen.ir import Array, Op, TensorType
from hwgen.ops.matvec import integer_range

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Window(Op):
    """The window of each position of an image, row by row: (rows, columns, C) to (positions y, x, kh * kw * C).

    kernel (kh, kw), stride, dilation: down and across, 1 or more. padding: (top, left, bottom, right).
    fill: what padding is: "zero", or "low", a number that no other is less than (for the maximum).
    pad: the code of that in the frozen graph; None while numbers are real.
    A convolution is a matrix product behind it, with the weights in the order (kh, kw, C).
    """

    frozen: ClassVar[bool] = True

    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    fill: Literal["zero", "low"] = "zero"
    pad: int | None = None

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "dilation"):
            value = getattr(self, name)
            if len(value) != 2 or min(value) < 1:
                raise HwgenError(f"a window's {name} is two numbers of 1 or more, not {value}")
        if len(self.padding) != 4 or min(self.padding) < 0:
            raise HwgenError(f"a window's padding is (top, left, bottom, right), 0 or more, not {self.padding}")
        if self.fill not in ("zero", "low"):
            raise HwgenError(f"a window is filled with zero or low, not {self.fill!r}")

    @property
    def taps(self) -> int:
        """Pixels in one window."""
        return self.kernel[0] * self.kernel[1]

    def positions(self, rows: int, columns: int) -> Pair:
        """How many windows there are, down and across."""
        top, left, bottom, right = self.padding
        sizes = rows + top + bottom, columns + left + right
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        if spans[0] > sizes[0] or spans[1] > sizes[1]:
            raise HwgenError(
                f"a window of {spans[0]}x{spans[1]} pixels does not fit an image of {sizes[0]}x{sizes[1]}, "
                "padding included"
            )
        down, across = ((size - span) // s + 1 for size, span, s in zip(sizes, spans, self.stride, strict=True))
        return down, across

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if len(x.shape) != 3:
            raise HwgenError(f"windows slide over images (rows, columns, channels), not over {x.shape}")
        if len(x.scale) > 1:
            raise HwgenError("windows take one scale for all channels")
        return replace(x, shape=(*self.positions(*x.shape[:2]), self.taps * x.channels))

    def run(self, *values: Array) -> Array:
        (x,) = values
        top, left, bottom, right = self.padding
        if any(self.padding):
            # Codes of a frozen graph are integers; on real numbers low is what no number is less than.
            code = 0.0 if self.fill == "zero" else -np.inf
            if x.dtype.kind in "iu":
                if self.pad is None:
                    raise HwgenError("padding of codes needs the code that it is made of")
                code = self.pad
            x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=code)
        return np.ascontiguousarray(windows(x, self)).reshape(len(x), *self._shape(x), -1)

    def _shape(self, padded: Array) -> Pair:
        return replace(self, padding=(0, 0, 0, 0)).positions(*padded.shape[1:3])


def windows(padded: npt.NDArray[np.generic], op: Window) -> npt.NDArray[np.generic]:
    """A view (frames, down, across, kh, kw, channels) of padded images (frames, rows, columns, channels)."""
    (kh, kw), (dh, dw), (sh, sw) = op.kernel, op.dilation, op.stride
    spans = (kh - 1) * dh + 1, (kw - 1) * dw + 1
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(1, 2))
    return view[:, ::sh, ::sw, :, ::dh, ::dw].transpose(0, 1, 2, 4, 5, 3)


@dataclass(frozen=True, eq=False)
class Pool(Op):
    """One number for each channel of a window of `taps` pixels: their "max" or their "sum", exact.

    (..., taps * C) to (..., C). A sum of codes is an integer; its scale is that of the codes, and the mean is left to
    a division behind it. In the frozen graph maxima are of integers, bipolar codes and minifloats, sums of integers;
    of other codes both are real numbers. input_format: the format of the codes if it is a minifloat, whose codes are
    not in the order of their worth; else None.
    """

    frozen: ClassVar[bool] = True

    reduce: Literal["max", "sum"]
    taps: int
    input_format: Format | None = None

    def __post_init__(self) -> None:
        if self.reduce not in ("max", "sum"):
            raise HwgenError(f"pooling takes the max or the sum, not {self.reduce!r}")
        if self.taps < 1:
            raise HwgenError(f"pooling takes 1 pixel or more, not {self.taps}")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if x.channels % self.taps:
            raise HwgenError(f"windows of {self.taps} pixels do not make {x.channels} numbers")
        if len(x.scale) > 1:
            raise HwgenError("pooling takes one scale for all channels")
        shape = (*x.shape[:-1], x.channels // self.taps)
        if x.format is None:
            return replace(x, shape=shape)
        if self.reduce == "max" and isinstance(x.format, Int | Bipolar | Minifloat):
            return replace(x, shape=shape)
        if self.reduce == "max" or not isinstance(x.format, Int):
            return TensorType(shape)
        low, high = integer_range(x)
        fmt = Int.holding(self.taps * low, self.taps * high)
        return TensorType(shape, fmt, x.scale, self.taps * x.zero_point)

    def run(self, *values: Array) -> Array:
        (x,) = values
        if isinstance(self.input_format, Minifloat):
            return signed_order(self.input_format, self._reduced(signed_order(self.input_format, x)))
        return self._reduced(x)

    def _reduced(self, x: Array) -> Array:
        taps = x.reshape(*x.shape[:-1], self.taps, -1)
        return np.asarray(taps.max(axis=-2) if self.reduce == "max" else taps.sum(axis=-2))


def signed_order(fmt: Minifloat, codes: Array) -> Array:
    """Integers in the order of what minifloat codes are worth, -0 below +0; applied twice it gives the codes back."""
    sign = 1 << fmt.magnitude_bits
    if codes.dtype.kind not in "iu" or not fmt.has_sign:
        return codes
    if (codes < 0).any():
        return np.where(codes < 0, sign + ~codes, codes)
    return np.where(codes >= sign, ~(codes - sign), codes)
