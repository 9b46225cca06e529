"""Differences from a float run: what counts as a tie and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Int
from hwgen.ir import Graph, Node, Op, TensorType, Value
from hwgen.ops import Affine, Dense, Quantize, Relu
from hwgen.passes import explain, freeze

U4 = Int(4, is_signed=False)
X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def network(*ops: Op) -> Graph:
    nodes, last = [], "x"
    for i, op in enumerate(ops):
        nodes.append(Node(f"n{i}", op, (last,), f"t{i}"))
        last = f"t{i}"
    return Graph("net", (Value("x", TensorType((2,))),), tuple(nodes), (last,))


def run(graph: Graph, requantize: str = "auto", ulps: float = 16.0, **changed: tuple[int, int, float]):  # type: ignore[no-untyped-def]
    """Compare the frozen graph with its own definition, in which some numbers (frame, channel, value) are replaced."""
    frozen = freeze(graph, requantize)
    oracle, value = {}, X
    for node in graph.nodes:
        value = node.op.run(value)
        if node.output in changed:
            frame, channel, number = changed[node.output]
            value = value.copy()
            value[frame, channel] = number
        oracle[node.output] = value
    return explain(graph, frozen, X, golden.trace(frozen, golden.encode(frozen, X)), oracle, ulps)


WEIGHT = np.array([[1, 0], [0, 1]])
# Sums 1..6, halved: odd ones lie on a boundary of round-half-even.
TIES = network(Quantize(U4), Dense(WEIGHT, Int(2)), Quantize(U4, (2.0,)), Dense(WEIGHT, Int(2)))


def test_equal_runs_have_nothing_to_explain() -> None:
    comparison = run(TIES)
    assert (comparison.frames, comparison.differing, comparison.ties) == (3, (), ())


def test_a_number_on_a_boundary_is_a_tie_and_what_follows_is_not_counted() -> None:
    # 1 / 2 rounds to 0; a float run that errs upwards has 1, worth 2, and so other sums behind.
    comparison = run(TIES, t2=(0, 0, 2.0))
    assert comparison.differing == (0,)
    (tie,) = comparison.ties
    assert (tie.frame, tie.node, tie.channel, tie.code, tie.oracle_code) == (0, "n2", 0, 0, 1)
    assert tie.distance == 0.0
    assert tie.proven
    assert comparison.unexplained == ()
    assert comparison.by_node() == {"n2": 1}


def test_a_number_off_the_boundary_is_not() -> None:
    # 4 / 2 is 2, half a step from either boundary.
    comparison = run(TIES, t2=(1, 1, 6.0))
    (tie,) = comparison.unexplained
    assert (tie.frame, tie.node, tie.channel, tie.code, tie.oracle_code) == (1, "n2", 1, 2, 3)
    assert tie.distance == 0.5
    assert tie.bound < 1e-4
    assert not tie.proven


def test_two_steps_away_is_never_a_tie() -> None:
    (tie,) = run(TIES, t2=(0, 0, 4.0)).unexplained
    assert tie.distance == 1.0


def test_the_input_quantizer_is_compared_too() -> None:
    graph = network(Affine(np.array([0.5]), np.zeros(1)), Quantize(U4), Dense(WEIGHT, Int(2)))
    (tie,) = run(graph, t1=(0, 0, 1.0)).ties
    assert (tie.node, tie.proven, tie.distance) == ("input", True, 0.0)
    (tie,) = run(graph, t1=(0, 1, 2.0)).ties
    assert (tie.node, tie.proven) == ("input", False)


def test_bipolar_ties_lie_at_zero() -> None:
    graph = network(
        Quantize(U4), Dense(WEIGHT, Int(2)), Affine(np.ones(1), np.array([-1.0])), Relu(), Quantize(Bipolar())
    )
    (tie,) = run(graph, t4=(0, 0, -1.0)).ties
    assert (tie.code, tie.oracle_code, tie.proven) == (1, 0, True)


def test_a_dyadic_scale_may_err_by_its_own_bound() -> None:
    graph = network(Quantize(U4), Dense(WEIGHT, Int(2), (0.1,)), Quantize(Int(12), (0.2 * (1 - 2.0**-32),)))
    # 1 * 0.1 / (0.2 - tiny) lies above 1/2 by less than the 31-bit multiplier can tell.
    comparison = run(graph, "dyadic", ulps=0.0)
    assert {(tie.code, tie.oracle_code, tie.proven) for tie in comparison.ties} >= {(0, 1, True)}
    assert comparison.unexplained == ()


def test_last_sums_are_exact_in_float32() -> None:
    (tie,) = run(TIES, t3=(2, 0, 20.0)).ties
    assert (tie.node, tie.proven) == ("n3", False)


def test_a_missing_tensor_is_named() -> None:
    frozen = freeze(TIES)
    with pytest.raises(HwgenError, match="the float run gives no tensor 't0' to compare with"):
        explain(TIES, frozen, X, golden.trace(frozen, golden.encode(frozen, X)), {})
