"""Streaming quantizers to block formats and dynamic fixed point, the Hadamard transform and random numbers."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import DynamicFixed, Int, Stochastic, get
from hwgen.gateware.arith.block_maximum import BlockMaximum
from hwgen.gateware.arith.dfp import DownConvert
from hwgen.gateware.arith.hadamard import Hadamard
from hwgen.gateware.arith.mx import MxQuantize
from hwgen.gateware.arith.scaled import ScaledQuantize
from hwgen.gateware.arith.stochastic import Lfsr
from hwgen.ir import Beats
from tests.gateware.arith.sweep import Dut, Flat, clocked, from_bits, to_bits

MX = ["mxfp8e4m3", "mxfp8e5m2", "mxfp6e3m2", "mxfp6e2m3", "mxfp4", "mxint8"]
# Scales of few bits: of these numbers some blocks ask for less and some for more than the format has.
NARROW = ["block<e2m1,ue3m0b8_nosub,32>", "block<fixed<8,2>n,ue3m0b6_nosub,32>", "block<e4m3,ue2m0b13_nosub,32>"]
# Format, scale mode.
MODES = [*((name, "floor") for name in (*MX, *NARROW)), *((name, "even") for name in (*MX, *NARROW))]
MODES += [("mxfp4", "ceil"), ("mxint8", "ceil"), (NARROW[1], "ceil")]
SCALED = ["nvfp4", "nvint4", "fp4ue5m3"]
STALLS = ((1.0, 1.0), (0.5, 0.6), (1.0, 0.4), (0.3, 1.0))


def numbers(count: int, width: int, rng) -> np.ndarray:
    """Blocks of 32 numbers of `width` bits: of all sizes, with outliers, zeros, extremes and ties."""
    size = rng.integers(0, width, (count, 1))
    x = rng.integers(-(1 << (width - 1)), 1 << (width - 1), (count, 32)) >> size
    kind = rng.integers(0, 8, count)
    x[kind == 0] >>= 4
    x[kind == 0, 0] = 1 << (width - 2)
    x[kind == 1] = 0
    x[kind == 2] = rng.choice([-(1 << (width - 1)), (1 << (width - 1)) - 1, 1, -1, 0], ((kind == 2).sum(), 32))
    # Ties: few bits, the rest half a step.
    x[kind == 3] &= ~((1 << (width - 5)) - 1)
    x[kind == 3] |= 1 << (width - 6)
    # Greatest magnitudes at and around powers of two and where a mantissa's rounding carries.
    top = rng.integers(1, width, count)
    less = rng.integers(0, 12, count)
    near = np.where(less < 3, (1 << top) - 2 + less, (1 << top) - (1 << np.maximum(top - less, 0)) + (less % 2))
    x[kind == 4] >>= 6
    x[kind == 4, 5] = np.where(less % 3 == 0, -near, np.minimum(near, (1 << (width - 1)) - 1))[kind == 4]
    return x


def stream(dut, beats: np.ndarray, extra: str, *, valid: float, ready: float, seed: int = 0):
    """(lanes of each output beat, the field `extra` of each) for input `beats` (n, lanes), with random stalls."""
    rng = np.random.default_rng(seed)
    got, fields, taken, given = [], [], [], []
    total = len(beats)

    async def run(ctx):
        sent, offered, clock = 0, False, 0
        while len(got) < total:
            offered = sent < total and (offered or rng.random() < valid)
            ctx.set(dut.i.valid, offered)
            if offered:
                place = sent % dut.input.beats
                flags = {"first": int(place == 0), "last": int(place == dut.input.beats - 1)}
                ctx.set(dut.i.payload, {"lanes": beats[sent].tolist(), **flags})
            ctx.set(dut.o.ready, rng.random() < ready)
            _, _, can, has, takes, beat = await ctx.tick().sample(dut.i.ready, dut.o.valid, dut.o.ready, dut.o.payload)
            if offered and can:
                taken.append(clock)
                sent += 1
            offered = offered and not can
            if has and takes:
                place = len(got) % dut.input.beats
                assert (beat.first, beat.last) == (place == 0, place == dut.input.beats - 1)
                got.append(list(beat.lanes))
                fields.append(getattr(beat, extra))
                given.append(clock)
            clock += 1
            assert clock < 5000 + 100 * total, f"only {len(got)} of {total} beats came out"

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    if (valid, ready) == (1.0, 1.0):
        assert given[dut.input.beats - 1] - taken[0] == dut.latency
        assert set(np.diff(given)) == {1}
    return np.array(got), np.array(fields)


@pytest.mark.parametrize(("name", "mode"), [("mxfp8e4m3", "floor"), ("mxint8", "even"), (NARROW[0], "ceil")])
@pytest.mark.parametrize(("valid", "ready"), STALLS)
def test_mx_blocks_under_stalls(name, mode, valid, ready, rng):
    fmt, lanes = get(name), 8
    x = numbers(6, 14, rng)
    dut = MxQuantize(fmt, Beats(lanes, 14, True, 8), -9, scale_mode=mode)
    codes, scales = stream(dut, x.reshape(-1, lanes), "scale", valid=valid, ready=ready)
    want_scales, want = fmt.encode(np.ldexp(x.astype(float), -9), scale_mode=mode)
    np.testing.assert_array_equal(codes.reshape(-1, 32), want & ((1 << fmt.element.bits) - 1))
    np.testing.assert_array_equal(scales.reshape(-1, 4), np.repeat(want_scales[:, None], 4, axis=1))


@pytest.mark.slow
def test_a_million_lanes_of_every_block_format_and_scale_mode(tmp_path, rng):
    width, blocks, lanes = 20, 32000, 8
    x = numbers(blocks, width, rng)
    beats = x.reshape(-1, lanes)
    flags = np.tile([[1, 0], [0, 0], [0, 0], [0, 1]], (blocks, 1)).astype(np.uint8)
    # The payload is {last, first, lanes}; then valid and the output's ready, always high.
    stimulus = np.concatenate([to_bits(beats, width), flags, np.ones((len(beats), 2), np.uint8)], axis=1)
    ports = (("i_payload", lanes * width + 2), ("i_valid", 1), ("o_ready", 1))
    units = [MxQuantize(get(name), Beats(lanes, width, True, 4), -13, scale_mode=mode) for name, mode in MODES]
    units += [ScaledQuantize(get(name).bare, Beats(lanes, width, True, 4), -13) for name in SCALED]
    duts = [Dut(Flat(unit), ports, ("o_payload", "o_valid")) for unit in units]
    for unit, out in zip(units, clocked(duts, [stimulus] * len(units), tmp_path), strict=True):
        element = unit.format.element.bits
        out = out[out[:, -1] == 1]
        out = out[: len(out) // 4 * 4]
        count = len(out) // 4
        assert count >= blocks - 4
        codes = from_bits(out[:, : lanes * element], element).reshape(count, 32)
        scales = from_bits(out[:, lanes * element : -3], unit.format.scale.bits).reshape(count, 4)
        mode = getattr(unit, "scale_mode", None)
        name = f"{unit.format.name} {mode}"
        real = np.ldexp(x[:count].astype(float), -13).reshape(count, -1, unit.format.size)
        want_scales, want = unit.format.encode(real, scale_mode=mode)
        np.testing.assert_array_equal(scales, np.repeat(want_scales, unit.block, axis=1), err_msg=name)
        np.testing.assert_array_equal(codes, want.reshape(count, 32) & ((1 << element) - 1), err_msg=name)


@pytest.mark.parametrize(("valid", "ready"), STALLS)
@pytest.mark.parametrize(("bits", "rounding"), [(16, "half_even"), (9, "half_up"), (4, "zero")])
def test_down_conversion(valid, ready, bits, rounding, rng):
    fmt, frames, lanes, beats = DynamicFixed(bits), 12, 2, 3
    size = rng.integers(0, 32, (frames, 1))
    x = rng.integers(-(1 << 31), 1 << 31, (frames, lanes * beats)) >> size
    x[0], x[1], x[2, 0], x[3, 0] = 0, -1, -(1 << 31), (1 << 31) - 1
    dut = DownConvert(fmt, Beats(lanes, 32, True, beats), rounding)
    codes, shifts = stream(dut, x.reshape(-1, lanes), "shift", valid=valid, ready=ready)
    for frame, (got, shift) in enumerate(zip(codes.reshape(frames, -1), shifts.reshape(frames, -1), strict=True)):
        want_shift, want = fmt.down_convert(x[frame], 0, rounding)
        assert set(shift) == {want_shift}, x[frame]
        np.testing.assert_array_equal(got, want)


@pytest.mark.slow
def test_hadamard(tmp_path, rng):
    k = np.arange(16)
    matrix = 1 - 2 * (np.bitwise_count(k[:, None] & k) % 2).astype(int)
    duts, want, bits = [], [], []
    for fmt in (Int(6), Int(8, narrow=True)):
        for signs in (np.ones(16, int), rng.choice([1, -1], 16)):
            x = rng.integers(fmt.min, fmt.max + 1, (5000, 16))
            x[0], x[1], x[2] = fmt.min, fmt.max, np.where(signs < 0, fmt.min, fmt.max)
            duts.append(Dut(Hadamard(fmt, signs.tolist()), (("i", 16 * fmt.bits), ("enable", 1))))
            bits.append(np.concatenate([to_bits(x, fmt.bits), np.ones((len(x), 1), np.uint8)], axis=1))
            want.append((x * signs) @ matrix.T)
    for dut, sums, out in zip(duts, want, clocked(duts, bits, tmp_path), strict=True):
        fmt, width = dut.component.format, dut.component.shape.width
        assert width == fmt.bits + 4 + (not fmt.narrow)
        got = from_bits(out, width, is_signed=True)[dut.component.latency :]
        np.testing.assert_array_equal(got, sums[: len(got)])


@pytest.mark.parametrize("stochastic", [Stochastic(), Stochastic(bits=5, seed=77, lanes=3), Stochastic(24, 0, 2)])
def test_random_numbers(stochastic):
    dut, got = Lfsr(stochastic), []

    async def run(ctx):
        for clock in range(40):
            ctx.set(dut.enable, clock % 3 != 1)
            if clock % 3 != 1:
                got.append([ctx.get(dut.random[lane]) for lane in range(stochastic.lanes)])
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    want = stochastic.numbers(len(got) * stochastic.lanes).reshape(-1, stochastic.lanes)
    np.testing.assert_array_equal(got, want)


def test_what_cannot_be_quantized_is_refused():
    beats = Beats(8, 14, True, 8)
    with pytest.raises(UnsupportedError, match="makes power-of-two scales; those of nvfp4, e4m3, have a mantissa"):
        MxQuantize(get("nvfp4"), beats, -9)
    with pytest.raises(UnsupportedError, match="makes blocks with power-of-two scales, not dfp16"):
        MxQuantize(get("dfp16"), beats, -9)
    with pytest.raises(HwgenError, match="unknown scale mode 'nearest': one of floor, even, ceil"):
        MxQuantize(get("mxfp4"), beats, -9, scale_mode="nearest")
    with pytest.raises(HwgenError, match="need lanes that divide them and whole blocks in a frame, not 12 lanes"):
        MxQuantize(get("mxfp4"), Beats(12, 14, True, 8), -9)
    with pytest.raises(UnsupportedError, match=r"numbers of 14 bits in units of 2\*\*-140 need scales beyond those of"):
        MxQuantize(get("mxfp4"), beats, -140)
    with pytest.raises(UnsupportedError, match=r"makes scales with a mantissa, without a sign .*; not mxfp4"):
        ScaledQuantize(get("mxfp4"), beats, 0)
    with pytest.raises(HwgenError, match=r"blocks of 16 need lanes that divide them .* not 12 lanes and 48 numbers"):
        ScaledQuantize(get("nvfp4").bare, Beats(12, 14, True, 4), 0)
    with pytest.raises(HwgenError, match="converted down from signed sums of 32 bits, not of 14"):
        DownConvert(DynamicFixed(), beats)
    with pytest.raises(HwgenError, match="blocks of 3 beats do not divide a frame of 8"):
        BlockMaximum(beats, 3)
    with pytest.raises(HwgenError, match="the greatest magnitude is found of signed lanes only"):
        BlockMaximum(Beats(8, 14, False, 8), 4)
    with pytest.raises(HwgenError, match="a Hadamard transform takes signed integers, not uint4"):
        Hadamard(Int(4, is_signed=False))
    with pytest.raises(HwgenError, match="a Hadamard transform takes 16 signs, each 1 or -1, not"):
        Hadamard(Int(4), (1, 2) * 8)
