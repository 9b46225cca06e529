"""Small graphs of real-valued operations, and what freezing must keep of them."""

from __future__ import annotations

import numpy as np

from hwgen import golden
from hwgen.formats import Format, Int
from hwgen.ir import Graph, Node, Op, TensorType, Value
from hwgen.ops import (
    Affine,
    ArgMax,
    Dense,
    MatVec,
    Requantize,
    Table,
    Thresholds,
)
from hwgen.passes import freeze

RNG = np.random.default_rng(11)


def seed() -> None:
    """Begin the same numbers anew."""
    global RNG
    RNG = np.random.default_rng(11)


U4 = Int(4, is_signed=False)


def affine(mul: object = 1.0, add: object = 0.0, div: object = 1.0) -> Affine:
    return Affine(np.array(mul, dtype=float), np.array(add, dtype=float), np.array(div, dtype=float))


def dense(out: int, inner: int, scale: tuple[float, ...] = (0.25,), fmt: Format | None = None, zero: int = 0) -> Dense:
    fmt = fmt or Int(4, narrow=True)
    low, high = fmt.code_range
    return Dense(RNG.integers(low, high + 1, (out, inner)), fmt, scale, zero)


def graph(*ops: Op, shape: tuple[int, ...] = (6,)) -> Graph:
    nodes, last = [], "x"
    for i, op in enumerate(ops):
        nodes.append(Node(f"{op.kind.lower()}{i}", op, (last,), f"t{i}"))
        last = f"t{i}"
    return Graph("net", (Value("x", TensorType(shape)),), tuple(nodes), (last,))


def reference(g: Graph, x: np.ndarray) -> np.ndarray:
    """The imported graph as it is defined: real-valued operations, one after the other."""
    for node in g.nodes:
        x = node.op.run(x)
    return x


def inputs(g: Graph, frames: int = 300, low: float = -2.0, high: float = 4.0) -> np.ndarray:
    return np.round(RNG.uniform(low, high, (frames, *g.input_type.shape)) * 64) / 64


def same(g: Graph, requantize: str = "auto") -> Graph:
    """Freeze, and check that the frozen graph computes what the imported one does (all scales are powers of two)."""
    frozen = freeze(g, requantize)
    x = inputs(g)
    np.testing.assert_array_equal(golden.predict(frozen, x).reshape(len(x), -1), reference(g, x).reshape(len(x), -1))
    for node in frozen.nodes:
        assert isinstance(node.op, MatVec | Thresholds | Requantize | Table | ArgMax)
    return frozen


def kinds(g: Graph) -> list[str]:
    return [node.op.kind for node in g.nodes]
