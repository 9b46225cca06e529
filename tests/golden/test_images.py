"""Convolutions and pooling of whole networks, however they are computed, against the layers' own definitions."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.formats import Bipolar, Format, Int, get
from hwgen.golden.plan import plan
from hwgen.ir import Graph, Node, TensorType, Value
from hwgen.ops import Add, MatVec, Pool, Thresholds, Window
from tests.conftest import chain
from tests.golden.cases import agrees

U2, S2 = Int(2, is_signed=False), Int(2, narrow=True)
EVEN, ODD = (18, 16, 16), (19, 17, 16)
"""Images whose windows two rows share an operand for, and whose outputs two share a column for."""


def convolution(
    shape: tuple[int, int, int],
    window: Window,
    x: Format = U2,
    weight: Format = S2,
    outputs: int = 7,
    bias: bool = False,
    behind: tuple[tuple[str, object], ...] = (),
) -> Graph:
    rng = np.random.default_rng(shape[0] + window.kernel[0])
    codes = weight.codes()
    rows = rng.choice(codes[weight.is_number(codes)], (outputs, window.taps * shape[2]))
    offset = rng.integers(-99, 99, outputs) if bias else 0
    input_format = None if isinstance(x, Int) else x
    op = MatVec(rows, weight, np.broadcast_to(offset, (outputs,)), input_format=input_format)
    return chain("c", TensorType(shape, x), ("w", window), ("c", op), *behind)


@pytest.mark.parametrize("shape", [EVEN, ODD, (6, 6, 48), (18, 16, 3), (6, 6, 3), (3, 3, 32)])
@pytest.mark.parametrize("bias", [False, True])
def test_convolutions_of_every_size(shape: tuple[int, int, int], bias: bool) -> None:
    graph = convolution(shape, Window((3, 3)), bias=bias)
    assert len(plan(graph).steps) == 1
    agrees(graph, frames=3)


@pytest.mark.parametrize("shape", [EVEN, ODD, (9, 8, 32)])
@pytest.mark.parametrize(
    "window",
    [
        Window((3, 3), padding=(1, 1, 1, 1), pad=1),
        Window((3, 2), (2, 1), (0, 2, 1, 0), pad=0),
        Window((2, 3), (1, 2), dilation=(3, 2)),
        Window((1, 1), (2, 2)),
        Window((1, 1)),
    ],
)
def test_convolutions_stride_pad_and_dilate(shape: tuple[int, int, int], window: Window) -> None:
    agrees(convolution(shape, window), frames=3)


@pytest.mark.parametrize("shape", [EVEN, ODD])
@pytest.mark.parametrize(
    ("x", "weight"), [(Bipolar(), Bipolar()), (S2, Bipolar()), (get("e3m2"), get("e2m1")), (Int(8), Int(8))]
)
def test_convolutions_of_every_format(shape: tuple[int, int, int], x: Format, weight: Format) -> None:
    agrees(convolution(shape, Window((3, 3)), x, weight, bias=True), frames=2)


@pytest.mark.parametrize("shape", [EVEN, ODD])
@pytest.mark.parametrize("x", [Int(20), Int(40)])
def test_a_layer_may_ride_on_wider_or_narrower_numbers(shape: tuple[int, int, int], x: Int) -> None:
    """Sums of 20 bits and more ride on float64 or int64, those behind the thresholds on float32."""
    steps = Thresholds([[-5, 0, 2**18]], 0, U2)
    last = MatVec(np.random.default_rng(0).integers(-1, 2, (5, 9 * 7)), S2)
    behind = (("t", steps), ("w2", Window((3, 3))), ("c2", last))
    agrees(convolution(shape, Window((3, 3)), x, Int(3), behind=behind), frames=2)


@pytest.mark.parametrize("shape", [EVEN, ODD])
def test_two_sums_in_a_number_are_exact_at_their_bounds(shape: tuple[int, int, int]) -> None:
    """All inputs at their ends, with the signs of one output's weights or against them."""
    graph = convolution(shape, Window((3, 3)), Int(3), Int(2))
    signs = np.sign(graph.nodes[1].op.weight.reshape(-1, 3, 3, 16))
    ends = [np.tile(sign, (7, 6, 1))[: shape[0], : shape[1]] for sign in np.concatenate([signs, -signs])]
    agrees(graph, x=np.where(np.stack(ends) > 0, 3, -4))


@pytest.mark.parametrize(
    "window",
    [Window((2, 2), (2, 2)), Window((3, 2), (2, 1), dilation=(1, 2)), Window((3, 3), (2, 2), (1, 0, 1, 1), pad=0)],
)
@pytest.mark.parametrize("reduce", ["max", "sum"])
def test_pooling(window: Window, reduce: str) -> None:
    agrees(chain("p", TensorType((9, 8, 5), U2), ("w", window), ("p", Pool(reduce, window.taps))), frames=3)  # type: ignore[arg-type]


def test_pooling_of_minifloats_goes_by_their_worth() -> None:
    fmt = get("e2m1")
    agrees(chain("p", TensorType((4, 4, 3), fmt), ("w", Window((2, 2), (2, 2))), ("p", Pool("max", 4, fmt))))


@pytest.mark.parametrize("rows", [[[-20, 0, 9]], [[-9, 1, 2], [0, 0, 5], [-20, -19, 21]]])
@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 0, 1, 0)])
def test_maxima_are_taken_before_thresholds(rows: list[list[int]], padding: tuple[int, int, int, int]) -> None:
    window = Window((2, 2), (2, 2), padding, fill="low", pad=0)
    behind = (("t", Thresholds(rows, 0, U2)), ("w", window), ("p", Pool("max", 4)))
    graph = chain("m", TensorType((8, 8, 3), Int(6)), *behind)
    assert len(plan(graph).steps) == (2 if any(padding) else 1)
    agrees(graph, frames=20)


def test_maxima_of_minifloats_are_taken_behind_thresholds() -> None:
    fmt = get("e2m1")
    behind = (("t", Thresholds([[-9, 1, 2]], 9, fmt)), ("w", Window((2, 2), (2, 2))), ("p", Pool("max", 4, fmt)))
    agrees(chain("n", TensorType((4, 4, 3), Int(6)), *behind), frames=20)


def test_sums_are_taken_behind_thresholds() -> None:
    behind = (("t", Thresholds([[-9, 1, 2]], 0, U2)), ("w", Window((2, 2), (2, 2))), ("p", Pool("sum", 4)))
    agrees(chain("s", TensorType((8, 8, 3), Int(6)), *behind), frames=20)


def test_what_others_read_as_well_is_written() -> None:
    """Windows and thresholds with a second reader do not go together with what is behind them."""
    rng = np.random.default_rng(1)
    kind = TensorType((6, 6, 3), Int(6))
    nodes = (
        Node("t", Thresholds([[-9, 1, 2]], 0, U2), ("x",), "t"),
        Node("w", Window((2, 2), (2, 2)), ("t",), "w"),
        Node("p", Pool("max", 4), ("w",), "p"),
        Node("c", MatVec(rng.integers(-1, 2, (3, 12)), S2), ("w",), "c"),
        Node("u", Thresholds([[-3, 0, 3]], 0, U2), ("c",), "u"),
        Node("y", Add((1, 1), (U2, U2)), ("p", "u"), "y"),
    )
    graph = Graph("shared", (Value("x", kind),), nodes, ("y",))
    assert len(plan(graph).steps) == len(nodes)
    agrees(graph, frames=20)
