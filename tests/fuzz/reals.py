"""Random networks of real-valued operations, and what freezing must keep of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from hwgen import golden, ops
from hwgen.errors import HwgenError
from hwgen.formats import QONNX_ROUNDING, Bipolar, Blocked, Format, Int
from hwgen.ir import Graph, Node, Op, TensorType, Value
from hwgen.ops.activation import REAL_FUNCTIONS
from hwgen.passes import explain, freeze
from tests.fuzz.draw import window
from tests.fuzz.numbers import Rng, blocks, choice, codes_of, integer, minifloat, sparse

FRAMES = 12
ROUNDINGS = tuple(sorted(set(QONNX_ROUNDING.values())))


class UnkeptError(AssertionError):
    """The frozen graph gives something else, and no tie explains it."""


@dataclass
class Real:
    """A graph of real operations that grows; `kind` is the type of the last tensor, of whose format weights take note.

    exact: all factors are powers of two, so that float64 computes without error.
    """

    rng: Rng
    x: TensorType
    exact: bool
    nodes: list[Node] = field(default_factory=list)
    last: str = "x"
    kind: TensorType = field(default_factory=lambda: TensorType((1,)))

    def __post_init__(self) -> None:
        self.kind = self.x

    @property
    def format(self) -> Format:
        return self.kind.codes_format

    def add(self, op: Op, *tensors: str) -> str:
        """Behind the last tensor, or `tensors`, which are all of the last one's type."""
        self.kind = op.infer(*[self.kind] * max(1, len(tensors)))
        name = f"{op.kind.lower()}{len(self.nodes)}"
        self.nodes.append(Node(name, op, tensors or (self.last,), f"{name}.out"))
        self.last = f"{name}.out"
        return self.last

    def factor(self, count: int = 1, low: int = -4, high: int = 2) -> np.ndarray:
        powers = 2.0 ** self.rng.integers(low, high, count)
        return powers if self.exact else powers * self.rng.uniform(0.6, 1.7, count)

    def quantize(self, fmt: Format | None = None) -> None:
        rng = self.rng
        fmt = fmt or choice(rng, integer(rng), integer(rng, 4), integer(rng, 4), Bipolar(), minifloat(rng))
        zero = int(rng.integers(-2, 3)) if isinstance(fmt, Int) and rng.random() < 0.2 else 0
        rounding = choice(rng, *ROUNDINGS) if isinstance(fmt, Int) else "half_even"
        self.add(ops.Quantize(fmt, (float(self.factor()[0]),), zero, rounding))

    def affine(self) -> None:
        """A batch normalization or a bias; factors below zero and of zero too."""
        rng, channels = self.rng, self.kind.channels
        count = channels if rng.random() < 0.7 else 1
        mul = self.factor(count) * rng.choice([1, 1, -1, 0] if rng.random() < 0.5 else [1], count)
        add = rng.integers(-16, 17, count) / 8 if self.exact else rng.normal(0, 1, count)
        div = np.ones(1) if self.exact or rng.random() < 0.5 else rng.uniform(0.3, 3, count)
        self.add(ops.Affine(mul, add, div))


def weights(net: Real, shape: tuple[int, int]) -> dict:
    rng, x = net.rng, net.kind.format
    fmt = blocks(rng, x.block.size) if isinstance(x, Blocked) and rng.random() < 0.6 else None
    fmt = fmt or choice(rng, integer(rng), integer(rng, 4), Bipolar(), minifloat(rng))
    codes = sparse(codes_of(fmt, shape, rng), fmt, rng)
    zero = int(rng.integers(-2, 3)) if isinstance(fmt, Int) and rng.random() < 0.15 else 0
    scale = tuple(map(float, net.factor(shape[0] if rng.random() < 0.4 else 1)))
    return {"weight": codes, "format": fmt, "scale": scale, "zero_point": zero}


def behind(net: Real) -> None:
    """What stands behind sums up to the next quantizer."""
    rng = net.rng
    if rng.random() < 0.5:
        net.affine()
    kind = rng.random()
    if kind < 0.4:
        net.add(ops.Relu())
    elif kind < 0.55:
        function = choice(rng, *REAL_FUNCTIONS)
        net.add(ops.Activation(function, 0.125 if function in ("leaky_relu", "elu") else 0.0))
    if rng.random() < 0.1 and net.kind.channels % 2 == 0:
        net.quantize(blocks(rng, 2))
    else:
        net.quantize()


def dense(net: Real) -> None:
    out = int(choice(net.rng, 1, 2, 3, 4, 6))
    net.add(ops.Dense(**weights(net, (out, net.kind.channels))))
    behind(net)


def conv(net: Real) -> None:
    rng, channels = net.rng, net.kind.channels
    made = replace(window(net), pad=None)
    net.add(made)
    if rng.random() < 0.4:
        groups = int(choice(rng, *(d for d in range(1, channels + 1) if channels % d == 0)))
        shape = groups * int(rng.integers(1, 3)), made.taps * channels // groups
        net.add(ops.GroupedDense(**weights(net, shape), groups=groups, taps=made.taps))
    else:
        net.add(ops.Dense(**weights(net, (int(rng.integers(1, 5)), net.kind.channels))))
    behind(net)


def pool(net: Real) -> None:
    made = window(net)
    if net.rng.random() < 0.6:
        # No window is padding alone: a maximum of nothing is no number.
        padding = tuple(min(n, k - 1) for n, k in zip(made.padding, made.kernel * 2, strict=True))
        net.add(replace(made, pad=None, fill="low", padding=padding, dilation=(1, 1)))
        net.add(ops.Pool("max", made.taps))
        return
    net.add(replace(made, pad=None, padding=(0, 0, 0, 0)))
    net.add(ops.Pool("sum", made.taps))
    net.add(ops.Affine(np.ones(1), np.zeros(1), np.array([float(made.taps)])))
    behind(net)


def residual(net: Real) -> None:
    """A product beside the tensor itself, summed, multiplied, or side by side behind quantizers of one type."""
    rng, fork, kind = net.rng, net.last, net.kind
    net.add(ops.Dense(**weights(net, (kind.channels, kind.channels))))
    behind(net)
    side = net.last
    how = choice(rng, "add", "add", "multiply", "concat")
    net.kind = kind
    if how == "concat":
        quantizer = ops.Quantize(integer(rng, 5), (float(net.factor()[0]),))
        ends = []
        for tensor in (fork, side):
            net.last = tensor
            ends.append(net.add(quantizer))
        net.add(ops.Concat(), *ends)
        return
    net.add(ops.Add() if how == "add" else ops.Multiply(), *([fork, side] if rng.random() < 0.5 else [side, fork]))
    behind(net)


def flatten(net: Real) -> None:
    net.add(ops.Reshape((net.kind.size,)))


def grow(net: Real) -> None:
    net.add(ops.Upsample((int(net.rng.integers(1, 3)), int(net.rng.integers(1, 3)))))


def graph_of(seed: int) -> tuple[Graph, bool] | None:
    """The imported graph of a seed, and whether all of its numbers are exact; None where nothing suits."""
    rng = np.random.default_rng((seed, 2))
    for _ in range(20):
        image = rng.random() < 0.6
        sides = [int(n) for n in rng.integers(1, 5, 2)] if image else []
        net = Real(rng, TensorType((*sides, int(rng.integers(1, 7)))), bool(rng.random() < 0.6))
        try:
            if rng.random() < 0.2:
                net.affine()
            net.quantize()
            for _ in range(int(rng.integers(1, 4))):
                shaped = [conv, conv, pool, grow, flatten] if len(net.kind.shape) == 3 else []
                made: Callable[[Real], None] = choice(rng, dense, dense, residual, *shaped)
                made(net)
            if rng.random() < 0.4:
                net.add(ops.Dense(**weights(net, (int(rng.integers(1, 5)), net.kind.channels))))
            if rng.random() < 0.15:
                net.add(ops.ArgMax())
        except HwgenError:
            continue
        return Graph("reals", (Value("x", net.x),), tuple(net.nodes), (net.last,)), net.exact
    return None


def check(graph: Graph, seed: int, *, exact: bool) -> Graph:
    """The frozen graph; raises UnkeptError where it gives something else than the imported one, HwgenError refused."""
    frozen = freeze(graph, choice(np.random.default_rng(seed), "auto", "auto", "thresholds", "dyadic"))
    x = np.round(np.random.default_rng((seed, 3)).normal(0, 3, (FRAMES, *graph.input_type.shape)) * 32) / 32
    oracle: dict[str, np.ndarray] = {"x": x}
    for node in graph.nodes:
        oracle[node.output] = node.op.run(*(oracle[tensor] for tensor in node.inputs))
    comparison = explain(graph, frozen, x, golden.trace(frozen, golden.encode(frozen, x)), oracle)
    if comparison.unexplained:
        raise UnkeptError(f"{comparison.unexplained[0]} is no tie")
    if (
        exact
        and comparison.differing
        and all(isinstance(n.op, ops.Quantize | ops.Dense | ops.Relu) for n in graph.nodes)
    ):
        raise UnkeptError(f"frames {comparison.differing} differ, and all numbers are exact")
    same = np.setdiff1d(np.arange(FRAMES), comparison.differing)
    got = golden.predict(frozen, x).reshape(FRAMES, -1)[same]
    want = oracle[graph.outputs[0]].reshape(FRAMES, -1)[same]
    # Argmax compares sums, of which floats may see a tie where there is none.
    if not any(isinstance(node.op, ops.ArgMax) for node in graph.nodes) and not np.allclose(got, want, 1e-9, 1e-9):
        raise UnkeptError(f"outputs differ by {np.abs(got - want).max():g}")
    return frozen


def told(graph: Graph) -> str:
    """The nodes of a graph, one a line."""
    return "\n".join(
        f"  {node.name} <- {', '.join(node.inputs)}: {graph.types[node.output].shape} {_parameters(node.op)}"
        for node in graph.nodes
    )


def _parameters(op: Op) -> str:
    given = {name: value for name, value in vars(op).items() if not isinstance(value, np.ndarray)}
    return ", ".join(f"{name}={getattr(value, 'name', value)}" for name, value in given.items())
