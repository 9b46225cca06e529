"""Nearest-neighbour upsampling as torch and ONNX have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwgen.frontends import images
from hwgen.frontends.chain import Chain, Refuse
from hwgen.frontends.constants import Constant
from hwgen.frontends.onnx_file import OnnxNode
from hwgen.ir import Array
from hwgen.ops import Upsample

FLOORS = {
    "asymmetric": ("floor",),
    # Half a pixel is what keeps whole factors from ever rounding up.
    "half_pixel": ("round_prefer_floor", "round_prefer_ceil"),
    "half_pixel_symmetric": ("round_prefer_floor", "round_prefer_ceil"),
}
"""ONNX coordinates, and roundings with which whole factors repeat each pixel."""


def append_upsample(chain: Chain, name: str, output: str, factors: Sequence[float], refuse: Refuse) -> None:
    """Every pixel repeated; `factors`: down and across, or across alone for signals."""
    images.channels_last(chain, refuse)
    whole = [float(factor) for factor in factors]
    if len(whole) != (1 if chain.layout == "signal" else 2):
        raise refuse(f"it has {len(whole)} factors for a tensor of shape {chain.frame}")
    if min(whole) < 1 or any(factor != int(factor) for factor in whole):
        given = ", ".join(f"{factor:g}" for factor in whole)
        raise refuse(f"its factors {given} are not supported; whole numbers of 1 or more are")
    down, across = (1, *map(int, whole)) if len(whole) == 1 else map(int, whole)
    if (down, across) != (1, 1):
        chain.append(name, Upsample((down, across)), output)


def _torch(chain: Chain, name: str, size: Any, factor: Any, mode: str, refuse: Refuse) -> None:
    if mode not in ("nearest", "nearest-exact"):
        raise refuse(f"mode {mode!r} is not supported; nearest is")
    images.channels_last(chain, refuse)
    rank = 1 if chain.layout == "signal" else 2
    if size is not None:
        sizes = [size] * rank if isinstance(size, int) else list(size)
        factors = [wanted / have for wanted, have in zip(sizes, chain.framed[1:], strict=False)]
    else:
        factors = list(factor) if isinstance(factor, Sequence) else [factor] * rank
    append_upsample(chain, name, name, factors, refuse)


def upsample_layer(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    _torch(chain, name, layer.size, layer.scale_factor, str(layer.mode), refuse)


def upsample_function(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    given = {**dict(zip(("input", "size", "scale_factor", "mode"), args, strict=False)), **kwargs}
    _torch(chain, name, given.get("size"), given.get("scale_factor"), str(given.get("mode", "nearest")), refuse)


def upsample_onnx(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    """Upsample, and Resize."""
    mode = str(node.attributes.get("mode", "nearest"))
    if mode != "nearest":
        raise node.refused(f"mode {mode!r} is not supported; nearest is")
    if node.op == "Resize":
        place = str(node.attributes.get("coordinate_transformation_mode", "half_pixel"))
        rounding = str(node.attributes.get("nearest_mode", "round_prefer_floor"))
        if rounding not in FLOORS.get(place, ()):
            raise node.refused(f"coordinates {place!r} rounded by {rounding!r} are not supported: pixels are repeated")
        if node.attributes.get("axes") or node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise node.refused("axes and aspect ratios are not supported; give scales or sizes of all axes")
    by_size = len(given) == 4 and bool(node.inputs[3])
    wanted = given[3] if by_size else given[min(2, len(given) - 1)]
    if wanted is None:
        raise node.refused("its scales or sizes must be constants")
    factors = np.asarray(wanted.value, dtype=np.float64).ravel()
    if by_size:
        if len(factors) != 1 + len(chain.framed):
            raise node.refused(f"it has {len(factors)} sizes for a tensor of shape {chain.frame}")
        factors = np.array([1, *(factors[1:] / chain.framed)])
    if (factors[:2] != 1).any():
        raise node.refused(f"its factors {factors.tolist()} enlarge the batch or the channels")
    append_upsample(chain, node.name, node.outputs[0], factors[2:].tolist(), node.refused)
