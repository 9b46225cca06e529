"""What freezing leaves to the host: real numbers at both ends, argmax, reshapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import UnsupportedError
from hwgen.formats import Int
from hwgen.ir import Graph, Op
from hwgen.ops import (
    ArgMax,
    MatVec,
    Quantize,
    Relu,
    Reshape,
    Softmax,
)
from hwgen.passes import freeze
from tests.passes.real_graphs import U4, affine, dense, graph, kinds, same


def test_the_host_keeps_what_stands_ahead_of_the_first_quantizer() -> None:
    g = graph(Reshape((4,)), affine(2.0, -1.0), Quantize(Int(4), (0.25,), 0, "down"), dense(3, 4), shape=(1, 2, 2))
    frozen = same(g)
    assert [op.kind for op in frozen.pre] == ["Reshape", "Affine"]
    assert (frozen.host_shape, frozen.input_rounding) == ((1, 2, 2), "down")


def test_the_host_keeps_what_stands_behind_the_last_codes() -> None:
    g = graph(Quantize(U4), dense(3, 6), affine(add=np.array([0.1, 0.2, 0.3])), Relu(), Softmax())
    assert [op.kind for op in freeze(g).post] == ["Affine", "Relu", "Softmax"]
    g = graph(Quantize(U4), dense(3, 6), Quantize(U4), affine(0.5))
    assert [op.kind for op in same(g).post] == ["Affine"]


def test_a_last_bias_of_whole_units_goes_into_the_product() -> None:
    scale = float(np.float32(0.1))
    whole = np.array([3, -40, 1000])
    bias = (whole.astype(np.float32) * np.float32(scale * 0.5)).astype(np.float64)
    frozen = freeze(graph(Quantize(U4, (0.5,)), dense(3, 6, (scale,)), affine(add=bias)))
    op = frozen.nodes[0].op
    assert isinstance(op, MatVec)
    assert (op.bias.tolist(), frozen.post) == (whole.tolist(), ())
    frozen = freeze(graph(Quantize(U4, (0.5,)), dense(3, 6, (scale,)), affine(add=bias * (1 + 1e-5))))
    assert [op.kind for op in frozen.post] == ["Affine"]


def test_in_the_middle_only_exact_multiples_become_bias() -> None:
    near = affine(add=2.0 * (1 + 2.0**-24))
    g = graph(Quantize(U4, (0.5,)), dense(3, 6, (0.25,)), near, Quantize(U4, (0.5,)))
    op = same(g).nodes[0].op
    assert isinstance(op, MatVec)
    assert not op.bias.any()
    op = same(graph(Quantize(U4, (0.5,)), dense(3, 6, (0.25,)), affine(add=2.0), Quantize(U4, (0.5,)))).nodes[0].op
    assert isinstance(op, MatVec)
    assert op.bias.tolist() == [16, 16, 16]
    huge = same(graph(Quantize(U4), dense(3, 6), affine(add=2.0**60), Quantize(U4))).nodes[0].op
    assert isinstance(huge, MatVec)
    assert not huge.bias.any()


def test_argmax_goes_on_the_hardware_where_codes_compare() -> None:
    g = graph(Quantize(U4), dense(5, 6), affine(2.0, -1.0), Softmax(), ArgMax())
    frozen = same(g)
    assert (kinds(frozen), frozen.post) == (["MatVec", "ArgMax"], ())
    assert kinds(same(graph(Quantize(U4), dense(5, 6), Quantize(U4), ArgMax()))) == ["MatVec", "Requantize", "ArgMax"]


@pytest.mark.parametrize(
    "op", [affine(add=np.arange(5.0) + 0.1), affine(np.arange(1.0, 6.0)), affine(-1.0), Relu()], ids=lambda op: op.kind
)
def test_argmax_stays_on_the_host_where_they_do_not(op: Op) -> None:
    frozen = same(graph(Quantize(U4), dense(5, 6), op, ArgMax()))
    assert kinds(frozen) == ["MatVec"]
    assert frozen.post[-1].kind == "ArgMax"


def test_argmax_of_scales_per_channel_stays_on_the_host() -> None:
    frozen = same(graph(Quantize(U4), dense(3, 6, (0.25, 0.5, 1.0)), ArgMax()))
    assert [op.kind for op in frozen.post] == ["ArgMax"]


def test_argmax_in_the_middle_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"'argmax2' \(ArgMax\): it is supported as the last operation only"):
        freeze(graph(Quantize(U4), dense(5, 6), ArgMax(), affine(2.0)))


def test_argmax_gets_a_free_name() -> None:
    g = graph(Quantize(U4), dense(5, 6), ArgMax())
    renamed = Graph("net", g.inputs, (g.nodes[0], replace(g.nodes[1], name="argmax"), g.nodes[2]), g.outputs)
    assert [node.name for node in freeze(renamed).nodes] == ["argmax", "argmax_0"]


def test_reshapes_move_to_the_host() -> None:
    g = graph(
        Quantize(U4), Reshape((1, 6)), dense(5, 6), Relu(), Reshape((5,)), Quantize(U4), dense(2, 5), shape=(2, 3)
    )
    frozen = same(g)
    assert [op.kind for op in frozen.pre] == ["Reshape"]
    assert frozen.input_type.shape == (6,)


def test_a_reshape_that_mixes_channels_takes_one_scale() -> None:
    with pytest.raises(
        UnsupportedError, match=r"'reshape1' \(Reshape\): a tensor with one scale per channel keeps its"
    ):
        graph(Quantize(U4, (1.0, 2.0, 4.0)), Reshape((6,)), dense(5, 6), shape=(2, 3))
    for ops in ((Reshape((2, 2)), Quantize(U4)), (Quantize(U4), Reshape((2, 2)))):
        g = graph(Quantize(U4), dense(4, 6), *ops, dense(3, 2))
        x = np.random.default_rng(0).integers(0, 16, (20, 6))
        real = x.astype(float)
        for node in g.nodes:
            real = node.op.run(real)
        np.testing.assert_allclose(golden.predict(freeze(g), x.astype(float)), real)
