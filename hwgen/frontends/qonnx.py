"""Import QONNX files: ONNX with Quant and BipolarQuant nodes, as Brevitas and others export them.

The network must be a chain. What hwgen cannot carry to hardware is refused by the node's name, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.frontends.chain import BATCH, Chain
from hwgen.frontends.constants import Constant, annotated, annotated_format, fold
from hwgen.frontends.onnx_file import OnnxModel, OnnxNode, read_onnx
from hwgen.frontends.onnx_fuse import fused
from hwgen.frontends.onnx_nodes import IMPORTERS
from hwgen.ir import Graph, Node
from hwgen.ops import Dense, Quantize


def load(path: str | Path) -> Graph:
    """The network in the QONNX file `path`, as a chain of real-valued operations (stage "imported").

    Nodes keep their ONNX names, or get the operation's and a number where they have none. The first axis of the input
    is the batch; all other sizes must be given. Raises HwgenError naming the path if it is no ONNX file, and
    UnsupportedError naming the node for what cannot be carried to hardware.
    """
    model = fused(read_onnx(path))
    reader = Reader(_start(model), _constants(model))
    reader.shapes[reader.chain.tensor] = reader.chain.framed
    for node in _live(model):
        _take(reader, node)
    output = model.outputs[0]
    if output not in reader.shapes:
        raise UnsupportedError(f"output {output!r}: it does not depend on the input")
    _quantize_input(reader.chain, model)
    return reader.chain.graph(model.name)


@dataclass
class Reader:
    """What is known so far: the chain, constant tensors, and the shapes (without batch) of those that vary."""

    chain: Chain
    constants: dict[str, Constant]
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def _start(model: OnnxModel) -> Chain:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        what, names = ("inputs", model.inputs) if len(model.inputs) != 1 else ("outputs", model.outputs)
        raise UnsupportedError(f"the network has {len(names)} {what} ({', '.join(names)}), not one")
    ((name, shape),) = model.inputs.items()
    for axis, size in enumerate(shape[1:], 1):
        if not isinstance(size, int) or size < 1:
            raise UnsupportedError(f"input {name!r}: the size of axis {axis} is {size!r}; only the batch may vary")
    if len(shape) < 2:
        raise UnsupportedError(f"input {name!r}: shape {shape} has no axis behind the batch")
    sizes = tuple(int(size) for size in shape[1:] if size is not None)
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
    return Chain.start(name, sizes, batch)


def _constants(model: OnnxModel) -> dict[str, Constant]:
    constants = {}
    for tensor, value in model.initializers.items():
        fmt = annotated_format(model.quantized.get(tensor, ""))
        constants[tensor] = (annotated(value, fmt) if fmt else None) or Constant(value)
    return constants


def _live(model: OnnxModel) -> list[OnnxNode]:
    """The nodes that the output depends on, in order; raises UnsupportedError where the network branches."""
    needed = set(model.outputs)
    live: list[OnnxNode] = []
    for node in reversed(model.nodes):
        if needed & set(node.outputs):
            live.insert(0, node)
            needed |= set(node.inputs)
    varies = set(model.inputs)
    for node in live:
        # A Shape is known before the network runs; it does not carry what it reads.
        if node.op != "Shape" and varies & set(node.inputs):
            varies |= set(node.outputs) - {""}
    readers: dict[str, list[str]] = {name: ["the output"] for name in model.outputs}
    for node in live:
        for tensor in node.inputs:
            if tensor in varies and node.op != "Shape":
                readers.setdefault(tensor, []).append(repr(node.name))
    for tensor, names in readers.items():
        if len(names) > 1:
            raise UnsupportedError(
                f"tensor {tensor!r} has {len(names)} consumers ({', '.join(names)}): branches are not supported"
            )
    return live


def _take(reader: Reader, node: OnnxNode) -> None:
    """Add one ONNX node to the chain, or fold it."""
    chain, constants, shapes = reader.chain, reader.constants, reader.shapes
    for tensor in node.inputs:
        if tensor and tensor not in constants and tensor not in shapes:
            raise node.refused(f"it reads {tensor!r}, which nothing before it writes")
    given = [constants.get(tensor) for tensor in node.inputs]
    varying = [tensor for tensor in node.inputs if tensor in shapes]
    if node.op == "Shape" and varying:
        value = np.array([BATCH, *shapes[varying[0]]], dtype=np.int64)
        constants[node.outputs[0]] = Constant(value[node.attributes.get("start", 0) : node.attributes.get("end")])
    elif not varying:
        constants[node.outputs[0]] = fold(node, given)
    elif node.op not in IMPORTERS:
        raise node.refused(f"this operation is not supported; known: {', '.join(IMPORTERS)}")
    else:
        # Exactly one input varies, and it is the chain's last tensor: `_live` has refused everything else.
        IMPORTERS[node.op](chain, node, given)
        output = chain.tensor if chain.tensor in node.outputs else node.outputs[0]
        shapes[output] = chain.framed


def _quantize_input(chain: Chain, model: OnnxModel) -> None:
    """Put a quantizer in front if nothing but an annotation of the input says what its codes are."""
    fmt = annotated_format(model.quantized.get(chain.input.name, ""))
    kinds = [type(node.op) for node in chain.nodes if isinstance(node.op, Dense | Quantize)]
    if fmt is not None and kinds[:1] == [Dense]:
        name = f"{chain.input.name}.codes"
        chain.nodes[0] = replace(chain.nodes[0], inputs=(name,))
        chain.nodes.insert(0, Node(f"{chain.input.name}.quantizer", Quantize(fmt), (chain.input.name,), name))
