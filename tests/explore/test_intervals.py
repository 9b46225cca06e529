"""The interval that a folding is chosen for is that of the gateware, whatever is slowest in it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hwgen import gateware, ops
from hwgen.errors import HwgenError
from hwgen.explore.folding import given, least_cost
from hwgen.explore.options import tables
from hwgen.explore.solve import solve, weigh
from hwgen.formats import Int
from hwgen.ir import Fold, Graph, Op, TensorType
from tests.explore.networks import window
from tests.gateware.networks import chain, mlp
from tests.gateware.test_branches import Net

RNG = np.random.default_rng(11)
INT4 = Int(4, is_signed=False)


def dense(out: int, inner: int) -> ops.MatVec:
    return ops.MatVec(RNG.integers(-3, 4, (out, inner)), Int(3))


def thresholds(channels: int, count: int = 3) -> ops.Thresholds:
    return ops.Thresholds(np.sort(RNG.integers(1, 16, (channels, count)), axis=1), 0, Int(2, is_signed=False))


def vector(size: int) -> TensorType:
    return TensorType((size,), INT4)


def pooled() -> Graph:
    """Images as one window each, which takes no gateware, and its sum."""
    return chain(TensorType((6, 6, 2), INT4), window(6), ops.Pool("sum", 36), dense(4, 2))


def forked(join: str, *before: Op) -> Graph:
    """An input of 6 numbers that forks behind `before`, if anything, and meets: at once, or behind a matrix unit."""
    net = Net(vector(6), RNG)
    tensor = "x"
    for number, op in enumerate(before):
        tensor = net.add(f"before{number}", op, tensor)  # type: ignore[no-untyped-call]
    size = net.types[tensor].channels
    sides = [net.steps(name, tensor) for name in ("left", "right")]  # type: ignore[no-untyped-call]
    if join == "sum of sums":
        sides = [net.dense(f"{side}.fc", side, size) for side in sides]  # type: ignore[no-untyped-call]
    tensor = net.sum("sum", *sides)  # type: ignore[no-untyped-call]
    if join == "sum, then a matrix":
        tensor = net.dense("fc", tensor, 4)  # type: ignore[no-untyped-call]
    graph = net.graph(tensor)  # type: ignore[no-untyped-call]
    assert isinstance(graph, Graph)
    return graph


# What is slowest at its fastest, by network.
NETWORKS: dict[str, tuple[Graph, str]] = {
    "top-k": (
        chain(vector(4), dense(8, 4), ops.TopK(2)),
        "node 'topk1' takes 8 clocks a frame on 1 lane, so an interval of 7 is out of reach; the nearest is 8",
    ),
    "top-k behind upsampling": (
        chain(TensorType((2, 3, 4), INT4), dense(6, 4), ops.Upsample((2, 2)), ops.TopK(1)),
        "node 'topk2' takes 144 clocks a frame on 1 lane, so an interval of 143",
    ),
    "a pool of the whole input": (
        pooled(),
        "takes 36 clocks a frame on 2 lanes, so an interval of 35 is out of reach; the nearest is 36",
    ),
    "thresholds alone": (
        chain(vector(6), thresholds(6)),
        "node 'thresholds0' takes 6 clocks a frame on 1 lane, so an interval of 5",
    ),
    "a slice": (
        chain(vector(6), thresholds(6), ops.Slice(1, 3), dense(3, 2)),
        "takes 6 clocks a frame on 1 lane, so an interval of 5",
    ),
    "argmax": (
        mlp((4, 8), RNG),
        "node 'fc.0' takes 1 clocks a frame fully unrolled (PE=8, SIMD=4), so an interval of 0",
    ),
    "an input that forks": (forked("sum"), "takes 6 clocks a frame on 1 lane, so an interval of 5"),
    "matrices behind a fork": (forked("sum of sums"), "takes 1 clocks a frame"),
    "a matrix behind a fork and a join": (forked("sum, then a matrix"), "takes 1 clocks a frame"),
    "a fork behind a slice": (
        forked("sum of sums", ops.Slice(1, 2)),
        "node 'before0' takes 6 clocks a frame on 1 lane, so an interval of 5",
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_interval_of_a_choice_is_that_of_the_gateware(name: str) -> None:
    graph, _ = NETWORKS[name]
    known = tables(graph)
    fastest = solve(known, "interval")
    assert fastest is not None
    for interval in sorted({fastest.clocks, fastest.clocks + 3, 4 * fastest.clocks}):
        choice = least_cost(graph, interval)
        accelerator, _stages = gateware.accelerator_of(graph, choice.folding, "ecp5")
        assert choice.interval == accelerator.interval <= interval
        found = solve(known, "cost", interval)
        assert found is not None
        assert (found.clocks, weigh(found.used) / 2) == (choice.interval, choice.cost)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_slowest_is_named(name: str) -> None:
    graph, message = NETWORKS[name]
    fastest = solve(tables(graph), "interval")
    assert fastest is not None
    with pytest.raises(HwgenError, match=re.escape(message)):
        least_cost(graph, fastest.clocks - 1)


def test_folds_that_were_made_by_hand_count_every_stage_too() -> None:
    graph = pooled()
    name = next(node.name for node in graph.nodes if isinstance(node.op, ops.MatVec))
    assert given(graph, {name: Fold(4, 1)}).interval == 72
