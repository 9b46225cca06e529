import itertools
import re

import numpy as np
import pytest

from hwgen import formats, ops
from hwgen.errors import HwgenError
from hwgen.explore.folding import least_cost
from hwgen.formats import Int
from hwgen.ir import Fold, Graph, Node, TensorType, Value
from hwgen.ops import cost, cost_window


def mlp(sizes=(64, 32, 32, 10), weight="int4n", act="uint4", extra=()):
    rng = np.random.default_rng(5)
    kind, tensor, nodes = TensorType((sizes[0],), formats.get("uint4")), "x", []
    value = Value("x", kind)
    for layer, (inner, out) in enumerate(itertools.pairwise(sizes)):
        fmt = formats.get(weight)
        found = [(f"fc{layer}", ops.MatVec(rng.choice(fmt.codes(), (out, inner)), fmt))]
        if layer + 2 < len(sizes):
            steps = formats.get(act).codes().size - 1
            found.append((f"act{layer}", ops.Thresholds(np.arange(steps)[None], 0, formats.get(act))))
        for name, op in [*found, *(extra if layer + 2 == len(sizes) else ())]:
            nodes.append(Node(name, op, (tensor,), f"{name}_out"))
            kind, tensor = op.infer(kind), f"{name}_out"
    return Graph("mlp", (value,), tuple(nodes), (tensor,))


@pytest.mark.parametrize("value", [*range(-70, 71), 0x5555, -0x7FFF])
def test_signed_digits_add_up_and_never_touch(value):
    digits = cost.signed_digits(value)
    assert sum(sign << shift for shift, sign in digits) == value
    assert (np.diff([shift for shift, _ in digits]) > 1).all()


def test_a_matrix_knows_its_digits_and_magnitudes():
    weight = np.arange(-2047, 2049).reshape(64, 64)
    op = ops.MatVec(weight, Int(13))
    assert op.signed_digits.tolist() == [sum(len(cost.signed_digits(int(w))) for w in row) for row in weight]
    assert op.magnitudes == (0, 2048)


@pytest.mark.parametrize(
    ("folding", "message"),
    [
        ({}, "node 'fc0' is a matrix unit and has no fold"),
        ({"fc0": Fold(), "x": Fold()}, "the folding names x; matrix units are: fc0"),
        ({"fc0": Fold(3, 1)}, "node 'fc0': folding must divide the layer: PE=3 into 4 outputs, SIMD=1 into 6 inputs"),
    ],
)
def test_a_folding_that_does_not_fit_the_graph_is_refused(folding, message):
    with pytest.raises(HwgenError, match=re.escape(message)):
        cost.check_folding(mlp((6, 4)), folding)


@pytest.mark.parametrize(("pe", "simd", "lanes"), [(8, 4, 1), (8, 64, 8), (32, 8, 4), (32, 16, 8), (1, 1, 1)])
def test_lanes_behind_are_done_before_the_next_sums(pe, simd, lanes):
    op = ops.MatVec(np.ones((32, 64)), Int(2))
    assert cost.lanes_behind(op, Fold(pe, simd)) == lanes


@pytest.mark.parametrize(
    ("weight", "fold", "kind", "dsp"),
    [("int4n", Fold(4, 6), "constant", 0), ("int4n", Fold(2, 3), "lut", 0), ("int8n", Fold(2, 3), "multiplier", 6)],
)
def test_products_by_the_weights_width(weight, fold, kind, dsp):
    graph = mlp((6, 4), weight=weight)
    ((_, op),) = cost.matrix_units(graph)
    assert cost.products_of(op, graph.input_type, fold) == kind
    assert cost.estimate(graph, {"fc0": fold}).dsp == dsp


def test_requantization_and_argmax_are_counted():
    plain = mlp((8, 4))
    shift = ops.Requantize([3, 5, 7, 9], [1], [4], "half_even", 0, 15, Int(4, is_signed=False))
    full = mlp((8, 4), extra=(("req", shift), ("best", ops.ArgMax())))
    folding = {"fc0": Fold(2, 2)}
    assert cost.estimate(full, folding).lut > cost.estimate(plain, folding).lut
    assert cost.estimate(full, folding).dsp == 1


def test_what_is_not_known_is_none():
    graph = mlp((8, 4), extra=(("soft", ops.Relu()),))
    assert cost.estimate(graph, {"fc0": Fold(2, 2)}).lut is None


def window(size, stride=1, padding=0):
    return ops.Window((size, size), (stride, stride), (padding,) * 4, pad=0)


def image_network(*steps):
    x = TensorType((8, 8, 6), Int(4))
    kind, nodes, tensor = x, [], "x"
    for place, step in enumerate(steps):
        op = ops.MatVec(np.ones((step, kind.channels)), Int(2)) if isinstance(step, int) else step
        nodes.append(Node(f"n{place}", op, (tensor,), f"n{place}_out"))
        kind, tensor = op.infer(kind), f"n{place}_out"
    return Graph("images", (Value("x", x),), tuple(nodes), (tensor,))


@pytest.mark.parametrize("interval", [400, 1000, 5000])
def test_lanes_of_units_that_read_windows_divide_a_pixel(interval):
    graph = image_network(window(3), 8, window(2, 2), ops.Pool("max", 4), window(2), 4)
    folding = least_cost(graph, interval).folding
    lanes = cost.stream_lanes(graph, folding)
    assert 6 % folding["n1"].simd == 0
    assert 8 % folding["n5"].simd == 0
    assert (lanes["n0"], lanes["n4"]) == (folding["n1"].simd, folding["n5"].simd)
    for name in ("n0", "n2", "n4"):
        node = next(one for one in graph.nodes if one.name == name)
        assert cost_window.line_buffer(node.op, graph.types[node.inputs[0]], lanes[name]).interval <= interval
    assert cost.estimate(graph, folding).lut > 0


@pytest.mark.parametrize(
    ("op", "rows"),
    [(window(3, 1, 1), 5), (window(3), 7), (window(2, 2), 5), (window(8), None), (window(1), None), (window(1, 2), 5)],
)
def test_rows_of_a_line_buffer(op, rows):
    x = TensorType((8, 8, 1), Int(4))
    if rows is None:
        assert cost_window.is_wire(op, x)
    else:
        assert not cost_window.is_wire(op, x)
        assert cost_window.line_buffer(op, x, 1).rows == rows
