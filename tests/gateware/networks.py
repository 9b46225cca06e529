"""Small frozen networks with random parameters."""

import itertools

import numpy as np

from hwgen import formats, ops
from hwgen.formats import Int
from hwgen.ir import Graph, Node, TensorType, Value


def golden(graph: Graph, codes: np.ndarray) -> np.ndarray:
    """What the layers' own definitions give: codes of shape (frames, output size)."""
    for node in graph.nodes:
        codes = node.op.run(codes)
    return codes.reshape(len(codes), -1)


def mlp(sizes, rng, *, weight="int4n", act="uint4", x="uint4", requantize=False, argmax=True, positions=()) -> Graph:
    """Matrix units of `sizes`, requantized between them by thresholds (or multiply and shift), then argmax."""
    act_format = formats.get(act)
    kind = TensorType((*positions, sizes[0]), formats.get(x))
    value, nodes, tensor = Value("x", kind), [], "x"

    def add(name, op):
        nonlocal kind, tensor
        nodes.append(Node(name, op, (tensor,), f"{name}_out"))
        kind, tensor = op.infer(kind), f"{name}_out"

    for layer, (inner, out) in enumerate(itertools.pairwise(sizes)):
        fmt = formats.get(weight)
        codes = rng.choice(fmt.codes(), (out, inner))
        bias = rng.integers(-20, 20, out)
        add(f"fc.{layer}", ops.MatVec(codes, fmt, bias, input_format=kind.format))
        if layer + 2 == len(sizes):
            break
        low, high = ops.integer_range(kind)
        if requantize:
            shift = max(high.bit_length() - act_format.bits, 0)
            multiplier = rng.integers(1, 8, out)
            assert isinstance(act_format, Int)
            bounds = act_format.min, act_format.max
            add(f"act.{layer}", ops.Requantize(multiplier, [0], [shift + 2], "half_even", *bounds, act_format))
        else:
            first, last = int(act_format.codes()[0]), int(act_format.codes()[-1])
            table = np.sort(rng.integers(low // 3, high // 3 + 1, (out, last - first)), axis=1)
            add(f"act.{layer}", ops.Thresholds(table, first, act_format))
    if argmax:
        add("argmax", ops.ArgMax())
    return Graph("mlp", (value,), tuple(nodes), (tensor,))


def chain(x: TensorType, *steps) -> Graph:
    """A graph of operations one behind the other; nodes are called after their kinds and places: window0, matvec1."""
    kind, nodes, tensor = x, [], "x"
    for place, op in enumerate(steps):
        name = f"{op.kind.lower()}{place}"
        nodes.append(Node(name, op, (tensor,), f"{name}_out"))
        kind, tensor = op.infer(kind), f"{name}_out"
    return Graph("chain", (Value("x", x),), tuple(nodes), (tensor,))


def cnn(x: TensorType, layers, rng) -> Graph:
    """Layers of small networks on images: (out channels, window) or a pool's window; thresholds behind matrix units,
    but for the last."""
    kind, steps = x, []

    def add(op):
        nonlocal kind
        steps.append(op)
        kind = op.infer(kind)

    for place, layer in enumerate(layers):
        out, window = layer if isinstance(layer, tuple) else (None, layer)
        add(window)
        if out is None:
            add(ops.Pool("max", window.taps))
            continue
        add(ops.MatVec(rng.integers(-3, 4, (out, kind.channels)), Int(3), input_format=kind.format))
        if place + 1 < len(layers):
            low, high = ops.integer_range(kind)
            table = np.sort(rng.integers(low // 3, high // 3 + 1, (out, 3)), axis=1)
            add(ops.Thresholds(table, 0, Int(2, is_signed=False)))
    return chain(x, *steps)
