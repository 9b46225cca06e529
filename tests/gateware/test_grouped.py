"""Products in groups against their definition: shapes, lanes at both extremes, formats, blocks, stalls."""

import numpy as np
import pytest

from hwgen import gateware, ops
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.explore.folding import least_cost
from hwgen.formats import Block, Blocked, get
from hwgen.gateware.grouped import Grouped
from hwgen.golden import run as run_golden
from hwgen.ir import Fold, TensorType
from hwgen.ops import cost
from hwgen.passes.blocks import scales_of
from tests.gateware.bench import Bench, check, random_codes
from tests.gateware.networks import chain, golden

STALLS = ((1.0, 1.0), (0.6, 0.5))


def unit(x, weight, shape, rng, *, multiplier="exact", bias=True):
    """shape: groups, channels and outputs of each, taps."""
    fmt, (groups, channels, rows, taps) = get(weight), shape
    codes = rng.choice(fmt.codes()[fmt.is_number(fmt.codes())], (groups * rows, taps * channels))
    read = get(x) if x.startswith("e") or x == "bipolar" else None
    addends = rng.integers(-9, 9, groups * rows) if bias else np.zeros(1, int)
    return ops.Grouped(codes, fmt, addends, (1.0,), read, multiplier, groups=groups, taps=taps)


def run(op, x, fold, rng, positions=(2,), stalls=STALLS):
    kind = TensorType((*positions, op.groups * op.weight.shape[1]), x)
    codes = random_codes(x, (2, *kind.shape), rng)
    codes = np.where(x.is_number(codes), codes, 0)
    check(Grouped(op, kind, Fold(*fold)), op.run(codes), codes.reshape(2, -1), stalls)


@pytest.mark.parametrize(
    ("shape", "fold"),
    [
        ((6, 1, 1, 9), (1, 1)),
        ((6, 1, 1, 9), (1, 3)),
        ((6, 1, 1, 4), (1, 6)),
        ((1, 1, 1, 4), (1, 1)),
        ((4, 1, 1, 1), (1, 2)),
        ((2, 1, 1, 25), (1, 1)),
        ((3, 1, 4, 3), (2, 1)),
        ((4, 1, 2, 4), (2, 2)),
        ((3, 4, 2, 3), (2, 4)),
        ((3, 4, 4, 2), (1, 1)),
        ((2, 4, 3, 3), (3, 2)),
        ((2, 4, 3, 1), (3, 1)),
        ((4, 2, 3, 2), (3, 4)),
        ((4, 2, 3, 2), (3, 8)),
        ((1, 4, 2, 3), (2, 2)),
    ],
    ids=str,
)
@pytest.mark.slow
def test_codes_equal_the_golden_ones(shape, fold, rng):
    run(unit("uint4", "int4n", shape, rng), get("uint4"), fold, rng)


@pytest.mark.parametrize(
    ("x", "weight", "shape"),
    [
        ("int8", "int8", (2, 2, 2, 4)),
        ("uint1", "bipolar", (4, 1, 1, 9)),
        ("bipolar", "bipolar", (2, 4, 2, 4)),
        ("bipolar", "int3", (4, 1, 1, 9)),
        ("e4m3", "e4m3", (4, 1, 1, 4)),
        ("e2m1", "e3m2", (2, 2, 2, 3)),
        ("e2m1", "int4", (4, 1, 1, 9)),
        ("int2", "int2", (2, 2, 1, 3)),
    ],
    ids=str,
)
@pytest.mark.slow
def test_formats(x, weight, shape, rng):
    run(unit(x, weight, shape, rng), get(x), (1, 2), rng)


@pytest.mark.parametrize("multiplier", ["lmul", "mitchell", "lmul_formula_trunc"])
@pytest.mark.parametrize(("x", "shape"), [("e4m3", (4, 1, 1, 9)), ("e2m1", (2, 2, 2, 3))], ids=str)
@pytest.mark.slow
def test_products_that_are_codes(x, shape, multiplier, rng):
    run(unit(x, x, shape, rng, multiplier=multiplier), get(x), (1, 2), rng)


@pytest.mark.parametrize(
    ("weight", "shape", "fold"),
    [
        ("e2m1", (2, 8, 2, 2), (2, 4)),
        ("blocks", (2, 8, 2, 2), (1, 2)),
        ("int3", (2, 8, 3, 1), (3, 1)),
        ("blocks", (4, 1, 1, 4), (1, 4)),
        ("blocks", (4, 2, 2, 2), (2, 4)),
        ("e2m1", (2, 2, 2, 3), (1, 1)),
    ],
    ids=str,
)
@pytest.mark.slow
def test_blocks_within_groups_and_across(weight, shape, fold, rng):
    fmt, (groups, channels, rows, taps) = Blocked(Block(get("e2m1"), scales_of(-3, 3), 4)), shape
    w = fmt if weight == "blocks" else get(weight)
    codes = w.encode(rng.normal(size=(groups * rows * taps, channels)) * 2).reshape(groups * rows, -1)
    op = ops.Grouped(codes, w, rng.integers(-9, 9, groups * rows), (1.0,), fmt, groups=groups, taps=taps)
    kind = TensorType((2, groups * channels * taps), fmt)
    codes = fmt.encode(rng.normal(size=(2, *kind.shape)) * 3)
    check(Grouped(op, kind, Fold(*fold)), op.run(codes), codes.reshape(2, -1), STALLS)


def test_long_stalls_and_no_bias(rng):
    op = unit("int4", "int4", (2, 2, 4, 2), rng, bias=False)
    run(op, get("int4"), (2, 1), rng, stalls=((1.0, 0.1), (0.1, 1.0)))


def test_weights_of_zero(rng):
    op = ops.Grouped(np.zeros((2, 3), int), get("int3"), np.array([5, -5]), groups=2, taps=3)
    run(op, get("int3"), (1, 1), rng, (1,))


def test_folds_that_do_not_divide_are_refused(rng):
    op = unit("int4", "int4", (6, 1, 1, 4), rng)
    for fold in (Fold(1, 4), Fold(2, 3)):
        with pytest.raises(HwgenError, match=f"folding must divide a group or the groups: SIMD={fold.simd} into 1 ch"):
            Grouped(op, TensorType((24,), get("int4")), fold)


def block(shape, window, between, fold, rng):
    """A convolution in groups, thresholds and a pointwise one, and their folding. between: groups, their outputs."""
    x, (groups, rows) = TensorType(shape, get("uint2")), between
    size = window.taps * shape[-1] // groups
    first = ops.Grouped(rng.integers(-3, 4, (groups * rows, size)), get("int3"), groups=groups, taps=window.taps)
    low, high = first.accumulator_range(x)
    steps = np.sort(rng.integers(low, high + 1, (groups * rows, 3)), axis=1)
    pointwise = ops.MatVec(rng.integers(-3, 4, (4, groups * rows)), get("int3"))
    graph = chain(x, window, first, ops.Thresholds(steps, 0, get("uint2")), pointwise)
    return graph, {"grouped1": fold, "matvec3": Fold(2, 1)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "window", "between", "fold"),
    [
        ((5, 4, 6), ops.Window((3, 3), padding=(1, 1, 1, 1), pad=0), (6, 1), Fold(1, 2)),
        ((5, 5, 3), ops.Window((3, 3), (2, 2), (1, 1, 0, 0), pad=0), (3, 2), Fold(1, 1)),
        ((4, 6, 4), ops.Window((2, 3), dilation=(2, 1), pad=0), (2, 3), Fold(3, 1)),
        ((3, 3, 8), ops.Window((2, 2), padding=(1, 0, 0, 1), pad=0), (4, 4), Fold(2, 2)),
        ((3, 3, 4), ops.Window((3, 3), pad=0), (2, 2), Fold(2, 4)),
    ],
)
def test_networks_keep_their_codes_and_times(shape, window, between, fold, rng):
    graph, folding = block(shape, window, between, fold, rng)
    codes = random_codes(graph.input_type.format, (5, graph.input_type.size), rng)
    want = golden(graph, codes.reshape(5, *shape))
    np.testing.assert_array_equal(run_golden(graph, codes.reshape(5, *shape)).reshape(5, -1), want)
    accelerator, _ = gateware.accelerator_of(graph, folding)
    bench = Bench(accelerator)
    for valid, ready in STALLS:
        got = bench.stream(codes, valid=valid, ready=ready)
        np.testing.assert_array_equal(got.codes, want)
        if ready == 1.0:
            ends = got.given[accelerator.output.beats - 1 :: accelerator.output.beats]
            assert ends[0] - got.taken[0] == accelerator.latency
            assert set(np.diff(ends)[-2:]) == {accelerator.interval}


def test_foldings_are_chosen_and_priced(rng):
    window = ops.Window((3, 3), padding=(1, 1, 1, 1), pad=0)
    graph, folding = block((6, 6, 8), window, (8, 1), Fold(1, 2), rng)
    slow, fast = (least_cost(graph, interval) for interval in (2592, 400))
    assert slow.folding["grouped1"] == Fold(1, 1)
    assert fast.folding["grouped1"] == Fold(1, 8)
    assert slow.interval == 2592
    assert fast.interval == 324
    assert (slow.resources.lut or 0) < (fast.resources.lut or 0)
    layer = next(layer for layer in cost.parts(graph, folding) if layer.link.node.name == "grouped1")
    assert (layer.clocks, layer.lanes, layer.behind) == (1296, 2, 2)


def test_dsps_on_request_are_for_other_units(rng):
    graph, folding = block((4, 4, 4), ops.Window((2, 2), pad=0), (2, 2), Fold(1, 2, dsp=True), rng)
    with pytest.raises(UnsupportedError, match="'grouped1': the fold asks for DSPs"):
        gateware.accelerator_of(graph, folding, "xcup")
