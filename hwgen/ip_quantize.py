"""Quantizers as cores: streams of integers in, codes of any format with gateware out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Block, Blocked, DynamicFixed
from hwgen.formats.catalog import AnyFormat
from hwgen.gateware.arith.dfp import SUM_BITS, DownConvert
from hwgen.gateware.arith.mx import MxQuantize
from hwgen.gateware.arith.quantize import Quantize
from hwgen.gateware.arith.scaled import ScaledQuantize
from hwgen.ip import Core
from hwgen.ir import Beats
from hwgen.ops import BlockQuantize

Integers = npt.NDArray[np.int64]
Unit = MxQuantize | ScaledQuantize | DownConvert | Quantize

# Of so many bits the vectors' reference is exact, which goes by float64.
BITS = (2, 48)
LSB = (-256, 256)
# Frames of the vectors: so many beats, as far as these ends let them.
BEATS, FRAMES = 4000, (26, 240)


def quantize_core(
    fmt: AnyFormat,
    bits: int,
    lanes: int,
    *,
    lsb: int = 0,
    frame: int | None = None,
    rounding: str = "half_even",
    scale_mode: str | None = None,
    overflow: str = "saturate",
    seed: int = 1,
) -> Core:
    """A quantizer of signed numbers of `bits` bits in units of 2**lsb, `lanes` of them a beat.

    frame: numbers between `first` and `last`: of block formats one block, of dynamic fixed point the tensor that shares
    an exponent, of others any multiple of the lanes (one beat if not given). scale_mode: of block formats; overflow: of
    minifloats. Raises HwgenError for numbers, frames and options that do not fit, UnsupportedError for formats without
    a quantizer, and what the gateware raises.
    """
    for name, value, (low, high) in (("--bits", bits, BITS), ("--lsb", lsb, LSB)):
        if not low <= value <= high:
            raise HwgenError(f"a quantizer has {name} of {low} to {high}, not {value}")
    if scale_mode is not None and not isinstance(fmt, Block):
        raise HwgenError(f"a scale mode is for block formats; {fmt.name} has no scale")
    beats = Beats(lanes, bits, True, _frame(fmt, lanes, frame) // lanes)
    unit: Unit
    if isinstance(fmt, Block):
        unit = _blocks(fmt, beats, lsb, rounding, scale_mode)
    elif isinstance(fmt, DynamicFixed):
        unit = DownConvert(fmt, beats, rounding)
    else:
        unit = Quantize(fmt, beats, lsb, rounding, overflow)
    x = numbers(beats, _significant(fmt), np.random.default_rng(seed))
    expected = _expected(unit, x, overflow)
    vectors = {"inputs": {"i": _beats(x, beats)}, "outputs": {"o": expected}}
    text = (*_arithmetic(unit), f"Frames are of {beats.codes} numbers, {lanes} a beat, lane 0 in the lowest bits.")
    return Core("quantize", unit, "stream", unit.latency, 1, _ports(unit), text, vectors, len(expected))


def _blocks(fmt: Block, beats: Beats, lsb: int, rounding: str, scale_mode: str | None) -> MxQuantize | ScaledQuantize:
    if fmt.power_scale:
        return MxQuantize(fmt, beats, lsb, rounding, scale_mode or "floor")
    if scale_mode not in (None, "nearest"):
        raise HwgenError(f"scales of {fmt.name} have a mantissa: their mode is nearest, not {scale_mode}")
    return ScaledQuantize(fmt.bare, beats, lsb, rounding)


def _frame(fmt: AnyFormat, lanes: int, frame: int | None) -> int:
    if lanes < 1:
        raise HwgenError(f"a quantizer has 1 lane or more, not {lanes}")
    if isinstance(fmt, Block):
        if frame not in (None, fmt.size):
            raise HwgenError(f"a frame of {fmt.name} is one block, {fmt.size} numbers, not {frame}")
        return fmt.size
    if frame is None:
        if isinstance(fmt, DynamicFixed):
            raise HwgenError(f"{fmt.name} has one exponent for a tensor: say with --frame how many numbers it has")
        return lanes
    if frame < 1 or frame % lanes:
        raise HwgenError(f"a frame is a multiple of the {lanes} lanes, not {frame} numbers")
    return frame


def _significant(fmt: AnyFormat) -> int:
    return (fmt.element if isinstance(fmt, Block | DynamicFixed) else fmt).significand_bits


def numbers(beats: Beats, significant: int, rng: np.random.Generator) -> Integers:
    """Frames (frames, numbers): zeros, extremes, one outlier, ties, and near where a significand's rounding carries.

    significant: bits of the format's significand.
    """
    bits, count = beats.bits, beats.codes
    frames = min(max(BEATS // beats.beats, FRAMES[0]), FRAMES[1])
    greatest = (1 << (bits - 1)) - 1
    # Random numbers of every size.
    x = rng.integers(-greatest - 1, greatest + 1, (frames, count)) >> rng.integers(0, bits, (frames, 1))
    x[0], x[1], x[2], x[3], x[4] = 0, greatest, -greatest - 1, 1, -1
    x[5] = np.where(np.arange(count) % 2, greatest, -greatest - 1)
    for row in range(6, frames - 2, 4):
        outlier, tie, carry = x[row], x[row + 1], x[row + 2]
        top = int(rng.integers(1, bits))
        sign = int(rng.choice([-1, 1]))
        place = int(rng.integers(count))
        outlier >>= min(bits - 2, significant + 2)
        outlier[place] = sign * (1 << (top - 1))
        # A bit below the last that is kept of the greatest number, and nothing under it.
        step = max(top - significant, 0)
        tie[:] = ((tie >> step) << step) | (1 << max(step - 1, 0))
        tie[place] = sign * (1 << (top - 1))
        ones = (1 << top) - (1 << max(top - int(rng.integers(1, significant + 3)), 0))
        carry >>= 2
        carry[place] = sign * min(max(ones + int(rng.integers(-1, 2)), 0), greatest)
    return np.asarray(x, dtype=np.int64)


def _beats(x: Integers, beats: Beats) -> list[str]:
    """Payloads of all beats: lanes, then `first`, then `last`."""
    mask = (1 << beats.bits) - 1
    found = []
    for frame in x.reshape(len(x), beats.beats, beats.lanes):
        for number, row in enumerate(frame):
            codes = sum((int(code) & mask) << (lane * beats.bits) for lane, code in enumerate(row))
            flags = int(number == 0) | int(number == beats.beats - 1) << 1
            found.append(str(codes | flags << (beats.lanes * beats.bits)))
    return found


def _expected(unit: Unit, x: Integers, overflow: str) -> list[list[str]]:
    """(payload, mask) of each output beat."""
    real, extra_bits = np.ldexp(x.astype(np.float64), getattr(unit, "lsb", 0)), 0
    extra: Any = np.zeros(len(x), dtype=np.int64)
    if isinstance(unit, MxQuantize):
        extra, codes = unit.format.encode(real, unit.rounding, unit.scale_mode)
        extra_bits = unit.format.scale.bits
    elif isinstance(unit, ScaledQuantize):
        fmt = Blocked(unit.format)
        joined = BlockQuantize(fmt, unit.lsb, unit.rounding).run(x)
        extra, codes, extra_bits = fmt.scales(joined)[:, 0], fmt.elements(joined), unit.format.scale.bits
    elif isinstance(unit, DownConvert):
        done = [unit.format.down_convert(row, 0, unit.rounding) for row in x]
        extra, codes = np.array([shift for shift, _ in done]), np.array([row for _, row in done])
        extra_bits = unit.most.bit_length()
    else:
        codes = unit.format.encode(real, unit.encoders[0].rounding, overflow)
    lanes, bits, per = unit.output.lanes, unit.output.bits, unit.output.beats
    whole = str((1 << (lanes * bits + extra_bits + 2)) - 1)
    found = []
    for frame, more in zip(codes.reshape(len(x), per, lanes), extra.tolist(), strict=True):
        for number, row in enumerate(frame):
            beat = sum((int(code) & ((1 << bits) - 1)) << (lane * bits) for lane, code in enumerate(row))
            flags = int(number == 0) | int(number == per - 1) << 1
            found.append([str(beat | (more | flags << extra_bits) << (lanes * bits)), whole])
    return found


def _ports(unit: Unit) -> tuple[tuple[str, str, int, str], ...]:
    beats, out = unit.input, unit.output
    code = f"{out.lanes} codes of {unit.format.name}"
    fields = f"{{last, first, {code}}}"
    if isinstance(unit, MxQuantize | ScaledQuantize):
        fields = f"{{last, first, scale ({unit.format.scale.name}), {out.lanes} codes of {unit.format.element.name}}}"
    elif isinstance(unit, DownConvert):
        fields = f"{{last, first, shift, {code}}}"
    return (
        ("clk", "clock", 1, "rising edge"),
        ("rst", "reset", 1, "synchronous"),
        ("i", "input", beats.lanes * beats.bits + 2, f"{{last, first, {beats.lanes} numbers}}"),
        ("o", "output", len(unit.o.payload.as_value()), fields),
    )


def _arithmetic(unit: Unit) -> tuple[str, ...]:
    bits = unit.input.bits
    if isinstance(unit, DownConvert):
        return (
            f"Sums of {SUM_BITS} bits that share an exponent to {unit.format.name}. All of a frame shift right by",
            f"{unit.most} less the leading zeros of the greatest magnitude in {SUM_BITS} bits, where that is positive,",
            f"rounded once by {unit.rounding}; they saturate.",
            "The shared exponent grows by `shift`. A frame is held back until it is whole.",
        )
    if isinstance(unit, ScaledQuantize):
        return (
            f"Signed numbers of {bits} bits in units of 2^{unit.lsb} to {unit.format.name}, blocks of "
            f"{unit.format.size}.",
            f"Scale: max|x| / {float(unit.format.element.extremes[1]):g} rounded half to even; it saturates.",
            f"Elements: x / scale rounded once by {unit.rounding}; they saturate, and are 0 under a scale of 0.",
            "A block is held back until it is whole. A scale of the whole tensor is the caller's.",
        )
    if isinstance(unit, MxQuantize):
        fmt: Block = unit.format
        rule = {
            "floor": "floor(log2(max|x|))",
            "even": "floor(log2(max|x| rounded half up to the element's mantissa))",
            "ceil": "ceil(log2(max|x|))",
        }[unit.scale_mode]
        return (
            f"Signed numbers of {bits} bits in units of 2^{unit.lsb} to {fmt.name}, blocks of {fmt.size}.",
            f"Scale: 2^({rule} - {fmt.emax}), mode {unit.scale_mode!r}; code 0 for a block of zeros.",
            f"Elements: x / scale rounded once by {unit.rounding}; they saturate. A block is held back until it is "
            "whole.",
        )
    encoder = unit.encoders[0]
    over = "saturates" if encoder.overflow == "saturate" else "becomes infinity or NaN"
    return (
        f"Signed numbers of {bits} bits in units of 2^{unit.lsb} to {unit.format.name}, each rounded once by "
        f"{encoder.rounding};",
        f"what is too great {over}.",
    )
