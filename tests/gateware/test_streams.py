"""Width converters and the FIFO: what goes in comes out, at the rate they promise."""

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.formats import Int
from hwgen.gateware.beat import beats_of, payload
from hwgen.gateware.fifo import Fifo
from hwgen.gateware.width import Gather, Scatter
from hwgen.ir import Beats, TensorType
from tests.gateware.bench import check, random_codes, stream


def frames(beats, rng, count=5):
    return random_codes(Int(beats.bits, is_signed=beats.signed), (count, beats.codes), rng)


@pytest.mark.parametrize(("lanes", "wide", "beats"), [(1, 2, 2), (1, 5, 10), (2, 6, 3), (3, 6, 4), (4, 8, 2)])
@pytest.mark.parametrize("signed", [False, True])
def test_gather(lanes, wide, beats, signed, rng):
    stream_in = Beats(lanes, 4, signed, beats)
    codes = frames(stream_in, rng)
    check(Gather(stream_in, wide), codes, codes)


@pytest.mark.parametrize(("lanes", "narrow", "beats"), [(2, 1, 1), (5, 1, 2), (6, 2, 3), (6, 3, 2), (8, 4, 1)])
@pytest.mark.parametrize("signed", [False, True])
def test_scatter(lanes, narrow, beats, signed, rng):
    stream_in = Beats(lanes, 4, signed, beats)
    codes = frames(stream_in, rng)
    check(Scatter(stream_in, narrow), codes, codes)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("beats", [1, 4])
def test_fifo(depth, beats, rng):
    stream_in = Beats(2, 3, False, beats)
    codes = frames(stream_in, rng, 8)
    check(Fifo(stream_in, depth), codes, codes)


@pytest.mark.parametrize("depth", [2, 5])
def test_a_full_fifo_stops_taking(depth, rng):
    stream_in = Beats(1, 3, False, 12)
    got = stream(Fifo(stream_in, depth), frames(stream_in, rng, 1), ready=0.02)
    waiting = [sum(t < cycle for t in got.taken) - n for n, cycle in enumerate(got.given)]
    assert max(waiting) == depth + 1


def test_lanes_of_a_converter_divide_each_other():
    with pytest.raises(HwgenError, match="lanes of a width converter must divide each other, not 4 and 3"):
        Gather(Beats(3, 4, False, 4), 4)
    with pytest.raises(HwgenError, match="lanes must divide the frame: 6 lanes, 9 codes"):
        Gather(Beats(3, 4, False, 3), 6)


def test_lanes_divide_the_channels():
    with pytest.raises(HwgenError, match="lanes must divide the channels: 4 lanes, 6 channels"):
        beats_of(TensorType((6,), Int(4)), 4)


def test_the_payload_has_lane_zero_lowest_and_last_on_top():
    beats = Beats(3, 4, True, 2)
    layout = payload(beats)
    assert layout.size == beats.payload_bits
    assert (layout["lanes"].offset, layout["first"].offset, layout["last"].offset) == (0, 12, 13)
    bits = layout.const({"lanes": [1, -1, 2], "first": 1, "last": 0}).as_bits()
    assert bits.to_bytes(2, "little") == (
        int.from_bytes(beats.pack([[1, -1, 2, 0, 0, 0]])[:2], "little") | 1 << 12
    ).to_bytes(2, "little")
    assert np.array_equal(beats.unpack(beats.pack([[1, -1, 2, 0, 0, 0]])), [[1, -1, 2, 0, 0, 0]])
