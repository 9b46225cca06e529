"""Quantizers to blocks, and weights in blocks, as integer operations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from hwgen.formats import Blocked, Int, Minifloat
from hwgen.ir import Node, TensorType
from hwgen.ops import BlockQuantize, Quantize, Requantize, integer_range
from hwgen.ops.matvec import MAX_ACCUMULATOR_BITS
from hwgen.passes.chain import refused
from hwgen.passes.exact import Line
from hwgen.passes.fix import enough

GUARD_BITS = 8
"""Bits below an accumulator's unit that addends keep, where all channels have one power of two as factor."""

FACTOR_BITS, LEAST_FACTOR_BITS = 24, 12
"""Bits of the greatest factor otherwise: as many as a float32 has, fewer behind wide sums."""

COMFORTABLE_BITS = 53
"""Products of factors and sums take no more unless the least factor needs it: wider ones are dear, and slow to run."""

STEP_BITS = 12
"""Then numbers are rounded half up to 2**-STEP_BITS of the finest step of the elements: narrower numbers are cheaper to
find a block's maximum of, and only what is that close to a rounding boundary can differ."""


SPARE_BITS = 2
"""Bits below those that sums keep which are narrowed first."""


def scales_of(low: int, high: int) -> Minifloat:
    """The narrowest format of power-of-two scales from 2**low to 2**high, its code 0 the least."""
    return Minifloat(max(1, (high - low).bit_length()), 0, -low, has_sign=False, has_subnormals=False)


def narrowed(weight: npt.NDArray[np.int64], fmt: Blocked) -> tuple[npt.NDArray[np.int64], Blocked]:
    """The same numbers with scales in the narrowest format that holds those of all blocks that are not zero.

    Scales with a mantissa stay as they are: bits that no weight has are not stored.
    """
    if not fmt.block.power_scale:
        return weight, fmt
    elements = fmt.elements(weight)
    exponents = fmt.scales(weight) - fmt.block.scale.bias
    used = exponents[fmt.block.element.decode(elements) != 0]
    low, high = (int(used.min()), int(used.max())) if used.size else (0, 0)
    made = Blocked(replace(fmt.block, scale=scales_of(low, high)))
    # What is outside are blocks of zeros, whose scale does not matter.
    return made.join(np.clip(exponents, low, high) - low, elements), made


def block_quantizer(x: TensorType, quantizer: Node, lines: Sequence[Line]) -> list[Node]:
    """The integer nodes of a quantizer to blocks: an affine one where it is needed, and the block quantizer.

    lines: what is quantized, per channel of the codes of `x`; slopes are not negative. Where all have one power of
    two as slope, addends are rounded to 2**-GUARD_BITS of a unit of `x` or are exact; else factors and addends are
    rounded so that the greatest factor has FACTOR_BITS bits, or as many as the sums leave room for, and the results to
    2**-STEP_BITS of the finest step of the elements. Sums that leave factors no room lose low bits first (`_excess`).
    Raises UnsupportedError naming the quantizer if they leave too little, the channels are no whole blocks, or they are
    clipped differently.
    """
    op = quantizer.op
    assert isinstance(op, Quantize)
    assert isinstance(op.format, Blocked)
    if op.zero_point:
        raise refused(quantizer, f"blocks have no zero point, not {op.zero_point}")
    if x.channels % op.format.block.size:
        raise refused(quantizer, f"blocks of {op.format.block.size} do not divide {x.channels} channels")
    low, high = integer_range(x)
    if excess := _excess(lines, max(abs(low), abs(high)), op.format):
        half, wider = 1 << (excess - 1), [replace(line, slope=line.slope * 2**excess) for line in lines]
        # What is beyond gives the greatest scale and the greatest element in any case.
        most = max(math.ceil(enough(line, op.format)) for line in wider if line.slope)
        bottom, top = max((low + half) >> excess, -most), min((high + half) >> excess, most)
        one, none, drop = (np.array([number], dtype=np.int64) for number in (1, 0, excess))
        scale = tuple(s * 2.0**excess for s in x.scale)
        narrow = Requantize(one, none, drop, "half_up", bottom, top, Int.holding(bottom, top), scale)
        node = Node(f"{quantizer.name}.narrow", narrow, (), f"{quantizer.output}.narrow")
        return [node, *block_quantizer(narrow.infer(x), quantizer, wider)]
    exponent = _unit(lines, max(abs(low), abs(high)), quantizer)
    unit = Fraction(2) ** exponent
    factors, addends = ([round(value / unit) for value in column] for column in zip(*map(_pair, lines), strict=True))
    plain = len(set(factors)) == 1 and factors[0] & (factors[0] - 1) == 0
    shift = 0 if plain else max(0, op.format.lsb - STEP_BITS - exponent)
    lsb = exponent + shift
    half = (1 << shift) >> 1
    ends = [(f * end + a + half) >> shift for f, a in zip(factors, addends, strict=True) for end in (low, high)]
    least, greatest = (_bound(lines, name, Fraction(2) ** lsb, quantizer) for name in ("low", "high"))
    bottom = min(ends) if least is None else least
    top = max(ends) if greatest is None else greatest
    blocks = replace(quantizer, op=BlockQuantize(op.format, lsb, op.rounding, op.scale))
    if set(factors) == {1} and not any(addends) and least is None and greatest is None:
        return [blocks]
    # At least one is signed, as the block quantizer wants its numbers.
    fmt = Int.holding(min(bottom, -1), max(top, bottom))
    columns = [np.array(column, dtype=np.int64) for column in (factors, addends)]
    multiplier, offset = (column[:1] if (column == column[0]).all() else column for column in columns)
    shifts = np.array([shift], dtype=np.int64)
    affine = Requantize(multiplier, offset, shifts, "half_up", bottom, max(top, bottom), fmt)
    return [Node(f"{quantizer.name}.affine", affine, (), f"{quantizer.output}.affine"), blocks]


def _excess(lines: Sequence[Line], reach: int, fmt: Blocked) -> int:
    """Low bits of sums up to `reach` that are rounded away first: none, unless factors would find no room beside them,
    and then only those below 2**-(STEP_BITS + SPARE_BITS) of the finest step of the elements."""
    slopes = {line.slope for line in lines}
    greatest = max(slopes)
    if reach.bit_length() + LEAST_FACTOR_BITS < MAX_ACCUMULATOR_BITS - 1 or _is_power(slopes) or not greatest:
        return 0
    unit = Fraction(2) ** (fmt.lsb - STEP_BITS - SPARE_BITS) / greatest
    unseen = unit.numerator.bit_length() - unit.denominator.bit_length() - 1
    return max(0, min(unseen, reach.bit_length() - (COMFORTABLE_BITS - FACTOR_BITS)))


def _pair(line: Line) -> tuple[Fraction, Fraction]:
    return line.slope, line.offset


def _unit(lines: Sequence[Line], reach: int, quantizer: Node) -> int:
    """The exponent of the unit that factors and addends are integers of."""
    slopes = {line.slope for line in lines}
    if _is_power(slopes):
        (slope,) = slopes
        exponent = slope.numerator.bit_length() - slope.denominator.bit_length()
        numbers = [number for line in lines for number in (line.offset, line.low, line.high) if number is not None]
        for guard in range(GUARD_BITS):
            if all((number / Fraction(2) ** (exponent - guard)).denominator == 1 for number in numbers):
                return exponent - guard
        return exponent - GUARD_BITS
    greatest = max(slopes)
    if not greatest:
        raise refused(quantizer, "what it quantizes does not depend on its input")
    top = greatest.numerator.bit_length() - greatest.denominator.bit_length()
    for bits in range(FACTOR_BITS, LEAST_FACTOR_BITS - 1, -1):
        exponent = top - bits
        unit = Fraction(2) ** exponent
        worst = max(round(line.slope / unit) * reach + abs(round(line.offset / unit)) for line in lines)
        room = MAX_ACCUMULATOR_BITS if bits == LEAST_FACTOR_BITS else COMFORTABLE_BITS
        if worst.bit_length() < room:
            return exponent
    raise refused(
        quantizer, f"its scales and addends behind sums up to {reach} need more than {MAX_ACCUMULATOR_BITS} bits"
    )


def _is_power(slopes: set[Fraction]) -> bool:
    """Whether they are one power of two."""
    (slope, *others) = slopes
    return not others and slope.numerator.bit_count() == slope.denominator.bit_count() == 1


def _bound(lines: Sequence[Line], name: str, unit: Fraction, quantizer: Node) -> int | None:
    """Where all channels are clipped, in units, or None."""
    found = {getattr(line, name) for line in lines}
    if len(found) > 1:
        raise refused(quantizer, "its channels are clipped at different numbers, which a quantizer to blocks cannot")
    (end,) = found
    return None if end is None else round(end / unit)
