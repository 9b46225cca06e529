"""The terms of what layers cost: what their gateware instantiates, in LUTs and flip-flops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from hwgen.formats import Blocked, Minifloat
from hwgen.formats.block_steps import positive
from hwgen.ir import TensorType
from hwgen.ops.block_quantize import BlockQuantize
from hwgen.ops.cost_fit import Term, Terms
from hwgen.ops.cost_memory import image_rows, memory, rom
from hwgen.ops.cost_window import line_buffer
from hwgen.ops.fix import Fix
from hwgen.ops.requantize import Requantize
from hwgen.ops.thresholds import Thresholds
from hwgen.ops.window import Pool, Window
from hwgen.tools.resources import Family

SMALL_PRODUCT: dict[Family, int] = {"ecp5": 11, "ice40": 11, "xcup": 9}
"""Bits below which synthesis makes a product of LUTs, multiplier blocks or not."""

FP32_ADD_LUTS = 1100
"""LUTs of an FP32 addition in one clock and of what rounds to it; set on two matrix units."""


def tree(terms: int, bits: float, growth: float = 1) -> Term:
    """A tree of registered adders over `terms` values; `growth`: bits that a sum has more than its wider summand."""
    lut = ff = 0.0
    while terms > 1:
        pairs, odd = divmod(terms, 2)
        bits += growth
        # Carry cells come in pairs of bits, so that an adder wastes one LUT on average; the narrowest need no carry.
        lut += pairs * (bits + (bits > 3))
        ff += pairs * bits + odd * (bits - growth)
        terms = pairs + odd
    return Term(lut, ff)


def sums(terms: Sequence[tuple[int, int]]) -> Term:
    """A tree of registered adders over terms (greatest number, shift), two by two."""
    lut = ff = 0.0
    left = list(terms)
    while len(left) > 1:
        added = []
        for pair in (left[n : n + 2] for n in range(0, len(left), 2)):
            shift = min(one[1] for one in pair)
            high = sum(greatest << (own - shift) for greatest, own in pair)
            added.append((high, shift))
            ff += high.bit_length()
            lut += (high.bit_length() + 1) * (len(pair) > 1)
        left = added
    return Term(lut, ff)


def multipliers(a: int, b: int, family: Family) -> int:
    """Multiplier blocks for a product of so many bits; on an ECP5 a single bit that is left over is done in LUTs."""
    if family == "xcup":
        return -(-max(a, b) // 27) * -(-min(a, b) // 18)
    pieces = [max(1, bits // 18 + (bits % 18 > 1)) for bits in (a, b)]
    return pieces[0] * pieces[1]


def word(x: TensorType, lanes: int) -> int:
    """Bits of a beat of data."""
    if isinstance(x.format, Blocked):
        return lanes * x.format.block.element.bits + x.format.block.scale.bits
    return lanes * x.codes_format.bits


def fix(op: Fix, lanes: int) -> Terms:
    """A shifter down from a significand's place, and a sign, a lane."""
    width = op.format.width
    shifter = Term(width * (max(width, 24).bit_length() + 2.5) + 30, 2 * width).times(lanes)
    return Terms("fix", {"shifter": shifter, "unit": Term(8, 8)})


def block_quantize(op: BlockQuantize, x: TensorType, lanes: int, family: Family) -> Terms:
    """A delay of a block, the search for its greatest number, and a shifter and an encoder a lane."""
    width, element = x.codes_format.bits, op.format.block.element
    if not op.format.block.power_scale:
        return _scaled_quantize(op, width, lanes, family)
    steps = max(1, (width - 1).bit_length())
    beats = 2 * op.format.block.size // lanes + 2
    held, blocks = memory(width * lanes + 2, beats, family)
    if blocks:
        # What is written while it is read passes the block by.
        held += Term(1, 2).times(width * lanes + 2)
    known, _ = memory(width, 4, family)
    parts = {
        "lanes": Term(2 * width + width * steps + 6 * element.bits, 3 * width + element.bits).times(lanes),
        "queue": held + known,
        "search": Term(width * (steps + 2), 2 * width),
        "unit": Term(20 + 6 * beats.bit_length(), 20 + 4 * beats.bit_length()),
    }
    return Terms("block_quantize", parts, blocks)


def _scaled_quantize(op: BlockQuantize, width: int, lanes: int, family: Family) -> Terms:
    """As `block_quantize`, with comparisons: of magnitudes with each other, of the greatest with where scales begin, of
    each with where elements do. What a bit takes was read off synthesis of 1 to 8 lanes of 24 to 37 bits."""
    block = op.format.block
    steps, levels = max(1, (width - 1).bit_length()), len(positive(block))
    significand = block.scale.mantissa_bits + 1
    bound = significand + block.element.bits + 1
    # The queue's beats lie in rows of 16, or of 64.
    beats = 2 * block.size // lanes + 2
    stored, bit = (-(-beats // 64) / 2, 1.0) if family == "xcup" else (2 * -(-beats // 16), 1.7)
    parts = {
        "lanes": Term(bit * (width * (3 + block.scale.exponent_bits / 2) + levels * bound), 2 * width + 16).times(
            lanes
        ),
        "queue": Term(bit * stored * (width * lanes + 2), width * lanes),
        "search": Term(bit * (width * (steps + 2) / 2 + (3 << significand)), 2 * width + 105),
    }
    return Terms("block_scaled", parts)


def thresholds(op: Thresholds, x: TensorType, lanes: int, family: Family) -> Terms:
    """A comparison and a ROM a stage and lane; one threshold in a lane is a constant."""
    stages, width = op.steps.bit_length(), x.codes_format.bits
    folds = 1 if bool((op.thresholds == op.thresholds[0]).all()) else x.channels // lanes
    found = [rom(stored, folds << stage, family) for stage, stored in enumerate(_stored(op))]
    blocks = sum(one for _, one in found)
    # The end of a comparison is looked up together with what comes next, where that is on the longest path.
    last = max((stage for stage, (table, _) in enumerate(found) if table.lut), default=0)
    tables = sum((table for stage, (table, _) in enumerate(found) if stage != last or not stage), start=Term())
    late = found[last][0] if last else Term()
    compared = stages * (width + 1)
    parts = {
        "tables": tables.times(lanes),
        "late": late.times(lanes),
        "comparisons": Term(lanes * compared, lanes * stages * width) if folds > 1 else Term(),
        "constants": Term() if folds > 1 else Term(lanes * compared, lanes * stages * width),
        "found": Term(0, lanes * stages * (stages + 1) / 2),
        "unit": Term(4 + 2 * folds.bit_length(), 8 + stages * (3 + folds.bit_length())),
    }
    return Terms("thresholds", parts, blocks * lanes)


@lru_cache(maxsize=256)
def _stored(op: Thresholds) -> tuple[int, ...]:
    """Bits of the thresholds that each stage chooses from, without those that are the same in all of them."""
    stages, table = op.steps.bit_length(), op.thresholds
    found = []
    for stage in range(stages):
        size = 1 << (stages - stage)
        chosen = table[:, size // 2 - 1 :: size]
        ends = int(chosen.min()), int(chosen.max())
        size = max(ends[1].bit_length(), (-ends[0] - 1).bit_length() if ends[0] < 0 else 0) + (ends[0] < 0)
        differ = int(np.bitwise_or.reduce(chosen ^ chosen[0, 0], axis=None)) & ((1 << size) - 1)
        found.append(differ.bit_count())
    return tuple(found)


def requantize(op: Requantize, x: TensorType, lanes: int, family: Family) -> Terms:
    """A multiplication, an addition and a shift that rounds, a lane, by constants or by what ROMs hold by channel."""
    width, factor = x.codes_format.bits, int(np.abs(op.multiplier).max()).bit_length()
    multiplies, adds = bool((op.multiplier != 1).any()), bool((op.offset != 0).any())
    shifts = len(set(op.shift.tolist()))
    full = width + (factor if multiplies else 0)
    whole = max(full - int(op.shift.min()), 2)
    fields = [values for values in (op.multiplier, op.offset, op.shift) if (values != values[0]).any()]
    tables, blocks = Term(), 0
    for values in fields:
        table, more = rom(int(np.abs(values).max()).bit_length(), x.channels // lanes, family)
        tables, blocks = tables + table, blocks + more
    rounding = Term(whole * (1.5 + math.log2(shifts)) + 2 * op.format.bits, 2 * whole + op.format.bits)
    parts = {
        "tables": tables.times(lanes),
        "product": Term(full, full).times(lanes * multiplies),
        "offset": Term(full, full).times(lanes * adds),
        "rounding": rounding.times(lanes),
        "unit": Term(16, 20 + (width if fields else 0)),
    }
    dsp = multipliers(width, factor + 1, family) if multiplies else 0
    # What several multiplier blocks of 17 bits give is added up; the offset waits for the product.
    parts["pieces"] = Term(max(dsp - 1, 0) * max(full - 17, 0)).times(lanes)
    parts["waits"] = Term(0, int(np.abs(op.offset).max()).bit_length() * (multiplies and len(op.offset) > 1)).times(
        lanes
    )
    return Terms("requantize", parts, blocks * lanes, dsp * lanes)


def argmax(x: TensorType, lanes: int) -> Terms:
    """A comparison and a choice for each pair of lanes, and with the greatest so far."""
    width, index = x.codes_format.bits, max(1, (x.channels - 1).bit_length())
    pairs = lanes - 1
    parts = {
        "comparisons": Term((pairs + 1) * (1.5 * width + 4), pairs * (width + 2) + width),
        "unit": Term(3 * index + 8, 3 * index + 4),
    }
    return Terms("argmax", parts)


def window(op: Window, x: TensorType, lanes: int, family: Family) -> Terms:
    """The buffer of rows, and the counters that walk through it."""
    buffer = line_buffer(op, x, lanes)
    width, place = word(x, lanes), max(1, (buffer.depth - 1).bit_length())
    counts = (*op.kernel, *op.positions(*x.shape[:2]), x.channels // lanes)
    steps = sum((count - 1).bit_length() for count in counts)
    padded = any(op.padding)
    rows, blocks = image_rows(width, buffer.depth, family)
    parts = {
        "rows": rows,
        "padding": Term(width * padded),
        "counters": Term(8.2 * steps, 2 * steps),
        "addresses": Term(1.75 * padded * place, (3.3 + 1.15 * padded) * place),
        "unit": Term(5, 4),
    }
    return Terms("window", parts, blocks)


def pool(op: Pool, x: TensorType, lanes: int, family: Family) -> Terms:
    """What a window has come to, and a comparison or an adder a lane."""
    y = op.infer(x)
    bits, beats = word(y, lanes), y.channels // lanes
    steps = (op.taps - 1).bit_length() + (beats - 1).bit_length()
    kept, blocks = memory(bits, beats, family) if beats > 1 else (Term(), 0)
    parts = {
        "reduction": Term(bits * (1.8 if op.reduce == "max" else 1.5), bits),
        "kept": kept,
        "unit": Term(2.2 * steps + 8, 15),
    }
    return Terms("pool", parts, blocks)


def converter(bits: int, lanes: int, to: int) -> Terms:
    """A width converter: one LUT and flip-flop a bit on the way to fewer lanes, flip-flops alone to more."""
    if lanes == to:
        return Terms("gather")
    size = max(lanes, to) * bits
    if to < lanes:
        return Terms("scatter", {"word": Term(size, size), "unit": Term(10, 8)})
    return Terms("gather", {"word": Term(0.05 * size, size), "unit": Term(8, 8)})


def queue(bits: int, depth: int, family: Family) -> Terms:
    """A queue of so many beats of so many bits, delimiters included."""
    stored, blocks = memory(bits, depth, family)
    steps = max(1, (depth - 1).bit_length())
    return Terms("queue", {"stored": stored, "unit": Term(12 + 6 * steps, 4 + 4 * steps)}, blocks)


def decoding(fmt: object, bits: int) -> float:
    """LUTs that put one code on its grid of `bits` bits: a shifter and a sign; none for integers."""
    if not isinstance(fmt, Minifloat):
        return 0
    return bits * max(1, (bits - 1).bit_length() - 1) / 2 + bits
