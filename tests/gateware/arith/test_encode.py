"""Encoders, converters and rounding multipliers against the formats' own `encode`."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import ENCODE_ROUNDING, Bipolar, Int, Stochastic, get
from hwgen.formats.fixed import Fixed
from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.arith.convert import Convert, MultiplyRounded
from hwgen.gateware.arith.encode import Encode
from tests.gateware.arith.formats import MINIFLOATS
from tests.gateware.arith.sweep import Dut, pairs, sweep

ZEROED = [fmt for fmt in MINIFLOATS if fmt.has_subnormals]
NAMED = [name for name in ENCODE_ROUNDING if name != "stochastic"]


def numbers(width: int) -> np.ndarray:
    """All numbers of `width` bits in two's complement, by their bits."""
    n = np.arange(1 << width)
    return np.where(n >> (width - 1) == 1, n - (1 << width), n)


def bits_of(fmt, codes) -> np.ndarray:
    return codes & ((1 << fmt.bits) - 1)


def compare(cases, duts, folder, want):
    for case, found in zip(cases, sweep(duts, folder), strict=True):
        got, wanted = found[0], want(*case)
        wrong = np.flatnonzero(got != wanted)
        assert not wrong.size, f"{case}: {wrong.size} wrong, input {wrong[0]} gave {got[wrong[0]]}, {wanted[wrong[0]]}"


@pytest.mark.slow
def test_every_number_of_13_bits_in_every_format(tmp_path):
    formats = [*ZEROED, Int(8), Int(4, is_signed=False), Int(5, narrow=True), Fixed(6, 2), get("fp16"), get("bf16")]
    cases = [(fmt, fmt.lsb + shift, "half_even", "saturate") for fmt in formats for shift in (-16, -9, -4, -1, 0, 3)]
    cases += [(fmt, -4, name, "saturate") for fmt in (get("e3m2"), get("ue5m3"), Int(6)) for name in NAMED]
    cases += [(fmt, 6, name, "ieee") for fmt in (get("e4m3"), get("e5m2"), get("ue5m3")) for name in NAMED]
    duts = [Dut(Encode(fmt, 13, lsb, *names), (("i", 13),)) for fmt, lsb, *names in cases]

    def want(fmt, lsb, *names):
        return bits_of(fmt, fmt.encode(np.ldexp(numbers(13).astype(float), lsb), *names))

    compare(cases, duts, tmp_path, want)


@pytest.mark.slow
def test_converters_of_every_code_of_16_bits(tmp_path):
    cases = [(get(a), get(b), "half_even", "saturate") for a in ("bf16", "fp16") for b in ("e4m3", "e5m2", "e2m1")]
    cases += [(get("bf16"), get(b), "half_even", "ieee") for b in ("e4m3", "e5m2", "ue5m3", "fp16")]
    cases += [(get("fp16"), get("e2m3"), name, "saturate") for name in NAMED]
    cases += [(get("e5m2"), get("bf16"), "half_even", "saturate"), (get("e4m3"), get("e5m2"), "zero", "ieee")]
    duts = [Dut(Convert(a, b, *names), (("i", a.bits),)) for a, b, *names in cases]

    def want(source, target, *names):
        worth = source.decode(np.arange(1 << source.bits))
        nan = np.isnan(worth)
        codes = target.encode(np.where(nan, 0, worth), *names)
        return np.where(nan, target.nan_code or 0, codes)

    compare(cases, duts, tmp_path, want)


@pytest.mark.slow
def test_rounded_products_of_every_pair_of_codes(tmp_path):
    cases = [(fmt, fmt, fmt, "half_even", "saturate") for fmt in ZEROED]
    e4m3, e5m2 = get("e4m3"), get("e5m2")
    cases += [(e4m3, e5m2, e4m3, "half_even", "ieee"), (e5m2, get("e2m1"), e5m2, "up", "ieee")]
    cases += [(e5m2, e5m2, get("fp16"), "zero", "saturate"), (e4m3, e4m3, get("bf16"), "half_even", "saturate")]
    duts = [Dut(MultiplyRounded(a, b, o, *names), (("a", a.bits), ("b", b.bits))) for a, b, o, *names in cases]

    def want(a, b, target, *names):
        x, y = (fmt.decode(codes) for fmt, codes in zip((a, b), pairs(a.bits, b.bits), strict=True))
        with np.errstate(invalid="ignore"):
            worth = x * y
        nan = np.isnan(worth)
        return np.where(nan, target.nan_code or 0, target.encode(np.where(nan, 0, worth), *names))

    compare(cases, duts, tmp_path, want)


@pytest.mark.slow
def test_stochastic_rounding_of_every_number_with_every_random_number(tmp_path):
    formats = [get("e4m3"), get("e2m1"), get("e5m2"), Int(6), Fixed(5, 1)]
    cases = [(fmt, lsb) for fmt in formats for lsb in (-3, -7, -12)]
    duts = [Dut(Encode(f, 11, lsb, Stochastic(bits=4)), (("i", 11), ("random", 4))) for f, lsb in cases]
    n = np.arange(1 << 15)
    value, random = numbers(11)[n & 0x7FF], n >> 11

    def want(fmt, lsb):
        x = np.ldexp(value.astype(float), lsb)
        if isinstance(fmt, Minifloat):
            # One step of the grid at |x|, with no bits beyond the greatest number.
            _, exponent = fmt.significand_exponent(fmt.encode(np.abs(x), "zero"))
            step = np.ldexp(1.0, exponent.astype(np.int32))
            return fmt.encode(np.copysign(np.floor(np.abs(x) / step + random / 16) * step, x))
        return bits_of(fmt, fmt.encode(np.ldexp(np.floor(np.ldexp(x, -fmt.lsb) + random / 16), fmt.lsb)))

    compare(cases, duts, tmp_path, want)


@pytest.mark.parametrize("stages", [1, 2, 3])
@pytest.mark.parametrize("fmt", [get("e4m3"), Int(6)])
def test_pipelined_encoders_hold_while_disabled(fmt, stages):
    values = np.arange(-40, 40, 3)
    dut = Encode(fmt, 8, -2, Stochastic(bits=3), stages=stages)
    random = values % 8
    seen = []

    async def run(ctx):
        for clock in range(2 * (len(values) + stages)):
            index = min(clock // 2, len(values) - 1)
            ctx.set(dut.i, int(values[index]))
            ctx.set(dut.random, int(random[index]))
            ctx.set(dut.enable, clock % 2)
            await ctx.tick()
            if clock % 2 == 0:
                seen.append(ctx.get(dut.o))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    plain = Encode(fmt, 8, -2, Stochastic(bits=3))
    want = []

    async def check(ctx):
        for value, number in zip(values, random, strict=True):
            ctx.set(plain.i, int(value))
            ctx.set(plain.random, int(number))
            await ctx.delay(1e-9)
            want.append(ctx.get(plain.o))

    simulator = Simulator(plain)
    simulator.add_testbench(check)
    simulator.run()
    assert seen[dut.latency : dut.latency + len(values)] == want


def test_what_cannot_be_encoded_is_refused():
    with pytest.raises(UnsupportedError, match="no gateware encodes to bipolar"):
        Encode(Bipolar(), 8, 0)
    with pytest.raises(UnsupportedError, match="no gateware encodes to e8m0, which has no zero"):
        Encode(get("e8m0"), 8, 0)
    with pytest.raises(HwgenError, match="unknown overflow 'wrap': one of saturate, ieee"):
        Encode(get("e4m3"), 8, 0, overflow="wrap")
    with pytest.raises(HwgenError, match="e2m1 has neither infinity nor NaN for an overflow: it saturates"):
        Encode(get("e2m1"), 8, 0, overflow="ieee")
    with pytest.raises(HwgenError, match="an overflow of int8 saturates; 'ieee' is for minifloats"):
        Encode(Int(8), 8, 0, overflow="ieee")
    with pytest.raises(HwgenError, match="an encoder has 0 to 3 pipeline stages, not 4"):
        Encode(Int(8), 8, 0, stages=4)
    with pytest.raises(HwgenError, match="unknown rounding 'near'"):
        Encode(Int(8), 8, 0, "near")
    with pytest.raises(UnsupportedError, match="has no random bits for stochastic rounding"):
        Convert(get("bf16"), get("e4m3"), "stochastic")
    with pytest.raises(UnsupportedError, match="the converter takes minifloat codes, not those of int8"):
        Convert(get("bf16"), Int(8))
    with pytest.raises(UnsupportedError, match="the rounding multiplier takes minifloat codes, not those of int8"):
        MultiplyRounded(get("bf16"), get("e4m3"), Int(8))
