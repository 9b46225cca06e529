"""The fast golden model against the layers' own definitions, and its bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen import golden
from hwgen.errors import HwgenError
from hwgen.formats import ROUNDING, Bipolar, Int
from hwgen.ir import Graph, Node, TensorType, Value
from hwgen.ops import Affine, ArgMax, MatVec, Relu, Requantize, Reshape, Softmax, Thresholds
from hwgen.ops.join import Add, Concat
from tests.conftest import chain, random_mlp
from tests.golden.cases import agrees

U4 = Int(4, is_signed=False)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [(12, 8, 6, 4), (1, 1, 1), (64, 32, 32, 10)])
def test_random_perceptrons(sizes: tuple[int, ...], seed: int) -> None:
    agrees(random_mlp(sizes, seed=seed))


def test_bipolar_and_every_layer() -> None:
    rng = np.random.default_rng(3)
    weight = rng.integers(0, 2, (6, 9))
    agrees(
        chain(
            "b",
            TensorType((9,), Bipolar()),
            ("fc", MatVec(weight, Bipolar(), input_format=Bipolar())),
            ("sign", Thresholds([[0]], 0, Bipolar())),
            (
                "fc2",
                MatVec(
                    rng.integers(-3, 4, (5, 6)), Int(3, narrow=True), rng.integers(-4, 4, 5), input_format=Bipolar()
                ),
            ),
            ("rq", Requantize(3, 1, 2, "half_even", -8, 7, Int(4))),
            ("am", ArgMax()),
        )
    )


@pytest.mark.parametrize("rounding", ROUNDING)
def test_requantize_rides_on_floats_or_falls_back(rounding: str) -> None:
    kind = TensorType((2,), Int(16))
    for multiplier, shift in (([1, 3], [4, 0]), ([2**31, 2**30 + 7], [33, 37])):
        op = Requantize(multiplier, [5, -(2**14)], shift, rounding, -100, 120, Int(8), zero_point=-3)
        agrees(chain("rq", kind, ("rq", op)), frames=2000)


@given(
    table=st.lists(st.integers(-40, 41), min_size=1, max_size=15).map(sorted),
    first=st.sampled_from([-8, 0, 3]),
)
@settings(max_examples=80, deadline=None)
def test_a_proven_line_is_exact_everywhere(table: list[int], first: int) -> None:
    kind = TensorType((1,), Int(8))
    op = Thresholds([table], first, Int(6))
    for carrier in (np.float32, np.float64):
        line = golden.proven_line(op, kind, carrier)
        if line is not None:
            x = np.arange(-128, 128)
            got = np.clip(np.floor(x.astype(carrier) * line[0] + line[1]), first, first + len(table))
            assert np.array_equal(got, op.run(x[:, None])[:, 0])


@given(
    slope=st.integers(1, 2048).map(lambda n: n / 1024),
    offset=st.integers(-1280, 1280).map(lambda n: n / 64),
    bits=st.integers(1, 6),
)
@settings(max_examples=80, deadline=None)
def test_thresholds_of_an_affine_function_become_a_line(slope: float, offset: float, bits: int) -> None:
    x = np.arange(-2048, 2048)
    codes = np.clip(np.floor(x * slope + offset), 0, 2**bits - 1)
    steps = np.arange(1, 2**bits)
    table = np.where((codes[:, None] >= steps).any(axis=0), x[(codes[:, None] >= steps).argmax(axis=0)], 2048)
    op = Thresholds([table], 0, Int(bits, is_signed=False))
    assert golden.proven_line(op, TensorType((1,), Int(12)), np.float32) is not None


def test_uneven_thresholds_fall_back_to_the_definition() -> None:
    table = [[-30, -29, -28, 30, 31, 90]]
    op = Thresholds(table, 0, U4)
    assert golden.proven_line(op, TensorType((3,), Int(8)), np.float64) is None
    agrees(chain("u", TensorType((3,), Int(8)), ("t", op)))


def test_wide_sums_ride_on_float64_exactly() -> None:
    rng = np.random.default_rng(0)
    graph = chain("w", TensorType((40,), Int(16)), ("fc", MatVec(rng.integers(-32767, 32767, (5, 40)), Int(16))))
    agrees(graph)


def test_the_host_part() -> None:
    graph = chain("h", TensorType((4,), U4, (0.5,), 2), ("fc", MatVec(np.eye(4, dtype=int), Int(2), scale=(0.25,))))
    graph = replace(
        graph, pre=(Reshape((4,)), Relu()), post=(Affine(1.0, 1.0), Softmax()), host_shape=(2, 2), input_rounding="down"
    )
    x = np.array([[[0.2, 0.5], [-1.0, 99.0]]])
    assert golden.run(graph, x).tolist() == [[2, 3, 2, 15]]
    assert golden.encode(graph, x[0]).tolist() == [[2, 3, 2, 15]]
    logits = np.array([0.5, 0.75, 0.5, 3.75]) + 1
    assert golden.predict(graph, x)[0] == pytest.approx(np.exp(logits) / np.exp(logits).sum())


U = random_mlp((12, 4))


@pytest.mark.parametrize(
    ("graph", "x", "message"),
    [
        (U, np.zeros((2, 11), int), r"the input has shape \(2, 11\); the network takes \(frames, 12\)"),
        (U, np.zeros((2, 11)), r"the input has shape \(2, 11\); the network takes \(frames, 12\)"),
        (U, np.full((2, 12), 16), "the input's codes 16..16 leave the range 0..15 of uint4"),
        (U, np.full((2, 12), -1), "the input's codes -1..-1 leave the range 0..15 of uint4"),
        (U, np.full((2, 12), np.nan), "the input holds NaN or infinity"),
        (U, np.full((2, 12), np.inf), "the input holds NaN or infinity"),
        (U, np.full((2, 12), "a"), "the input is an array of <U1; codes are integers, real inputs are floats"),
        (chain("r", TensorType((3,), U4), ("relu", Relu())), np.zeros((1, 3), int), "graph 'r' is not frozen"),
    ],
)
def test_bad_input(graph: Graph, x: np.ndarray, message: str) -> None:
    with pytest.raises(HwgenError, match=message):
        golden.run(graph, x)


@pytest.mark.parametrize("unit", [2**20, 2**30, 2**37 - 1])
def test_sums_that_floating_point_does_not_hold_are_exact(unit: int) -> None:
    # With the least unit the final sum stays below 2^53, but a partial sum can pass it in some order of summation.
    wide = MatVec([[unit, int(0.4 * unit), -int(0.45 * unit)]], Int(40), [-(2**51)])
    graph = chain("w", TensorType((3,), Int(22, is_signed=False)), ("fc", wide))
    codes = np.random.default_rng(0).integers(0, 2**22, (50, 3))
    codes[0] = 2**22 - 1, 0, 2**22 - 1
    expected = codes.astype(object) @ wide.worth.T.astype(object) - 2**51
    assert golden.run(graph, codes).tolist() == expected.tolist()


def test_branches_run_as_their_definitions_say() -> None:
    """Thresholds, which may write into what they read, of a tensor that is read again; sums; side by side."""
    uint = Int(4, is_signed=False)
    table = np.arange(-60, 61, 8)[None, :15]
    nodes = (
        Node("fc", MatVec(np.arange(-8, 8).reshape(4, 4), Int(5)), ("x",), "sums"),
        Node("act", Thresholds(table, 0, uint), ("sums",), "a"),
        Node("again", Thresholds(table + 3, 0, uint, (3.0,)), ("sums",), "b"),
        Node("add", Add((1, 3), (uint, uint)), ("a", "b"), "c"),
        Node("twice", Add((1, 1), (Int(6, is_signed=False), uint)), ("c", "a"), "d"),
        Node("beside", Concat(), ("a", "a"), "e"),
        Node("last", MatVec(np.ones((2, 8), int), Int(2)), ("e",), "f"),
        Node("more", MatVec(np.ones((2, 4), int), Int(2)), ("d",), "g"),
    )
    x = Value("x", TensorType((4,), uint))
    ahead = Graph("branches", (x,), nodes, ("f",))
    formats = tuple(ahead.types[name].codes_format for name in ("f", "g"))
    graph = Graph("branches", (x,), (*nodes, Node("out", Add((1, 1), formats), ("f", "g"), "y")), ("y",))
    agrees(graph)
