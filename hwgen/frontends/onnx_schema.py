"""What ONNX itself says of a node: the kinds of its attributes, and how many tensors it reads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from hwgen.errors import UnsupportedError

STANDARD = ("", "ai.onnx")

LENIENT = {"FLOAT": ("FLOAT", "INT"), "FLOATS": ("FLOATS", "INTS")}
"""Kinds that are taken for another one: whole numbers are real ones."""

MOST = 2**31 - 1
"""Inputs of a node, as ONNX says that there is no limit."""

QONNX = {"signed": "INT", "narrow": "INT", "rounding_mode": "STRING", "saturation": "INT", "has_subnormal": "INT"}
"""Kinds of the attributes of QONNX's quantizers."""


def check_node(node: Any, name: str, opset: int) -> None:
    """Raises UnsupportedError, with the node's `name`, for a node (an onnx.NodeProto) that ONNX has not.

    Attributes that some version of the operation has are of its kind; those that it must have at `opset` are there,
    and so are as many inputs as it has, and an output. All else is left to whoever reads the node. Operations of other
    domains that are called as those of ONNX are taken for them.
    """
    kinds, required, (least, most) = _schema(node.op_type, opset)
    told = f"node {name!r} ({node.op_type})"
    for attribute in node.attribute:
        kind, wanted = _kind(attribute), kinds.get(attribute.name)
        if wanted and kind not in LENIENT.get(wanted, (wanted,)):
            raise UnsupportedError(f"{told}: its attribute {attribute.name!r} is {kind}, where ONNX has {wanted}")
    for missing in sorted(set(required) - {attribute.name for attribute in node.attribute}):
        raise UnsupportedError(f"{told}: its attribute {missing!r} is missing")
    if not least <= len(node.input) <= most:
        raise UnsupportedError(f"{told}: it reads {len(node.input)} tensors, where ONNX has {least} to {most}")
    if not any(node.output):
        raise UnsupportedError(f"{told}: it writes no tensor")


def _kind(attribute: Any) -> str:
    from onnx import AttributeProto

    return str(AttributeProto.AttributeType.Name(attribute.type))


@lru_cache(maxsize=512)
def _schema(op: str, opset: int) -> tuple[dict[str, str], tuple[str, ...], tuple[int, int]]:
    """(kinds of attributes of all versions, those that must be there at `opset`, inputs at least and at most)."""
    versions = list(_versions(op))
    kinds = {name: one.type.name for schema in reversed(versions) for name, one in schema.attributes.items()}
    if not versions:
        return QONNX, (), (0, MOST)
    # Of an operation that is younger than the file says, the first version.
    here = next((schema for schema in versions if schema.since_version <= opset), versions[-1])
    required = tuple(name for name, one in here.attributes.items() if one.required)
    return kinds, required, (int(here.min_input), int(here.max_input))


def _versions(op: str) -> Iterator[Any]:
    """The schemas of an operation, the newest first; none for one that ONNX does not know."""
    from onnx import defs

    version = defs.onnx_opset_version()
    while version:
        try:
            schema = defs.get_schema(op, version, "")
        except defs.SchemaError:
            return
        yield schema
        version = schema.since_version - 1
