"""Forks and joins of blocks that share a scale: definitions, times, stalls."""

import numpy as np
import pytest

from hwgen import ops
from hwgen.formats import Int
from hwgen.ir import Fold, TensorType
from hwgen.ops import cost
from hwgen.ops.join import beside, product_of
from tests.gateware.test_blocks import blocked, numbers
from tests.gateware.test_branches import Net, keeps


class Blocks(Net):
    """Nets of blocks of four."""

    def layer(self, name, tensor, out, fmt):
        """A matrix unit, and a quantizer to blocks or scalars of what it gives."""
        x = self.types[tensor].format
        weight = Int(4)
        weights = self.rng.integers(-7, 8, (out, self.types[tensor].channels))
        sums = self.add(name, ops.MatVec(weights, weight, input_format=None if isinstance(x, Int) else x), tensor)
        return self.quantized(f"{name}.codes", sums, fmt)

    def quantized(self, name, tensor, fmt):
        x = self.types[tensor]
        lsb = int(np.log2(x.scale[0]))
        if isinstance(fmt, Int):
            return self.add(name, ops.Requantize([1], [0], [5], "half_even", fmt.min, fmt.max, fmt, (0.25,)), tensor)
        return self.add(name, ops.BlockQuantize(fmt, lsb), tensor)

    def join(self, name, make, *tensors):
        return self.add(name, make(tuple(self.types[tensor] for tensor in tensors)), *tensors)


def residual(rng, name):
    """A block of codes plus what a layer makes of them, in blocks of another window, then in blocks again."""
    net = Blocks(TensorType((8,), blocked(name, size=4)), rng)
    main = net.layer("main", "x", 8, blocked(name, -2, 9, size=4))
    again = net.quantized("again", net.sum("add", main, "x"), blocked(name, -1, 10, size=4))
    return net.graph(net.layer("fc", again, 3, Int(8)))


def mixed(rng, name):
    """Blocks side by side whose windows differ, times blocks, plus integers."""
    net = Blocks(TensorType((8,), blocked(name, size=4)), rng)
    left, right = net.layer("l", "x", 4, blocked("mxfp4", -2, 3, size=4)), net.layer("r", "x", 8, Int(6))
    side = net.join("cat", beside, left, net.layer("m", "x", 4, blocked("mxfp4", 0, 6, size=4)))
    times = net.join("times", product_of, side, "x")
    return net.graph(net.quantized("q", net.sum("add", times, right, side), blocked("mxfp4", 0, 15, size=4)))


NETWORKS = {
    **{name: (residual, name) for name in ("mxint8", "mxfp8e4m3")},
    "mixed": (mixed, "mxfp6e3m2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_the_golden_codes_at_the_promised_times(name, rng):
    make, element = NETWORKS[name]
    graph = make(rng, element)
    codes = graph.input_type.encode(numbers((3, 8), rng))
    keeps(graph, codes, {node.name: Fold(1, 2) for node, _ in cost.matrix_units(graph)}, settles=name != "mixed")
