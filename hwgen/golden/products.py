"""Matrix products and convolutions of whole networks, on floating-point BLAS where that is proven exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from hwgen.formats import Bipolar, Codes, Int
from hwgen.golden.carrier import EXACT, Carrier, Kernel, Kind
from hwgen.golden.images import Image, padded_shape, padding, window_taps, window_view
from hwgen.golden.packed import LEAST_INPUTS, greatest_sums, packed_columns, packing_base, unpack, unpacked
from hwgen.golden.wide import wide_kernel, worth_of_codes
from hwgen.ir import TensorType
from hwgen.ops import MatVec, Window

LEAST_ACROSS = 8
"""Positions in a row of windows from which each tap is a product of its own, without a copy of the windows."""

LEAST_HALF = 64
"""Positions in half an image from which two rows of it share an operand; below, two outputs share a column."""


def matvec_kernel(op: MatVec, x: TensorType, carrier: Kind, own: Kind) -> Kernel:
    """own: the type that carries the sums of this layer, which the rest of the network may not do with."""
    if op.multiplier != "exact":
        return lambda value: op.run(np.asarray(value, dtype=np.int64)).astype(carrier)
    weight, bias = _on_codes(op, x)
    if own is np.int64:
        wide = wide_kernel(weight, bias, x.codes_format)
        return lambda value: wide(value.astype(own)).astype(carrier)
    read, reach = _operands(x, own)
    packed = packed_columns(weight, reach, EXACT[own])
    matrix = _matrix(packed[0] if packed else weight.T, own)

    def sums(value: Carrier) -> Carrier:
        operand = read(value)
        # One product of two matrices, whatever the axes in front of the channels.
        out: Carrier = operand.reshape(-1, len(matrix)) @ matrix
        if packed:
            out = unpacked(out, packed[1], len(weight))
        return out.reshape(*operand.shape[:-1], len(weight))

    return _biased(sums, bias, own, carrier)


def convolves(op: MatVec, own: Kind) -> bool:
    """Whether `convolution_kernel` does windows and this product behind them."""
    return op.multiplier == "exact" and op.accumulator == "exact" and own is not np.int64


def convolution_kernel(window: Window, op: MatVec, x: TensorType, carrier: Kind, own: Kind) -> Kernel:
    """Windows of images of type `x` and their matrix product; `own` as in `matvec_kernel`."""
    rows, columns, channels = x.shape
    image = rows, columns, channels
    weight, bias = _on_codes(op, x)
    pad, (read, reach) = padding(window, image), _operands(x, own)
    sums = _convolution(replace(window, padding=(0, 0, 0, 0)), weight, padded_shape(window, image), reach, own)
    return _biased(lambda value: sums(read(pad(value))), bias, own, carrier)


def _biased(sums: Kernel, bias: Codes, own: Kind, carrier: Kind) -> Kernel:
    """What `sums` makes of codes, on `own`, and the bias, on `carrier`."""
    if own is carrier and not bias.any():
        return sums
    offset = bias.astype(own)

    def kernel(value: Carrier) -> Carrier:
        out: Carrier = sums(value)
        out += offset
        return out.astype(carrier, copy=False)

    return kernel


def _matrix(columns: Codes, own: Kind) -> Carrier:
    return np.ascontiguousarray(columns.astype(own))


def _on_codes(op: MatVec, x: TensorType) -> tuple[Codes, Codes]:
    """Weights and bias that act on the input's codes instead of their worth: bipolar is worth 2 * code - 1."""
    if isinstance(x.codes_format, Bipolar):
        return 2 * op.worth, op.bias - op.worth.sum(axis=1)
    return op.worth, op.bias


def _operands(x: TensorType, own: Kind) -> tuple[Callable[[Carrier], Carrier], int]:
    """What makes operands of codes, and the greatest magnitude of those.

    Integers and bipolar codes enter a product as they are, other codes by what they are worth on their grid.
    """
    if isinstance(x.codes_format, Int | Bipolar):
        return lambda value: value.astype(own, copy=False), max(map(abs, x.codes_format.code_range))
    worth = worth_of_codes(x.codes_format).astype(own)
    return lambda value: worth[value.astype(np.int64)], int(np.abs(worth).max())


def _convolution(window: Window, weight: Codes, shape: Image, reach: int, own: Kind) -> Kernel:
    """Sums (frames, down, across, out) over windows of padded images of `shape`, operands up to `reach`."""
    down, across = window.positions(*shape[:2])
    most = int(greatest_sums(weight, reach).max())
    base = packing_base(most, most, EXACT[own])
    if base and weight.shape[1] >= LEAST_INPUTS and down % 2 == 0 and down * across >= 2 * LEAST_HALF:
        return _two_rows(window, weight, shape, base, own)
    packed = packed_columns(weight, reach, EXACT[own])
    if packed is None:
        return _sliding(window, _matrix(weight.T, own), shape)
    columns, low = packed
    sums = _sliding(window, _matrix(columns, own), shape)
    return lambda image: unpacked(sums(image), low, len(weight))


def _two_rows(window: Window, weight: Codes, shape: Image, base: int, own: Kind) -> Kernel:
    """The same where each operand is upper + base * lower: the upper and the lower half of the outputs' rows are
    computed as one image."""
    down, across = window.positions(*shape[:2])
    half, below = down // 2, down // 2 * window.stride[0]
    height = (half - 1) * window.stride[0] + (window.kernel[0] - 1) * window.dilation[0] + 1
    packed = _sliding(window, _matrix(weight.T, own), (height, *shape[1:]))

    def sums(image: Carrier) -> Carrier:
        both = image[:, below : below + height] * own(base)
        both += image[:, :height]
        out: Carrier = np.empty((len(image), 2, half, across, len(weight)), own)
        unpack(packed(both), base, out[:, 0], out[:, 1])
        return out.reshape(len(image), down, across, len(weight))

    return sums


def _sliding(window: Window, matrix: Carrier, shape: Image) -> Kernel:
    """Products (frames, down, across, columns) of the windows of images by `matrix` (taps * channels, columns)."""
    down, across = window.positions(*shape[:2])
    cut, count = _pieces(window, len(matrix), shape)
    first, *others = matrix.reshape(count, -1, matrix.shape[1])

    def sums(image: Carrier) -> Carrier:
        seen = cut(image)
        total: Carrier = next(seen) @ first
        if others:
            part = np.empty_like(total)
            for pixels, weight in zip(seen, others, strict=True):
                total += np.matmul(pixels, weight, out=part)
        return total.reshape(len(image), down, across, -1)

    return sums


def _pieces(window: Window, inputs: int, shape: Image) -> tuple[Callable[[Carrier], Iterator[Carrier]], int]:
    """What cuts windows of `inputs` numbers into pieces along the reduction, and how many: as is quickest on BLAS.

    Of long rows each is a stack of matrices (frames, down, across, ...): the pixels that one tap meets, which need no
    copy, or whole windows of few channels. Of short rows it is one matrix: a row of each window, or whole windows.
    """
    down, across = window.positions(*shape[:2])
    view, (kh, _) = window_view(window, shape), window.kernel
    if inputs < LEAST_INPUTS:
        rows = (-1, down, across) if across >= LEAST_ACROSS else (-1,)
        return lambda image: iter([view(image).reshape(*rows, inputs)]), 1
    if across >= LEAST_ACROSS:
        pixels = [(slice(None), row, column) for row, column in product(*window_taps(window, shape))]
        return lambda image: (image[tap] for tap in pixels), len(pixels)
    return lambda image: (view(image)[:, :, :, row].reshape(-1, inputs // kh) for row in range(kh)), kh
