"""Functions of several tensors, as importers meet them: one function each, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hwgen.frontends import images
from hwgen.frontends.chain import Chain, Refuse
from hwgen.ops import Add, Concat, Multiply


def append_sum(chain: Chain, name: str, output: str, tensors: Sequence[str], refuse: Refuse) -> None:
    """The sum of tensors of one shape; `tensors` are names of the network being read."""
    places = [chain.places[tensor] for tensor in tensors]
    shapes = [place.shape for place in places]
    if len(set(shapes)) > 1 and len({place.layout for place in places}) == 1:
        raise refuse(f"it adds tensors of different shapes: {', '.join(map(str, shapes))}")
    chain.join(name, Add(), output, tensors, refuse)


def append_product(chain: Chain, name: str, output: str, tensors: Sequence[str], refuse: Refuse) -> None:
    """The product of two tensors of one shape; `tensors` are names of the network being read."""
    places = [chain.places[tensor] for tensor in tensors]
    shapes = [place.shape for place in places]
    if len(set(shapes)) > 1 and len({place.layout for place in places}) == 1:
        raise refuse(f"it multiplies tensors of different shapes: {', '.join(map(str, shapes))}")
    chain.join(name, Multiply(), output, tensors, refuse)


def append_concat(chain: Chain, name: str, output: str, tensors: Sequence[str], axis: int, refuse: Refuse) -> None:
    """Tensors side by side along their channels; axis: with the batch's, as the network being read has it."""
    chain.take(tensors[0])
    rank = len(chain.framed) + 1
    if axis % rank == 1 and rank > 2:
        for tensor in dict.fromkeys(tensors):
            chain.take(tensor)
            images.channels_last(chain, refuse)
            chain.keep(tensor)
    elif axis % rank != rank - 1 or chain.layout != "plain":
        raise refuse(f"axis {axis} is not that of the channels")
    chain.join(name, Concat(), output, tensors, refuse)


JoinImporter = Callable[[Chain, str, str, Sequence[str], Sequence[Any], Mapping[str, Any], Refuse], None]


def _sum(
    chain: Chain,
    name: str,
    output: str,
    tensors: Sequence[str],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    refuse: Refuse,
) -> None:
    if kwargs or len(args) != 2:
        raise refuse("it needs two operands and no options")
    append_sum(chain, name, output, tensors, refuse)


def _product(
    chain: Chain,
    name: str,
    output: str,
    tensors: Sequence[str],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    refuse: Refuse,
) -> None:
    if kwargs or len(args) != 2:
        raise refuse("it needs two operands and no options")
    append_product(chain, name, output, tensors, refuse)


def _concat(
    chain: Chain,
    name: str,
    output: str,
    tensors: Sequence[str],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    refuse: Refuse,
) -> None:
    axis = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0))
    append_concat(chain, name, output, tensors, int(axis), refuse)


JOINS: dict[str, JoinImporter] = {
    "add": _sum,
    "add_": _sum,
    "cat": _concat,
    "concat": _concat,
    "concatenate": _concat,
    "iadd": _sum,
    "imul": _product,
    "mul": _product,
}
"""PyTorch's functions and methods of several tensors, by name."""
