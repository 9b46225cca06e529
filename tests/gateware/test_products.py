"""Products of two branches, and branches of another size: definitions, times, stalls."""

import numpy as np
import pytest

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.formats import get
from hwgen.ir import Fold, TensorType
from hwgen.ops import cost
from hwgen.ops.join import product_of
from tests.gateware.bench import random_codes
from tests.gateware.test_blocks import blocked
from tests.gateware.test_branches import U2, Net, keeps

MX = blocked("mxfp4", size=4)


def product(net, name, *tensors):
    return net.add(name, product_of(tuple(net.types[tensor] for tensor in tensors)), *tensors)


def gated(rng):
    """A convolution times a gate: a table of another one."""
    net = Net(TensorType((3, 2, 2), U2), rng)
    gate = net.conv("gate", "x", 4, 1)
    table = ops.Table(rng.integers(0, 8, (1, 4)), get("uint3"), zero_point=2)
    value = net.conv("value", "x", 4, 3, padding=1)
    out = net.steps("out", product(net, "times", value, net.add("sigmoid", table, gate)))
    return net.graph(net.dense("fc", out, 2))


def hourglass(rng):
    """Down by two and up again, beside what was there before."""
    net = Net(TensorType((4, 4, 2), U2), rng)
    low = net.conv("low", net.conv("down", "x", 4, 2, 2), 2, 3, padding=1)
    side = net.add("cat", ops.Concat(), "x", net.add("up", ops.Upsample((2, 2)), low))
    return net.graph(net.dense("fc", side, 3))


def excited(rng):
    """An image times what its own mean says: the whole of it waits."""
    net = Net(TensorType((3, 2, 2), U2), rng)
    value = net.conv("value", "x", 4, 1)
    mean = net.add("mean", ops.Pool("sum", 6), net.add("whole", ops.Window((3, 2)), value))
    gate = net.add("spread", ops.Upsample((3, 2)), net.conv("gate", net.steps("small", mean), 4, 1))
    return net.graph(net.dense("fc", net.steps("out", product(net, "times", value, gate)), 2))


@pytest.mark.slow
@pytest.mark.parametrize("make", [gated, hourglass, excited], ids=["gated", "hourglass", "excited"])
def test_networks_keep_their_codes_and_times(make, rng):
    graph = make(rng)
    codes = random_codes(graph.input_type.format, (3, graph.input_type.size), rng)
    keeps(graph, codes, {node.name: Fold(1, 1) for node, _ in cost.matrix_units(graph)})


@pytest.mark.parametrize(("a", "b"), [("int8", "uint4"), ("e2m1", "e4m3"), ("bipolar", "int3"), ("mx", "int3")])
def test_products_of_formats(a, b, rng):
    first = MX if a == "mx" else get(a)
    kinds = [TensorType((8,), first, (0.5,)), TensorType((8,), get(b), (0.25,), 3 if b == "uint4" else 0)]
    op = product_of(tuple(kinds))
    codes = [random_codes(kind.format, (5, 8), rng) for kind in kinds]
    codes = [np.where(kind.format.is_number(c), c, 0) for kind, c in zip(kinds, codes, strict=True)]
    real = kinds[0].decode(codes[0]) * kinds[1].decode(codes[1])
    np.testing.assert_array_equal(op.infer(*kinds).decode(op.run(*codes)), real)


INT = TensorType((4,), get("int4"))
REFUSED = {
    "formats": (lambda: ops.Multiply((get("int4"),), (0,)), "a product has two formats and zero points, not 1 and 1"),
    "three": (lambda: ops.Multiply().infer(INT, INT, INT), "a product is of two tensors, not of 3"),
    "shapes": (
        lambda: ops.Multiply().infer(INT, TensorType((3,), get("int4"))),
        r"a product is of tensors of one shape, not of \(4,\) and \(3,\)",
    ),
    "codes": (
        lambda: product_of((INT, INT)).infer(INT, TensorType((4,), get("int5"))),
        "a product of int4, int4 codes does not take int4, int5",
    ),
    "zero": (
        lambda: product_of((INT, TensorType((4,), get("e2m1"), (1.0,), 1))),
        "e2m1 codes have no zero point, not 1",
    ),
    "wide": (
        lambda: product_of((TensorType((4,), get("e5m2")), TensorType((4,), get("e5m2")))),
        r"products of e5m2, e5m2 take \d+ bits; at most 62 are carried",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(HwgenError, match=message):
        make()
