"""Attributes of ONNX nodes that no operation has, or that contradict each other: refused before anything is read."""

from __future__ import annotations

from functools import cache

from hwgen.frontends.onnx_file import OnnxNode

FLAGS = {
    "IntQuant": ("signed", "narrow"),
    "Quant": ("signed", "narrow"),
    "FloatQuant": ("has_inf", "has_nan", "has_subnormal", "saturation"),
    "BipolarQuant": (),
}
"""What is 0 or 1 in quantizers, of whichever domain; beside these they have a rounding mode."""

WINDOWS = ("Conv", "MaxPool", "AveragePool")


def check_attributes(node: OnnxNode) -> None:
    """Raise UnsupportedError, naming the node, for an attribute or a value that its operation does not have."""
    known = _known(node)
    for name in node.attributes:
        if known is not None and name not in known:
            raise node.refused(f"it has an attribute {name!r}, which is not known; known: {', '.join(known) or 'none'}")
    for name in FLAGS.get(node.op, ()):
        value = node.attributes.get(name, 0)
        if value not in (0, 1):
            raise node.refused(f"{name} is 0 or 1, not {value}")
    if node.op in WINDOWS:
        _check_window(node)
    permutation = node.attributes.get("perm", ())
    if node.op == "Transpose" and sorted(permutation) != list(range(len(permutation))):
        raise node.refused(f"perm must name every axis once, not {list(permutation)}")


def _check_window(node: OnnxNode) -> None:
    """The lengths of what a window says for each axis agree."""
    sizes = {
        name: len(node.attributes[name]) / (2 if name == "pads" else 1)
        for name in ("kernel_shape", "strides", "dilations", "pads")
        if name in node.attributes
    }
    if len(set(sizes.values())) > 1 or any(size % 1 for size in sizes.values()):
        shown = ", ".join(f"{name}={list(node.attributes[name])}" for name in sizes)
        raise node.refused(f"what it says of its window is not for the same number of axes: {shown}")


def _known(node: OnnxNode) -> tuple[str, ...] | None:
    """The attributes that a quantizer or an operation of ONNX itself has; None for other operations."""
    if node.op in FLAGS:
        return (*FLAGS[node.op], "rounding_mode")
    return _standard(node.op) if node.domain in ("", "ai.onnx") else None


@cache
def _standard(op: str) -> tuple[str, ...] | None:
    """The attributes that ONNX' own operation has in any version; None for an operation that is not its own."""
    from onnx import defs

    versions = [schema for schema in defs.get_all_schemas_with_history() if schema.name == op and not schema.domain]
    return tuple(sorted({name for schema in versions for name in schema.attributes})) if versions else None
