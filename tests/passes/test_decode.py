"""Codes that are no integers ahead of means, maxima and further quantizers: decoded, with nothing lost."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import UnsupportedError
from hwgen.formats import Bipolar, Format, Int, scalar
from hwgen.ir import Graph, Node, TensorType, Value
from hwgen.ops import Affine, Decode, Dense, Op, Pool, Quantize, Window
from hwgen.passes import explain, freeze
from hwgen.passes.verify import verify
from tests.passes.test_blocks import narrow

MX = narrow("mxint8", -4, 3, 4)
WINDOW, MEAN = Window((2, 2), (2, 2)), (Pool("sum", 4), Affine(np.ones(1), np.zeros(1), np.full(1, 4.0)))
AGAIN = Affine(np.array([1.0, -0.5, 2.0, 0.25]), np.linspace(-1, 1, 4))
BEHIND = Quantize(Int(6), (0.125,))

NETWORKS: dict[str, tuple[Format, tuple[Op, ...]]] = {
    "mean of e4m3": (scalar("e4m3"), (WINDOW, *MEAN)),
    "mean of signs": (Bipolar(), (WINDOW, *MEAN)),
    "mean of blocks": (MX, (WINDOW, *MEAN)),
    "maximum of blocks": (MX, (WINDOW, Pool("max", 4))),
    "blocks again": (MX, (AGAIN,)),
    "wide floats again": (scalar("e2m6b1"), (AGAIN,)),
}


def network(fmt: Format, between: tuple[Op, ...], last: Quantize) -> Graph:
    weight = np.random.default_rng(2).integers(-7, 8, (3, 4))
    nodes, tensor = [], "x"
    for index, op in enumerate((Quantize(fmt), *between, last, Dense(weight, Int(4), (0.5,)))):
        nodes.append(Node(f"n{index}", op, (tensor,), f"t{index}"))
        tensor = f"t{index}"
    return Graph("net", (Value("x", TensorType((4, 4, 4))),), tuple(nodes), (tensor,))


@pytest.mark.parametrize("name", NETWORKS)
def test_codes_are_decoded_where_integers_are_wanted(name: str) -> None:
    fmt, between = NETWORKS[name]
    for last in (BEHIND, Quantize(narrow("mxfp4", -4, 3, 4))):
        graph = network(fmt, between, last)
        frozen = freeze(graph)
        assert sum(isinstance(node.op, Decode) for node in frozen.nodes) == 1
        x = np.random.default_rng(0).normal(0, 2, (20, 4, 4, 4))
        value, oracle = x, {}
        for node in graph.nodes:
            value = oracle[node.output] = node.op.run(value)
        codes = golden.trace(frozen, golden.input_codes(frozen, x))
        np.testing.assert_array_equal(golden.predict(frozen, x), value)
        assert explain(graph, frozen, x, codes, oracle).differing == ()
    wrong = {**oracle, f"t{len(between) + 1}": oracle[f"t{len(between) + 1}"] + 1.0}
    assert explain(graph, frozen, x, codes, wrong).unexplained


def test_frozen_graphs_pool_codes_that_can_be() -> None:
    nodes = (Node("pool", Pool("sum", 4), ("x",), "y"),)
    graph = Graph("net", (Value("x", TensorType((16,), MX)),), nodes, ("y",))
    with pytest.raises(UnsupportedError, match=r"node 'pool' .*: it reads or writes numbers that are not integer"):
        verify(graph, "frozen")
