"""Convolutions and pooling as importers meet them: channels first, weights (out, in / groups, rows, columns).

The graph has channels last, so that the numbers of a pixel follow each other on a stream.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hwgen.frontends.chain import Chain, Place, Refuse, Weights, append_affine, append_dense
from hwgen.ops import Affine, Pool, Quantize, Relu, Reshape, Transpose, Window
from hwgen.ops.window import Pair

TO_LAST, TO_FIRST = (1, 2, 0), (2, 0, 1)


@dataclass(frozen=True)
class Geometry:
    """How a window slides: each pair is (down, across); padding is (top, left, bottom, right)."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)


def geometry(kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> Geometry:
    """From the numbers of one or two axes; padding is of the low ends, then of the high ends (as ONNX has it)."""
    rank = len(kernel)

    def pair(values: Sequence[int], rest: int) -> Pair:
        down, across = (rest, *values) if rank == 1 else values
        return int(down), int(across)

    top, left = pair(padding[:rank], 0)
    bottom, right = pair(padding[rank:], 0)
    return Geometry(pair(kernel, 1), pair(stride, 1), (top, left, bottom, right), pair(dilation, 1))


def channels_last(chain: Chain, refuse: Refuse) -> None:
    """Make the chain's last tensor an image (rows, columns, channels), if it is not one yet.

    What has been read so far then works on the transposed input, if it treats all numbers alike.
    """
    if chain.layout != "plain":
        return
    if len(chain.shape) not in (2, 3):
        raise refuse(f"it wants images (batch, channels, rows, columns), not a tensor of shape {chain.frame}")
    layout: Literal["image", "signal"] = "image" if len(chain.shape) == 3 else "signal"
    is_first = all(map(_is_alike, chain.nodes)) and all(place.layout == "plain" for place in chain.places.values())
    front = Chain.start(chain.input.name, chain.shape, chain.batch) if is_first else chain
    if layout == "signal":
        # A signal (channels, steps) is an image of one row.
        front.append("rows", Reshape((chain.shape[0], 1, chain.shape[1])), f"{front.tensor}.rows")
    front.append("channels_last", Transpose(TO_LAST), f"{front.tensor}.channels_last")
    if front is not chain:
        # All tensors so far are the image, in one order or the other.
        start = chain.input.name

        def moved(tensor: str) -> str:
            return front.tensor if tensor == start else tensor

        behind = [replace(node, inputs=tuple(map(moved, node.inputs))) for node in chain.nodes]
        chain.tensor = moved(chain.tensor)
        chain.nodes, chain.shape = [*front.nodes, *behind], front.shape
        chain.places = {name: Place(moved(place.tensor), front.shape, layout) for name, place in chain.places.items()}
    chain.layout = layout


def _is_alike(node: object) -> bool:
    op = getattr(node, "op", None)
    if isinstance(op, Affine):
        return len(op.mul) == len(op.add) == len(op.div) == 1
    return isinstance(op, Relu) or (isinstance(op, Quantize) and len(op.scale) == 1)


def append_reshape(chain: Chain, name: str, output: str, shape: tuple[int, ...]) -> None:
    """The tensor's numbers in another shape, in the order that they have with channels first."""
    if chain.layout != "plain":
        if chain.shape[0] * chain.shape[1] != 1 != chain.shape[2]:
            chain.append(f"{name}.channels_first", Transpose(TO_FIRST), f"{output}.channels_first")
        chain.layout = "plain"
    chain.append(name, Reshape(shape), output)


def append_conv(
    chain: Chain,
    name: str,
    output: str,
    weights: Weights,
    slide: Geometry,
    groups: int,
    refuse: Refuse,
    multiplier: str = "exact",
) -> None:
    """A convolution; the codes of `weights` have shape (out, in / groups, kh, kw)."""
    channels_last(chain, refuse)
    out, inner = weights.codes.shape[:2]
    if inner * groups != chain.shape[-1] or out % groups:
        raise refuse(f"weights of shape {weights.codes.shape} in {groups} groups do not fit {chain.shape[-1]} channels")
    window = Window(slide.kernel, slide.stride, slide.padding, slide.dilation)
    # (out, kh, kw, in / groups): the order of a window's numbers.
    codes, scale = (np.moveaxis(np.broadcast_to(a, weights.codes.shape), 1, -1) for a in (weights.codes, weights.scale))
    flat = replace(weights, codes=codes.reshape(out, -1), scale=scale.reshape(out, -1))
    _append_window(chain, name, output, window)
    append_dense(chain, name, output, flat, refuse, multiplier, groups, window.taps)


def _append_window(chain: Chain, name: str, output: str, window: Window) -> None:
    """The window, unless it is each pixel itself."""
    if window.taps > 1 or window.stride != (1, 1) or any(window.padding):
        chain.append(f"{name}.window", window, f"{output}.window")


def append_pool(chain: Chain, name: str, output: str, kind: str, slide: Geometry, refuse: Refuse) -> None:
    """The maximum ("max") or the mean ("mean") of each window."""
    channels_last(chain, refuse)
    taps = math.prod(slide.kernel)
    if kind == "max":
        window = Window(slide.kernel, slide.stride, slide.padding, slide.dilation, "low")
        image = chain.shape[:2]
        _append_window(chain, name, output, window)
        if any(window.padding):
            _check_maxima(window, image, refuse)
        chain.append(name, Pool("max", taps), output)
        return
    append_sum(chain, f"{name}.sum", f"{output}.sum", slide, refuse)
    append_affine(chain, name, output, div=float(taps))


def _check_maxima(window: Window, image: Sequence[int], refuse: Refuse) -> None:
    """Refuse windows of padding alone: there is no greatest of no pixels."""
    for axis, (size, count) in enumerate(zip(image, window.positions(*image), strict=True)):
        starts = np.arange(count) * window.stride[axis] - window.padding[axis]
        pixels = starts[:, None] + np.arange(window.kernel[axis]) * window.dilation[axis]
        if not ((pixels >= 0) & (pixels < size)).any(axis=1).all():
            kernel = "x".join(map(str, window.kernel))
            raise refuse(
                f"padding {window.padding} (top, left, bottom, right) makes windows of {kernel} that hold no pixel of "
                f"the image, and so have no maximum"
            )


def append_sum(chain: Chain, name: str, output: str, slide: Geometry, refuse: Refuse) -> None:
    """The sum of each window."""
    channels_last(chain, refuse)
    if any(slide.padding):
        raise refuse("a mean over padded images is not supported")
    _append_window(chain, name, output, Window(slide.kernel, slide.stride, slide.padding, slide.dilation))
    chain.append(name, Pool("sum", math.prod(slide.kernel)), output)


def append_global_mean(chain: Chain, name: str, output: str, refuse: Refuse) -> None:
    """The mean of each channel over the whole image."""
    channels_last(chain, refuse)
    append_pool(chain, name, output, "mean", Geometry((chain.shape[0], chain.shape[1])), refuse)
