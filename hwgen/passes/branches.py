"""Graphs with branches: the chains that they are made of, and passes over chains taken along all of them.

A chain starts at the graph's input, at a tensor that several nodes read (a fork), or behind a node that reads several
tensors (a join), and ends ahead of the next of these or at the output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Concatenate, ParamSpec

from hwgen.errors import UnsupportedError
from hwgen.ir import Graph, Node, TensorType, Value

P = ParamSpec("P")

Step = Callable[[Graph], Graph]
"""A pass over a graph that is one chain."""

Join = Callable[[Node, tuple[TensorType, ...]], Node]
"""What a pass makes of a node that reads several tensors, from their types."""


@dataclass(frozen=True)
class Chain:
    """Nodes of which each reads what the one before it writes; they start from the tensor `start`."""

    start: str
    nodes: tuple[Node, ...]

    @property
    def end(self) -> str:
        return self.nodes[-1].output


def readers(graph: Graph) -> Counter[str]:
    """How many read each tensor; the graph's output is read once more."""
    return Counter([*graph.outputs, *(tensor for node in graph.nodes for tensor in node.inputs)])


def chains(graph: Graph) -> list[Chain | Node]:
    """The chains and joins of a graph, each behind what it reads."""
    read = readers(graph)
    found: list[Chain | Node] = []
    at: dict[str, int] = {}
    for node in graph.nodes:
        if len(node.inputs) > 1:
            found.append(node)
            continue
        (start,) = node.inputs
        if start in at and read[start] == 1:
            place = at.pop(start)
            before = found[place]
            assert isinstance(before, Chain)
            found[place] = replace(before, nodes=(*before.nodes, node))
        else:
            place = len(found)
            found.append(Chain(start, (node,)))
        at[node.output] = place
    return found


def is_chain(graph: Graph) -> bool:
    """Whether nothing forks or joins."""
    return len(graph.inputs) == 1 and len(chains(graph)) <= 1 and max(readers(graph).values(), default=1) == 1


def along(graph: Graph, step: Step, join: Join | None = None) -> Graph:
    """`graph` with `step` taken along each of its chains, from the input on, and `join` to each of its joins.

    `step` sees a graph of its own for each chain, with what has become of the tensor that it starts from as input.
    """
    if is_chain(graph):
        return step(graph)
    now: dict[str, str] = {}
    types: dict[str, TensorType] = {value.name: value.type for value in graph.inputs}
    nodes: list[Node] = []

    def take(node: Node) -> None:
        types[node.output] = _typed(node, types)
        nodes.append(node)

    for part in chains(graph):
        if isinstance(part, Node):
            made = replace(part, inputs=tuple(now.get(tensor, tensor) for tensor in part.inputs))
            take(join(made, tuple(types[tensor] for tensor in made.inputs)) if join else made)
            continue
        result = step(_alone(graph, part, now.get(part.start, part.start), types))
        for node in result.nodes:
            take(node)
        now[part.end] = result.outputs[0]
    return replace(graph, nodes=tuple(nodes), outputs=tuple(now.get(tensor, tensor) for tensor in graph.outputs))


def _typed(node: Node, types: Mapping[str, TensorType]) -> TensorType:
    # A graph of this node alone: its errors name the node.
    given = tuple(Value(tensor, types[tensor]) for tensor in dict.fromkeys(node.inputs))
    return Graph("", given, (node,), (node.output,)).types[node.output]


def _alone(graph: Graph, part: Chain, start: str, types: Mapping[str, TensorType]) -> Graph:
    nodes = (replace(part.nodes[0], inputs=(start,)), *part.nodes[1:])
    return Graph(graph.name, (Value(start, types[start]),), nodes, (part.end,))


def first(graph: Graph, step: Step) -> Graph:
    """`graph` with `step` taken along the chain at its input, which may move nodes to the host and the input with it.

    Raises UnsupportedError where the input itself forks.
    """
    if is_chain(graph):
        return step(graph)
    (start,) = (value.name for value in graph.inputs)
    part = next((one for one in chains(graph) if isinstance(one, Chain) and one.start == start), None)
    if part is None or readers(graph)[start] > 1:
        names = ", ".join(repr(node.name) for node in graph.consumers(start))
        raise UnsupportedError(f"input {start!r} is read by {names}: it forks ahead of the first quantizer")
    ahead = step(replace(graph, nodes=part.nodes, outputs=(part.end,)))
    taken = {node.name for node in part.nodes}
    renamed = {part.end: ahead.outputs[0]}
    behind = [_reading(node, renamed) for node in graph.nodes if node.name not in taken]
    outputs = tuple(renamed.get(tensor, tensor) for tensor in graph.outputs)
    return replace(ahead, nodes=(*ahead.nodes, *behind), outputs=outputs)


def last(graph: Graph, step: Step) -> Graph:
    """`graph` with `step` taken along the chain that ends at its output, which may move nodes to the host.

    Where a join writes the output, the chain has no nodes.
    """
    if is_chain(graph):
        return step(graph)
    (end,) = graph.outputs
    part = next((one for one in chains(graph) if isinstance(one, Chain) and one.end == end), None)
    part = part if part and readers(graph)[end] == 1 else Chain(end, ())
    alone = replace(graph, inputs=(Value(part.start, graph.types[part.start]),), nodes=part.nodes)
    behind = step(alone)
    taken = {node.name for node in part.nodes}
    ahead = [node for node in graph.nodes if node.name not in taken]
    return replace(behind, inputs=graph.inputs, nodes=(*ahead, *behind.nodes))


def _reading(node: Node, renamed: Mapping[str, str]) -> Node:
    return replace(node, inputs=tuple(renamed.get(tensor, tensor) for tensor in node.inputs))


def each_chain(step: Callable[Concatenate[Graph, P], Graph]) -> Callable[Concatenate[Graph, P], Graph]:
    """The pass `step` over one chain as a pass over a graph with branches: see `along`."""

    @wraps(step)
    def lifted(graph: Graph, /, *args: P.args, **kwargs: P.kwargs) -> Graph:
        return along(graph, lambda part: step(part, *args, **kwargs))

    return lifted


def first_chain(step: Step) -> Step:
    """The pass `step` over one chain as a pass over the chain at the input: see `first`."""

    @wraps(step)
    def lifted(graph: Graph, /) -> Graph:
        return first(graph, step)

    return lifted


def last_chain(step: Step) -> Step:
    """The pass `step` over one chain as a pass over the chain at the output: see `last`."""

    @wraps(step)
    def lifted(graph: Graph, /) -> Graph:
        return last(graph, step)

    return lifted
