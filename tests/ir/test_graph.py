"""Graphs: typing, hashing, JSON, and what they refuse."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Int
from hwgen.ir import Beats, Fold, Graph, Node, TensorType, Value, graph_from_json
from hwgen.ir.op import op_from_json, op_to_json
from hwgen.ops import OPS, Affine, ArgMax, Relu, Reshape, Softmax
from tests.conftest import chain, random_mlp


def test_types_follow_the_layers(mlp: Graph) -> None:
    assert mlp.input_type.shape == (12,)
    assert mlp.output_type.shape == (4,)
    assert mlp.types["act0_out"].format == Int(4, is_signed=False)
    assert mlp.is_frozen


def test_json_brings_back_the_same_graph(mlp: Graph) -> None:
    host = dataclasses.replace(mlp, pre=(Affine(2.0, [0.5] * 12),), post=(Softmax(),), host_shape=(3, 4))
    for graph in (mlp, host):
        again = graph_from_json(json.loads(json.dumps(graph.to_json())), OPS)
        assert again.hash == graph.hash
        assert again.types == graph.types


def test_the_hash_is_of_the_content() -> None:
    assert random_mlp((6, 4, 2)).hash == random_mlp((6, 4, 2)).hash
    assert random_mlp((6, 4, 2), seed=1).hash != dataclasses.replace(random_mlp((6, 4, 2)), name="mlp1").hash


def test_arrays_are_read_only(mlp: Graph) -> None:
    with pytest.raises(ValueError, match="read-only"):
        mlp.nodes[0].op.weight[0, 0] = 1  # type: ignore[attr-defined]


def test_consumers(mlp: Graph) -> None:
    assert [node.name for node in mlp.consumers("fc0_out")] == ["act0"]


X = TensorType((4,), Int(4))


@pytest.mark.parametrize(
    ("nodes", "outputs", "message"),
    [
        ([Node("a", Relu(), ("y",), "z")], ("z",), "node 'a' reads 'y', which nothing before it writes"),
        ([Node("a", Relu(), ("x",), "x")], ("x",), "node 'a' writes 'x', which exists already"),
        ([Node("a", Relu(), ("x",), "y"), Node("a", Relu(), ("y",), "z")], ("z",), "two nodes called 'a'"),
        ([Node("a", Relu(), ("x",), "y")], ("w",), "output 'w' of graph 'g' is written by no node"),
        (
            [Node("a", Reshape((3,)), ("x",), "y")],
            ("y",),
            r"node 'a' \(Reshape\): 4 numbers do not fill the shape \(3,\)",
        ),
    ],
)
def test_bad_graphs_are_refused(nodes: list[Node], outputs: tuple[str, ...], message: str) -> None:
    with pytest.raises(HwgenError, match=message):
        Graph("g", (Value("x", X),), tuple(nodes), outputs)


def test_two_inputs_of_one_name() -> None:
    with pytest.raises(HwgenError, match="graph 'g' has two inputs of one name"):
        Graph("g", (Value("x", X), Value("x", X)), (), ("x",))


def test_an_unsupported_error_keeps_its_own_words() -> None:
    class Odd(Relu):
        def infer(self, *inputs: TensorType) -> TensorType:
            raise UnsupportedError("node 'n': not today")

    with pytest.raises(UnsupportedError, match=r"^node 'n': not today"):
        chain("g", X, ("a", Odd()))


def test_single_input_and_output() -> None:
    graph = Graph("g", (Value("x", X), Value("y", X)), (), ("x", "y"))
    with pytest.raises(HwgenError, match="has 2 inputs, not one"):
        _ = graph.input_type
    with pytest.raises(HwgenError, match="has 2 outputs, not one"):
        _ = graph.output_type


def test_json_of_another_version() -> None:
    with pytest.raises(HwgenError, match="graph JSON has version 0; this hwgen reads 1"):
        graph_from_json({"version": 0}, OPS)


def test_unknown_operation() -> None:
    with pytest.raises(HwgenError, match="unknown operation 'Conv9': one of Activation, Add, Affine"):
        op_from_json({"op": "Conv9"}, OPS)


def test_an_operation_is_a_dataclass() -> None:
    class Bare(Relu.__mro__[1]):  # type: ignore[misc]
        def infer(self, *inputs: TensorType) -> TensorType:
            return inputs[0]

        def run(self, *values: np.ndarray) -> np.ndarray:
            return values[0]

    with pytest.raises(HwgenError, match="operation Bare is not a dataclass"):
        op_to_json(Bare())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TensorType((0,)), r"sizes are positive integers, not \(0,\)"),
        (lambda: TensorType((3,), Int(4), (1.0, 2.0)), r"one number or one per channel \(3\), not 2"),
        (lambda: TensorType((3,), Int(4), (0.0,)), "scales are finite and positive, not 0.0..0.0"),
        (lambda: TensorType((3,), Int(4), (float("nan"),)), "scales are finite and positive"),
        (lambda: TensorType((3,)).codes_format, "a tensor of real numbers has no codes"),
        (lambda: Fold(0, 1), "PE and SIMD are at least 1, not PE=0 SIMD=1"),
        (lambda: Beats(0, 4, False, 1), "a stream needs at least one lane"),
        (lambda: Beats(1, 64, False, 1), "a stream lane holds at most 63 bits, not 64"),
        (lambda: Beats(2, 4, False, 2).pack([[1, 2, 3, 16]]), r"codes 1..16 do not fit a 4-bit lane \(0..15\)"),
        (lambda: Beats(2, 4, False, 2).unpack(b"abc"), "3 bytes are not whole frames of 2 bytes"),
    ],
)
def test_errors(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(HwgenError, match=message):
        call()


@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize("bits", [1, 3, 4, 8, 13, 63])
@pytest.mark.parametrize("signed", [True, False])
def test_beats_round_trip(lanes: int, bits: int, signed: bool) -> None:
    beats = Beats(lanes, bits, signed, 5)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    codes = np.random.default_rng(0).integers(low, high, (7, beats.codes), endpoint=True)
    data = beats.pack(codes)
    assert len(data) == 7 * beats.bytes_per_frame
    assert np.array_equal(beats.unpack(data), codes)


def test_lane_zero_is_least_significant() -> None:
    assert Beats(2, 4, False, 1).pack([[0x1, 0x2]]) == b"\x21"
    assert Beats(3, 4, True, 1).pack([[-1, 0, -8]]) == b"\x0f\x08"


def test_tensor_types_encode_and_decode() -> None:
    kind = TensorType((2,), Int(4, is_signed=False), (0.5, 0.25), 3)
    codes = kind.encode([[1.0, -0.5], [100, -100]])
    assert codes.tolist() == [[5, 1], [15, 0]]
    assert kind.decode(codes).tolist() == [[1.0, -0.5], [6.0, -0.75]]


def test_argmax_needs_one_scale() -> None:
    with pytest.raises(UnsupportedError, match=r"node 'a' \(ArgMax\): argmax compares codes, which needs one scale"):
        chain("g", TensorType((2,), Int(4), (1.0, 2.0)), ("a", ArgMax()))
