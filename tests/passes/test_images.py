"""Maxima, windows and flattened images between quantizers and matrix products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import UnsupportedError
from hwgen.formats import Blocked, Int, get, scalar
from hwgen.ir import Graph, Node, Op, TensorType, Value
from hwgen.ops import Affine, Dense, MatVec, Pool, Quantize, Relu, Reshape, Softmax, Thresholds, Transpose, Window
from hwgen.passes import freeze, order_pools
from hwgen.passes.blocks import scales_of
from hwgen.passes.exactly import exactly
from hwgen.passes.verify import verify

U4 = Int(4, is_signed=False)


def graph(*ops: Op, shape: tuple[int, ...] = (4, 4, 2)) -> Graph:
    nodes, last = [], "x"
    for index, op in enumerate(ops):
        nodes.append(Node(f"n{index}", op, (last,), f"t{index}"))
        last = f"t{index}"
    return Graph("images", (Value("x", TensorType(shape)),), tuple(nodes), (last,))


def dense(out: int, inner: int, seed: int = 0) -> Dense:
    return Dense(np.random.default_rng(seed).integers(-8, 8, (out, inner)), Int(4))


def blocks(size: int = 2) -> Quantize:
    return Quantize(Blocked(replace(get("mxfp4"), size=size, scale=scales_of(-8, 7))))


MAX = (Window((2, 2), (2, 2), fill="low"), Pool("max", 4))


def equal(made: Graph) -> Graph:
    """Freeze and compare with the real-valued network, which is exact here."""
    frozen = freeze(made)
    x = np.random.default_rng(1).integers(0, 16, (20, *made.input_type.shape)).astype(float)
    real = x
    for node in made.nodes:
        real = node.op.run(real)
    np.testing.assert_allclose(golden.predict(frozen, x), real)
    return frozen


def test_quantizers_go_ahead_of_maxima() -> None:
    half = Affine(np.array([0.5, -0.25]), np.array([0.1, 2.0]))
    made = graph(Quantize(U4), dense(2, 2), half, Relu(), *MAX, Quantize(U4, (0.5,)), dense(3, 2))
    frozen = equal(made)
    assert [type(node.op) for node in frozen.nodes] == [MatVec, Thresholds, Window, Pool, MatVec]
    assert frozen.nodes[3].output == "t6"


def test_blocks_are_made_of_maxima_of_sums() -> None:
    signs = Affine(np.array([0.5, -0.25]), np.array([0.25, 2.0]))
    made = graph(Quantize(U4), dense(2, 2), Affine(np.ones(1), np.array([1.0, -1.0])), signs, Relu(), *MAX, blocks())
    ordered = [node.op.kind for node in order_pools(made).nodes]
    assert ordered == ["Quantize", "Dense", "Window", "Pool", "Affine", "Affine", "Relu", "Quantize"]
    equal(made)


@pytest.mark.parametrize("fmt", ["e3m2", "bipolar", "uint4"])
def test_weights_of_every_kind_can_be_negated(fmt: str) -> None:
    kind = scalar(fmt)
    weight = Dense(kind.codes()[:4].reshape(2, 2) if fmt != "bipolar" else np.array([[0, 1], [1, 1]]), kind)
    made = graph(Quantize(U4), weight, Affine(-np.ones(1), np.zeros(1)), *MAX, blocks())
    equal(made)


def test_flattened_images_take_their_order_into_weights() -> None:
    scale = Affine(np.ones(1), np.arange(32.0))
    made = graph(
        Transpose((1, 2, 0)), Quantize(U4), Transpose((2, 0, 1)), Reshape((32,)), Relu(), scale, Quantize(Int(8)),
        dense(3, 32), shape=(2, 4, 4),
    )  # fmt: skip
    frozen = equal(made)
    assert not any(isinstance(node.op, Transpose) for node in frozen.nodes)


def test_one_number_exactly() -> None:
    ops = (Window((2, 2), padding=(1, 0, 0, 0)), Pool("sum", 4), Reshape((24,)), Affine(np.ones(1) * 3, np.ones(1)))
    made = graph(*ops)
    codes = np.random.default_rng(2).integers(0, 16, (1, 4, 4, 2))
    types = [TensorType((4, 4, 2), U4)]
    real = codes.astype(float)
    for op in ops:
        types.append(TensorType(op.infer(types[-1]).shape))
        real = op.run(real)
    got = [exactly(made.nodes, types, codes[0], place) for place in range(24)]
    np.testing.assert_array_equal(np.array(got, dtype=float), real.reshape(-1))
    with pytest.raises(UnsupportedError, match=r"node 's' \(Softmax\): its result is not known exactly"):
        exactly([Node("s", Softmax(), ("a",), "b")], types[:1], codes[0], 0)


def test_what_images_cannot_do_is_refused() -> None:
    start = Quantize(U4), dense(2, 2)
    zero, falls = Affine(np.array([0.0, 1]), np.zeros(1)), Affine(np.array([1.0, -1]), np.zeros(1))
    for ops, message in [
        ((*start, zero, *MAX, blocks()), "a factor ahead of the maximum is zero"),
        ((Quantize(U4), falls, *MAX, blocks()), "factors ahead of the maximum are negative, with no weights to negate"),
        ((*start, Relu(), falls, *MAX, blocks()), "a ReLU ahead of the maximum stands ahead of a negative factor"),
        ((*start, Quantize(U4), Transpose((2, 0, 1)), dense(2, 4)), "images are transposed in the middle"),
        (
            (Quantize(U4, (1.0,), -3), Window((3, 3), padding=(1, 1, 1, 1)), dense(2, 18)),
            "the zero point -3 is no code",
        ),
    ]:
        with pytest.raises(UnsupportedError, match=message):
            freeze(graph(*ops))


def test_frozen_graphs_say_how_they_pad_and_compare() -> None:
    codes = Value("x", TensorType((4, 4, 2), U4))
    pad = replace(graph(Window((3, 3), padding=(1, 1, 1, 1))), inputs=(codes,))
    with pytest.raises(UnsupportedError, match=r"node 'n0' \(Window\): it pads codes, and no code to do so is given"):
        verify(pad, "frozen")
    mini = Value("x", TensorType((4, 4, 2), scalar("e3m2")))
    with pytest.raises(UnsupportedError, match="a maximum of e3m2 codes needs to know that format"):
        verify(replace(graph(*MAX), inputs=(mini,)), "frozen")
