"""Move reshapes and rectifiers to where they cost nothing: ahead of the quantizer, at last to the host.

A reshape commutes with everything element-wise that treats all channels alike, and with a matrix product that keeps
the last axis. A ReLU behind a quantizer equals the same ReLU ahead of it: rounding is monotonic and keeps 0.
"""

from __future__ import annotations

from dataclasses import replace

from hwgen.formats import Bipolar, Blocked, Int
from hwgen.ir import Graph, Node, Op
from hwgen.ops import Activation, Affine, Dense, Quantize, Relu, Reshape, Slice
from hwgen.passes.branches import each_chain, readers
from hwgen.passes.chain import chain, read_type, rebuilt, refused


@each_chain
def reorder(graph: Graph) -> Graph:
    """The same function with reshapes and ReLUs as early as they go; stage "imported" in and out.

    Raises UnsupportedError for a ReLU on bipolar codes, or on codes whose zero point lies outside their range.
    """
    return rebuilt(graph, _relus(_reshapes(graph)))


def copy_over_forks(graph: Graph) -> Graph:
    """The same function with the real element-wise operations ahead of a fork on each of its branches instead.

    There the quantizers and matrix products of the branch absorb them.
    """
    while True:
        read = readers(graph)
        ahead = (
            n for n in graph.nodes if isinstance(n.op, Activation | Affine | Relu) and n.output not in graph.outputs
        )
        node = next((n for n in ahead if read[n.output] > 1), None)
        if node is None:
            return graph
        nodes: list[Node] = []
        copies = 0
        for one in graph.nodes:
            if one is node:
                continue
            inputs = []
            for tensor in one.inputs:
                if tensor == node.output:
                    nodes.append(replace(node, name=f"{node.name}.{copies}", output=f"{node.output}.{copies}"))
                    tensor, copies = nodes[-1].output, copies + 1
                inputs.append(tensor)
            nodes.append(replace(one, inputs=tuple(inputs)))
        graph = replace(graph, nodes=tuple(nodes))


@each_chain
def order_slices(graph: Graph) -> Graph:
    """The same function with slices ahead of real element-wise operations, so that quantizers meet what they absorb."""
    done: list[Node] = []
    for node in chain(graph):
        done.append(node)
        place = len(done) - 1
        while (
            place and isinstance(done[place].op, Slice) and isinstance(done[place - 1].op, Activation | Affine | Relu)
        ):
            before, one = done[place - 1 : place + 1]
            assert isinstance(one.op, Slice)
            # A tensor keeps the name of its last step.
            done[place - 1] = replace(one, output=f"{one.output}.early")
            done[place] = replace(before, op=_sliced(before.op, one.op), output=one.output)
            place -= 1
    return rebuilt(graph, done)


def _sliced(op: Op, taken: Slice) -> Op:
    """An element-wise operation on the channels that are taken."""
    if not isinstance(op, Affine):
        return op
    parts = (part if len(part) == 1 else taken.run(part) for part in (op.mul, op.add, op.div))
    return Affine(*parts)


def _reshapes(graph: Graph) -> list[Node]:
    nodes = chain(graph)
    read = {node.name: read_type(graph, node).shape for node in nodes}
    wrote = {node.name: graph.types[node.output].shape for node in nodes}
    done: list[Node] = []
    for node in nodes:
        place = len(done)
        if isinstance(node.op, Reshape):
            shape, shapes = node.op.shape, {}
            while place and (before := _ahead(done[place - 1], shape, wrote, read)) is not None:
                place -= 1
                shapes[done[place].name] = shape, before
                shape = before
            joins = place > 0 and isinstance(done[place - 1].op, Reshape)
            if place and not joins:
                # Something on the way wants the shape as it is: on codes the reshape costs nothing either.
                while place < len(done) and not isinstance(done[place - 1].op, Quantize):
                    place += 1
                shape = shapes[done[place].name][1] if place < len(done) else node.op.shape
            for moved in done[place:]:
                if moved.name in shapes:
                    wrote[moved.name], read[moved.name] = shapes[moved.name]
            if joins:
                place -= 1
                del done[place]
            node = replace(node, op=Reshape(shape))
        done.insert(place, node)
    return _behind_quantizers(done)


def _behind_quantizers(nodes: list[Node]) -> list[Node]:
    """Reshapes in the middle of a network moved on, behind element-wise operations, to codes."""
    done: list[Node] = []
    waiting: list[Node] = []
    for node in nodes:
        op = node.op
        alike = isinstance(op, Activation | Relu) or (
            isinstance(op, Affine) and len(op.mul) == len(op.add) == len(op.div) == 1
        )
        alike = alike or (isinstance(op, Quantize) and len(op.scale) == 1 and not isinstance(op.format, Blocked))
        if isinstance(op, Reshape) and done and not isinstance(done[-1].op, Quantize):
            waiting.append(node)
        elif waiting and not alike:
            done, waiting = [*done, *waiting, node], []
        else:
            done.append(node)
            if isinstance(op, Quantize):
                done, waiting = [*done, *waiting], []
    return [*done, *waiting]


def _ahead(
    node: Node, shape: tuple[int, ...], wrote: dict[str, tuple[int, ...]], read: dict[str, tuple[int, ...]]
) -> tuple[int, ...] | None:
    """The shape that a reshape to `shape` takes on when it moves ahead of `node`, or None where it may not."""
    op = node.op
    keeps_channels = shape[-1:] == wrote[node.name][-1:]
    if isinstance(op, Activation | Relu) or (isinstance(op, Quantize) and (len(op.scale) == 1 or keeps_channels)):
        return shape
    if isinstance(op, Affine) and (keeps_channels or len(op.mul) == len(op.add) == len(op.div) == 1):
        return shape
    if isinstance(op, Dense) and keeps_channels:
        return (*shape[:-1], read[node.name][-1])
    return None


def _relus(nodes: list[Node]) -> list[Node]:
    done: list[Node] = []
    for node in nodes:
        done.append(node)
        place = len(done) - 1
        while isinstance(done[place].op, Relu) and place and isinstance(done[place - 1].op, Quantize):
            quantizer, relu = done[place - 1], done[place]
            _check_keeps_zero(relu, quantizer)
            # Outputs stay in place: the quantizer now writes what the ReLU wrote.
            done[place - 1] = replace(relu, output=quantizer.output)
            done[place] = replace(quantizer, output=relu.output)
            place -= 1
    return done


def _check_keeps_zero(relu: Node, quantizer: Node) -> None:
    op = quantizer.op
    assert isinstance(op, Quantize)
    if isinstance(op.format, Bipolar):
        raise refused(relu, f"a ReLU behind the bipolar quantizer {quantizer.name!r} is not supported")
    if not (isinstance(op.format, Int) and op.format.min <= op.zero_point <= op.format.max):
        raise refused(relu, f"the zero point {op.zero_point} of {quantizer.name!r} has no code in {op.format.name}")
