"""Products in groups: each group of channels of a window by weights of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Blocked, Codes
from hwgen.ir import Array, Fold, TensorType
from hwgen.ops.matvec import MatVec
from hwgen.ops.real import Dense


def by_group(x: npt.NDArray[np.generic], groups: int, taps: int) -> npt.NDArray[np.generic]:
    """The numbers (..., taps * C) of windows by group, (..., groups, taps * C / groups): each group's own windows."""
    split = x.reshape(*x.shape[:-1], taps, groups, -1)
    return np.swapaxes(split, -2, -3).reshape(*x.shape[:-1], groups, -1)


def _check(weight: npt.NDArray[np.int64], groups: int, taps: int) -> None:
    if min(groups, taps) < 1 or weight.shape[0] % groups or weight.shape[1] % taps:
        raise HwgenError(
            f"{groups} groups divide the outputs, and {taps} taps the inputs of each, not weights of {weight.shape}"
        )


def _check_inputs(weight: npt.NDArray[np.int64], groups: int, taps: int, x: TensorType) -> None:
    wanted = weight.shape[1] * groups
    if x.channels != wanted:
        raise HwgenError(
            f"weights of {taps} taps for {groups} groups of {weight.shape[1] // taps} channels take {wanted} inputs, "
            f"the tensor has {x.channels}"
        )


@dataclass(frozen=True, eq=False)
class GroupedDense(Dense):
    """Matrix products of the groups of channels that windows have, side by side; weight scales and zero points as in
    Dense.

    weight: shape (out, taps * C / groups), in the order (tap, channel of the group) of each row. Outputs come group by
    group; those of group n see channels n * C / groups and on, C / groups of them, of each tap.
    """

    groups: int = 1
    taps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.weight, self.groups, self.taps)

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        _check_inputs(self.weight, self.groups, self.taps, x)
        return TensorType((*x.shape[:-1], self.weight.shape[0]))

    def reads(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        every = np.broadcast_to(values, (self.weight.shape[1] * self.groups,))
        return np.repeat(by_group(every, self.groups, self.taps), len(self.weight) // self.groups, axis=0)

    def run(self, *values: Array) -> Array:
        (x,) = values
        if self.multiplier != "exact":
            raise HwgenError(f"products by {self.multiplier} are of codes: freeze the network first")
        worth = self.format.decode(self.weight) - self.zero_point
        return np.asarray(_sums(x, worth, self.groups, self.taps) * np.array(self.scale))

    def expanded(self) -> Dense:
        """The same function by weights of all inputs, zero where an output does not see one.

        Raises HwgenError for bipolar weights, which have no zero, and where a block of weights would hold several
        scales.
        """
        if isinstance(self.format, Bipolar):
            raise HwgenError(f"bipolar weights in {self.groups} groups are no one matrix: bipolar codes have no zero")
        out, inner = self.weight.shape
        rows, channels = out // self.groups, inner // self.taps
        own = self.weight.reshape(self.groups, rows, self.taps, channels)
        zero = np.full((self.groups, rows, self.taps, 1, 1), self.zero_point, dtype=np.int64)
        if isinstance(self.format, Blocked):
            if self.format.block.size % channels:
                raise HwgenError(
                    f"{channels} channels of a group neither fill blocks of {self.format.block.size} nor divide them"
                )
            # Zeros on the scale of the weights beside them, with which they share it.
            zero = self.format.join(self.format.scales(own[..., None, :1]), zero)
        whole = np.broadcast_to(zero, (self.groups, rows, self.taps, self.groups, channels)).copy()
        every = np.arange(self.groups)
        whole[every, :, :, every] = own
        return Dense(whole.reshape(out, -1), self.format, self.scale, self.zero_point, self.multiplier)


def _sums(x: Array, weight: npt.NDArray[np.generic], groups: int, taps: int) -> Array:
    """Sums of products, (..., out), of windows (..., taps * C) by weights (out, taps * C / groups)."""
    parts, rows = by_group(x, groups, taps), weight.reshape(groups, -1, weight.shape[1])
    sums = np.matmul(parts[..., None, :], np.swapaxes(rows, -1, -2))
    return np.asarray(sums.reshape(*x.shape[:-1], -1))


@dataclass(frozen=True, eq=False)
class Grouped(MatVec):
    """acc[o] = bias[o] + sum over i of product(weight[o, i], x of o's group[i]) in units of 2**unit; exact.

    weight: codes of `weight_format`, shape (out, taps * C / groups); outputs, inputs and their order as in
    GroupedDense, all else as in MatVec. Sums are exact ("exact"). Blocks of inputs may reach across groups.
    Its fold has SIMD lanes of one group's channels, which divide C / groups, and PE outputs of that group side by side;
    or whole groups side by side: SIMD = n * C / groups for n that divides the groups, with all the outputs of each,
    PE = out / groups. Depthwise products are C groups of one channel: PE = 1, SIMD channels.
    """

    groups: int = 1
    taps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.weight, self.groups, self.taps)
        if self.accumulator != "exact":
            raise HwgenError(f"sums of products in groups are exact, not {self.accumulator}")

    @property
    def channels(self) -> int:
        """Channels of a group."""
        return int(self.weight.shape[1]) // self.taps

    @property
    def rows(self) -> int:
        """Outputs of a group."""
        return len(self.weight) // self.groups

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        _check_inputs(self.weight, self.groups, self.taps, x)
        # Sums, formats and bounds are those of rows that see one group.
        y = super().infer(replace(x, shape=self.weight.shape[1:], scale=x.scale[:1]))
        return replace(y, shape=(*x.shape[:-1], len(self.weight)))

    def products(self, x: Codes, weight: Codes) -> Codes:
        return _sums(x, weight, self.groups, self.taps)

    def run(self, *values: Array) -> Array:
        if self.multiplier == "exact":
            return super().run(*values)
        parts = by_group(values[0], self.groups, self.taps)
        sums = [self.table[parts[..., n // self.rows, :], row].sum(axis=-1) for n, row in enumerate(self.weight)]
        return np.stack(sums, axis=-1) + self.bias

    def side_by_side(self, fold: Fold) -> int:
        """Groups that a beat of SIMD channels holds, one at least."""
        return max(1, fold.simd // self.channels)

    def output_lanes(self, fold: Fold) -> int:
        return fold.pe * self.side_by_side(fold)

    def terms(self, fold: Fold) -> int:
        return min(fold.simd, self.channels)

    def spacing(self, fold: Fold) -> int:
        return 1 if fold.pe < self.rows else max(1, self.channels // fold.simd)

    def cycles(self, x: TensorType, fold: Fold) -> int:
        """Clock cycles a frame: out / PE * taps * C / groups / SIMD * positions. Raises HwgenError for a fold that
        divides neither a group nor the groups."""
        within = self.channels % fold.simd == 0 and self.rows % fold.pe == 0
        whole = self.groups * self.channels % fold.simd == fold.simd % self.channels == 0 and fold.pe == self.rows
        if not (within or whole):
            raise HwgenError(
                f"folding must divide a group or the groups: SIMD={fold.simd} into {self.channels} channels and "
                f"PE={fold.pe} into {self.rows} outputs of each of {self.groups} groups, or SIMD={fold.simd} of whole "
                f"groups with PE={self.rows}"
            )
        self._check_blocks(x, fold)
        positions = x.size // (self.groups * int(self.weight.shape[1]))
        return int(self.weight.size) // (fold.pe * fold.simd) * positions
