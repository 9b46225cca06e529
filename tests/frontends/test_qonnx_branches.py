"""QONNX files whose networks branch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hwgen.errors import UnsupportedError
from tests.frontends.test_qonnx import saved, start
from tests.oracles.networks import Builder


def test_branches_join_in_sums_and_side_by_side(tmp_path: Path) -> None:
    b = Builder()
    tensor = start(b)
    left = b.op("Relu", tensor, name="left")
    joined = b.op("Concat", b.op("Sum", left, tensor, tensor, name="sum"), left, name="side", axis=1)
    graph = saved(b.model(joined, (1, 6), (1, 12)), tmp_path)
    assert [node.op.kind for node in graph.nodes[-3:]] == ["Relu", "Add", "Concat"]
    assert graph.nodes[-2].inputs == (graph.nodes[-3].output, "t0", "t0")
    assert graph.output_type.shape == (12,)
    # A file need not have its nodes in order.
    model = b.model(joined, (1, 6), (1, 12))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    assert [node.op.kind for node in saved(model, tmp_path).nodes[-3:]] == ["Relu", "Add", "Concat"]


def test_a_difference_of_branches(tmp_path: Path) -> None:
    b = Builder()
    tensor = start(b)
    graph = saved(b.model(b.op("Sub", b.op("Relu", tensor), tensor), (1, 6), (1, 6)), tmp_path)
    x = np.linspace(-2, 2, 6)[None]
    relu, difference = graph.nodes[-2:]
    value = difference.op.run(relu.op.run(x), x)
    np.testing.assert_array_equal(value, np.maximum(x, 0) - x)


JOINS_REFUSED: dict[str, tuple[Callable[[Builder, str], str], str]] = {
    "quotient": (lambda b, x: b.op("Div", x, b.op("Relu", x), name="bad"), "it reads several tensors"),
    "product": (
        lambda b, x: b.op("Mul", x, b.op("Reshape", x, b.const(np.array([-1, 6, 1]))), name="bad"),
        "it multiplies tensors of different shapes",
    ),
    "constant": (lambda b, x: b.op("Sum", x, x, b.const(1.0), name="bad"), "it reads constants beside several tensors"),
    "axis": (lambda b, x: b.op("Concat", x, x, name="bad", axis=0), "axis 0 is not that of the channels"),
    "shapes": (
        lambda b, x: b.op("Add", x, b.op("Reshape", x, b.const(np.array([-1, 6, 1]))), name="bad"),
        "it adds tensors of different shapes",
    ),
    "order": (
        lambda b, x: b.op("Add", b.op("Reshape", x, b.const(np.array([-1, 2, 3, 1]))), pooled(b, x), name="bad"),
        "what it reads differs in the order of its numbers",
    ),
    "images": (
        lambda b, x: b.op("Add", pooled(b, x, (2, 3, 1)), pooled(b, x, (2, 1, 3)), name="bad"),
        "it adds tensors of different shapes",
    ),
}


def pooled(b: Builder, x: str, shape: tuple[int, ...] = (6, 1, 1)) -> str:
    return b.op("MaxPool", b.op("Reshape", x, b.const(np.array([-1, *shape]))), kernel_shape=[1, 1])


@pytest.mark.parametrize("case", JOINS_REFUSED)
def test_joins_that_cannot_be_made_are_refused(case: str, tmp_path: Path) -> None:
    build, reason = JOINS_REFUSED[case]
    b = Builder()
    tensor = build(b, start(b))
    with pytest.raises(UnsupportedError, match=f"node 'bad' .*{reason}"):
        saved(b.model(tensor, (1, 6), (1, 6)), tmp_path)


def test_a_cycle_is_named(tmp_path: Path) -> None:
    b = Builder()
    tensor = start(b)
    last = b.op("Relu", b.op("Add", tensor, "t3", name="first"), name="second")
    last = b.op("Relu", last, name="third")
    assert last == "t3"
    with pytest.raises(UnsupportedError, match="the graph has a cycle: 'first' to 'second' to 'third' to 'first'"):
        saved(b.model(last, (1, 6), (1, 6)), tmp_path)
