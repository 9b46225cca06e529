"""Axes that come, go and change places, and pooling by functions, as networks being read have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwgen.frontends import images
from hwgen.frontends.arithmetic import FunctionImporter
from hwgen.frontends.chain import Chain, Refuse
from hwgen.ops import Reshape


def append_squeeze(
    chain: Chain, name: str, output: str, axes: Sequence[int], refuse: Refuse, *, grows: bool = False
) -> None:
    """Axes of size 1 dropped, or put in where it `grows`; axes: counted with the batch."""
    rank = 1 + len(chain.framed) + (len(axes) if grows else 0)
    places = {axis % rank for axis in axes}
    if not places or 0 in places:
        raise refuse(f"axes {list(axes)} must name axes behind the batch")
    if grows:
        sizes = iter(chain.framed)
        shape = tuple(1 if i in places else next(sizes) for i in range(1, rank))
    else:
        shape = tuple(n for i, n in enumerate(chain.framed, 1) if i not in places)
    images.append_reshape(chain, name, output, shape)


def append_transpose(chain: Chain, name: str, output: str, order: Sequence[int], refuse: Refuse) -> None:
    """The axes in another order, counted with the batch."""
    sizes, order = chain.framed, list(order)
    if order == [0, 2, 3, 1] and (chain.layout == "image" or sizes[0] != 1):
        # To channels last, which is what the chain has behind its first operation on images.
        images.channels_last(chain, refuse)
        chain.layout = "plain"
        return
    if order == [0, 3, 1, 2] and chain.layout == "plain":
        # To channels first: the network's own images have them last.
        chain.layout = "image"
        return
    if order == [0, 2, 1] and chain.layout == "signal":
        # A signal is an image of one row.
        chain.layout = "plain"
        chain.append(name, Reshape(chain.shape[1:]), output)
        return
    if order == [0, 2, 1] and sizes[0] != 1:
        chain.append(name, Reshape((1, *chain.shape)), output)
        chain.layout = "signal"
        return
    moved = [i for i in order[1:] if sizes[i - 1] != 1]
    if order[0] != 0 or moved != sorted(moved):
        raise refuse(f"it permutes the axes of a tensor {order}; only moving axes of size 1 is supported")
    images.append_reshape(chain, name, output, tuple(sizes[i - 1] for i in order[1:]))


def _squeeze(grows: bool) -> FunctionImporter:
    def importer(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
        axes = args[1] if len(args) > 1 else kwargs.get("dim", ())
        append_squeeze(chain, name, name, [axes] if isinstance(axes, int) else axes, refuse, grows=grows)

    return importer


def _permute(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    order = args[1] if len(args) == 2 else args[1:] or kwargs.get("dims", ())
    rank = len(chain.framed) + 1
    append_transpose(chain, name, name, [int(axis) % rank for axis in order], refuse)


def _transpose(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    given = {**dict(zip(("input", "dim0", "dim1"), args, strict=False)), **kwargs}
    order = list(range(len(chain.framed) + 1))
    one, other = given["dim0"] % len(order), given["dim1"] % len(order)
    order[one], order[other] = order[other], order[one]
    append_transpose(chain, name, name, order, refuse)


def pair(value: Any) -> tuple[int, int]:
    """(down, across) of what torch takes as one number for both, or two."""
    down, across = (value, value) if isinstance(value, int) else (value[0], value[-1])
    return int(down), int(across)


POOL_OPTIONS = {
    "max": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "mean": ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
}
"""The arguments of torch's functions in order."""


def _pool(kind: str) -> FunctionImporter:
    def importer(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
        given = {**dict(zip(POOL_OPTIONS[kind], args, strict=False)), **kwargs}
        for option in ("ceil_mode", "return_indices", "divisor_override"):
            if given.get(option):
                raise refuse(f"{option} is not supported")
        kernel, padding = pair(given["kernel_size"]), pair(given.get("padding", 0))
        stride = pair(given.get("stride") or kernel)
        slide = images.geometry(kernel, stride, [*padding, *padding], pair(given.get("dilation", 1)))
        images.append_pool(chain, name, name, kind, slide, refuse)

    return importer


def _global_mean(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    """adaptive_avg_pool2d to one pixel."""
    size = args[1] if len(args) > 1 else kwargs.get("output_size")
    if pair(size) != (1, 1):
        raise refuse(f"an output of {size} is not supported; 1 is")
    images.append_global_mean(chain, name, name, refuse)


def _mean(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    """The mean over all rows and columns."""
    given = {**dict(zip(("input", "dim", "keepdim"), args, strict=False)), **kwargs}
    dim, rank = given.get("dim"), len(chain.framed) + 1
    axes = [dim] if isinstance(dim, int) else dim or []
    if rank < 3 or sorted(axis % rank for axis in axes) != list(range(2, rank)):
        raise refuse(f"it takes the mean over the axes {axes}; only over all rows and columns is supported")
    images.append_global_mean(chain, name, name, refuse)
    if not given.get("keepdim", False):
        images.append_reshape(chain, f"{name}.vector", f"{name}.vector", chain.shape[-1:])


SHAPES: dict[str, FunctionImporter] = {
    "adaptive_avg_pool2d": _global_mean,
    "avg_pool2d": _pool("mean"),
    "max_pool2d": _pool("max"),
    "mean": _mean,
    "permute": _permute,
    "squeeze": _squeeze(grows=False),
    "transpose": _transpose,
    "unsqueeze": _squeeze(grows=True),
}
"""torch's functions and methods, by name."""
