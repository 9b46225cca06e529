"""Repeated pixels against their definition: factors, shapes, lanes at both extremes, formats, stalls; networks."""

from dataclasses import replace

import numpy as np
import pytest

from hwgen import gateware, ops
from hwgen.errors import HwgenError
from hwgen.explore.folding import least_cost
from hwgen.formats import Blocked, get
from hwgen.gateware.upsample import Upsample
from hwgen.golden import run as run_golden
from hwgen.ir import Fold, TensorType
from hwgen.ops import cost
from hwgen.passes.blocks import scales_of
from tests.gateware.bench import Bench, check, random_codes
from tests.gateware.networks import chain, golden

STALLS = ((1.0, 1.0), (0.6, 0.5))


def run(factors, x, lanes, rng, stalls=STALLS, codes=None):
    op = ops.Upsample(factors)
    codes = random_codes(x.format, (3, *x.shape), rng) if codes is None else codes
    check(Upsample(op, x, lanes), op.run(codes), codes.reshape(len(codes), -1), stalls)


@pytest.mark.parametrize(
    ("factors", "shape", "lanes"),
    [
        ((2, 2), (3, 2, 4), 1),
        ((2, 2), (3, 5, 2), 2),
        ((3, 1), (4, 3, 2), 2),
        ((1, 3), (4, 3, 2), 1),
        ((2, 2), (1, 1, 1), 1),
        ((1, 2), (2, 1, 1), 1),
        ((1, 1), (3, 2, 1), 1),
        ((5, 4), (2, 3, 3), 3),
    ],
)
def test_codes_equal_the_golden_ones(factors, shape, lanes, rng):
    run(factors, TensorType(shape, get("int4")), lanes, rng)


@pytest.mark.parametrize("name", ["bipolar", "e4m3", "uint8", "int16"])
def test_formats(name, rng):
    run((2, 2), TensorType((2, 3, 2), get(name)), 2, rng)


def test_blocks(rng):
    fmt = Blocked(replace(get("mxfp4"), scale=scales_of(-3, 3), size=4))
    x = TensorType((2, 3, 8), fmt)
    run((2, 2), x, 2, rng, codes=fmt.encode(rng.normal(size=(3, 2, 3, 8))))


def test_long_stalls(rng):
    run((2, 3), TensorType((2, 2, 1), get("int3")), 1, rng, ((1.0, 0.1), (0.1, 1.0)))


def test_what_is_refused():
    with pytest.raises(HwgenError, match="lanes of images must divide the channels of a pixel: 4 lanes, 6 channels"):
        Upsample(ops.Upsample((2, 2)), TensorType((2, 2, 6), get("int4")), 4)
    blocked = TensorType((2, 2, 6), Blocked(replace(get("mxfp4"), scale=scales_of(-3, 3), size=4)))
    with pytest.raises(HwgenError, match="pixels keep blocks whole: blocks of 4 do not divide 6 channels"):
        Upsample(ops.Upsample((2, 2)), blocked, 2)
    with pytest.raises(HwgenError, match=r"an image grows by two factors of 1 or more, not \(2, 0\)"):
        ops.Upsample((2, 0))
    with pytest.raises(HwgenError, match=r"images \(rows, columns, channels\) are made larger, not \(4,\)"):
        ops.Upsample((2, 2)).infer(TensorType((4,)))


def network(rng):
    x = TensorType((4, 3, 4), get("uint2"))
    units = [ops.MatVec(rng.integers(-3, 4, shape), get("int3")) for shape in ((6, 4), (2, 54))]
    steps = np.sort(rng.integers(-9, 10, (6, 3)), axis=1)
    window = ops.Window((3, 3), padding=(1, 1, 1, 1), pad=0)
    thresholds = ops.Thresholds(steps, 0, get("uint2"))
    return chain(x, units[0], thresholds, ops.Upsample((2, 2)), window, units[1])


@pytest.mark.slow
def test_networks_keep_their_codes_and_times(rng):
    graph = network(rng)
    codes = random_codes(graph.input_type.format, (5, graph.input_type.size), rng)
    want = golden(graph, codes.reshape(5, 4, 3, 4))
    np.testing.assert_array_equal(run_golden(graph, codes.reshape(5, 4, 3, 4)).reshape(5, -1), want)
    for folding in ({"matvec0": Fold(1, 1), "matvec4": Fold(2, 2)}, {"matvec0": Fold(6, 4), "matvec4": Fold(2, 6)}):
        accelerator, _ = gateware.accelerator_of(graph, folding)
        bench = Bench(accelerator)
        for valid, ready in STALLS:
            got = bench.stream(codes, valid=valid, ready=ready)
            np.testing.assert_array_equal(got.codes, want)
            if ready == 1.0:
                ends = got.given[accelerator.output.beats - 1 :: accelerator.output.beats]
                assert ends[0] - got.taken[0] == accelerator.latency
                assert set(np.diff(ends)[-2:]) == {accelerator.interval}


def test_foldings_keep_the_pace_of_repeated_pixels(rng):
    graph = network(rng)
    choice = least_cost(graph, 1296)
    assert choice.interval <= 1296
    part = next(part for part in cost.parts(graph, choice.folding) if part.link.node.name == "upsample2")
    assert (part.clocks, part.lanes) == (48 * 6 // part.lanes, part.lanes)
    accelerator, _ = gateware.accelerator_of(graph, choice.folding)
    assert accelerator.interval == choice.interval
