"""What a torch network ends in: softmax, argmax and topk along the channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hwgen.frontends.chain import Chain, Refuse
from hwgen.ir import Array, Op
from hwgen.ops import ArgMax, Softmax, TopK


def softmax_layer(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    _append_on_channels(chain, name, Softmax(), layer.dim, refuse)


def _append_on_channels(chain: Chain, name: str, op: Op, axis: int | None, refuse: Refuse) -> None:
    if axis not in (-1, len(chain.shape)) or chain.layout != "plain":
        raise refuse(f"axis {axis} is not the last axis")
    chain.append(name, op, name)


def softmax_function(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    _append_on_channels(chain, name, Softmax(), args[1] if len(args) > 1 else kwargs.get("dim"), refuse)


def argmax_function(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    _append_on_channels(chain, name, ArgMax(), args[1] if len(args) > 1 else kwargs.get("dim"), refuse)


def topk_function(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    """The indices, until `take_of_topk` says otherwise. PyTorch orders equal numbers as it likes; here as ONNX."""
    given = {**dict(zip(("input", "k", "dim", "largest", "sorted"), args, strict=False)), **kwargs}
    if not given.get("largest", True):
        raise refuse("the least numbers are not supported; the greatest are")
    _append_on_channels(chain, name, TopK(int(given["k"])), int(given.get("dim", -1)), refuse)


PARTS = {0: "codes", "values": "codes", 1: "indices", "indices": "indices"}
"""What a pair from topk is asked for: by place, or by name."""


def take_of_topk(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    """Numbers or indices of a topk; `args`: its traced node, and the part."""
    node = chain.nodes[-1] if chain.nodes else None
    if node is None or not isinstance(node.op, TopK) or args[1] not in PARTS:
        raise refuse(f"it takes part {args[1]!r} of a tensor; of topk, 0 and 1 are supported")
    if len(args[0].users) > 1:
        raise refuse("both the greatest numbers and their indices are used; one of them is supported")
    give: Any = PARTS[args[1]]
    chain.nodes[-1] = replace(node, op=TopK(node.op.k, give))
