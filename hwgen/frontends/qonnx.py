"""Import QONNX files: ONNX with Quant and BipolarQuant nodes, as Brevitas and others export them.

What hwgen cannot carry to hardware is refused by the node's name, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.frontends.chain import BATCH, Chain
from hwgen.frontends.constants import Constant, annotated, annotated_format, fold
from hwgen.frontends.joins import DIFFERENCE, append_concat, append_lanewise
from hwgen.frontends.onnx_attributes import check_attributes
from hwgen.frontends.onnx_file import OnnxModel, OnnxNode, read_onnx
from hwgen.frontends.onnx_fuse import fused
from hwgen.frontends.onnx_layout import channels_first
from hwgen.frontends.onnx_nodes import IMPORTERS
from hwgen.ir import Graph, Node
from hwgen.ops import Add, Dense, Multiply, Quantize


def load(path: str | Path) -> Graph:
    """The network in the QONNX file `path`, as a graph of real-valued operations (stage "imported").

    Nodes keep their ONNX names, or get the operation's and a number where they have none. The first axis of the input
    is the batch; all other sizes must be given. Raises HwgenError naming the path if it is no ONNX file, and
    UnsupportedError naming the node for what cannot be carried to hardware.
    """
    model = read_onnx(path)
    for node in model.nodes:
        check_attributes(node)
    model = fused(channels_first(model))
    reader = Reader(_start(model), _constants(model))
    reader.chain.keep(reader.chain.tensor)
    for node in _live(model):
        _take(reader, node)
    output = model.outputs[0]
    if output not in reader.chain.places:
        raise UnsupportedError(f"output {output!r}: it does not depend on the input")
    reader.chain.take(output)
    _quantize_input(reader.chain, model)
    return reader.chain.graph(model.name)


@dataclass
class Reader:
    """What is known so far: the tensors that vary, in `chain.places`, and those that are constant."""

    chain: Chain
    constants: dict[str, Constant]


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
    """The nodes that the output depends on, each behind those that it reads; raises UnsupportedError for a cycle."""
    writers: dict[str, OnnxNode] = {}
    for node in model.nodes:
        for tensor in filter(None, node.outputs):
            if tensor in writers or tensor in model.initializers:
                raise node.refused(f"it writes {tensor!r}, which exists already")
            writers[tensor] = node
    waiting, needed = list(model.outputs), set(model.outputs)
    while waiting:
        writer = writers.get(waiting.pop())
        new = set(writer.inputs) - needed if writer else set()
        needed |= new
        waiting += sorted(new)
    left = [node for node in model.nodes if needed & set(node.outputs)]
    ordered: list[OnnxNode] = []
    while left:
        pending = {tensor for node in left for tensor in node.outputs if tensor}
        ready = [node for node in left if not pending & set(node.inputs)]
        if not ready:
            raise UnsupportedError(f"the graph has a cycle: {_cycle(left)}")
        ordered += ready
        left = [node for node in left if pending & set(node.inputs)]
    return ordered


def _cycle(nodes: Sequence[OnnxNode]) -> str:
    """Nodes that read each other in a circle, among `nodes`, each of which reads another one."""
    writers = {tensor: node for node in nodes for tensor in node.outputs if tensor}
    way = [nodes[0]]
    while True:
        before = next(writers[tensor] for tensor in way[-1].inputs if tensor in writers)
        if before in way:
            circle = [before, *reversed(way[way.index(before) :])]
            return " to ".join(repr(node.name) for node in circle)
        way.append(before)


def _take(reader: Reader, node: OnnxNode) -> None:
    """Add one ONNX node to the network, or fold it."""
    chain, constants = reader.chain, reader.constants
    for tensor in node.inputs:
        if tensor and tensor not in constants and tensor not in chain.places:
            raise node.refused(f"it reads {tensor!r}, which nothing before it writes")
    given = [constants.get(tensor) for tensor in node.inputs]
    varying = [tensor for tensor in node.inputs if tensor in chain.places]
    if varying:
        chain.take(varying[0])
    if node.op == "Shape" and varying:
        value = np.array([BATCH, *chain.framed], dtype=np.int64)
        constants[node.outputs[0]] = Constant(value[node.attributes.get("start", 0) : node.attributes.get("end")])
        return
    if not varying:
        constants[node.outputs[0]] = fold(node, given)
        return
    if len(varying) == 1 and node.op not in IMPORTERS:
        raise node.refused(f"this operation is not supported; known: {', '.join(IMPORTERS)}")
    try:
        if len(varying) > 1:
            _join(chain, node, varying)
        else:
            IMPORTERS[node.op](chain, node, given)
    except UnsupportedError:
        raise
    except HwgenError as error:
        # What an operation itself says of its parameters does not know where they are from.
        raise node.refused(str(error)) from error
    chain.keep(chain.tensor if chain.tensor in node.outputs else node.outputs[0])


JOINED = ("Add", "Concat", "Mul", "Sub", "Sum")
"""Operations that may read several tensors."""


def _join(chain: Chain, node: OnnxNode, tensors: Sequence[str]) -> None:
    if node.op not in JOINED:
        raise node.refused(f"it reads several tensors ({', '.join(tensors)}); those that may: {', '.join(JOINED)}")
    if len(tensors) < len(node.inputs):
        raise node.refused("it reads constants beside several tensors")
    if node.op == "Concat":
        append_concat(chain, node.name, node.outputs[0], tensors, int(node.attributes["axis"]), node.refused)
    else:
        kinds: dict[str, Add | Multiply] = {"Mul": Multiply(), "Sub": DIFFERENCE}
        append_lanewise(kinds.get(node.op, Add()), chain, node.name, node.outputs[0], tensors, node.refused)


def _quantize_input(chain: Chain, model: OnnxModel) -> None:
    """Put a quantizer in front if nothing but an annotation of the input says what its codes are."""
    fmt = annotated_format(model.quantized.get(chain.input.name, ""))
    kinds = [type(node.op) for node in chain.nodes if isinstance(node.op, Dense | Quantize)]
    if fmt is not None and kinds[:1] == [Dense]:
        name = f"{chain.input.name}.codes"
        start = chain.input.name
        chain.nodes = [
            replace(node, inputs=tuple(name if tensor == start else tensor for tensor in node.inputs))
            for node in chain.nodes
        ]
        chain.nodes.insert(0, Node(f"{chain.input.name}.quantizer", Quantize(fmt), (chain.input.name,), name))
