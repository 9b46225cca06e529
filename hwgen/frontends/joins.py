"""Functions of several tensors, as importers meet them: one function each, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from hwgen.frontends.chain import Chain, Refuse
from hwgen.frontends.slices import on_channels
from hwgen.ops import Add, Concat, Multiply, Reshape, Upsample

VERBS = {Add: "adds", Multiply: "multiplies"}


def append_lanewise(
    op: Add | Multiply, chain: Chain, name: str, output: str, tensors: Sequence[str], refuse: Refuse
) -> None:
    """The sum or product of tensors of one shape, or of images and one pixel for all of theirs; `tensors` are names of
    the network being read."""
    places = [chain.places[tensor] for tensor in tensors]
    images = [place.shape for place in places if place.layout == "image"]
    if images:
        rows, columns = (max(shape[axis] for shape in images) for axis in (0, 1))
        names = [f"{name}.{number}" for number in range(len(tensors))]
        for tensor, spread in zip(tensors, names, strict=True):
            _spread(chain, tensor, spread, (rows, columns))
        tensors = names
        places = [chain.places[tensor] for tensor in tensors]
    shapes = [place.shape for place in places]
    if len(set(shapes)) > 1 and len({place.layout for place in places}) == 1:
        raise refuse(f"it {VERBS[type(op)]} tensors of different shapes: {', '.join(map(str, shapes))}")
    chain.join(name, op, output, tensors, refuse)


def _spread(chain: Chain, tensor: str, name: str, size: tuple[int, int]) -> None:
    """Keep `tensor` as `name`, as an image of `size` (rows, columns) if it is one pixel, whatever its layout."""
    chain.take(tensor)
    if chain.layout == "plain" and chain.shape[1:] == (1, 1):
        chain.append(f"{name}.pixel", Reshape((1, 1, chain.shape[0])), f"{name}.pixel")
        chain.layout = "image"
    if chain.layout == "image" and chain.shape[:2] == (1, 1) != size:
        chain.append(f"{name}.spread", Upsample(size), f"{name}.spread")
    chain.keep(name)


def append_concat(chain: Chain, name: str, output: str, tensors: Sequence[str], axis: int, refuse: Refuse) -> None:
    """Tensors side by side along their channels; axis: with the batch's, as the network being read has it."""
    for tensor in dict.fromkeys(tensors):
        chain.take(tensor)
        on_channels(chain, axis, refuse)
        chain.keep(tensor)
    chain.join(name, Concat(), output, tensors, refuse)


JoinImporter = Callable[[Chain, str, str, Sequence[str], Sequence[Any], Mapping[str, Any], Refuse], None]


def _lanewise(
    op: Add | Multiply,
    chain: Chain,
    name: str,
    output: str,
    tensors: Sequence[str],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    refuse: Refuse,
) -> None:
    options = dict(kwargs)
    if isinstance(op, Add):
        # torch.add and torch.sub take a factor of the second operand.
        weight = float(options.pop("alpha", 1.0)) * (op.weights[1] if op.weights else 1.0)
        op = Add(weights=(1.0, weight)) if weight != 1.0 else Add()
    if options or len(args) != 2:
        raise refuse("it needs two operands and no options")
    append_lanewise(op, chain, name, output, tensors, refuse)


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


DIFFERENCE = Add(weights=(1.0, -1.0))

JOINS: dict[str, JoinImporter] = {
    **dict.fromkeys(("add", "add_", "iadd"), partial(_lanewise, Add())),
    **dict.fromkeys(("isub", "sub", "sub_", "subtract"), partial(_lanewise, DIFFERENCE)),
    **dict.fromkeys(("imul", "mul", "mul_", "multiply"), partial(_lanewise, Multiply())),
    **dict.fromkeys(("cat", "concat", "concatenate"), _concat),
}
"""PyTorch's functions and methods of several tensors, by name."""
