"""A frozen graph as the ONNX file that FINN builds from: integers only, thresholds as they are.

MatMul on integer weights, MultiThreshold on integer thresholds and Im2Col, the operations that FINN itself comes to
after importing and streamlining a QONNX network of float scales. So nothing is left for it to round.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Codes, Fixed, Format, Int
from hwgen.formats.grid import ladder
from hwgen.ir import Graph, Node, Op, TensorType
from hwgen.ops import MatVec, Pool, Requantize, Reshape, Thresholds, Window, integer_range

QONNX = "qonnx.custom_op.general"

EXACT = 1 << 24
"""FINN computes with float32, which holds the integers below this."""

MAX_STEPS = 255
"""Thresholds of one channel that are emitted: those of 8 bits."""


@dataclass
class _Model:
    """What an ONNX file is made of, while it is made."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    values: list[onnx.ValueInfoProto] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)

    def tensor(self, name: str) -> str:
        """The tensor that stands for `name`: what only changes its shape has none of its own."""
        return self.same.get(name, name)

    def constant(self, name: str, values: npt.NDArray[np.int64], kind: str) -> str:
        if int(np.abs(values).max()) >= EXACT:
            raise HwgenError(f"FINN holds numbers as float32, and {int(np.abs(values).max())} has more than 24 bits")
        self.constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        self.kinds[name] = kind
        return name

    def value(self, name: str, shape: tuple[int, ...], kind: str) -> None:
        self.values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, *shape)))
        self.kinds[name] = kind


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """The ONNX model of a frozen chain, with FINN's names of integer types on every tensor.

    Biases behind the last matrix unit stay out of it (`last_bias`): FINN leaves such an addition to the host.
    Raises UnsupportedError naming the node for operations and formats that FINN's RTL does not carry.
    """
    check(graph)
    made = _Model()
    leading = list(itertools.takewhile(lambda node: isinstance(node.op, Reshape), graph.nodes))
    # FINN's input has the shape that its first node reads: the stream of codes is the same.
    start = graph.types[leading[-1].output] if leading else graph.input_type
    made.value(graph.inputs[0].name, start.shape, _kind(start.codes_format))
    made.same.update((node.output, graph.inputs[0].name) for node in leading)
    pending: Codes | None = None
    for node in graph.nodes[len(leading) :]:
        try:
            pending = _add(made, graph, node, pending)
        except HwgenError as error:
            raise UnsupportedError(f"node {node.name!r} ({node.op.kind}): {error}") from error
    return _model(graph, made)


def _add(made: _Model, graph: Graph, node: Node, pending: Codes | None) -> Codes | None:
    """Add a node; `pending` and the result are a bias that thresholds behind a matrix unit have to take in."""
    op, x, y = node.op, graph.types[node.inputs[0]], graph.types[node.output]
    if isinstance(op, Thresholds | Requantize):
        _multithreshold(made, node, x, *thresholds(op, x), pending)
    elif is_skipped(op) or (isinstance(op, Reshape) and node is graph.nodes[-1]):
        made.same[node.output] = made.tensor(node.inputs[0])
        return pending
    elif pending is not None and pending.any():
        raise HwgenError("FINN's matrix unit has no bias, and thresholds that take one in must come right behind it")
    elif isinstance(op, MatVec):
        _matvec(made, node, op)
        # Without its bias a sum has another range.
        made.value(node.output, y.shape, _name(*_sums(op, x)))
        return op.bias
    elif isinstance(op, Reshape):
        made.nodes.append(helper.make_node("Flatten", [made.tensor(node.inputs[0])], [node.output], name=node.name))
    elif isinstance(op, Window):
        pool = pool_behind(graph, node)
        if pool is not None:
            _max_pool(made, node, op, pool)
            return None
        _window(made, node, op, x)
    made.value(node.output, y.shape, _kind(y.codes_format))
    return None


def pool_behind(graph: Graph, window: Node) -> Node | None:
    """The pool that takes the windows of a node, if one does."""
    return next((node for node in graph.consumers(window.output) if isinstance(node.op, Pool)), None)


def check(graph: Graph) -> None:
    """Raises UnsupportedError naming the first node that FINN's RTL cannot carry, HwgenError for no frozen chain."""
    if not graph.is_frozen:
        raise HwgenError(f"graph {graph.name!r} is not frozen: FINN gets integers only (hwgen.freeze)")
    last = graph.inputs[0].name
    if not graph.nodes:
        raise HwgenError(f"graph {graph.name!r} has no layers to give to FINN")
    for node in graph.nodes:
        if node.inputs != (last,):
            raise UnsupportedError(f"node {node.name!r} reads {node.inputs}, not {last!r}: only chains go to FINN")
        last = node.output
        try:
            ends = node is graph.nodes[0], node is graph.nodes[-1]
            _check_node(node, graph.types[node.inputs[0]], graph.types[node.output], *ends)
        except HwgenError as error:
            raise UnsupportedError(f"node {node.name!r} ({node.op.kind}): {error}") from error


def _check_node(node: Node, x: TensorType, y: TensorType, is_first: bool, is_last: bool) -> None:
    op = node.op
    for kind in (x, y):
        if not isinstance(kind.codes_format, Int | Fixed):
            raise HwgenError(f"FINN carries integers, not {kind.codes_format.name}, which it would drop without a word")
    if isinstance(op, MatVec):
        _check_matvec(op, x, is_last)
    elif isinstance(op, Window):
        if any(op.padding) and op.pad != 0:
            raise HwgenError(f"FINN pads images with code 0, not with {op.pad}")
    elif isinstance(op, Pool):
        if op.reduce != "max":
            raise HwgenError("FINN gets no sums over windows, only maxima")
    elif isinstance(op, Reshape):
        if len(y.shape) > 1 and not is_first and not is_last:
            raise HwgenError(f"FINN flattens images inside a network, and makes nothing else of them: not {y.shape}")
    elif not isinstance(op, Thresholds | Requantize):
        raise HwgenError("FINN has no RTL for this operation; what it has is HLS, which needs Vitis")


def _check_matvec(op: MatVec, x: TensorType, is_last: bool) -> None:
    if type(op) is not MatVec:
        raise HwgenError("FINN has no RTL for products in groups, and for those by channel on Versal only")
    if not isinstance(op.weight_format, Int | Fixed):
        raise HwgenError(
            f"FINN carries integer weights, not {op.weight_format.name}, which it would drop without a word"
        )
    if op.multiplier != "exact":
        raise HwgenError(f"FINN multiplies exactly, not by {op.multiplier}")
    bits = x.codes_format.bits
    if bits < 2:
        raise HwgenError("FINN's RTL matrix unit takes activations of 2 bits or more; fewer are HLS, for Vitis")
    # FINN takes the narrowest type for the weights that there are, which has a sign only where they have, and is
    # bipolar for -1 and 0.
    least, greatest = int(op.worth.min()), int(op.worth.max())
    if least >= 0 or (least, greatest) == (-1, 0):
        raise HwgenError(
            f"FINN's RTL matrix unit takes signed weights, and those from {least} to {greatest} are none to FINN"
        )
    # The narrowest accumulator too, in whole bytes at the end; its RTL refuses one that is too narrow for a product of
    # both types.
    signed = x.codes_format.code_range[0] < 0
    weight = Int.holding(least, greatest).width
    sums = Int.holding(*_finn_sums(op, bits, signed)).width
    sums = -(-sums // 8) * 8 if is_last else sums
    if sums < weight + bits - signed:
        raise HwgenError(
            f"FINN makes the accumulator {sums} bits wide, and its RTL wants the {weight + bits - signed} bits of any "
            f"product of weights of {weight} bits and activations of {bits}"
        )


def _finn_sums(op: MatVec, bits: int, signed: bool) -> tuple[int, int]:
    """(least, greatest) sum as FINN has it: of all codes that the bits of the input have."""
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    ends = np.multiply.outer(np.array([low, high]), op.worth)
    return min(-1, int(ends.min(axis=0).sum(axis=1).min())), int(ends.max(axis=0).sum(axis=1).max())


def last_bias(graph: Graph) -> Codes:
    """What is added to the sums behind FINN's last node, by output channel: zeros, unless that is a matrix unit."""
    op = last_node(graph).op
    return np.array(op.bias) if isinstance(op, MatVec) else np.zeros(1, dtype=np.int64)


def last_node(graph: Graph) -> Node:
    """The last node that is more than a change of shape."""
    return next(node for node in reversed(graph.nodes) if not isinstance(node.op, Reshape))


def _sums(op: MatVec, x: TensorType) -> tuple[int, int]:
    """(least, greatest) sum without bias, zero among them."""
    low, high = op.product_range(x)
    return min(0, int(low.sum(axis=1).min())), max(0, int(high.sum(axis=1).max()))


def _matvec(made: _Model, node: Node, op: MatVec) -> None:
    worth = np.array(op.worth)
    # Signed, of two bits or more: what FINN's RTL matrix unit takes.
    bits = max(2, Int.holding(min(int(worth.min()), -1), int(worth.max())).width)
    weight = made.constant(f"{node.name}_weight", worth.T, f"INT{bits}")
    made.nodes.append(helper.make_node("MatMul", [made.tensor(node.inputs[0]), weight], [node.output], name=node.name))


def _max_pool(made: _Model, node: Node, op: Window, pool: Node) -> None:
    if any(k < stride for k, stride in zip(op.kernel, op.stride, strict=True)) or op.dilation != (1, 1):
        raise HwgenError(
            f"FINN pools windows that leave out no pixel, not of {op.kernel} by steps of {op.stride}, "
            f"dilation {op.dilation}"
        )
    top, left, bottom, right = op.padding
    if (top, left) != (bottom, right):
        raise HwgenError(f"FINN pads images for pools evenly, not by {op.padding}")
    made.nodes.append(
        helper.make_node(
            "MaxPoolNHWC",
            [made.tensor(node.inputs[0])],
            [pool.output],
            name=pool.name,
            domain=QONNX,
            kernel_shape=list(op.kernel),
            strides=list(op.stride),
            pads=list(op.padding),
        )
    )


def _window(made: _Model, node: Node, op: Window, x: TensorType) -> None:
    # qonnx has (top, left, bottom, right) too.
    made.nodes.append(
        helper.make_node(
            "Im2Col",
            [made.tensor(node.inputs[0])],
            [node.output],
            name=node.name,
            domain=QONNX,
            kernel_size=list(op.kernel),
            stride=list(op.stride),
            pad_amount=list(op.padding),
            dilations=list(op.dilation),
            input_shape=str((1, *x.shape)),
            depthwise=0,
            pad_value=0,
        )
    )


def thresholds(op: Thresholds | Requantize, x: TensorType) -> tuple[Codes, int, Int | Fixed]:
    """Thresholds (channels or 1, steps), the code below all of them, and the format of the codes.

    Those of `Requantize` are found by bisection, for it never decreases: exact for every input of type `x`.
    """
    assert isinstance(op.format, Int | Fixed)
    if isinstance(op, Thresholds):
        return np.array(op.thresholds), int(op.first), op.format
    if (op.multiplier < 0).any():
        raise HwgenError("FINN's thresholds rise, and behind a multiplier below 0 codes fall")
    low, high = integer_range(x)
    ends = op.run(np.repeat(np.array([[low], [high]]), x.channels, axis=1))
    first, steps = int(ends[0].min()), int(ends[1].max() - ends[0].min())
    if not 1 <= steps <= MAX_STEPS:
        raise HwgenError(f"FINN's thresholds make up to {MAX_STEPS} steps, and this makes {steps}")
    wanted = first + 1 + np.arange(steps)
    found = np.empty((x.channels, steps), dtype=np.int64)
    for step, code in enumerate(wanted):
        # The least input whose code is at least `code`: above `under`, not above `reached`.
        under, reached = np.full(x.channels, low - 1), np.full(x.channels, high + 1)
        while (reached - under > 1).any():
            middle = (under + reached) // 2
            enough = op.run(middle[None])[0] >= code
            reached, under = np.where(enough, middle, reached), np.where(enough, under, middle)
        found[:, step] = reached
    return found, first, op.format


def _multithreshold(
    made: _Model, node: Node, x: TensorType, table: Codes, first: int, fmt: Int | Fixed, bias: Codes | None
) -> None:
    """A MultiThreshold that gives all codes from the format's least one on; a bias ahead of it is taken in."""
    if table.shape[1] > MAX_STEPS:
        raise HwgenError(f"FINN's thresholds make up to {MAX_STEPS} steps, and these make {table.shape[1]}")
    moved = table if bias is None else table - bias[:, None]
    low, high = integer_range(x)
    if bias is not None:
        low, high = low - int(bias.max()), high - int(bias.min())
    codes = ladder(fmt)
    before = int(first - codes[0])
    after = int(codes[-1] - first) - table.shape[1]
    # FINN counts from the type's least code, and gives a type of all its codes: steps that always or never count
    # fill up.
    full = np.pad(moved, ((0, 0), (before, 0)), constant_values=low)
    full = np.pad(full, ((0, 0), (0, after)), constant_values=high + 1)
    least, greatest = min(int(full.min()), -1), int(full.max())
    kind = made.constant(f"{node.name}_thresholds", full, _name(least, greatest))
    made.nodes.append(
        helper.make_node(
            "MultiThreshold",
            [made.tensor(node.inputs[0]), kind],
            [node.output],
            name=node.name,
            domain=QONNX,
            out_dtype=_kind(fmt),
            out_bias=float(codes[0]),
            out_scale=1.0,
            data_layout="NHWC" if len(x.shape) == 3 else "NC",
        )
    )


def _kind(fmt: Format) -> str:
    """FINN's name of the integer type whose codes those of `fmt` are."""
    signed = fmt.code_range[0] < 0
    return f"{'INT' if signed else 'UINT'}{fmt.bits}"


def _name(low: int, high: int) -> str:
    return f"{'INT' if low < 0 else 'UINT'}{Int.holding(low, high).width}"


def _model(graph: Graph, made: _Model) -> onnx.ModelProto:
    tensors = {value.name: value for value in made.values}
    start, end = graph.inputs[0].name, made.tensor(graph.outputs[0])
    inner = [value for name, value in tensors.items() if name not in (start, end)]
    body = helper.make_graph(made.nodes, "hwgen", [tensors[start]], [tensors[end]], made.constants, value_info=inner)
    for name, kind in made.kinds.items():
        notes = {"finn_datatype": kind}
        if name in tensors and len(tensors[name].type.tensor_type.shape.dim) == 4:
            # FINN takes images for channels first where nothing is said.
            notes["tensor_layout"] = str(["N", "H", "W", "C"])
        entries = [onnx.StringStringEntryProto(key=key, value=value) for key, value in notes.items()]
        body.quantization_annotation.append(
            onnx.TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=entries)
        )
    imports = [helper.make_opsetid("", 13), helper.make_opsetid(QONNX, 1)]
    model = helper.make_model(body, opset_imports=imports, producer_name="hwgen")
    # qonnx 1.0 runs on an onnxruntime that reads IR versions up to 13; this one is old enough for all.
    model.ir_version = 9
    return model


def is_skipped(op: Op) -> bool:
    """Whether a node is none of FINN's: windows of one pixel leave everything as it is."""
    return isinstance(op, Window) and op.taps == 1 and op.stride == (1, 1) and not any(op.padding)
