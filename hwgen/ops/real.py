"""Real-valued operations: what importers produce, what passes lower, and what stays on the host.

Their `run` takes and gives float64; it is the definition that the frozen graph is derived from and compared with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Format, check_rounding
from hwgen.ir import Array, Op, TensorType, freeze


@dataclass(frozen=True, eq=False)
class Affine(Op):
    """y = x * mul / div + add, per tensor (one number) or per channel; Add, Mul, Sub, Div and BatchNormalization.

    The divisor is kept apart because the inverse of most numbers is not a binary fraction, and passes take the
    parameters as exact rationals.
    """

    mul: npt.NDArray[np.float64]
    add: npt.NDArray[np.float64]
    div: npt.NDArray[np.float64] = field(default_factory=lambda: np.ones(1))

    def __post_init__(self) -> None:
        arrays = {name: np.atleast_1d(np.asarray(getattr(self, name), np.float64)) for name in ("mul", "add", "div")}
        for array in arrays.values():
            if array.ndim != 1:
                raise HwgenError(f"a factor or addend is one number or one per channel, not of shape {array.shape}")
            if not np.isfinite(array).all():
                raise HwgenError("a factor or addend is NaN or infinite")
        if (arrays["div"] == 0).any():
            raise HwgenError("a divisor is zero")
        freeze(self, **arrays)

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        for name, array in (("factors", self.mul), ("addends", self.add), ("divisors", self.div)):
            if array.shape[0] not in (1, x.channels):
                raise HwgenError(f"{array.shape[0]} {name} for {x.channels} channels")
        return TensorType(x.shape)

    def run(self, *values: Array) -> Array:
        (x,) = values
        return np.asarray(x * self.mul / self.div + self.add)


@dataclass(frozen=True, eq=False)
class Relu(Op):
    """max(x, 0)."""

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType(inputs[0].shape)

    def run(self, *values: Array) -> Array:
        return np.maximum(values[0], 0.0)


@dataclass(frozen=True, eq=False)
class Quantize(Op):
    """Round to a format and back: scale * (worth(encode(x / scale + zero_point)) - zero_point).

    scale: positive, one or one per channel; zero_point: an integer; rounding: by name, once.
    """

    format: Format
    scale: tuple[float, ...] = (1.0,)
    zero_point: int = 0
    rounding: str = "half_even"

    def __post_init__(self) -> None:
        check_rounding(self.rounding)

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType(inputs[0].shape, self.format, self.scale, self.zero_point)

    def run(self, *values: Array) -> Array:
        (x,) = values
        kind = TensorType((np.shape(x)[-1],), self.format, self.scale, self.zero_point)
        return kind.decode(kind.encode(x, self.rounding))


@dataclass(frozen=True, eq=False)
class Dense(Op):
    """y[o] = sum over i of weight_scale[o] * (worth(weight[o, i]) - weight_zero_point) * x[i].

    weight: codes of `format`, shape (out, in); scale: one or one per output channel. multiplier: what the network was
    trained with: "exact", or one of CODE_MULTIPLIERS, which work on codes, so that such a product has no `run`.
    """

    weight: npt.NDArray[np.int64]
    format: Format
    scale: tuple[float, ...] = (1.0,)
    zero_point: int = 0
    multiplier: str = "exact"

    def __post_init__(self) -> None:
        weight = np.asarray(self.weight, dtype=np.int64)
        if weight.ndim != 2 or 0 in weight.shape:
            raise HwgenError(f"a weight matrix has shape (out, in), not {weight.shape}")
        if len(self.scale) not in (1, weight.shape[0]):
            raise HwgenError(f"{len(self.scale)} weight scales for {weight.shape[0]} outputs")
        freeze(self, weight=weight)

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if x.channels != self.weight.shape[1]:
            raise HwgenError(f"weights take {self.weight.shape[1]} inputs, the tensor has {x.channels}")
        return TensorType((*x.shape[:-1], self.weight.shape[0]))

    def reads(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """One number, or one per input, as each weight meets it: the weights' shape."""
        return np.broadcast_to(values, self.weight.shape)

    def run(self, *values: Array) -> Array:
        (x,) = values
        if self.multiplier != "exact":
            raise HwgenError(f"products by {self.multiplier} are of codes: freeze the network first")
        worth = self.format.decode(self.weight) - self.zero_point
        return np.asarray(x @ (worth * np.array(self.scale)[:, None]).T)


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """The same numbers in another shape (without the batch axis); row-major. On a stream it changes nothing."""

    frozen: ClassVar[bool] = True

    shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if math.prod(self.shape) != x.size:
            raise HwgenError(f"{x.size} numbers do not fill the shape {self.shape}")
        if x.format is not None and len(x.scale) > 1 and self.shape[-1:] != x.shape[-1:]:
            raise HwgenError("a tensor with one scale per channel keeps its channels")
        return replace(x, shape=self.shape)

    def run(self, *values: Array) -> Array:
        (x,) = values
        return np.reshape(x, (x.shape[0], *self.shape))


@dataclass(frozen=True, eq=False)
class Transpose(Op):
    """The axes of a frame in another order: axis k of the result is axis `order[k]`, counted behind the batch.

    On the host, or in front of a flattened matrix product, whose weights then take the other order.
    """

    order: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if sorted(self.order) != list(range(len(x.shape))):
            raise HwgenError(f"{self.order} is no order of the axes of {x.shape}")
        if x.format is not None and len(x.scale) > 1:
            raise HwgenError("a tensor with one scale per channel keeps its channels")
        return replace(x, shape=tuple(x.shape[axis] for axis in self.order))

    def run(self, *values: Array) -> Array:
        (x,) = values
        return np.ascontiguousarray(np.transpose(x, (0, *(axis + 1 for axis in self.order))))


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """exp(x) / sum(exp(x)) along the channels; on the host."""

    frozen: ClassVar[bool] = False

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType(inputs[0].shape)

    def run(self, *values: Array) -> Array:
        (x,) = values
        powers = np.exp(x - x.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
