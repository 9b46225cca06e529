"""Products in groups: their definition against matrices with zeros, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Bipolar, Block, Blocked, Int, get
from hwgen.ir import Fold, Graph, TensorType
from hwgen.ops import Affine, Dense, Grouped, GroupedDense, MatVec, Quantize
from hwgen.ops.cost_rules import lanes_behind
from hwgen.ops.cost_stream import grouped_folds
from hwgen.passes import explain, freeze
from hwgen.passes.blocks import scales_of
from tests.conftest import chain

RNG = np.random.default_rng(5)
SHAPES = {"depthwise": (3, 1, 1, 4), "multiplied": (3, 1, 2, 4), "groups": (2, 4, 3, 3), "one": (1, 3, 2, 2)}
"""Groups, channels and outputs of each, taps."""


def scaled(size: int) -> Blocked:
    return Blocked(Block(get("e2m1"), scales_of(-3, 3), size))


def dense(name: str, fmt: str = "int4", zero: int = 0, multiplier: str = "exact") -> GroupedDense:
    groups, channels, rows, taps = SHAPES[name]
    kind = get(fmt)
    weight = RNG.choice(kind.codes()[kind.is_number(kind.codes())], (groups * rows, taps * channels))
    scale = tuple(0.25 * 2.0 ** RNG.integers(0, 3, groups * rows))
    return GroupedDense(weight, kind, scale, zero, multiplier, groups=groups, taps=taps)


def inputs(op: GroupedDense) -> int:
    return int(op.weight.shape[1]) * op.groups


@pytest.mark.parametrize("name", SHAPES)
def test_the_matrix_of_the_same_function(name: str) -> None:
    own = dense(name, zero=2)
    x = RNG.normal(size=(5, 2, inputs(own)))
    whole = own.expanded()
    assert type(whole) is Dense
    assert whole.weight.shape == (len(own.weight), inputs(own))
    np.testing.assert_allclose(own.run(x), whole.run(x), atol=1e-12)
    kind = TensorType((2, inputs(own)))
    assert own.infer(kind).shape == whole.infer(kind).shape == (2, len(own.weight))


def network(first: Quantize, product: Dense, size: int) -> Graph:
    addends = np.random.default_rng(1).integers(-3, 4, size) / 2
    steps = [first, Affine(np.array([2.0]), addends), product, Quantize(Int(6), (1.0,))]
    return chain("net", TensorType((size,)), *((f"n{n}", one) for n, one in enumerate(steps)))


@pytest.mark.parametrize(
    ("name", "x", "multiplier"),
    [
        ("depthwise", "uint4", "exact"),
        ("groups", "uint4", "exact"),
        ("multiplied", "bipolar", "exact"),
        ("groups", "bipolar", "exact"),
        ("groups", "e2m1", "exact"),
        ("depthwise", "e4m3", "exact"),
        ("groups", "int16", "exact"),
        ("depthwise", "e4m3", "lmul"),
        ("groups", "e2m1", "mitchell"),
        ("multiplied", "e3m2", "lmul_formula_trunc"),
    ],
)
def test_networks_equal_those_of_the_matrix(name: str, x: str, multiplier: str) -> None:
    first = Quantize(get(x), (0.5,), 3 if x == "uint4" else 0)
    own = dense(name, "int4" if multiplier == "exact" else x, 0, multiplier)
    graphs = [network(first, product, inputs(own)) for product in (own, own.expanded())]
    mine, whole = map(freeze, graphs)
    assert isinstance(mine.nodes[0].op, Grouped)
    assert type(whole.nodes[0].op) is MatVec
    values = RNG.normal(size=(40, inputs(own))) * 3
    codes = golden.trace(mine, values)
    np.testing.assert_array_equal(codes["n3_out"], golden.run(whole, values))
    np.testing.assert_array_equal(mine.nodes[0].op.run(codes["n0_out"]), codes[mine.nodes[0].output])
    if multiplier == "exact":
        oracle, real = {}, values
        for node in graphs[0].nodes:
            real = oracle[node.output] = node.op.run(real)
        assert not explain(graphs[0], mine, values, codes, oracle).differing


def test_wide_sums_ride_on_what_holds_them() -> None:
    op = Grouped(dense("groups", "int16").weight, Int(16), np.arange(6), groups=2, taps=3)
    wide = MatVec(np.full((2, 6), 2**15 - 1), Int(16), input_format=None)
    x = TensorType((24,), Int(8))
    graph = chain("net", x, ("a", op), ("b", wide))
    codes = RNG.integers(-128, 128, (9, 24))
    np.testing.assert_array_equal(golden.run(graph, codes), wide.run(op.run(codes)))


@pytest.mark.parametrize(("accumulator", "kind"), [("exact", Grouped), ("fp32", MatVec)])
@pytest.mark.parametrize("weights", ["e2m1", "blocks"])
@pytest.mark.parametrize("size", [4, 8])
def test_blocks_that_are_added_in_order_take_the_matrix(size: int, weights: str, accumulator: str, kind: type) -> None:
    fmt, own = scaled(size), dense("groups", "e2m1")
    if weights == "blocks":
        # The scale of a block is one tap's.
        scales = RNG.integers(0, 7, (6, 3, 1)).repeat(4, axis=2).reshape(6, 12)
        own = GroupedDense(fmt.join(scales, own.weight), fmt, own.scale, groups=2, taps=3)
    graph = chain("net", TensorType((24,)), ("q", Quantize(fmt)), ("d", own))
    frozen = freeze(graph, accumulator=accumulator)
    assert type(frozen.nodes[0].op) is kind
    x = RNG.normal(size=(20, 24))
    want = own.run(graph.nodes[0].op.run(x))
    np.testing.assert_allclose(golden.predict(frozen, x), want, rtol=1e-6 if accumulator == "fp32" else 1e-12)


def test_folds_are_within_a_group_or_of_whole_groups() -> None:
    op = Grouped(np.ones((6, 12)), Int(2), groups=2, taps=3)
    x = TensorType((5, 24), Int(4))
    folds = {(fold.pe, fold.simd): op.cycles(x, fold) for fold in grouped_folds(op)}
    assert folds == {(pe, simd): 6 * 12 // (pe * simd) * 5 for pe in (1, 3) for simd in (1, 2, 4)} | {(3, 8): 15}
    assert [lanes_behind(op, Fold(pe, simd)) for pe, simd in ((3, 1), (3, 4), (1, 2), (3, 8))] == [1, 3, 1, 6]
    assert op.output_lanes(Fold(3, 8)) == 6


REFUSED = {
    "weights": (
        lambda: GroupedDense(np.ones((3, 4)), Int(4), groups=2),
        r"2 groups divide the outputs, and 1 taps the inputs of each, not weights of \(3, 4\)",
    ),
    "taps": (lambda: Grouped(np.ones((4, 4)), Int(4), groups=2, taps=3), "2 groups divide the outputs, and 3 taps"),
    "real inputs": (
        lambda: GroupedDense(np.ones((4, 4)), Int(4), groups=2, taps=2).infer(TensorType((9,))),
        "weights of 2 taps for 2 groups of 2 channels take 8 inputs, the tensor has 9",
    ),
    "inputs": (
        lambda: Grouped(np.ones((4, 4)), Int(4), groups=2, taps=2).infer(TensorType((9,), Int(4))),
        "weights of 2 taps for 2 groups of 2 channels take 8 inputs, the tensor has 9",
    ),
    "fp32": (
        lambda: Grouped(np.ones((4, 4)), Int(4), input_format=scaled(4), accumulator="fp32", groups=2),
        "sums of products in groups are exact, not fp32",
    ),
    "bipolar": (
        lambda: GroupedDense(np.ones((2, 2)), Bipolar(), groups=2).expanded(),
        "bipolar weights in 2 groups are no one matrix: bipolar codes have no zero",
    ),
    "scales": (
        lambda: GroupedDense(np.ones((2, 3)), scaled(4), groups=2).expanded(),
        "3 channels of a group neither fill blocks of 4 nor divide them",
    ),
    "real products": (
        lambda: GroupedDense(np.ones((2, 2)), Int(4), multiplier="lmul", groups=2).run(np.zeros((1, 4))),
        "products by lmul are of codes: freeze the network first",
    ),
    "fold": (
        lambda: Grouped(np.ones((4, 4)), Int(4), groups=2).cycles(TensorType((8,), Int(4)), Fold(1, 8)),
        "folding must divide a group or the groups: SIMD=8 into 4 channels and PE=1 into 2 outputs of each of 2 "
        "groups, or SIMD=8 of whole groups with PE=2",
    ),
    "fold of blocks": (
        lambda: Grouped(np.ones((4, 8)), Int(4), input_format=scaled(4), groups=2).cycles(
            TensorType((16,), scaled(4)), Fold(1, 8)
        ),
        "SIMD must divide the blocks: SIMD=8, blocks of 4",
    ),
    "fold of blocks of weights": (
        lambda: MatVec([[1, 1 + (1 << 4)]], scaled(1), input_format=scaled(2)).cycles(
            TensorType((2,), scaled(2)), Fold(1, 2)
        ),
        "SIMD must divide the blocks: SIMD=2, blocks of 1 and of 2",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(HwgenError, match=message):
        make()


def test_a_node_that_is_no_matrix_is_named() -> None:
    own = GroupedDense(RNG.integers(0, 2, (2, 2)), Bipolar(), groups=2)
    graph = chain("net", TensorType((4,)), ("q", Quantize(scaled(4))), ("d", own))
    with pytest.raises(UnsupportedError, match=r"'d'.*bipolar weights in 2 groups are no one matrix"):
        freeze(graph, accumulator="fp32")
