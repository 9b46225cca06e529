"""Absorb what stands between codes and the next quantizer into one integer requantizer."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from hwgen.errors import HwgenError
from hwgen.formats import Blocked, Int
from hwgen.formats.grid import ladder
from hwgen.ir import Graph, Node, TensorType
from hwgen.ops import Fix, MatVec, Quantize, Requantize, Thresholds, integer_range
from hwgen.passes.activate import Section, activation, section, wants
from hwgen.passes.blocks import block_quantizer
from hwgen.passes.branches import each_chain
from hwgen.passes.chain import chain, rebuilt, refused
from hwgen.passes.exact import Line, lines, rounded, steps, thresholds
from hwgen.passes.lower import negated

CHOICES = ("auto", "thresholds", "dyadic")

MAX_AUTO_BITS = 8
"""Widest output that "auto" gives thresholds; 255 of them a channel."""

MAX_THRESHOLDS = 1 << 22
"""Most thresholds of one layer; beyond it the table is no sensible hardware."""

MULTIPLIER_BITS = 31
"""Bits of a dyadic multiplier."""

LEAST_MULTIPLIER_BITS = 8
"""Behind wide sums it has fewer bits, but no fewer than these."""

# Rounding that commutes with adding an integer: what a requantizer does with its zero point.
SHIFT_INVARIANT = ("half_up", "down", "up")


@each_chain
def absorb_requantizers(graph: Graph, requantize: str = "auto") -> Graph:
    """Replace every quantizer, with the affine operations and ReLUs ahead of it, by Thresholds or Requantize.

    Quantizers to blocks become a BlockQuantize, behind a Requantize where there is anything ahead of it; quantizers
    behind an activation function, or of codes that are no integers, a Table or Thresholds (hwgen.passes.activate).

    requantize:
    "auto": a shift where that is exact (all channels scaled by one power of two, nothing left to add); else
        thresholds up to 8 output bits; else dyadic where one expresses it, thresholds where not.
    "thresholds": always thresholds, which are exact.
    "dyadic": a shift where exact, else multiply and shift (HAWQ-V3); bipolar outputs still get their threshold.
    A dyadic multiplier has 31 bits, fewer behind sums of more than 30 bits. The number that it rounds differs from
    the exact one by at most (|accumulator| + 1) / 2**(shift + 1) output steps, so the code can differ by one, and only
    where the exact number is that close to a rounding boundary; with a zero point, ties of half_even, half_away and
    half_zero may also fall to the other side.
    A channel whose function falls is negated in the MatVec ahead (its weights, its bias), or where there is none, as
    behind a sum or a pool, by the multiplier of a requantizer.
    Raises UnsupportedError naming the node that is not monotonic, or needs a requantizer that cannot be made.
    """
    if requantize not in CHOICES:
        raise HwgenError(f"unknown requantizer {requantize!r}: one of {', '.join(CHOICES)}")
    done: list[Node] = []
    waiting: list[Node] = []
    # Types of what the last node of `done` reads and writes.
    feed = codes = graph.input_type
    for node in chain(graph):
        if isinstance(node.op, Quantize):
            fixed = [done.pop()] if done and isinstance(done[-1].op, Fix) else []
            source = done.pop() if done else None
            found = section(codes, waiting, node) if wants(codes, waiting) else None
            rising, sign = list(found.pre) if found else lines(codes, waiting, node), None
            if not found or not found.is_small:
                source, sign, rising = _rising(source, codes, rising, node)
            if source:
                # Fixed point takes negated sums as well: it is symmetric, and of the same type.
                codes = codes if fixed else source.op.infer(feed)
                done += [source, *fixed]
            made = _quantized(codes, node, found, rising, sign, requantize)
            for one in made[:-1]:
                done.append(one)
                codes = one.op.infer(codes)
            done.append(made[-1])
            waiting = []
        elif node.op.frozen and not waiting:
            done.append(node)
        else:
            waiting.append(node)
            continue
        feed, codes = codes, done[-1].op.infer(codes)
    return rebuilt(graph, [*done, *waiting])


def _quantized(
    x: TensorType, quantizer: Node, found: Section | None, rising: list[Line], sign: Node | None, requantize: str
) -> list[Node]:
    """The integer nodes of a quantizer of codes `x`, of which `sign`, if given, negates some channels; lines rise."""
    codes = sign.op.infer(x) if sign else x
    assert isinstance(quantizer.op, Quantize)
    if found:
        made = activation(replace(found, x=codes, pre=tuple(rising)))
    elif isinstance(quantizer.op.format, Blocked):
        made = block_quantizer(codes, quantizer, rising)
    else:
        made = [replace(quantizer, op=_requantizer(codes, quantizer, rising, requantize))]
    return _signed(sign, made) if sign else made


def _rising(
    source: Node | None, codes: TensorType, channel_lines: list[Line], quantizer: Node
) -> tuple[Node | None, Node | None, list[Line]]:
    """The source of the codes with those channels negated whose lines fall, else what negates them; and lines that
    rise."""
    falls = np.array([line.slope < 0 for line in channel_lines])
    if not falls.any() or not isinstance(codes.format, Int):
        return source, None, channel_lines
    rising = [line.flipped() if line.slope < 0 else line for line in channel_lines]
    if source is not None and isinstance(source.op, MatVec):
        try:
            return replace(source, op=negated(source.op, falls)), None, rising
        except HwgenError as error:
            raise refused(source, str(error)) from error
    low, high = integer_range(codes)
    fmt = Int.holding(min(low, -high), max(high, -low))
    sign, zero = np.where(falls, -1, 1), np.zeros(1, dtype=np.int64)
    op = Requantize(sign[:1] if falls.all() else sign, zero, zero, "down", fmt.min, fmt.max, fmt, codes.scale)
    return source, Node(f"{quantizer.name}.sign", op, (), f"{quantizer.output}.sign"), rising


def _signed(sign: Node, made: list[Node]) -> list[Node]:
    """What is made of codes whose channels `sign` negates, for those as they are."""
    first = made[0]
    assert isinstance(sign.op, Requantize)
    if isinstance(first.op, Requantize):
        return [replace(first, op=replace(first.op, multiplier=first.op.multiplier * sign.op.multiplier)), *made[1:]]
    return [sign, *made]


def _requantizer(x: TensorType, quantizer: Node, channel_lines: list[Line], requantize: str) -> Requantize | Thresholds:
    op = quantizer.op
    assert isinstance(op, Quantize)
    if isinstance(op.format, Int) and requantize != "thresholds":
        exact = _shift(op, op.format, channel_lines, x)
        if exact is not None:
            return exact
        if requantize == "dyadic" or op.format.bits > MAX_AUTO_BITS:
            made = _dyadic(op, op.format, channel_lines, x)
            if isinstance(made, Requantize):
                return made
            if requantize == "dyadic":
                raise refused(quantizer, made)
    return _thresholds(x, quantizer, op, channel_lines)


def _thresholds(x: TensorType, quantizer: Node, op: Quantize, channel_lines: list[Line]) -> Thresholds:
    _, bounds = steps(op.format, op.rounding)
    if len(bounds) * len(channel_lines) > MAX_THRESHOLDS:
        raise refused(quantizer, f"{len(bounds)} thresholds for each of {len(channel_lines)} channels are too many")
    low, high = integer_range(x)
    table = np.array([thresholds(line, bounds, low, high) for line in channel_lines], dtype=np.int64)
    # Steps that every channel takes at once, or none ever, need no comparators.
    always, never = (table == low).all(axis=0), (table == high + 1).all(axis=0)
    skip = min(int(always.sum()), table.shape[1] - 1)
    keep = max(table.shape[1] - int(never.sum()), skip + 1)
    table = table[:, skip:keep]
    if (table == table[0]).all():
        table = table[:1]
    return Thresholds(table, int(ladder(op.format)[skip]), op.format, op.scale, op.zero_point)


def _bounds(op: Quantize, fmt: Int, channel_lines: list[Line]) -> tuple[int, int] | None:
    """(low, high) codes that all channels are clipped to, or None if they differ between channels."""
    ends = {
        (
            fmt.min if line.low is None else rounded(line.low, fmt, op.rounding),
            fmt.max if line.high is None else rounded(line.high, fmt, op.rounding),
        )
        for line in channel_lines
    }
    return ends.pop() if len(ends) == 1 else None


def _shift(op: Quantize, fmt: Int, channel_lines: list[Line], x: TensorType) -> Requantize | None:
    """The requantizer that only shifts, or None where that would not be exact."""
    (slope, *others) = {line.slope for line in channel_lines}
    bounds = _bounds(op, fmt, channel_lines)
    numerator, denominator = slope.numerator, slope.denominator
    power_of_two = numerator > 0 and numerator & (numerator - 1) == 0 and denominator & (denominator - 1) == 0
    plain = all(line.offset == op.zero_point for line in channel_lines)
    moves = op.zero_point == 0 or op.rounding in SHIFT_INVARIANT
    moves = moves or (op.rounding == "half_even" and op.zero_point % 2 == 0)
    shift = denominator.bit_length() - 1
    if others or not power_of_two or not plain or not moves or bounds is None or shift > 62 or numerator >= 1 << 31:
        return None
    if numerator * max(map(abs, integer_range(x))) >= 1 << 62:
        return None
    zero = np.zeros(1, dtype=np.int64)
    multiplier = np.array([numerator], dtype=np.int64)
    return Requantize(multiplier, zero, zero + shift, op.rounding, *bounds, fmt, op.scale, op.zero_point)


def _dyadic(op: Quantize, fmt: Int, channel_lines: list[Line], x: TensorType) -> Requantize | str:
    """The multiply-and-shift requantizer, or the reason why there is none."""
    bounds = _bounds(op, fmt, channel_lines)
    if bounds is None:
        return "its ReLU clips at a different code in each channel, which a multiply and shift cannot"
    if op.zero_point and op.rounding in ("zero", "away"):
        return f"rounding {op.rounding!r} with zero point {op.zero_point} cannot be done by a multiply and shift"
    low, high = integer_range(x)
    # Wide sums leave fewer bits to the multiplier: the product has to stay below 2^62.
    reach = max(abs(low), abs(high))
    bits = min(MULTIPLIER_BITS, 61 - reach.bit_length())
    if bits < LEAST_MULTIPLIER_BITS:
        return (
            f"sums of {reach.bit_length() + 1} bits leave a multiplier {bits} bits, fewer than {LEAST_MULTIPLIER_BITS}"
        )
    rows = []
    for channel, line in enumerate(channel_lines):
        m, e = dyadic(line.slope, bits)
        add = line.offset - op.zero_point
        b = round(add * (1 << e)) if m else rounded(line.offset, fmt, op.rounding) - op.zero_point
        if reach * m + abs(b) >= 1 << 62:
            return f"channel {channel} needs more than 63 bits for its product (multiplier {m}, shift {e})"
        rows.append((m, b, e))
    multiplier, offset, shift = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return Requantize(multiplier, offset, shift, op.rounding, *bounds, fmt, op.scale, op.zero_point)


def dyadic(ratio: Fraction, bits: int = MULTIPLIER_BITS) -> tuple[int, int]:
    """(m, shift) with m / 2**shift nearest to `ratio` >= 0: m = floor(fraction * 2**bits + 1/2), as HAWQ-V3.

    m has `bits` bits, fewer where the shift would pass 62, and shift is never negative; (0, 0) for ratio 0.
    """
    if ratio == 0:
        return 0, 0
    # fraction = ratio / 2**exponent lies in [1/2, 1).
    exponent = ratio.numerator.bit_length() - ratio.denominator.bit_length()
    exponent += ratio >= Fraction(2) ** exponent
    shift = max(0, min(62, bits - exponent))
    return int(ratio * (1 << shift) + Fraction(1, 2)), shift
