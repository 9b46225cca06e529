"""Matrix units, quantizers and converters on blocks that share a scale, against the layers' definitions."""

from dataclasses import replace

import numpy as np
import pytest

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.formats import Blocked, Int, get
from hwgen.formats.grid import on_grid
from hwgen.gateware.beat import beats_of
from hwgen.gateware.block_quantize import BlockQuantize
from hwgen.gateware.matvec import MatVec
from hwgen.gateware.width import Gather, Scatter
from hwgen.ir import Beats, Fold, TensorType
from hwgen.passes.blocks import scales_of
from tests.gateware.bench import check

STALLS = ((1.0, 1.0), (0.6, 0.5))


def blocked(element: str, low: int = -4, high: int = 3, size: int = 8) -> Blocked:
    block = get(element)
    if not block.power_scale:
        return Blocked(replace(block.bare, size=size))
    return Blocked(replace(block, scale=scales_of(low, high), size=size))


def numbers(shape, rng) -> np.ndarray:
    return rng.normal(size=shape) * 2.0 ** rng.integers(-5, 4, (*shape[:-1], 1))


PAIRS = [("mxfp4", "mxfp4"), ("mxint8", "mxint8"), ("mxfp6e3m2", "mxfp8e4m3"), ("int4", "nvint4"), ("nvfp4", "nvfp4")]
PAIRS += [("nvint4", "mxfp4")]


@pytest.mark.parametrize(("weight", "x"), PAIRS)
@pytest.mark.parametrize("fold", [Fold(1, 4), Fold(2, 2)], ids=str)
def test_matrix_units_on_blocks(weight, x, fold, rng):
    kind = TensorType((16,), blocked(x))
    fmt = get(weight) if weight == "int4" else blocked(weight, -3, 2)
    weights = fmt.encode(numbers((6, 16), rng) * (3 if weight == "int4" else 1))
    op = ops.MatVec(weights, fmt, rng.integers(-99, 99, 6), input_format=kind.format)
    codes = kind.encode(numbers((3, 16), rng))
    check(MatVec(op, kind, fold), op.run(codes), codes, stalls=STALLS)


@pytest.mark.parametrize(("weight", "x"), [("e5m2", "e4m3"), ("mxfp8e4m3", "mxfp8e4m3"), ("e4m3", "mxint8")])
def test_units_leave_out_bits_that_no_weight_has(weight, x, rng):
    kind = TensorType((16,), blocked(x) if x.startswith("mx") else get(x))
    fmt = blocked(weight, -3, 2) if weight.startswith("mx") else get(weight)
    weights = fmt.encode(2.0 + 0.5 * rng.integers(0, 4, (6, 16)))
    bits = int(np.bitwise_or.reduce(on_grid(fmt, weights), axis=None))
    shift = (bits & -bits).bit_length() - 1
    assert shift > 5
    op = ops.MatVec(weights, fmt, rng.integers(-99, 99, 6), input_format=kind.format, shift=shift)
    whole = ops.MatVec(weights, fmt, op.bias << shift, input_format=kind.format)
    codes = kind.encode(numbers((5, 16), rng))
    np.testing.assert_array_equal(op.run(codes) << shift, whole.run(codes))
    assert op.infer(kind).codes_format.bits == whole.infer(kind).codes_format.bits - shift
    check(MatVec(op, kind, Fold(2, 4)), op.run(codes), codes, stalls=STALLS)


@pytest.mark.parametrize("name", ["mxfp4", "mxint8"])
@pytest.mark.parametrize(("window", "lanes"), [((-6, 1), 1), ((-20, 12), 4), ((-3, -2), 8), ((-6, 1), 8)])
def test_quantizers_to_blocks(name, window, lanes, rng):
    x = TensorType((24,), Int(12))
    op = ops.BlockQuantize(blocked(name, *window), -6)
    codes = rng.integers(-2048, 2048, (4, 24)) >> rng.integers(0, 12, (4, 1))
    codes[2], codes[3, :8] = 0, -2048
    check(BlockQuantize(op, x, lanes), op.run(codes), codes)


# Scales from zero to the greatest; numbers mostly below the least of them; numbers all far above it.
SCALED = [("nvfp4", 24, -10, 4), ("nvint4", 20, -14, 8), ("nvfp4", 12, -14, 2), ("fp4ue5m3", 8, 4, 8)]


@pytest.mark.parametrize(("name", "bits", "lsb", "lanes"), SCALED)
def test_quantizers_to_blocks_whose_scales_have_a_mantissa(name, bits, lsb, lanes, rng):
    x = TensorType((16,), Int(bits))
    op = ops.BlockQuantize(blocked(name), lsb, "half_away" if bits == 20 else "half_even")
    codes = rng.integers(-1 << (bits - 1), 1 << (bits - 1), (12, 16)) >> rng.integers(0, bits, (12, 1))
    codes[2], codes[3, :8] = 0, -1 << (bits - 1)
    check(BlockQuantize(op, x, lanes), op.run(codes), codes, stalls=STALLS)


@pytest.mark.parametrize(("lanes", "to"), [(1, 8), (2, 4), (8, 2), (4, 1)])
def test_converters_keep_what_a_block_shares(lanes, to, rng):
    kind = TensorType((16,), blocked("mxfp4"))
    beats = beats_of(kind, lanes)
    assert (beats.bits, beats.shared) == (4, 3)
    codes = kind.encode(numbers((5, 16), rng))
    check((Gather if to > lanes else Scatter)(beats, to), codes, codes)


def test_beats_pack_what_codes_share_once(rng):
    beats = beats_of(TensorType((16,), blocked("mxfp4")), 4)
    codes = TensorType((16,), blocked("mxfp4")).encode(numbers((3, 16), rng))
    assert (beats.lane_bits, beats.data_bits, beats.payload_bits, beats.bytes_per_frame) == (16, 19, 21, 12)
    np.testing.assert_array_equal(beats.unpack(beats.pack(codes)), codes)
    word = int.from_bytes(beats.pack(codes)[:3], "little")
    assert word >> 16 == codes[0, 0] >> 4
    assert beats.to_json()["shared"] == 3
    codes[1, 6] ^= 16
    with pytest.raises(HwgenError, match=r"beat 5: lane 2 has \d in its shared bits, lane 0 \d"):
        beats.pack(codes)
    with pytest.raises(HwgenError, match="codes that share bits are unsigned and share 1 or more"):
        Beats(4, 4, True, 4, 3)
    with pytest.raises(HwgenError, match="lanes must divide the blocks: 16 lanes, blocks of 8"):
        beats_of(TensorType((16,), blocked("mxfp4")), 16)


def test_folds_stay_within_blocks():
    kind = TensorType((16,), blocked("mxfp4"))
    op = ops.MatVec(np.zeros((4, 16), int), blocked("mxfp4"), input_format=kind.format)
    with pytest.raises(HwgenError, match="SIMD must divide the blocks: SIMD=16, blocks of 8"):
        op.cycles(kind, Fold(1, 16))


def test_what_no_blocks_are_made_of_is_refused():
    op = ops.BlockQuantize(blocked("mxfp4"), 0)
    with pytest.raises(HwgenError, match="blocks of 8 do not divide 12 channels"):
        op.infer(TensorType((12,), Int(8)))
    with pytest.raises(HwgenError, match="blocks are made of integers, not of e4m3"):
        op.infer(TensorType((8,), get("e4m3")))
    with pytest.raises(HwgenError, match="numbers of 63 bits cannot be made blocks; at most 62 are proven"):
        op.infer(TensorType((8,), Int(63)))
    with pytest.raises(HwgenError, match="unknown rounding 'up_and_down'"):
        ops.BlockQuantize(blocked("mxfp4"), 0, "up_and_down")
    with pytest.raises(HwgenError, match="rounded to the nearest: one of half_even, half_away, half_zero, not down"):
        ops.BlockQuantize(blocked("nvfp4"), 0, "down")
    with pytest.raises(HwgenError, match="elements under scales with a mantissa are symmetric, and int4 is not"):
        ops.BlockQuantize(Blocked(get("block<int4,ue5m3,8>")), 0)
    with pytest.raises(HwgenError, match="have 31 magnitudes at most, and e4m3 has more"):
        ops.BlockQuantize(Blocked(get("block<e4m3,ue5m3,8>")), 0)
