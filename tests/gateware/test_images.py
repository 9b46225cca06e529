"""Accelerators of windows, pools and matrix units: codes as the layers define them, at the promised times."""

import re

import numpy as np
import pytest

from hwgen import gateware, ops
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.explore.folding import least_cost
from hwgen.flow.verify import verify
from hwgen.formats import Int
from hwgen.gateware import top
from hwgen.ir import Fold, TensorType
from hwgen.ops import cost
from tests.gateware.bench import Bench, random_codes
from tests.gateware.networks import chain, cnn, golden


def window(size, stride=1, padding=0):
    return ops.Window((size, size), (stride, stride), (padding,) * 4, pad=0)


def network(shape, layers, folds, seed=3):
    """A graph of `layers` (see `cnn`), and its folding by the order of its matrix units."""
    graph = cnn(TensorType(shape, Int(2, is_signed=False)), layers, np.random.default_rng(seed))
    names = [node.name for node, _ in cost.matrix_units(graph)]
    return graph, {name: Fold(*fold) for name, fold in zip(names, folds, strict=True)}


# Shape of the image, layers, folds.
NETWORKS = {
    "a pool between": ((6, 5, 2), [(4, window(3, 1, 1)), window(2, 2), (3, window(2))], [(2, 2), (1, 4)]),
    "more beats out than in": ((5, 5, 1), [(2, window(2)), window(3, 1, 1), (2, window(4))], [(2, 1), (1, 2)]),
    "pixels gathered": ((4, 4, 2), [(4, window(2)), (4, window(1)), (2, window(3))], [(4, 8), (1, 2), (2, 12)]),
    "1x1": ((5, 4, 3), [(4, window(1)), (6, window(1, 2)), (2, window(1))], [(2, 3), (3, 4), (1, 3)]),
    "a pool first": ((4, 6, 4), [window(2, 2), (3, window(2))], [(1, 2)]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_the_golden_codes_at_the_promised_times(name, rng):
    graph, folding = network(*NETWORKS[name])
    codes = random_codes(graph.input_type.format, (5, graph.input_type.size), rng)
    want = golden(graph, codes.reshape(5, *graph.input_type.shape))
    accelerator, _ = gateware.accelerator_of(graph, folding)
    bench = Bench(accelerator)
    for seed, (valid, ready) in enumerate([(1.0, 1.0), (0.6, 0.5)]):
        got = bench.stream(codes, valid=valid, ready=ready, seed=seed)
        np.testing.assert_array_equal(got.codes, want)
        if ready == 1.0:
            ends = got.given[accelerator.output.beats - 1 :: accelerator.output.beats]
            assert ends[0] - got.taken[0] == accelerator.latency
            assert set(np.diff(ends)[-2:]) == {accelerator.interval}


def test_what_leaves_the_stream_as_it_is_has_no_component():
    x = TensorType((3, 4, 2), Int(4))
    unit = ops.MatVec(np.ones((2, 24), int), Int(2))
    graph = chain(x, window(1), ops.Window((3, 4)), ops.Reshape((24,)), unit)
    found = top.parts(graph, {"matvec3": Fold(1, 6)})
    assert [part.node.name for part in found] == ["matvec3"]
    assert found[0].component.input.lanes == 6


def test_lanes_of_windows_are_those_of_their_reader_or_keep_the_interval():
    graph, folding = network((8, 8, 4), [(8, window(3)), window(3, 1), (4, window(2))], [(1, 2), (1, 4)])
    lanes = cost.stream_lanes(graph, folding)
    assert [lanes[name] for name in ("window0", "window3", "pool4", "window5")] == [2, 1, 1, 4]
    folding["matvec1"] = Fold(8, 4)
    lanes = cost.stream_lanes(graph, folding)
    # 16 windows of 9 pixels of 8 channels in the clocks of the slowest unit, 324: 4 channels at a time.
    assert lanes["window3"] == 4


REFUSED = [
    (chain(TensorType((4, 4, 2), Int(4)), window(1)), UnsupportedError, "graph 'chain' computes nothing"),
    (
        chain(TensorType((4, 4, 2), Int(4)), ops.Window((3, 3), padding=(1, 1, 1, 1))),
        HwgenError,
        "node 'window0': padding of codes needs the code that it is made of",
    ),
]


@pytest.mark.parametrize(("graph", "error", "message"), REFUSED)
def test_what_cannot_be_built_is_refused_by_name(graph, error, message):
    with pytest.raises(error, match=re.escape(message)):
        top.build(graph, {})


@pytest.mark.slow
def test_verilog_is_bit_exact_with_stalls_and_as_fast_as_promised(tmp_path, rng):
    layers = [(8, window(3, 1, 1)), (8, window(3)), window(2, 2), (16, window(3, 2, 1)), (10, window(2))]
    graph = cnn(TensorType((12, 9, 3), Int(4, is_signed=False)), layers, rng)
    folding = least_cost(graph, 2000).folding
    design = gateware.build(graph, folding)
    assert 1000 < design.interval <= 2000
    assert {stage.kind for stage in design.stages} >= {"window", "pool", "matvec", "thresholds", "fifo"}
    codes = random_codes(graph.input_type.format, (20, *graph.input_type.shape), rng)
    result = verify(graph, design, codes, tmp_path)
    assert (result.latency, result.interval) == (design.latency, design.interval)
