"""Slices of channels against their definition: ranges, lanes at both extremes, formats, stalls; networks that split."""

import pytest

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.formats import get
from hwgen.gateware.slice import Slice
from hwgen.ir import Fold, TensorType
from hwgen.ops import cost
from tests.gateware.bench import check, random_codes
from tests.gateware.test_blocks import blocked, numbers
from tests.gateware.test_branches import U2, Net, keeps


@pytest.mark.parametrize(
    ("start", "stop", "shape", "lanes"),
    [(0, 2, (2, 2, 6), 2), (4, 6, (2, 2, 6), 1), (2, 5, (3, 5), 1), (3, 6, (9,), 3), (0, 4, (4,), 4)],
)
def test_codes_equal_the_golden_ones(start, stop, shape, lanes, rng):
    x, op = TensorType(shape, get("int5")), ops.Slice(start, stop)
    codes = random_codes(x.format, (4, *shape), rng)
    check(Slice(op, x, lanes), op.run(codes), codes.reshape(4, -1))


def test_blocks(rng):
    x, op = TensorType((2, 16), blocked("mxfp4", size=4)), ops.Slice(4, 12)
    codes = x.encode(numbers((4, 2, 16), rng))
    check(Slice(op, x, 2), op.run(codes), codes.reshape(4, -1), stalls=((1.0, 1.0), (0.6, 0.5)))


REFUSED = {
    "order": (lambda: ops.Slice(2, 2), "a slice takes channels from 0 on, one or more, not 2 to 2"),
    "beyond": (lambda: ops.Slice(2, 5).infer(TensorType((4,))), "channels 2 to 5 are taken of 4"),
    "blocks": (
        lambda: ops.Slice(2, 4).infer(TensorType((8,), blocked("mxfp4", size=4))),
        "channels 2 to 4 cut blocks of 4",
    ),
    "lanes": (
        lambda: Slice(ops.Slice(2, 5), TensorType((6,), U2), 2),
        "lanes must divide a slice: 2 lanes, channels 2 to 5",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(HwgenError, match=message):
        make()


def test_scales_of_channels_are_taken_along():
    x = TensorType((4,), U2, (1.0, 2.0, 4.0, 8.0))
    assert ops.Slice(1, 3).infer(x) == TensorType((2,), U2, (2.0, 4.0))


def network(rng):
    """One half goes through a convolution, and meets the other half again, as cross-stage partial networks have it."""
    net = Net(TensorType((4, 3, 4), U2), rng)
    stem = net.conv("stem", "x", 6, 1)
    left, right = net.add("left", ops.Slice(0, 2), stem), net.add("right", ops.Slice(2, 6), stem)
    main = net.conv("main", right, 2, 3, padding=1)
    return net.graph(
        net.dense("fc", net.add("cat", ops.Concat(), net.steps("sum", net.sum("add", main, left)), right), 3)
    )


@pytest.mark.slow
def test_networks_keep_their_codes_and_times(rng):
    graph = network(rng)
    codes = random_codes(U2, (3, graph.input_type.size), rng)
    keeps(graph, codes, {node.name: Fold(1, 2) for node, _ in cost.matrix_units(graph)})
