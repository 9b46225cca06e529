"""Passes over graphs with branches: the frozen graph gives what the imported one does; what cannot is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import UnsupportedError
from hwgen.formats import Format, Int
from hwgen.ir import Graph, Node, Op, TensorType, Value
from hwgen.ops import Add, Affine, ArgMax, Concat, Dense, Multiply, Quantize, Relu, Requantize, Reshape, Transpose
from hwgen.passes import explain, freeze
from hwgen.passes.branches import Chain, chains, is_chain
from hwgen.passes.verify import verify
from tests.passes.test_blocks import narrow

U4 = Int(4, is_signed=False)


class Net:
    """A graph of real operations that grows by named nodes."""

    def __init__(self, size: int = 6) -> None:
        self.nodes: list[Node] = []
        self.x = Value("x", TensorType((size,)))
        self.rng = np.random.default_rng(3)

    def add(self, op: Op, *tensors: str, name: str = "") -> str:
        name = name or f"{op.kind.lower()}{len(self.nodes)}"
        self.nodes.append(Node(name, op, tensors, f"{name}.out"))
        return f"{name}.out"

    def dense(self, tensor: str, size: int = 6, name: str = "") -> str:
        return self.add(Dense(self.rng.integers(-7, 8, (size, 6)), Int(4), (0.125,)), tensor, name=name)

    def graph(self, output: str) -> Graph:
        return Graph("net", (self.x,), tuple(self.nodes), (output,))

    def run(self, x: np.ndarray, tensor: str) -> np.ndarray:
        values: dict[str, Any] = {"x": x}
        for node in self.nodes:
            values[node.output] = node.op.run(*(values[name] for name in node.inputs))
        return np.asarray(values[tensor])


def residual(scales: tuple[float, float] = (0.5, 0.5)) -> tuple[Net, str]:
    net = Net()
    start = net.add(Quantize(U4, (0.25,)), "x", name="inp")
    skip = net.add(Quantize(U4, scales[1:]), start, name="skip") if scales[1] != 0.25 else start
    main = net.add(Quantize(U4, scales[:1]), net.add(Relu(), net.dense(start)), name="main")
    total = net.add(Add(), main, skip, name="add")
    behind = net.add(Affine(np.full(6, 0.75), np.linspace(-1, 1, 6)), total)
    return net, net.dense(net.add(Quantize(U4, (1.5,)), net.add(Relu(), behind), name="act"), 3, name="last")


def inputs() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 16, (60, 6)) / 4


@pytest.mark.parametrize("scales", [(0.5, 0.5), (0.5, 0.25), (2.0, 0.25), (0.75, 0.25), (0.25, 1.0)])
def test_sums_of_codes_are_exact(scales: tuple[float, float]) -> None:
    net, out = residual(scales)
    frozen = freeze(net.graph(out))
    np.testing.assert_array_equal(golden.predict(frozen, inputs()), net.run(inputs(), out))
    add = next(node for node in frozen.nodes if node.name == "add")
    unit = min(scales)
    assert isinstance(add.op, Add)
    assert add.op.factors == tuple(int(scale / unit) for scale in scales)


def test_tensors_side_by_side_argmax_and_reshapes() -> None:
    net = Net()
    start = net.add(Quantize(U4, (0.25,)), "x")
    left = net.add(Quantize(U4, (0.5,)), net.add(Reshape((6,)), net.dense(start)))
    both = net.add(Concat(), left, net.add(Quantize(U4, (0.5,)), net.dense(start)))
    out = net.add(ArgMax(), net.add(Dense(net.rng.integers(-7, 8, (4, 12)), Int(4)), both))
    frozen = freeze(net.graph(out))
    assert [node.op.kind for node in frozen.nodes][-3:] == ["Concat", "MatVec", "ArgMax"]
    np.testing.assert_array_equal(golden.predict(frozen, inputs()), net.run(inputs(), out))


def test_what_is_real_ahead_of_a_fork_goes_to_both_branches() -> None:
    net = Net()
    start = net.add(Quantize(U4, (0.25,)), "x")
    normed = net.add(Affine(np.linspace(0.5, 1.5, 6), np.linspace(-2, 2, 6)), net.dense(start))
    real = net.add(Relu(), normed)
    total = net.add(Add(), net.add(Quantize(U4, (0.5,)), real), net.add(Quantize(U4, (0.125,)), real))
    halved = net.add(Affine(np.full(1, 0.5), np.zeros(1)), net.add(Quantize(Int(6), (0.25,)), total))
    ends = [net.add(Quantize(Int(8), (1.0,)), net.dense(halved, name=name)) for name in ("one", "two")]
    out = net.add(Add(), *ends)
    frozen = freeze(net.graph(out))
    np.testing.assert_array_equal(golden.predict(frozen, inputs()), net.run(inputs(), out))
    assert sum(node.op.kind == "MatVec" for node in frozen.nodes) == 3


@pytest.mark.parametrize("fmt", [U4, narrow("mxint8", -8, -1, 3)], ids=["thresholds", "blocks"])
def test_a_batch_norm_behind_a_sum_may_fall(fmt: Format) -> None:
    net = Net()
    start = net.add(Quantize(U4, (0.25,)), "x")
    total = net.add(Add(), net.add(Quantize(U4, (0.25,)), net.dense(start)), start)
    normed = net.add(Affine(np.array([-1.0, 0.5, -0.25, 2.0, -2.0, 1.0]), np.linspace(-2, 4, 6)), total)
    out = net.dense(net.add(Quantize(fmt), net.add(Relu(), normed), name="act"), 3)
    frozen = freeze(net.graph(out))
    np.testing.assert_array_equal(golden.predict(frozen, inputs()), net.run(inputs(), out))
    signs = next(node.op for node in frozen.nodes if node.name in ("act.sign", "act.affine"))
    assert isinstance(signs, Requantize)
    assert (signs.multiplier < 0).tolist() == [True, False, True, False, True, False]


def test_factors_and_addends_ahead_of_joins_go_behind_them() -> None:
    net = Net()
    start = net.add(Quantize(U4, (0.25,)), "x")
    half = net.add(Affine(np.full(1, -0.5), np.arange(-3, 3) / 4), start)
    total = net.add(Add(), net.add(Quantize(Int(5), (0.5,)), net.dense(start)), half, half, name="add")
    codes = net.add(Quantize(Int(6), (0.125,)), total)
    scaled = net.add(Affine(np.array([1.0, 0.5, -2.0, 1.0, 0.25, 1.0]), np.zeros(1)), codes)
    times = net.add(Multiply(), net.add(Affine(np.full(1, 3.0), np.zeros(1), np.full(1, 7.0)), start), scaled)
    side = net.add(Concat(), net.add(Affine(np.arange(1, 7) / 8, np.ones(1)), codes), times, start)
    out = net.add(Quantize(Int(8), (0.25,)), side)
    frozen = freeze(net.graph(out))
    np.testing.assert_array_equal(golden.predict(frozen, inputs()), net.run(inputs(), out))
    (add,) = (node for node in frozen.nodes if isinstance(node.op, Add))
    assert isinstance(add.op, Add)
    assert add.op.factors == (4, -1, -1)


def flattened(net: Net) -> tuple[str, str]:
    """Codes of an image, and what importers make of its flattening with channels first."""
    image = net.add(Quantize(U4, (0.25,)), net.add(Reshape((2, 1, 3)), "x"))
    return image, net.add(Reshape((6,)), net.add(Transpose((2, 0, 1)), image))


def test_flattened_images_fork_and_meet() -> None:
    net = Net()
    image, flat = flattened(net)
    other = net.add(Reshape((6,)), net.add(Transpose((2, 0, 1)), image))
    total = net.add(Add(), flat, net.add(Multiply(), flat, other))
    scaled = net.add(Affine(np.arange(1, 7) / 4, np.zeros(1)), total)
    side = net.add(Concat(), net.add(Quantize(U4, (0.25,)), scaled), net.add(Quantize(U4, (0.25,)), net.dense(flat)))
    out = net.add(Dense(net.rng.integers(-7, 8, (4, 12)), Int(4)), side)
    frozen = freeze(net.graph(out))
    np.testing.assert_array_equal(golden.predict(frozen, inputs()), net.run(inputs(), out))


def test_images_that_no_weights_turn_are_refused() -> None:
    cases = {
        "in another order": lambda net, image, flat: net.add(Add(), flat, net.dense(flat), name="bad"),
        "transposed in the middle of the network, and not to be flattened": lambda net, image, flat: net.add(
            Add(),
            net.add(Reshape((6, 1)), net.add(Transpose((1, 0, 2)), image, name="bad")),
            net.add(Reshape((6, 1)), net.dense(flat)),
        ),
        "gives a flattened image with no weights behind": lambda net, image, flat: net.add(Relu(), flat, name="bad"),
    }
    for message, build in cases.items():
        net = Net()
        out = build(net, *flattened(net))
        with pytest.raises(UnsupportedError, match=f"'bad' .*{message}"):
            freeze(net.graph(out))


def test_equal_quantizers_of_one_tensor_are_one() -> None:
    net = Net()
    left, right, other = (net.add(Quantize(U4, (scale,)), "x") for scale in (0.25, 0.25, 0.25))
    out = net.add(Add(), net.dense(left), net.add(Multiply(), net.add(Quantize(U4), net.dense(right)), other))
    frozen = freeze(net.graph(out))
    np.testing.assert_array_equal(golden.predict(frozen, inputs()), net.run(inputs(), out))
    assert frozen.inputs[0].name == left


def test_factors_of_channels_ahead_of_a_sum_are_refused() -> None:
    net = Net()
    start = net.add(Quantize(U4, (0.25,)), "x")
    out = net.add(Add(), net.add(Affine(np.arange(1.0, 7.0), np.zeros(1)), start), start, name="bad")
    with pytest.raises(UnsupportedError, match=r"'bad' \(Add\): its input .* is real numbers: no quantizer stands"):
        freeze(net.graph(out))


def test_a_sum_may_come_last() -> None:
    net = Net()
    start = net.add(Quantize(U4, (0.25,)), "x")
    out = net.add(Add(), net.dense(start), net.dense(start))
    np.testing.assert_array_equal(golden.predict(freeze(net.graph(out)), inputs()), net.run(inputs(), out))


def test_chains_start_at_forks_and_joins() -> None:
    net, out = residual()
    graph = net.graph(out)
    found = chains(graph)
    assert [part.start if isinstance(part, Chain) else part.name for part in found] == [
        "x",
        "inp.out",
        "inp.out",
        "add",
        "add.out",
    ]
    assert not is_chain(graph)


def test_differences_from_a_float_run_are_explained_along_branches() -> None:
    net, out = residual()
    graph = net.graph(out)
    frozen = freeze(graph)
    x = inputs()
    codes = golden.trace(frozen, golden.input_codes(frozen, x))
    oracle = {node.output: net.run(x, node.output) for node in graph.nodes}
    assert explain(graph, frozen, x, codes, oracle).differing == ()
    wrong = {**oracle, "main.out": oracle["main.out"] + 0.5 * (np.arange(60) == 7)[:, None]}
    comparison = explain(graph, frozen, x, codes, wrong)
    assert comparison.differing == (7,)
    assert set(comparison.by_node()) == {"main"}
    assert comparison.unexplained


def refused() -> dict[str, tuple[Graph, str]]:
    def net() -> tuple[Net, str]:
        made = Net()
        return made, made.add(Quantize(U4, (0.25,)), "x", name="inp")

    mismatched, out = residual((0.1, 0.3))
    real, start = net()
    total = real.add(Add(), real.add(Relu(), real.dense(start), name="relu"), start, name="bad")
    early = Net()
    both = [early.add(Quantize(U4, (scale,)), "x") for scale in (0.5, 0.25)]
    unread, first = net()
    unread.dense(first, name="bad")
    several = Net()
    pair = several.add(Relu(), "x")
    odd = Graph("net", (several.x,), (*several.nodes, Node("bad", Relu(), ("x", pair), "y")), ("y",))
    return {
        "scales": (
            mismatched.graph(out),
            r"'add' \(Add\): of 'main.out' and 'skip.out': the scales of its inputs do not match.*: 0.1, 0.3",
        ),
        "real numbers": (
            real.graph(total),
            r"'bad' \(Add\): its input 'relu.out' is real numbers: no quantizer stands",
        ),
        "input": (
            early.graph(early.add(Add(), *both)),
            "input 'x' is read by .*: it forks ahead of the first quantizer",
        ),
        "nothing reads": (
            unread.graph(unread.dense(first)),
            r"'bad' \(Dense\): nothing reads 'bad.out', which it writes",
        ),
        "two inputs": (odd, r"'bad' \(Relu\): it reads 'x', 'relu0.out'; only joins read several tensors"),
    }


@pytest.mark.parametrize("case", refused())
def test_what_cannot_be_frozen_is_refused_by_name(case: str) -> None:
    graph, message = refused()[case]
    with pytest.raises(UnsupportedError, match=message):
        freeze(graph)


def test_an_input_that_nobody_reads_is_refused() -> None:
    graph = Graph("net", (Value("x", TensorType((2,))),), (), ("x",))
    verify(graph, "imported")
