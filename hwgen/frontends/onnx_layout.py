"""Channels-last operations of QONNX files, as the channels-first ones of ONNX between transposes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hwgen.frontends.onnx_file import OnnxModel, OnnxNode

DOMAIN = "qonnx.custom_op.channels_last"
"""Where Conv, MaxPool and BatchNormalization have the channels last, in images, signals and weights of Conv."""

WINDOWS = ("Conv", "MaxPool")
"""What has transposes put around it; a batch norm is read as it is."""

ALONE = {"MaxPoolNHWC": "MaxPool"}
"""Operations of any domain that say so by their names, and what they are called in ONNX."""


def channels_first(model: OnnxModel) -> OnnxModel:
    """`model` with every channels-last window between transposes, of which those that cancel out are gone.

    Raises UnsupportedError for one that does not say how large it is.
    """
    taken = {name for node in model.nodes for name in (*node.inputs, *node.outputs)}

    def fresh(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    nodes = [part for node in model.nodes for part in (_between(node, fresh) if _is_last(node) else (node,))]
    return replace(model, nodes=tuple(_cancelled(nodes)))


def _is_last(node: OnnxNode) -> bool:
    return (node.domain == DOMAIN and node.op in WINDOWS) or node.op in ALONE


def _between(node: OnnxNode, fresh: Callable[[str], str]) -> tuple[OnnxNode, ...]:
    if "kernel_shape" not in node.attributes:
        raise node.refused("it has no kernel_shape")
    rank = len(node.attributes["kernel_shape"]) + 2
    to_first, to_last = (0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)
    count = 2 if node.op == "Conv" else 1
    inputs = [fresh(f"{tensor}.first") for tensor in node.inputs[:count]]
    output = fresh(f"{node.outputs[0]}.first")
    before = [
        OnnxNode(f"{node.name}.first{i}", "Transpose", "", (given,), (made,), {"perm": to_first})
        for i, (given, made) in enumerate(zip(node.inputs, inputs, strict=False))
    ]
    op = ALONE.get(node.op, node.op)
    own = replace(node, op=op, domain="", inputs=(*inputs, *node.inputs[count:]), outputs=(output,))
    return (
        *before,
        own,
        OnnxNode(f"{node.name}.last", "Transpose", "", (output,), node.outputs[:1], {"perm": to_last}),
    )


def _cancelled(nodes: list[OnnxNode]) -> list[OnnxNode]:
    """Transposes that undo the one before them become Identity."""
    before = {node.outputs[0]: node for node in nodes if node.op == "Transpose" and "perm" in node.attributes}

    def simpler(node: OnnxNode) -> OnnxNode:
        first = before.get(node.inputs[0]) if node.op == "Transpose" and "perm" in node.attributes else None
        if first is None:
            return node
        order, undone = list(first.attributes["perm"]), list(node.attributes["perm"])
        if len(order) != len(undone) or [order[i] for i in undone] != list(range(len(order))):
            return node
        return replace(node, op="Identity", inputs=first.inputs, attributes={})

    return [simpler(node) for node in nodes]
