"""Windows over images and pooling, on the type that carries a network's integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np

from hwgen.golden.carrier import Carrier, Kernel
from hwgen.ops import Pool, Window

Image = tuple[int, int, int]
"""(rows, columns, channels)"""


def window_kernel(op: Window, shape: Image) -> Kernel:
    """Windows (frames, down, across, taps * channels) of images of `shape`, by a strided view and one copy."""
    padded, view = padding(op, shape), window_view(op, padded_shape(op, shape))

    def kernel(value: Carrier) -> Carrier:
        found = view(padded(value))
        return found.reshape(*found.shape[:3], -1)

    return kernel


def padded_shape(op: Window, shape: Image) -> Image:
    top, left, bottom, right = op.padding
    rows, columns, channels = shape
    return rows + top + bottom, columns + left + right, channels


def padding(op: Window, shape: Image) -> Callable[[Carrier], Carrier]:
    """Images with the window's padding around them; without any, what it is given."""
    if not any(op.padding):
        return lambda value: value
    top, left, _, _ = op.padding
    rows, columns, _ = shape
    whole = padded_shape(op, shape)

    def pad(value: Carrier) -> Carrier:
        out = np.full((len(value), *whole), op.pad, value.dtype)
        out[:, top : top + rows, left : left + columns] = value
        return out

    return pad


def window_view(op: Window, shape: Image) -> Callable[[Carrier], Carrier]:
    """A view (frames, down, across, kh, kw, channels) of images of `shape`, which have their padding."""
    (kh, kw), (dh, dw), (sh, sw) = op.kernel, op.dilation, op.stride
    rows, columns, channels = shape
    down, across = (rows - (kh - 1) * dh - 1) // sh + 1, (columns - (kw - 1) * dw - 1) // sw + 1
    row, pixel = columns * channels, channels
    steps = (rows * row, sh * row, sw * pixel, dh * row, dw * pixel, 1)

    def view(value: Carrier) -> Carrier:
        # What hwgen.ops.window.windows gives, in a tenth of the time: that counts for one frame.
        whole = np.ascontiguousarray(value)
        strides = [step * whole.itemsize for step in steps]
        return np.ndarray((len(whole), down, across, kh, kw, channels), whole.dtype, whole, strides=strides)

    return view


def window_taps(op: Window, shape: Image) -> tuple[list[slice], list[slice]]:
    """The rows that each row of the windows' taps meets in images of `shape`, which have their padding, and the
    columns."""
    (down, across), spans = op.positions(*shape[:2]), zip(op.kernel, op.dilation, op.stride, strict=True)
    rows, columns = (
        [slice(tap * dilation, tap * dilation + (count - 1) * stride + 1, stride) for tap in range(size)]
        for count, (size, dilation, stride) in zip((down, across), spans, strict=True)
    )
    return rows, columns


def pooling_kernel(window: Window, op: Pool, shape: Image) -> Kernel:
    """Maxima or sums over windows of images of `shape`: first down, then across, with no copy of the windows."""
    pad = padding(window, shape)
    rows, columns = window_taps(replace(window, padding=(0, 0, 0, 0)), padded_shape(window, shape))
    join = np.maximum if op.reduce == "max" else np.add

    def kernel(value: Carrier) -> Carrier:
        whole = pad(value)
        down = reduce(join, [whole[:, row] for row in rows])
        out: Carrier = reduce(join, [down[:, :, column] for column in columns])
        return out if window.taps > 1 else out.copy()

    return kernel
