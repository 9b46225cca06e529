"""Matrix products and convolutions of whole networks, on floating-point BLAS where that is proven exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hwgen.formats import Bipolar, Codes, Int
from hwgen.golden.carrier import EXACT, Carrier, Kernel, Kind
from hwgen.golden.images import padded_shape, padding, window_view
from hwgen.golden.packed import LEAST_INPUTS, greatest_sums, packed_columns, packing_base, unpack, unpacked
from hwgen.golden.wide import wide_kernel, worth_of_codes
from hwgen.ir import TensorType
from hwgen.ops import MatVec, Window

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
    product = _product(weight, bias, reach, own)

    def kernel(value: Carrier) -> Carrier:
        operand = read(value)
        # One product of two matrices, whatever the axes in front of the channels.
        out = product(operand.reshape(-1, operand.shape[-1]))
        return out.reshape(*operand.shape[:-1], len(weight)).astype(carrier, copy=False)

    return kernel


def convolves(op: MatVec, own: Kind) -> bool:
    """Whether `convolution_kernel` does windows and this product behind them."""
    return op.multiplier == "exact" and op.accumulator == "exact" and own is not np.int64


def convolution_kernel(window: Window, op: MatVec, x: TensorType, carrier: Kind, own: Kind) -> Kernel:
    """Windows of images of type `x` and their matrix product; `own` as in `matvec_kernel`."""
    rows, columns, channels = x.shape
    padded, (down, across) = padding(window, (rows, columns, channels)), window.positions(rows, columns)
    shape = padded_shape(window, (rows, columns, channels))
    weight, bias = _on_codes(op, x)
    read, reach = _operands(x, own)
    sums = int(greatest_sums(weight, reach).max())
    base = packing_base(sums, sums, EXACT[own])
    if base and weight.shape[1] >= LEAST_INPUTS and down % 2 == 0 and down * across >= 2 * LEAST_HALF:
        two = _two_rows(window, weight, shape, base, own)
        offset = bias.astype(own) if bias.any() else None

        def by_halves(value: Carrier) -> Carrier:
            out = two(read(padded(value)))
            if offset is not None:
                out += offset
            return out.astype(carrier, copy=False)

        return by_halves
    view, product = window_view(window, shape), _product(weight, bias, reach, own)

    def kernel(value: Carrier) -> Carrier:
        out = product(view(read(padded(value))).reshape(-1, weight.shape[1]))
        return out.reshape(len(value), down, across, len(weight)).astype(carrier, copy=False)

    return kernel


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


def _product(weight: Codes, bias: Codes, reach: int, own: Kind) -> Callable[[Carrier], Carrier]:
    """Sums (rows, out) of operands (rows, in) of magnitudes up to `reach`."""
    columns, base = packed_columns(weight, reach, EXACT[own]) or (weight.T, 0)
    matrix = np.ascontiguousarray(columns.astype(own))
    offset = bias.astype(own) if bias.any() else None

    def product(operand: Carrier) -> Carrier:
        out: Carrier = operand @ matrix
        if base:
            out = unpacked(out, base, len(weight))
        if offset is not None:
            out += offset
        return out

    return product


def _two_rows(
    window: Window, weight: Codes, shape: tuple[int, int, int], base: int, own: Kind
) -> Callable[[Carrier], Carrier]:
    """Sums over windows of padded images of `shape`, where each operand is top + base * bottom.

    The upper and the lower half of the output rows are computed as one image: that halves the copy of the windows as
    well as the product.
    """
    bare = replace(window, padding=(0, 0, 0, 0))
    down, across = bare.positions(*shape[:2])
    half = down // 2
    height = (half - 1) * window.stride[0] + (window.kernel[0] - 1) * window.dilation[0] + 1
    below = half * window.stride[0]
    view = window_view(bare, (height, *shape[1:]))
    matrix = np.ascontiguousarray(weight.T.astype(own))

    def sums(image: Carrier) -> Carrier:
        both = image[:, below : below + height] * own(base)
        both += image[:, :height]
        found = (view(both).reshape(-1, len(matrix)) @ matrix).reshape(len(image), half, across, len(weight))
        out: Carrier = np.empty((len(image), 2, half, across, len(weight)), own)
        unpack(found, base, out[:, 0], out[:, 1])
        return out.reshape(len(image), down, across, len(weight))

    return sums
