"""What a folding costs: cycles, exactly, and resources, estimated; and the cheapest folding for an interval.

Estimates are of an ECP5 (LUT4). The formulas count what the gateware instantiates (adder bits, registers, ROM bits);
their few constants were set on 15 layers synthesised by Yosys (weights of 1 to 8 bits, 256 to 8,192 of them, folded
and unrolled, random values). With their thresholds and argmax those came out within 22 % in LUTs (on average 8 %) and
19 % in flip-flops, exactly in DSPs, and within two in block RAMs. Random weights are the worst case: trained ones,
with many zeros, take less. Requantize was set on four layers (within 26 % in LUTs and 31 % in flip-flops).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Blocked, Format, Int
from hwgen.formats.base import product_width
from hwgen.formats.multiply import span
from hwgen.ir import Fold, Folding, Graph, Node, TensorType
from hwgen.ops.argmax import ArgMax
from hwgen.ops.block_quantize import BlockQuantize
from hwgen.ops.matvec import MatVec
from hwgen.ops.requantize import Requantize
from hwgen.ops.thresholds import Thresholds
from hwgen.tools.resources import Resources

__all__ = [
    "LUT_PRODUCT",
    "Products",
    "Resources",
    "check_folding",
    "choose_folding",
    "estimate",
    "estimate_node",
    "grid_bits",
    "lanes_behind",
    "magnitude_bits",
    "matrix_units",
    "products_of",
    "signed_digits",
    "wants_block_ram",
]

Products = Literal["constant", "lut", "multiplier", "codes", "blocks"]

LUT_PRODUCT = 16
"""Bits of |weight| times bits of x up to which products are built of LUTs and not of multiplier blocks."""

BLOCK_LUTS = 64
"""LUTs that a block RAM must save to be asked for; also what one, or a DSP, weighs in a comparison of costs."""


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
    narrow = magnitude_bits(op.worth) * grid_bits(x.codes_format) <= LUT_PRODUCT
    return "lut" if narrow else "multiplier"


def lanes_behind(op: MatVec, fold: Fold) -> int:
    """Lanes of the units that take a matrix unit's sums: the fewest that are done before it has the next ones."""
    spacing = op.weight.shape[1] // fold.simd
    return min(n for n in range(1, fold.pe + 1) if fold.pe % n == 0 and fold.pe // n <= spacing)


def wants_block_ram(width: int, depth: int) -> bool:
    """Whether a ROM should stand in block RAM: it then saves BLOCK_LUTS LUTs for each block of 36 bits' width."""
    return width * depth / 16 >= BLOCK_LUTS * -(-width // 36)


def matrix_units(graph: Graph) -> list[tuple[Node, MatVec]]:
    """The nodes that have a fold, with their operations, in order."""
    return [(node, node.op) for node in graph.nodes if isinstance(node.op, MatVec)]


def check_folding(graph: Graph, folding: Folding) -> None:
    """Raises HwgenError unless `folding` has a fold that divides the layer for each matrix unit, and no other."""
    names = [node.name for node, _ in matrix_units(graph)]
    if extra := sorted(set(folding) - set(names)):
        raise HwgenError(f"the folding names {', '.join(extra)}; matrix units are: {', '.join(names) or 'none'}")
    for node, op in matrix_units(graph):
        if node.name not in folding:
            raise HwgenError(f"node {node.name!r} is a matrix unit and has no fold")
        try:
            op.cycles(graph.types[node.inputs[0]], folding[node.name])
        except HwgenError as error:
            raise HwgenError(f"node {node.name!r}: {error}") from error


def choose_folding(graph: Graph, interval: int) -> dict[str, Fold]:
    """For each matrix unit the cheapest fold that takes at most `interval` clocks a frame, converters counted.

    Raises HwgenError that names the layer and the nearest possible interval when even its full unroll is slower.
    """
    folding: dict[str, Fold] = {}
    lanes = 0
    for node, op in matrix_units(graph):
        x = graph.types[node.inputs[0]]
        followers = _followers(graph, node)
        folds = _folds(op, x, followers)
        fast = [fold for fold in folds if op.cycles(x, fold) <= interval]
        if not fast:
            most = max(folds, key=lambda fold: fold.pe * fold.simd)
            nearest = op.cycles(x, most)
            raise HwgenError(
                f"node {node.name!r} takes {nearest} clocks a frame fully unrolled (PE={most.pe}, SIMD={most.simd}), "
                f"so an interval of {interval} is out of reach; the nearest is {nearest}"
            )
        fold = min(fast, key=lambda f: (_weigh(node, op, x, f, lanes, followers, graph), f.pe * f.simd, f.pe))
        folding[node.name] = fold
        lanes = lanes_behind(op, fold)
    return folding


def estimate(graph: Graph, folding: Folding) -> Resources:
    """Resources of the whole accelerator, estimated; raises HwgenError for a folding that does not fit the graph."""
    check_folding(graph, folding)
    found, lanes = [], 0
    for node in graph.nodes:
        x = graph.types[node.inputs[0]]
        fold = folding.get(node.name)
        if isinstance(node.op, MatVec) and fold:
            found.append(_bridge(x, lanes, fold.simd))
            found.append(_matvec(node.op, x, fold))
            lanes = lanes_behind(node.op, fold)
            found.append(_converter(graph.types[node.output], fold.pe, lanes))
        else:
            found.append(estimate_node(node, x, lanes or 1))
    return _sum(found)


def estimate_node(node: Node, x: TensorType, lanes: int, fold: Fold | None = None) -> Resources:
    """Resources of one layer that reads `x`: of a matrix unit by its fold, of others by the lanes of their stream.

    All are None for an operation without gateware.
    """
    if isinstance(node.op, MatVec) and fold:
        return _matvec(node.op, x, fold)
    if isinstance(node.op, Thresholds):
        return _thresholds(node.op, x, lanes)
    if isinstance(node.op, Requantize):
        return _requantize(node.op, x, lanes)
    if isinstance(node.op, BlockQuantize):
        return _block_quantize(node.op, x, lanes)
    if isinstance(node.op, ArgMax):
        return _argmax(x, lanes)
    return Resources(None, None, None, None, None)


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _folds(op: MatVec, x: TensorType, followers: Iterable[Node]) -> list[Fold]:
    """All folds that divide the layer; where blocks share a scale, those that keep beats within blocks."""
    out, inner = op.weight.shape
    simds = _divisors(inner)
    if isinstance(x.format, Blocked):
        simds = [simd for simd in simds if x.format.block.size % simd == 0]
    folds = [Fold(pe, simd) for pe in _divisors(out) for simd in simds]
    for node in followers:
        if isinstance(node.op, BlockQuantize):
            size = node.op.format.block.size
            folds = [fold for fold in folds if size % lanes_behind(op, fold) == 0]
    return folds


def _followers(graph: Graph, node: Node) -> list[Node]:
    """The nodes behind a matrix unit up to the next one, along the chain."""
    found: list[Node] = []
    while len(consumers := list(graph.consumers((found or [node])[-1].output))) == 1:
        if isinstance(consumers[0].op, MatVec):
            break
        found.append(consumers[0])
    return found


def _weigh(
    node: Node, op: MatVec, x: TensorType, fold: Fold, lanes: int, followers: Iterable[Node], graph: Graph
) -> float:
    """One number for the cost of a fold: LUTs, half the flip-flops, and BLOCK_LUTS for each block RAM and DSP."""
    behind = lanes_behind(op, fold)
    parts = [
        _matvec(op, x, fold),
        _bridge(x, lanes, fold.simd),
        _converter(graph.types[node.output], fold.pe, behind),
        *(estimate_node(one, graph.types[one.inputs[0]], behind) for one in followers),
    ]
    total = _sum(parts)
    if total.lut is None or total.ff is None or total.bram is None or total.dsp is None:
        raise HwgenError(f"the cost of node {node.name!r} or of those behind it is not known")
    return total.lut + total.ff / 2 + BLOCK_LUTS * (total.bram + total.dsp)


def _cost(lut: float = 0, ff: float = 0, bram: float = 0, dsp: float = 0) -> Resources:
    return Resources(round(lut), round(ff), round(bram), round(dsp), None)


def _sum(parts: Iterable[Resources]) -> Resources:
    """The sum of each kind; None where one of them is unknown."""
    every = list(parts)

    def total(kind: str) -> float | None:
        values = [getattr(one, kind) for one in every]
        return None if None in values else sum(values)

    return Resources(total("lut"), total("ff"), total("bram"), total("dsp"), None)


def _rom(width: int, depth: int) -> Resources:
    """A ROM with a registered output: LUT4s and the multiplexers beside them, or blocks of 18 kbit."""
    if depth <= 1:
        return _cost()
    if wants_block_ram(width, depth):
        return _cost(bram=max(-(-width // 36), -(-width * depth // 18432)))
    return _cost(lut=width * max(depth / 16, 0.8), ff=width)


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
    return _cost(lut=lut, ff=ff)


def _matvec(op: MatVec, x: TensorType, fold: Fold) -> Resources:
    out, inner = op.weight.shape
    neuron_folds, synapse_folds = out // fold.pe, inner // fold.simd
    bits, acc, macs = grid_bits(x.codes_format), op.infer(x).codes_format.bits, fold.pe * fold.simd
    magnitude = magnitude_bits(op.worth)
    kind = products_of(op, x, fold)
    if kind == "blocks":
        return _block_matvec(op, x, fold)
    stored = 1 if len(set(np.abs(op.worth).ravel().tolist())) == 1 else magnitude + 1
    parts = [_rom(macs * stored, neuron_folds * synapse_folds), _rom(fold.pe * acc, neuron_folds)]
    # Accumulators with the choice of what they start from, flags, counters.
    parts.append(_cost(lut=fold.pe * acc * (2 if synapse_folds > 1 else 1) + 45, ff=fold.pe * acc + 50))
    word = x.codes_format.bits * fold.simd
    if neuron_folds > 1 and synapse_folds > 1:
        parts.append(_cost(lut=word * (1 + 1.5 * -(-synapse_folds // 16)), ff=3 * word))
    else:
        parts.append(_cost(ff=word))
    if kind == "constant":
        for row in op.worth:
            # Summands have shifts of their own, so sums grow less than in a tree of equals.
            parts.append(_tree(sum(len(signed_digits(int(w))) for w in row), bits + 0.5, 0.6))
    elif kind == "lut":
        adders, partial = max(magnitude - 1, 0), magnitude
        if stored == 1:
            # One bit by one bit is an XNOR, which the first adders take in.
            partial = 0 if bits == 1 else 1
        parts.append(_cost(lut=macs * (partial * bits + adders * (bits + 2)), ff=macs * adders * (bits + 3.5)))
        parts.append(_scaled(_tree(fold.simd, bits + magnitude - (magnitude == 1)), fold.pe))
    else:
        parts.append(_cost(dsp=macs, ff=macs * (bits + magnitude + 1)))
        parts.append(_scaled(_tree(fold.simd, bits + magnitude + 1), fold.pe))
    return _sum(parts)


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
    return _sum(
        [
            _rom(macs * weight.bits, rows),
            _cost(lut=macs * product, ff=macs * product / 2),
            _scaled(_cost(lut=acc * (shift + 2), ff=3 * acc), fold.pe),
            _cost(lut=45, ff=50 + 3 * (x.format.block.element.bits * fold.simd)),
        ]
    )


def _block_quantize(op: BlockQuantize, x: TensorType, lanes: int) -> Resources:
    """A delay of a block, the search for its greatest number, and a shifter and an encoder a lane."""
    width, element = x.codes_format.bits, op.format.block.element
    steps = max(1, (width - 1).bit_length())
    shifter = width * min(steps, op.format.block.scale.bits)
    lane = _cost(lut=width + shifter + 6 * element.bits + width, ff=3 * width + element.bits)
    queue = _rom(width * lanes, 2 * op.format.block.size // lanes)
    return _sum([_scaled(lane, lanes), queue, _cost(lut=width * (steps + 2) + 40, ff=2 * width + 60)])


def _thresholds(op: Thresholds, x: TensorType, lanes: int) -> Resources:
    stages, width = op.steps.bit_length(), x.codes_format.bits
    shared = bool((op.thresholds == op.thresholds[0]).all())
    folds = 1 if shared else x.channels // lanes
    # One threshold in a lane is a constant: its comparison is smaller, and needs no register.
    share = 1.0 if folds > 1 else 0.7
    parts = [_cost(lut=10, ff=8 + 3 * stages)]
    for stage in range(stages):
        rom = _rom(width, folds << stage)
        parts += [_scaled(rom, lanes), _cost(lut=lanes * share * (width + 2), ff=lanes * share * (width + stage + 3))]
    return _sum(parts)


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
    return _sum([_scaled(_sum([_cost(lut, ff, 0, dsp), *roms]), lanes), _cost(lut=8, ff=20)])


def _argmax(x: TensorType, lanes: int) -> Resources:
    width, index = x.codes_format.bits, max(1, (x.channels - 1).bit_length())
    pairs = lanes - 1
    lut = (pairs + 1) * (1.5 * width + 4) + 3 * index + 8
    return _cost(lut=lut, ff=pairs * (width + 2) + width + 3 * index + 4)


def _scaled(one: Resources, times: int) -> Resources:
    return _sum([one] * times)


def _converter(x: TensorType, lanes: int, to: int) -> Resources:
    """A width converter: one LUT and flip-flop a bit on the way to fewer lanes, flip-flops alone to more."""
    word = max(lanes, to) * x.codes_format.bits
    if lanes == to:
        return _cost()
    return _cost(lut=word + 10 if to < lanes else 8, ff=word + 8)


def _bridge(x: TensorType, lanes: int, simd: int) -> Resources:
    """What stands before a matrix unit: converters and a queue of one frame. `lanes` is 0 at the graph's input."""
    if lanes == 0:
        # The accelerator's input is as wide as its first unit wants; the shell around it pays for it.
        return _cost(lut=x.codes_format.bits * simd / 2)
    wide = math.lcm(lanes, simd)
    word, depth = wide * x.codes_format.bits + 2, max(x.size // wide, 2)
    queue = _cost(lut=1.5 * word * -(-depth // 16) + 30, ff=word + 10)
    return _sum([_converter(x, lanes, wide), queue, _converter(x, wide, simd)])
