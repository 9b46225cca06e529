"""A network while it is being read: it grows by one operation at a time, behind the tensor that is at hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Format
from hwgen.ir import Array, Graph, Node, Op, TensorType, Value
from hwgen.ops import Affine, Dense, GroupedDense, Relu

MAX_BITS = 16
"""Widest activations and weights; biases have more."""

# Stands for the batch size in shapes that the network itself computes: a number that no size is.
BATCH = (1 << 40) + 1

Refuse = Callable[[str], UnsupportedError]
"""Makes the error that names the node being read, from the reason."""


Layout = Literal["plain", "image", "signal"]


@dataclass(frozen=True)
class Place:
    """A tensor of the graph that is being made, its shape there without the batch, and its layout: see Chain."""

    tensor: str
    shape: tuple[int, ...]
    layout: Layout


@dataclass
class Chain:
    """The network as far as it has been read. Operations are appended to the tensor at hand.

    batch: the batch size that the file fixes, or None. tensor, shape: the tensor at hand, its shape without the batch.
    layout: "image" where the network being read has that tensor as (channels, rows, columns), "signal" as (channels,
    steps), while here it is (rows, columns, channels). places: where the tensors that were read so far are, by the
    names that the network being read has for them.
    """

    input: Value
    batch: int | None
    tensor: str
    shape: tuple[int, ...]
    nodes: list[Node] = field(default_factory=list)
    layout: Layout = "plain"
    places: dict[str, Place] = field(default_factory=dict)

    @staticmethod
    def start(name: str, shape: tuple[int, ...], batch: int | None) -> Chain:
        return Chain(Value(name, TensorType(shape)), batch, name, shape)

    def append(self, name: str, op: Op, output: str) -> None:
        """Add an operation that reads the tensor at hand and writes `output`; names that are taken get underscores."""
        self._add(name, op, output, [Place(self.tensor, self.shape, self.layout)])

    def _add(self, name: str, op: Op, output: str, reads: Sequence[Place]) -> None:
        taken = {node.name for node in self.nodes}
        while name in taken:
            name += "_"
        taken = {self.input.name, *(node.output for node in self.nodes)}
        while output in taken:
            output += "_"
        try:
            self.shape = op.infer(*(TensorType(place.shape) for place in reads)).shape
        except HwgenError as error:
            raise UnsupportedError(f"node {name!r} ({op.kind}): {error}") from error
        self.nodes.append(Node(name, op, tuple(place.tensor for place in reads), output))
        self.tensor = output

    def keep(self, name: str) -> None:
        """The tensor at hand is what the network being read calls `name`."""
        self.places[name] = Place(self.tensor, self.shape, self.layout)

    def take(self, name: str) -> None:
        """Go on behind the tensor that the network being read calls `name`."""
        place = self.places[name]
        self.tensor, self.shape, self.layout = place.tensor, place.shape, place.layout

    def join(self, name: str, op: Op, output: str, tensors: Sequence[str], refuse: Refuse) -> None:
        """Add an operation on several tensors, by the names that the network being read has for them."""
        reads = [self.places[tensor] for tensor in tensors]
        if len({place.layout for place in reads}) > 1:
            told = ", ".join(f"{tensor!r} {self.places[tensor].layout}" for tensor in tensors)
            raise refuse(f"what it reads differs in the order of its numbers: {told}")
        self.layout = reads[0].layout
        self._add(name, op, output, reads)

    def graph(self, name: str) -> Graph:
        """The graph, without the nodes that the tensor at hand does not depend on."""
        needed, kept = {self.tensor}, []
        for node in reversed(self.nodes):
            if node.output in needed:
                needed |= set(node.inputs)
                kept.append(node)
        return Graph(name, (self.input,), tuple(reversed(kept)), (self.tensor,))

    @property
    def framed(self) -> tuple[int, ...]:
        """The last tensor's shape, without the batch, as the network being read has it."""
        if self.layout == "plain":
            return self.shape
        rows, columns, channels = self.shape
        return (channels, rows, columns) if self.layout == "image" else (channels, columns)

    @property
    def frame(self) -> str:
        """The last tensor's shape, for messages."""
        return f"(batch, {', '.join(map(str, self.framed))})"

    def per_channel(self, value: npt.ArrayLike, refuse: Refuse) -> Array:
        """A constant operand as one number or one per channel (the last axis): float64, shape (1,) or (channels,)."""
        array = np.asarray(value, dtype=np.float64)
        if not np.isfinite(array).all():
            raise refuse("a constant operand holds NaN or infinity")
        if array.size == 1 and array.ndim <= len(self.framed) + 1:
            return array.reshape(1)
        if self.layout != "plain":
            # The channels are the axis ahead of the rows and columns, or of the steps.
            axis = len(self.framed)
            if array.ndim not in (axis, axis + 1) or array.shape[-axis] != array.size or array.size != self.shape[-1]:
                raise refuse(
                    f"a constant of shape {array.shape} on a tensor of shape {self.frame}; one number, or one per "
                    "channel, is supported"
                )
            return array.reshape(-1)
        if array.ndim > len(self.shape) + 1 or array.size != array.shape[-1] or array.shape[-1] != self.shape[-1]:
            raise refuse(
                f"a constant of shape {array.shape} on a tensor of shape {self.frame}; one number, or one per channel "
                "(the last axis), is supported"
            )
        return array.reshape(-1)

    def reshaped(self, wanted: Sequence[int], refuse: Refuse) -> tuple[int, ...]:
        """The shape without the batch that a reshape to `wanted` (with the batch; -1 for the rest) gives."""
        size = math.prod(self.shape)
        rest = list(wanted[1:])
        if rest.count(-1) == 1:
            known = math.prod(n for n in rest if n != -1)
            rest = [size // known if n == -1 and known else n for n in rest]
        # The first size stands for the batch if it is the batch's own, or left open while the rest fills a frame.
        first = wanted[0] if wanted else 0
        if first not in (BATCH, -1, 1, self.batch) or math.prod(rest) != size or min(rest, default=1) < 1:
            raise refuse(f"it reshapes frames of {list(self.shape)} to {list(wanted)}, across the batch axis")
        return tuple(rest)


def append_affine(
    chain: Chain,
    name: str,
    output: str,
    mul: npt.ArrayLike = 1.0,
    add: npt.ArrayLike = 0.0,
    div: npt.ArrayLike = 1.0,
) -> None:
    """y = x * mul / div + add."""
    arrays = (np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in (mul, add, div))
    chain.append(name, Affine(*arrays), output)


def append_clip(chain: Chain, name: str, output: str, low: float, high: float, refuse: Refuse) -> None:
    """y = min(max(x, low), high), of affine operations and ReLUs; a bound may be infinite."""
    if math.isnan(low) or math.isnan(high) or low > high:
        raise refuse(f"its bounds {low}..{high} are not in order")
    # max(x, low) = relu(x - low) + low; min(x, high) = high - relu(high - x).
    for side, bound, sign in (("low", low, 1.0), ("high", high, -1.0)):
        if math.isfinite(bound):
            append_affine(chain, f"{name}.{side}", f"{output}.{side}", mul=sign, add=-sign * bound)
            chain.append(f"{name}.{side}.relu", Relu(), f"{output}.{side}.relu")
            append_affine(chain, f"{name}.{side}.back", f"{output}.{side}.back", mul=sign, add=bound)
    append_affine(chain, name, output)


def append_batch_norm(
    chain: Chain, name: str, output: str, parameters: Sequence[npt.ArrayLike], epsilon: float, refuse: Refuse
) -> None:
    """y = (x - mean) * gamma / sqrt(var + epsilon) + beta; `parameters` are gamma, beta, mean, var."""
    behind = (1,) * (len(chain.framed) - 1 if chain.layout != "plain" else 0)
    gamma, beta, mean, var = (
        chain.per_channel(np.asarray(value).reshape(*np.shape(value), *behind), refuse) for value in parameters
    )
    spread = var + epsilon
    if (spread <= 0).any():
        raise refuse(f"variance + epsilon must be positive, not {spread.min()}")
    # Two steps, so that each parameter stays the number that was given; only the root is rounded, to float64.
    append_affine(chain, f"{name}.mean", f"{output}.centred", add=-mean)
    append_affine(chain, name, output, mul=gamma, add=beta, div=np.sqrt(spread))


@dataclass(frozen=True)
class Weights:
    """Quantized weights, shape (out, in): value = scale * (worth(codes) - zero_point)."""

    codes: Array
    scale: Array
    format: Format
    zero_point: int


def append_dense(
    chain: Chain,
    name: str,
    output: str,
    weights: Weights,
    refuse: Refuse,
    multiplier: str = "exact",
    groups: int = 1,
    taps: int = 1,
) -> None:
    """A matrix product; the scale must be one for each output. groups, taps: of windows, as in GroupedDense."""
    if weights.format.bits > MAX_BITS:
        raise refuse(f"its weights have {weights.format.bits} bits; at most {MAX_BITS} are supported")
    scale = np.broadcast_to(weights.scale, weights.codes.shape)
    if (scale != scale[:, :1]).any():
        raise refuse("its weights have a different scale for each input; one number or one per output is supported")
    per_output = tuple(float(s) for s in scale[:, 0])
    per_output = per_output[:1] if len(set(per_output)) == 1 else per_output
    given = weights.codes, weights.format, per_output, weights.zero_point, multiplier
    dense = GroupedDense(*given, groups=groups, taps=taps) if groups > 1 else Dense(*given)
    chain.append(name, dense, output)
