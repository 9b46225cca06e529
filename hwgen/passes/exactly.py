"""What one number of a chain of operations is, exactly: in fractions, from the codes that the chain starts from."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from hwgen.formats import Codes
from hwgen.ir import Node, TensorType
from hwgen.ops import Activation, Affine, Pool, Quantize, Relu, Reshape, Upsample, Window
from hwgen.passes.chain import refused
from hwgen.passes.curve import enclosure


def exactly(nodes: Sequence[Node], types: Sequence[TensorType], codes: Codes, place: int) -> Fraction:
    """Number `place` (row-major) of what the last of `nodes` gives, before rounding if that is a quantizer.

    types: what each node reads. codes: of one frame, of type types[0] (all integers).
    Functions that are no rational number are so to 40 digits.
    Raises UnsupportedError naming a node that has no exact result.
    """
    if not nodes:
        kind = types[0]
        scale = kind.scale[place % len(kind.scale)]
        return Fraction(scale) * (Fraction(float(kind.codes_format.decode(codes.reshape(-1)[place]))) - kind.zero_point)
    node, x = nodes[-1], types[len(nodes) - 1]
    op = node.op

    def before(at: int) -> Fraction:
        return exactly(nodes[:-1], types, codes, at)

    if isinstance(op, Affine):
        mul, div, add = (Fraction(float(a[place % len(a)])) for a in (op.mul, op.div, op.add))
        return before(place) * mul / div + add
    if isinstance(op, Relu):
        return max(before(place), Fraction(0))
    if isinstance(op, Activation):
        low, high = enclosure(op, before(place))
        return (low + high) / 2
    if isinstance(op, Reshape):
        return before(place)
    if isinstance(op, Quantize):
        return before(place) / Fraction(float(op.scale[place % len(op.scale)])) + op.zero_point
    if isinstance(op, Pool):
        channels = x.channels // op.taps
        position, channel = divmod(place, channels)
        taps = [position * x.channels + tap * channels + channel for tap in range(op.taps)]
        if op.reduce == "sum":
            return sum((before(at) for at in taps), Fraction(0))
        # Padding that no number is less than has no place.
        inside = [at for at in taps if _source(nodes[-2], types[len(nodes) - 2], at) is not None]
        return max(before(at) for at in inside)
    if isinstance(op, Upsample):
        return before(_repeated(op, x, place))
    if isinstance(op, Window):
        source = _source(node, x, place)
        return Fraction(0) if source is None else before(source)
    raise refused(node, "its result is not known exactly")


def _repeated(op: Upsample, x: TensorType, place: int) -> int:
    """The number that stands at `place` of the larger image."""
    down, across = op.factors
    row, column, channel = (int(n) for n in np.unravel_index(place, op.infer(x).shape))
    return int(np.ravel_multi_index((row // down, column // across, channel), x.shape))


def _source(node: Node, x: TensorType, place: int) -> int | None:
    """The number that a window took to `place`; None for padding."""
    op = node.op
    if not isinstance(op, Window):
        return place
    rows, columns, channels = x.shape
    _, across = op.positions(rows, columns)
    position, within = divmod(place, op.taps * channels)
    tap, channel = divmod(within, channels)
    top, left, _, _ = op.padding
    row = position // across * op.stride[0] + tap // op.kernel[1] * op.dilation[0] - top
    column = position % across * op.stride[1] + tap % op.kernel[1] * op.dilation[1] - left
    if not (0 <= row < rows and 0 <= column < columns):
        return None
    return int(np.ravel_multi_index((row, column, channel), x.shape))
