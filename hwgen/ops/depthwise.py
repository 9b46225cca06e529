"""Depthwise products: each channel of a window by weights of its own, exact."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Codes, Int, Minifloat
from hwgen.formats.grid import on_grid
from hwgen.ir import Array, Fold, TensorType
from hwgen.ops.matvec import MatVec
from hwgen.ops.real import Dense


def by_channel(x: Array, taps: int) -> Array:
    """The numbers (..., taps * C) of windows by channel and tap, (..., C, taps)."""
    return np.swapaxes(x.reshape(*x.shape[:-1], taps, -1), -1, -2)


@dataclass(frozen=True, eq=False)
class DepthwiseDense(Dense):
    """y[c] = sum over t of weight_scale[c] * (worth(weight[c, t]) - weight_zero_point) * x[t * C + c].

    weight: shape (channels, taps), of scalar codes.
    """

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if x.channels != self.weight.size:
            channels, taps = self.weight.shape
            raise HwgenError(
                f"weights of {taps} taps for {channels} channels take {self.weight.size} inputs, the tensor has "
                f"{x.channels}"
            )
        return TensorType((*x.shape[:-1], self.weight.shape[0]))

    def reads(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return by_channel(np.broadcast_to(values, (self.weight.size,)), self.weight.shape[1])

    def run(self, *values: Array) -> Array:
        (x,) = values
        if self.multiplier != "exact":
            raise HwgenError(f"products by {self.multiplier} are of codes: freeze the network first")
        worth = self.format.decode(self.weight) - self.zero_point
        return np.asarray((by_channel(x, self.weight.shape[1]) * worth).sum(axis=-1) * np.array(self.scale))

    def expanded(self) -> Dense:
        """The same function by weights of all inputs, zero where an output does not see one.

        Raises HwgenError for bipolar weights, which have no zero.
        """
        if isinstance(self.format, Bipolar):
            raise HwgenError("bipolar weights of each channel's own are no matrix: bipolar codes have no zero")
        channels, taps = self.weight.shape
        whole = np.full((channels, taps, channels), self.zero_point, dtype=np.int64)
        every = np.arange(channels)
        whole[every, :, every] = self.weight
        return Dense(whole.reshape(channels, -1), self.format, self.scale, self.zero_point, self.multiplier)


@dataclass(frozen=True, eq=False)
class Depthwise(MatVec):
    """acc[c] = bias[c] + sum over t of product(weight[c, t], x[t * C + c]) in units of 2**unit; exact, no rounding.

    weight: codes of `weight_format`, shape (channels, taps); a row for each channel as in MatVec, whose parameters
    these are. Codes of x are scalars, and products exact.
    Its fold has PE = 1 and SIMD channels side by side.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.multiplier != "exact" or self.accumulator != "exact":
            raise HwgenError("depthwise products and their sums are exact")

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        channels, taps = self.weight.shape
        if x.channels != channels * taps:
            raise HwgenError(
                f"weights of {taps} taps for {channels} channels take {channels * taps} inputs, the tensor has "
                f"{x.channels}"
            )
        if not isinstance(x.codes_format, Int | Bipolar | Minifloat):
            raise HwgenError(f"depthwise products are of scalar codes, not of {x.codes_format.name}")
        # Sums, formats and bounds are those of rows of as many inputs as taps.
        y = super().infer(replace(x, shape=(taps,), scale=x.scale[:1]))
        return replace(y, shape=(*x.shape[:-1], channels))

    def products(self, x: Codes, weight: Codes) -> Codes:
        return np.asarray((by_channel(x, weight.shape[1]) * weight).sum(axis=-1))

    def run(self, *values: Array) -> Array:
        (x,) = values
        if self.input_format is not None:
            x = on_grid(self.input_format, x)
        return np.asarray(self.products(x, self.worth) + self.bias)

    def cycles(self, x: TensorType, fold: Fold) -> int:
        """Clock cycles a frame: (channels / SIMD) * taps * positions. Raises HwgenError if the fold does not divide."""
        channels, taps = self.weight.shape
        if fold.pe != 1 or channels % fold.simd:
            raise HwgenError(
                f"folding must divide the layer: PE is 1 of depthwise products, and SIMD={fold.simd} into {channels} "
                f"channels, with PE={fold.pe}"
            )
        return int(channels // fold.simd) * int(taps) * (x.size // int(channels * taps))
