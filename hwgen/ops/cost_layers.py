"""What each layer costs in hardware: resources, estimated, of an ECP5 (hwgen.ops.cost tells how well)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np

from hwgen.formats import Bipolar, Blocked, Format, Int
from hwgen.formats.base import product_width
from hwgen.formats.multiply import span
from hwgen.ir import Fold, Node, TensorType
from hwgen.ops.argmax import ArgMax
from hwgen.ops.block_quantize import BlockQuantize
from hwgen.ops.cost_window import line_buffer, row_buffer
from hwgen.ops.depthwise import Depthwise
from hwgen.ops.fix import Fix
from hwgen.ops.matvec import MatVec
from hwgen.ops.requantize import Requantize
from hwgen.ops.table import Table
from hwgen.ops.thresholds import Thresholds
from hwgen.ops.upsample import Upsample
from hwgen.ops.window import Pool, Window
from hwgen.tools.resources import Resources

Products = Literal["constant", "lut", "multiplier", "codes", "blocks"]

LUT_PRODUCT = 16
"""Bits of |weight| times bits of x up to which products are built of LUTs and not of multiplier blocks."""

BLOCK_LUTS = 64
"""LUTs that a block RAM must save to be asked for; also what one, or a DSP, weighs in a comparison of costs."""


FP32_ADD_LUTS = 1100
"""LUTs of an FP32 addition in one clock and of what rounds to it; set on two matrix units."""


def signed_digits(value: int) -> list[tuple[int, int]]:
    """(shift, sign) of the canonical signed digits of `value`, lowest first: value = sum of sign * 2**shift."""
    digits, shift = [], 0
    while value:
        if value & 1:
            sign = 2 - (value & 3)
            digits.append((shift, sign))
            value -= sign
        value >>= 1
        shift += 1
    return digits


def magnitude_bits(weights: np.ndarray) -> int:
    """Bits of the greatest |weight|."""
    return int(np.abs(weights).max()).bit_length()


def grid_bits(fmt: Format) -> int:
    """Bits of a decoded code: of its number on the format's grid."""
    return fmt.bits if isinstance(fmt, Int | Bipolar) else span(fmt).bits


def products_of(op: MatVec, x: TensorType, fold: Fold) -> Products:
    """How a matrix unit multiplies.

    "constant": adders of signed digits, where every weight has its own place (PE = out, SIMD = in). "lut": partial
    products, for narrow weights. "multiplier": a multiplier for each weight lane. "codes": a multiplier whose product
    is a code, such as L-Mul. "blocks": a dot product of elements, moved by the scales of their blocks.
    """
    if isinstance(x.format, Blocked):
        return "blocks"
    if op.multiplier != "exact":
        return "codes"
    if (fold.pe, fold.simd) == op.weight.shape:
        return "constant"
    return "lut" if narrow_products(op, x) else "multiplier"


def lanes_behind(op: MatVec, fold: Fold) -> int:
    """Lanes of the units that take a matrix unit's sums: the fewest that are done before it has the next ones."""
    if isinstance(op, Depthwise):
        # Its sums come one beat after the other.
        return fold.simd
    spacing = op.weight.shape[1] // fold.simd
    return min(n for n in range(1, fold.pe + 1) if fold.pe % n == 0 and fold.pe // n <= spacing)


def wants_block_ram(width: int, depth: int) -> bool:
    """Whether a ROM should stand in block RAM: it then saves BLOCK_LUTS LUTs for each block of 36 bits' width."""
    return width * depth / 16 >= BLOCK_LUTS * -(-width // 36)


def estimate_node(node: Node, x: TensorType, lanes: int, fold: Fold | None = None) -> Resources:
    """Resources of one layer that reads `x`: of a matrix unit by its fold, of others by the lanes of their stream.

    All are None for an operation without gateware.
    """
    if isinstance(node.op, Depthwise) and fold:
        return _depthwise(node.op, x, fold)
    if isinstance(node.op, MatVec) and fold:
        return _matvec(node.op, x, fold)
    if isinstance(node.op, Thresholds):
        return _thresholds(node.op, x, lanes)
    if isinstance(node.op, Table):
        return _table(node.op, x, lanes)
    if isinstance(node.op, Requantize):
        return _requantize(node.op, x, lanes)
    if isinstance(node.op, BlockQuantize):
        return _block_quantize(node.op, x, lanes)
    if isinstance(node.op, Fix):
        return _fix(node.op, lanes)
    if isinstance(node.op, ArgMax):
        return _argmax(x, lanes)
    if isinstance(node.op, Window):
        return _window(node.op, x, lanes)
    if isinstance(node.op, Upsample):
        return _upsample(node.op, x, lanes)
    if isinstance(node.op, Pool):
        return _pool(node.op, x, lanes)
    return Resources(None, None, None, None, None)


def amount(lut: float = 0, ff: float = 0, bram: float = 0, dsp: float = 0) -> Resources:
    return Resources(round(lut), round(ff), round(bram), round(dsp), None)


def add_up(parts: Iterable[Resources]) -> Resources:
    """The sum of each kind; None where one of them is unknown."""
    every = list(parts)

    def total(kind: str) -> float | None:
        values = [getattr(one, kind) for one in every]
        return None if None in values else sum(values)

    return Resources(total("lut"), total("ff"), total("bram"), total("dsp"), None)


def _rom(width: int, depth: int) -> Resources:
    """A ROM with a registered output: LUT4s and the multiplexers beside them, or blocks of 18 kbit."""
    if depth <= 1:
        return amount()
    if wants_block_ram(width, depth):
        return amount(bram=max(-(-width // 36), -(-width * depth // 18432)))
    return amount(lut=width * max(depth / 16, 0.8), ff=width)


def _tree(terms: int, bits: float, growth: float = 1) -> Resources:
    """A tree of registered adders over `terms` values; `growth`: bits that a sum has more than its wider summand."""
    lut = ff = 0.0
    while terms > 1:
        pairs, odd = divmod(terms, 2)
        bits += growth
        # Carry cells come in pairs of bits, so that an adder wastes one LUT on average; the narrowest need no carry.
        lut += pairs * (bits + (bits > 3))
        ff += pairs * bits + odd * (bits - growth)
        terms = pairs + odd
    return amount(lut=lut, ff=ff)


def _matvec(op: MatVec, x: TensorType, fold: Fold) -> Resources:
    out, inner = op.weight.shape
    neuron_folds, synapse_folds = out // fold.pe, inner // fold.simd
    kind = products_of(op, x, fold)
    if kind == "blocks":
        return _block_matvec(op, x, fold)
    bits, acc, macs = grid_bits(x.codes_format), op.infer(x).codes_format.bits, fold.pe * fold.simd
    magnitude = magnitude_bits(op.worth)
    sizes = np.abs(op.worth)
    stored = 1 if sizes.min() == sizes.max() else magnitude + 1
    parts = [_rom(macs * stored, neuron_folds * synapse_folds), _rom(fold.pe * acc, neuron_folds)]
    # Accumulators with the choice of what they start from, flags, counters.
    parts.append(amount(lut=fold.pe * acc * (2 if synapse_folds > 1 else 1) + 45, ff=fold.pe * acc + 50))
    word = x.codes_format.bits * fold.simd
    if neuron_folds > 1 and synapse_folds > 1:
        parts.append(amount(lut=word * (1 + 1.5 * -(-synapse_folds // 16)), ff=3 * word))
    else:
        parts.append(amount(ff=word))
    if kind == "constant":
        for row in op.worth:
            # Summands have shifts of their own, so sums grow less than in a tree of equals.
            parts.append(_tree(sum(len(signed_digits(int(w))) for w in row), bits + 0.5, 0.6))
    elif kind == "lut":
        adders, partial = max(magnitude - 1, 0), magnitude
        if stored == 1:
            # One bit by one bit is an XNOR, which the first adders take in.
            partial = 0 if bits == 1 else 1
        parts.append(amount(lut=macs * (partial * bits + adders * (bits + 2)), ff=macs * adders * (bits + 3.5)))
        parts.append(_scaled(_tree(fold.simd, bits + magnitude - (magnitude == 1)), fold.pe))
    else:
        parts.append(amount(dsp=macs, ff=macs * (bits + magnitude + 1)))
        parts.append(_scaled(_tree(fold.simd, bits + magnitude + 1), fold.pe))
    return add_up(parts)


def _depthwise(op: Depthwise, x: TensorType, fold: Fold) -> Resources:
    """A product and an accumulator a lane; sums of channels that take turns stand in a memory."""
    channels, taps = op.weight.shape
    lanes, beats = fold.simd, channels // fold.simd
    bits, acc, magnitude = grid_bits(x.codes_format), op.infer(x).codes_format.bits, magnitude_bits(op.worth)
    parts = [
        _rom(lanes * (magnitude + 1), beats * taps),
        _rom(lanes * acc, beats) if op.bias.any() else amount(),
        _memory(lanes * acc, beats) if beats > 1 else amount(),
        amount(lut=1.5 * lanes * acc + 20, ff=lanes * (acc + x.codes_format.bits) + 30),
    ]
    if narrow_products(op, x):
        adders = max(magnitude - 1, 0)
        lane = amount(lut=magnitude * bits + adders * (bits + 2), ff=adders * (bits + 3.5) + bits)
    else:
        lane = amount(dsp=1, ff=2 * (bits + magnitude + 1))
    return add_up([*parts, _scaled(lane, lanes)])


def narrow_products(op: MatVec, x: TensorType) -> bool:
    """Whether products are made of LUTs where weights are not constants."""
    return magnitude_bits(op.worth) * grid_bits(x.codes_format) <= LUT_PRODUCT


def _block_matvec(op: MatVec, x: TensorType, fold: Fold) -> Resources:
    """A matrix unit whose input is in blocks."""
    assert isinstance(x.format, Blocked)
    element, fmt = x.format.block.element, op.weight_format
    weight = fmt.block.element if isinstance(fmt, Blocked) else fmt
    rows = op.weight.size // (fold.pe * fold.simd)
    acc, shift = (
        op.infer(x).codes_format.bits,
        sum(f.block.scale.bits for f in (x.format, fmt) if isinstance(f, Blocked)),
    )
    macs = fold.pe * fold.simd
    product = element.significand_bits * weight.significand_bits * 1.5 + product_width(element, weight)[1]
    moved = amount(lut=acc * (shift + 2), ff=3 * acc)
    if op.accumulator == "fp32":
        moved = _single(product_width(element, weight, x.format.block.size)[1])
    return add_up(
        [
            _rom(macs * weight.bits, rows),
            amount(lut=macs * product, ff=macs * product / 2),
            _scaled(moved, fold.pe),
            amount(lut=45, ff=50 + 3 * (x.format.block.element.bits * fold.simd)),
        ]
    )


def _single(bits: int) -> Resources:
    """A sum of `bits` bits made FP32 and added: two normalisers, an alignment, an adder and two roundings."""
    steps = max(bits, 27).bit_length()
    return amount(lut=max(bits, 27) * (steps + 3) + FP32_ADD_LUTS, ff=bits + 90)


def _fix(op: Fix, lanes: int) -> Resources:
    """A shifter down from a significand's place, and a sign, a lane."""
    width = op.format.width
    return add_up(
        [_scaled(amount(lut=width * (max(width, 24).bit_length() + 2.5) + 30, ff=2 * width), lanes), amount(8, 8)]
    )


def _block_quantize(op: BlockQuantize, x: TensorType, lanes: int) -> Resources:
    """A delay of a block, the search for its greatest number, and a shifter and an encoder a lane."""
    width, element = x.codes_format.bits, op.format.block.element
    steps = max(1, (width - 1).bit_length())
    shifter = width * min(steps, op.format.block.scale.bits)
    lane = amount(lut=width + shifter + 6 * element.bits + width, ff=3 * width + element.bits)
    queue = _rom(width * lanes, 2 * op.format.block.size // lanes)
    return add_up([_scaled(lane, lanes), queue, amount(lut=width * (steps + 2) + 40, ff=2 * width + 60)])


def _thresholds(op: Thresholds, x: TensorType, lanes: int) -> Resources:
    stages, width = op.steps.bit_length(), x.codes_format.bits
    shared = bool((op.thresholds == op.thresholds[0]).all())
    folds = 1 if shared else x.channels // lanes
    # One threshold in a lane is a constant: its comparison is smaller, and needs no register.
    share = 1.0 if folds > 1 else 0.7
    parts = [amount(lut=10, ff=8 + 3 * stages)]
    for stage in range(stages):
        rom = _rom(width, folds << stage)
        parts += [_scaled(rom, lanes), amount(lut=lanes * share * (width + 2), ff=lanes * share * (width + stage + 3))]
    return add_up(parts)


def _table(op: Table, x: TensorType, lanes: int) -> Resources:
    """A ROM a lane; bits that no entry changes are not stored."""
    entries = op.table.shape[1]
    folds = 1 if (op.table == op.table[0]).all() else x.channels // lanes
    stored = int(np.bitwise_or.reduce(op.table ^ op.table[0, 0], axis=None)).bit_length()
    return add_up([_scaled(_rom(stored, entries * folds), lanes), amount(lut=4, ff=4 + (folds > 1) * 8)])


def _requantize(op: Requantize, x: TensorType, lanes: int) -> Resources:
    width, factor = x.codes_format.bits, int(op.multiplier.max()).bit_length()
    multiplies, adds = bool((op.multiplier != 1).any()), bool((op.offset != 0).any())
    shifts = len(set(op.shift.tolist()))
    full = width + (factor if multiplies else 0)
    whole = max(full - int(op.shift.min()), 2)
    fields = [field for field in (op.multiplier, op.offset, op.shift) if (field != field[0]).any()]
    roms = [_rom(int(np.abs(field).max()).bit_length(), x.channels // lanes) for field in fields]
    # A product wider than one multiplier block adds up partial products in LUTs.
    lut = full * (adds + 0.9 * multiplies) + whole * (1.5 + math.log2(shifts)) + 2 * op.format.bits + 8
    ff = full * (adds + multiplies) + 2 * whole + op.format.bits + (width if fields else 0)
    dsp = -(-width // 18) * -(-factor // 18) if multiplies else 0
    return add_up([_scaled(add_up([amount(lut, ff, 0, dsp), *roms]), lanes), amount(lut=8, ff=20)])


def _argmax(x: TensorType, lanes: int) -> Resources:
    width, index = x.codes_format.bits, max(1, (x.channels - 1).bit_length())
    pairs = lanes - 1
    lut = (pairs + 1) * (1.5 * width + 4) + 3 * index + 8
    return amount(lut=lut, ff=pairs * (width + 2) + width + 3 * index + 4)


def _window(op: Window, x: TensorType, lanes: int) -> Resources:
    """The buffer of rows, and the counters that walk through it: set on eight, within 13 % of their LUTs."""
    buffer = line_buffer(op, x, lanes)
    width, place = _word(x, lanes), max(1, (buffer.depth - 1).bit_length())
    counts = (*op.kernel, *op.positions(*x.shape[:2]), x.channels // lanes)
    steps = sum((count - 1).bit_length() for count in counts)
    padded = any(op.padding)
    control = amount(lut=5 + 8.2 * steps + 1.75 * padded * place, ff=4 + 2 * steps + (3.3 + 1.15 * padded) * place)
    return add_up([_memory(width, buffer.depth), amount(lut=width * padded), control])


def _upsample(op: Upsample, x: TensorType, lanes: int) -> Resources:
    """The buffer of rows, and the counters that walk through it."""
    buffer = row_buffer(op, x, lanes)
    counts = (*op.factors, *x.shape[:2], x.channels // lanes)
    steps, place = sum((count - 1).bit_length() for count in counts), max(1, (buffer.depth - 1).bit_length())
    return add_up([_memory(_word(x, lanes), buffer.depth), amount(lut=5 + 6 * steps, ff=4 + 2 * steps + 3.3 * place)])


def _pool(op: Pool, x: TensorType, lanes: int) -> Resources:
    """What a window has come to, and a comparison or an adder a lane: set on four, within 28 % of their LUTs."""
    y = op.infer(x)
    word, beats = _word(y, lanes), y.channels // lanes
    steps = (op.taps - 1).bit_length() + (beats - 1).bit_length()
    lut = word * (1.8 if op.reduce == "max" else 1.5) + 2.2 * steps + 8
    return add_up([amount(lut=lut, ff=word + 15), _memory(word, beats) if beats > 1 else amount()])


def _word(x: TensorType, lanes: int) -> int:
    """Bits of a beat of data."""
    if isinstance(x.format, Blocked):
        return lanes * x.format.block.element.bits + x.format.block.scale.bits
    return lanes * x.codes_format.bits


def _memory(width: int, depth: int) -> Resources:
    """A memory that is written and read: of LUTs, or of blocks of 18 kbit, whose words are chosen from by LUTs."""
    if not wants_block_ram(width, depth):
        return amount(lut=1.5 * width * -(-depth // 16), ff=width)
    shapes = [(36 >> n, 512 << n) for n in range(6)]
    wide, deep = min(((-(-width // w), -(-depth // d)) for w, d in shapes), key=math.prod)
    return amount(lut=0.6 * width * (deep - 1), bram=wide * deep)


def _scaled(one: Resources, times: int) -> Resources:
    return add_up([one] * times)


def converter(x: TensorType, lanes: int, to: int) -> Resources:
    """A width converter: one LUT and flip-flop a bit on the way to fewer lanes, flip-flops alone to more."""
    word = max(lanes, to) * x.codes_format.bits
    if lanes == to:
        return amount()
    return amount(lut=word + 10 if to < lanes else 8, ff=word + 8)


def bridge(x: TensorType, lanes: int, simd: int, *, windows: bool) -> Resources:
    """What stands before a matrix unit: converters and a queue. `lanes` is 0 at the graph's input."""
    if lanes == 0:
        # The accelerator's input is as wide as its first unit wants; the shell around it pays for it.
        return amount(lut=x.codes_format.bits * simd / 2)
    wide = math.lcm(lanes, simd)
    word, depth = _word(x, wide) + 2, queue_depth(x, lanes, wide, windows=windows)
    queue = amount(lut=1.5 * word * -(-depth // 16) + 30, ff=word + 10)
    return add_up([converter(x, lanes, wide), queue, converter(x, wide, simd)])


def queue_depth(x: TensorType, lanes: int, wide: int, *, windows: bool) -> int:
    """Beats of `wide` lanes that wait for a matrix unit that reads `x`, which comes in beats of `lanes` lanes.

    The unit takes a vector of channels in one go and then works on it for a while, during which the queue takes the
    next one; one more makes up for vectors that come unevenly. windows: whether x comes from sliding windows, which
    wait with the next beat until it is asked for, so that a queue only helps them where beats have to be gathered.
    """
    vector = x.channels // wide
    if windows:
        return 2 if wide == lanes else max(vector, 2)
    return max(min(2 * vector, x.size // wide), 2)
