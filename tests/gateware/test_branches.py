"""Forks and joins: what goes in comes out, at the promised times, whatever the stalls, and nothing stands still."""

import numpy as np
import pytest

from hwgen import formats, gateware, golden, ops
from hwgen.formats import Bipolar, Int
from hwgen.ir import Fold, Graph, Node, TensorType, Value
from hwgen.ops import cost
from hwgen.ops.join import aligned
from tests.gateware.bench import Bench, random_codes

U2 = Int(2, is_signed=False)


class Net:
    """A graph that grows by named nodes, with random weights and thresholds."""

    def __init__(self, x: TensorType, rng):
        self.x, self.rng, self.nodes, self.types = x, rng, [], {"x": x}

    def add(self, name, op, *tensors):
        self.nodes.append(Node(name, op, tensors, f"{name}.out"))
        self.types[f"{name}.out"] = op.infer(*(self.types[tensor] for tensor in tensors))
        return f"{name}.out"

    def dense(self, name, tensor, out):
        return self.add(name, ops.MatVec(self.rng.integers(-3, 4, (out, self.types[tensor].channels)), Int(3)), tensor)

    def conv(self, name, tensor, out, kernel, stride=1, padding=0):
        window = ops.Window((kernel, kernel), (stride, stride), (padding,) * 4, pad=0)
        sums = self.dense(name, self.add(f"{name}.window", window, tensor), out)
        return self.steps(f"{name}.act", sums)

    def steps(self, name, tensor, fmt=U2):
        low, high = ops.integer_range(self.types[tensor])
        table = self.rng.integers(low // 3, high // 3 + 1, (self.types[tensor].channels, 3))
        return self.add(name, ops.Thresholds(np.sort(table, axis=1), 0, fmt), tensor)

    def sum(self, name, *tensors):
        return self.add(name, aligned(tuple(self.types[tensor] for tensor in tensors)), *tensors)

    def graph(self, output):
        return Graph("branches", (Value("x", self.x),), tuple(self.nodes), (output,))


def defined(graph, codes):
    """What the layers' own definitions give."""
    values = {"x": codes}
    for node in graph.nodes:
        values[node.output] = node.op.run(*(values[tensor] for tensor in node.inputs))
    return values[graph.outputs[0]].reshape(len(codes), -1)


def keeps(graph, codes, folding, *, settles=True):
    """The golden model and the accelerator give what the layers define, with stalls too, at the promised times.

    settles: whether frames follow each other at the promised interval from the last but one on; before that queues
    that fill up let them come earlier.
    """
    frames = codes.reshape(-1, *graph.input_type.shape)
    want = defined(graph, frames)
    np.testing.assert_array_equal(golden.run(graph, frames).reshape(len(frames), -1), want)
    accelerator, _ = gateware.accelerator_of(graph, folding)
    bench = Bench(accelerator)
    for valid, ready in ((1.0, 1.0), (0.6, 0.5)):
        got = bench.stream(codes.reshape(len(frames), -1), valid=valid, ready=ready)
        np.testing.assert_array_equal(got.codes, want)
        if ready == 1.0:
            ends = got.given[accelerator.output.beats - 1 :: accelerator.output.beats]
            assert ends[0] - got.taken[0] == accelerator.latency
            assert np.diff(ends).max() <= accelerator.interval
            assert not settles or np.diff(ends)[-1] == accelerator.interval
    assert cost.estimate(graph, folding).lut


def residual(rng, stride=1):
    """Two convolutions beside an identity, or beside a convolution of 1x1 where they halve the image."""
    net = Net(TensorType((4, 4, 2), U2), rng)
    stem = net.conv("stem", "x", 2, 1)
    main = net.conv("b", net.conv("a", stem, 2, 3, stride, 1), 2, 3, padding=1)
    skip = stem if stride == 1 else net.conv("skip", stem, 2, 1, stride)
    out = net.steps("out", net.sum("add", main, skip))
    whole = net.add("whole", ops.Window(net.types[out].shape[:2]), out)
    return net.graph(net.dense("fc", net.add("pool", ops.Pool("max", net.types[whole].channels // 2), whole), 2))


def inception(rng):
    """Branches of different depths side by side, one of them with a sum in it; the input itself forks."""
    net = Net(TensorType((4, 4, 2), U2), rng)
    one, three = net.conv("one", "x", 2, 1), net.conv("three", "x", 2, 3, padding=1)
    inner = net.steps("inner", net.sum("add", three, "x"))
    side = net.add("cat", ops.Concat(), one, inner, three)
    return net.graph(net.dense("fc", side, 3))


def deep_and_shallow(rng):
    """Dense layers, where a frame is one vector; a sum of sums of three, with scales of its own."""
    net = Net(TensorType((4,), U2), rng)
    first = net.steps("t", net.dense("d", "x", 4))
    left, right = net.dense("l", first, 4), net.dense("r", net.steps("m", net.dense("q", first, 4)), 4)
    return net.graph(net.sum("add", left, right, first))


def mixed(rng):
    """Sums of minifloats, signs and integers, on their common grid."""
    net = Net(TensorType((4,), U2), rng)
    first = net.dense("d", "x", 4)
    floats = net.add("floats", ops.Thresholds([[-4, -1, 2]], 9, formats.scalar("e2m1"), (0.5,)), first)
    signs = net.add("signs", ops.Thresholds([[0]], 0, Bipolar(), (0.75,)), first)
    return net.graph(net.dense("fc", net.sum("add", floats, signs, "x"), 3))


NETWORKS = {
    "mixed": mixed,
    "residual": lambda rng: residual(rng),
    "residual, halved": lambda rng: residual(rng, 2),
    "inception": inception,
    "dense": deep_and_shallow,
}


def folded(graph, pe, simd):
    return {
        node.name: Fold(int(np.gcd(pe, op.weight.shape[0])), int(np.gcd(simd, op.weight.shape[1])))
        for node, op in cost.matrix_units(graph)
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_the_golden_codes_at_the_promised_times(name, rng):
    graph = NETWORKS[name](rng)
    folding = folded(graph, 2, 2)
    codes = random_codes(U2, (3, *graph.input_type.shape), rng)
    accelerator, _ = gateware.accelerator_of(graph, folding)
    bench = Bench(accelerator)
    for seed, (valid, ready) in enumerate([(1.0, 1.0), (0.7, 0.6)]):
        got = bench.stream(codes.reshape(3, -1), valid=valid, ready=ready, seed=seed)
        np.testing.assert_array_equal(got.codes, defined(graph, codes))
        if ready == 1.0:
            ends = got.given[accelerator.output.beats - 1 :: accelerator.output.beats]
            assert ends[0] - got.taken[0] == accelerator.latency
            assert set(np.diff(ends)) == {accelerator.interval}
