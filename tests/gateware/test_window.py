"""Sliding windows against their definition: all geometries, with stalls, at the promised times."""

from dataclasses import replace

import numpy as np
import pytest

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.formats import Blocked, Int, get
from hwgen.gateware.window import Window
from hwgen.ir import TensorType
from hwgen.passes.blocks import scales_of
from tests.gateware.bench import Bench, random_codes

STALLS = ((1.0, 1.0), (0.6, 0.5))


def run(op, x, lanes, codes, stalls=STALLS):
    want = op.run(codes).reshape(len(codes), -1)
    dut = Window(op, x, lanes)
    bench = Bench(dut)
    for seed, (valid, ready) in enumerate(stalls):
        got = bench.stream(codes.reshape(len(codes), -1), valid=valid, ready=ready, seed=seed)
        np.testing.assert_array_equal(got.codes, want, err_msg=f"stalls {valid}, {ready}")
        if (valid, ready) == (1.0, 1.0):
            ends = got.given[dut.output.beats - 1 :: dut.output.beats]
            assert ends[0] - got.taken[0] == dut.latency
            assert set(np.diff(ends)[1:]) == {dut.interval}, (np.diff(ends), dut.interval)


GEOMETRIES = {
    "3x3": ((5, 7), ops.Window((3, 3))),
    "3x3 padded": ((5, 4), ops.Window((3, 3), padding=(1, 1, 1, 1), pad=3)),
    "2x2 stride 2": ((6, 4), ops.Window((2, 2), (2, 2))),
    "2x2 stride 2, odd": ((7, 5), ops.Window((2, 2), (2, 2))),
    "3x3 stride 2": ((7, 5), ops.Window((3, 3), (2, 2), (1, 1, 1, 1), pad=-2)),
    "1x1 stride 2": ((5, 6), ops.Window((1, 1), (2, 2))),
    "1x1 stride 3": ((7, 4), ops.Window((1, 1), (3, 3))),
    "2x3 stride 3x1": ((8, 5), ops.Window((2, 3), (3, 1))),
    "dilated": ((7, 6), ops.Window((3, 2), dilation=(2, 3))),
    "dilated, padded, uneven": ((6, 5), ops.Window((3, 2), (3, 2), (0, 1, 2, 0), (2, 1), pad=0)),
    "1d": ((1, 9), ops.Window((1, 5), (1, 1), (0, 3, 0, 3), (1, 2), pad=-7)),
    "a column": ((6, 1), ops.Window((3, 1), padding=(1, 0, 1, 0), pad=0)),
    "the image": ((3, 4), ops.Window((3, 4))),
    "the image, padded": ((3, 2), ops.Window((5, 4), padding=(1, 1, 1, 1), pad=1)),
    "padding alone": ((3, 3), ops.Window((2, 2), padding=(3, 2, 3, 2), pad=6)),
    "one pixel": ((1, 1), ops.Window((3, 3), padding=(1, 1, 1, 1), pad=2)),
}


@pytest.mark.parametrize(("channels", "lanes"), [(1, 1), (6, 3)])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_windows(name, channels, lanes, rng):
    size, op = GEOMETRIES[name]
    x = TensorType((*size, channels), Int(4))
    run(op, x, lanes, random_codes(x.format, (3, *x.shape), rng))


@pytest.mark.parametrize(("channels", "lanes"), [(4, 1), (4, 4)])
def test_lanes_at_both_ends_under_all_stalls(channels, lanes, rng):
    op = ops.Window((3, 2), (1, 2), (1, 0, 1, 1), pad=-8)
    x = TensorType((5, 5, channels), Int(4))
    run(op, x, lanes, random_codes(x.format, (2, *x.shape), rng), ((1.0, 0.3), (0.3, 1.0), (0.1, 0.9)))


@pytest.mark.parametrize("name", ["bipolar", "e4m3", "uint1"])
def test_padding_is_the_code_of_the_format(name, rng):
    x = TensorType((3, 4, 2), get(name))
    op = ops.Window((2, 2), padding=(1, 1, 0, 0), pad=int(x.codes_format.codes()[-1]))
    run(op, x, 2, random_codes(x.format, (4, *x.shape), rng))


def test_blocks_keep_their_scales(rng):
    block = Blocked(replace(get("mxfp4"), scale=scales_of(-4, 3), size=4))
    x = TensorType((4, 4, 8), block)
    codes = x.encode(rng.normal(size=(3, *x.shape)) * 2.0 ** rng.integers(-5, 4, (3, 4, 4, 1)))
    run(ops.Window((3, 3), padding=(1, 1, 1, 1), pad=0), x, 2, codes)


def test_what_has_no_windows_is_refused():
    x = TensorType((4, 4, 6), Int(4))
    with pytest.raises(HwgenError, match="padding of codes needs the code that it is made of"):
        Window(ops.Window((3, 3), padding=(1, 1, 1, 1)), x, 1)
    with pytest.raises(HwgenError, match="lanes of windows must divide the channels of a pixel: 4 lanes, 6 channels"):
        Window(ops.Window((3, 3)), x, 4)
    blocks = TensorType((4, 4, 6), Blocked(replace(get("mxfp4"), scale=scales_of(-4, 3), size=4)))
    with pytest.raises(HwgenError, match="windows keep blocks whole: blocks of 4 do not divide 6 channels"):
        Window(ops.Window((2, 2)), blocks, 2)
