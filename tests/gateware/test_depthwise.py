"""Depthwise products against their definition: shapes, lanes at both extremes, formats, stalls."""

import numpy as np
import pytest

from hwgen import gateware, ops
from hwgen.errors import HwgenError
from hwgen.explore.folding import least_cost
from hwgen.formats import get
from hwgen.gateware.depthwise import Depthwise
from hwgen.golden import run as run_golden
from hwgen.ir import Fold, TensorType
from hwgen.ops import cost
from tests.gateware.bench import check, random_codes, stream
from tests.gateware.networks import chain, golden

STALLS = ((1.0, 1.0), (0.6, 0.5))


def unit(x, channels, taps, weight, rng, *, bias=True):
    fmt = get(weight)
    codes = rng.choice(fmt.codes()[fmt.is_number(fmt.codes())], (channels, taps))
    read = x if x.startswith("e") or x == "bipolar" else None
    addends = rng.integers(-9, 9, channels) if bias else np.zeros(1, int)
    return ops.Depthwise(codes, fmt, addends, input_format=get(read) if read else None)


def run(op, x, simd, rng, stalls=STALLS):
    fmt = x.format
    codes = random_codes(fmt, (2, *x.shape), rng)
    codes = np.where(fmt.is_number(codes), codes, 0)
    check(lambda: Depthwise(op, x, Fold(1, simd)), op.run(codes), codes.reshape(2, -1), stalls)


@pytest.mark.parametrize("positions", [(2,)])
@pytest.mark.parametrize(
    ("taps", "channels", "simd"), [(9, 6, 1), (9, 6, 3), (9, 6, 6), (4, 1, 1), (1, 4, 2), (1, 1, 1), (25, 2, 1)]
)
def test_codes_equal_the_golden_ones(taps, channels, simd, positions, rng):
    op = unit("uint4", channels, taps, "int4n", rng)
    run(op, TensorType((*positions, taps * channels), get("uint4")), simd, rng)


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        ("int8", "int8"),
        ("uint1", "bipolar"),
        ("bipolar", "int3"),
        ("e4m3", "e4m3"),
        ("e2m1", "e3m2"),
        ("e2m1", "int4"),
        ("int2", "int2"),
    ],
)
def test_formats(x, weight, rng):
    run(unit(x, 4, 9, weight, rng), TensorType((2, 36), get(x)), 2, rng)


def test_long_stalls_and_no_bias(rng):
    run(unit("int4", 4, 4, "int4", rng, bias=False), TensorType((2, 16), get("int4")), 2, rng, ((1.0, 0.1), (0.1, 1.0)))


def test_weights_of_zero(rng):
    op = ops.Depthwise(np.zeros((2, 3), int), get("int3"), np.array([5, -5]))
    run(op, TensorType((6,), get("int3")), 1, rng)


def test_folds_that_do_not_divide_are_refused(rng):
    op = unit("int4", 6, 4, "int4", rng)
    for fold in (Fold(1, 4), Fold(2, 3)):
        with pytest.raises(HwgenError, match=f"PE is 1 of depthwise products, and SIMD={fold.simd} into 6 channels"):
            Depthwise(op, TensorType((24,), get("int4")), fold)


def separable(shape, window, simd, rng):
    """A depthwise convolution, thresholds and a pointwise one, and their folding."""
    x = TensorType(shape, get("uint2"))
    depthwise = ops.Depthwise(rng.integers(-3, 4, (shape[-1], window.taps)), get("int3"))
    low, high = depthwise.accumulator_range(x)
    steps = np.sort(rng.integers(low, high + 1, (shape[-1], 3)), axis=1)
    pointwise = ops.MatVec(rng.integers(-3, 4, (4, shape[-1])), get("int3"))
    graph = chain(x, window, depthwise, ops.Thresholds(steps, 0, get("uint2")), pointwise)
    return graph, {"depthwise1": Fold(1, simd), "matvec3": Fold(2, 1)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "window", "simd"),
    [
        ((5, 4, 6), ops.Window((3, 3), padding=(1, 1, 1, 1), pad=0), 2),
        ((5, 5, 3), ops.Window((3, 3), (2, 2), (1, 1, 0, 0), pad=0), 1),
        ((4, 6, 4), ops.Window((2, 3), dilation=(2, 1), pad=0), 4),
        ((3, 3, 2), ops.Window((3, 3), pad=0), 2),
    ],
)
def test_networks_keep_their_codes_and_times(shape, window, simd, rng):
    graph, folding = separable(shape, window, simd, rng)
    codes = random_codes(graph.input_type.format, (5, graph.input_type.size), rng)
    want = golden(graph, codes.reshape(5, *shape))
    np.testing.assert_array_equal(run_golden(graph, codes.reshape(5, *shape)).reshape(5, -1), want)
    for valid, ready in STALLS:
        accelerator, _ = gateware.accelerator_of(graph, folding)
        got = stream(accelerator, codes, valid=valid, ready=ready)
        np.testing.assert_array_equal(got.codes, want)
        if ready == 1.0:
            ends = got.given[accelerator.output.beats - 1 :: accelerator.output.beats]
            assert ends[0] - got.taken[0] == accelerator.latency
            assert set(np.diff(ends)[-2:]) == {accelerator.interval}


def test_foldings_are_chosen_and_priced(rng):
    graph, folding = separable((6, 6, 8), ops.Window((3, 3), padding=(1, 1, 1, 1), pad=0), 2, rng)
    slow, fast = (least_cost(graph, interval) for interval in (2592, 400))
    assert slow.folding["depthwise1"] == Fold(1, 1)
    assert fast.folding["depthwise1"] == Fold(1, 8)
    assert slow.interval == 2592
    assert fast.interval == 324
    assert (slow.resources.lut or 0) < (fast.resources.lut or 0)
    layer = next(layer for layer in cost.parts(graph, folding) if layer.link.node.name == "depthwise1")
    assert (layer.clocks, layer.lanes, layer.behind) == (1296, 2, 2)
