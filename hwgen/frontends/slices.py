"""Splits and slices along the channels, as networks being read have them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwgen.frontends import images
from hwgen.frontends.chain import Chain, Refuse
from hwgen.frontends.constants import Constant
from hwgen.frontends.onnx_file import OnnxNode
from hwgen.ops import Slice


def on_channels(chain: Chain, axis: int, refuse: Refuse) -> None:
    """Check that `axis`, counted with the batch as the network being read has it, is that of the channels; images get
    them last."""
    rank = len(chain.framed) + 1
    if axis % rank == 1 and rank > 2:
        images.channels_last(chain, refuse)
    elif axis % rank != rank - 1 or chain.layout != "plain":
        raise refuse(f"axis {axis} is not that of the channels")


def append_split(
    chain: Chain, name: str, outputs: Sequence[str], sizes: Sequence[int], axis: int, refuse: Refuse
) -> None:
    """A tensor for each of `sizes`, one behind the other along the channels. What was at hand stays so."""
    on_channels(chain, axis, refuse)
    if sum(sizes) != chain.shape[-1] or min(sizes) < 1:
        raise refuse(f"parts of {list(sizes)} channels do not make {chain.shape[-1]}")
    whole = f"{name}.whole"
    chain.keep(whole)
    for number, (stop, size) in enumerate(zip(itertools.accumulate(sizes), sizes, strict=True)):
        chain.take(whole)
        chain.append(f"{name}.{number}", Slice(stop - size, stop), outputs[number])
        chain.keep(outputs[number])
    chain.take(whole)


def append_slice(
    chain: Chain, name: str, output: str, start: int | None, stop: int | None, axis: int, refuse: Refuse
) -> None:
    """The channels from `start` to `stop`, as Python has them: from the end where negative, None for all."""
    on_channels(chain, axis, refuse)
    first, last, _ = slice(start, stop).indices(chain.shape[-1])
    if first >= last:
        raise refuse(f"it takes no channel of {chain.shape[-1]}: {start} to {stop}")
    chain.append(name, Slice(first, last), output)


def _parts(name: str, count: int) -> list[str]:
    return [f"{name}.{number}" for number in range(count)]


def split_function(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    """torch.split: parts of one size, the last perhaps smaller, or of given sizes."""
    given = {**dict(zip(("tensor", "sizes", "dim"), args, strict=False)), **kwargs}
    on_channels(chain, given.get("dim", 0), refuse)
    wanted = given.get("sizes", given.get("split_size_or_sections", given.get("split_size")))
    sizes: list[int] = _equal(chain.shape[-1], wanted) if isinstance(wanted, int) else list(wanted or ())
    append_split(chain, name, _parts(name, len(sizes)), sizes, _channels_axis(chain), refuse)


def chunk_function(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    """torch.chunk: as many parts of one size, the last perhaps smaller."""
    given = {**dict(zip(("input", "chunks", "dim"), args, strict=False)), **kwargs}
    on_channels(chain, given.get("dim", 0), refuse)
    sizes = _equal(chain.shape[-1], math.ceil(chain.shape[-1] / given["chunks"]))
    append_split(chain, name, _parts(name, len(sizes)), sizes, _channels_axis(chain), refuse)


def _channels_axis(chain: Chain) -> int:
    return -1 if chain.layout == "plain" else 1


def _equal(total: int, size: int) -> list[int]:
    """Parts of `size`, and of what is left."""
    return [min(size, total - start) for start in range(0, total, size)]


def take_part(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> bool:
    """Part `args[1]` of what `args[0]`, a traced node, is: of a split, or some channels. False: of something else."""
    node, index = args
    if isinstance(index, int) and f"{node.name}.0" in chain.places:
        count = next(n for n in itertools.count() if f"{node.name}.{n}" not in chain.places)
        if not -count <= index < count:
            raise refuse(f"it takes part {index} of {count}")
        chain.take(f"{node.name}.{index % count}")
        return True
    cuts = index if isinstance(index, tuple | list) else (index,)
    rank = len(chain.framed) + 1
    if Ellipsis in cuts:
        place = list(cuts).index(Ellipsis)
        cuts = (*cuts[:place], *[slice(None)] * (rank - len(cuts) + 1), *cuts[place + 1 :])
    if len(cuts) > rank or not all(isinstance(cut, slice) for cut in cuts):
        return False
    axes = [axis for axis, cut in enumerate(cuts) if cut not in (slice(None), slice(0, None))]
    if not axes:
        return True
    cut = cuts[axes[0]]
    if len(axes) > 1 or cut.step not in (None, 1):
        raise refuse("slices along one axis, the channels', with step 1 are supported")
    append_slice(chain, name, name, cut.start, cut.stop, axes[0], refuse)
    return True


def split_onnx(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    """Split, with its sizes as an attribute (before opset 13) or an input, or into equal parts."""
    axis, count = int(node.attributes.get("axis", 0)), len(node.outputs)
    on_channels(chain, axis, node.refused)
    if len(given) > 1 and given[1] is not None:
        sizes = [int(n) for n in np.atleast_1d(given[1].value)]
    else:
        equal = _equal(chain.shape[-1], math.ceil(chain.shape[-1] / count))
        sizes = [int(n) for n in node.attributes.get("split", equal)]
    if len(sizes) != count:
        raise node.refused(f"{len(sizes)} parts for {count} outputs")
    append_split(chain, node.name, node.outputs, sizes, _channels_axis(chain), node.refused)
    chain.take(node.outputs[0])


def slice_onnx(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    """Slice, with its bounds as attributes (before opset 10) or inputs."""
    names = ("starts", "ends", "axes", "steps")
    inputs = {name: np.atleast_1d(one.value) for name, one in zip(names, given[1:], strict=False) if one is not None}
    bounds = {**node.attributes, **inputs}
    starts, ends = ([int(n) for n in bounds[name]] for name in names[:2])
    axes = [int(n) for n in bounds.get("axes", range(len(starts)))]
    if len(starts) != 1 or [int(n) for n in bounds.get("steps", [1])] != [1]:
        raise node.refused("slices along one axis, the channels', with step 1 are supported")
    append_slice(chain, node.name, node.outputs[0], starts[0], ends[0], axes[0], node.refused)
