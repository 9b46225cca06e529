"""Rules that gateware and cost formulas share: how a matrix unit multiplies, what stands in block RAM, who waits."""

from __future__ import annotations

from typing import Literal

import numpy as np

from hwgen.formats import Bipolar, Blocked, Format, Int
from hwgen.formats.multiply import span
from hwgen.ir import Fold, TensorType
from hwgen.ops.grouped import Grouped
from hwgen.ops.matvec import MatVec, integer_range

Products = Literal["constant", "lut", "multiplier", "codes", "blocks"]

LUT_PRODUCT = 16
"""Bits of |weight| times bits of x up to which products are built of LUTs and not of multiplier blocks."""

BLOCK_LUTS = 64
"""LUTs that a block RAM must save to be asked for; also what one, or a DSP, weighs in a comparison of costs."""

PLACED_WEIGHT_BITS = 4
"""Bits of the widest weight, in two's complement, whose partial products are placed by hand on UltraScale+."""

DSP_CHAIN = 4
"""DSPs in a chain of a matrix unit on UltraScale+: each further one delays what all others wait for."""


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
    if (fold.pe, fold.simd) == op.weight.shape and not isinstance(op, Grouped):
        return "constant"
    return "lut" if narrow_products(op, x) else "multiplier"


def narrow_products(op: MatVec, x: TensorType) -> bool:
    """Whether products are made of LUTs where weights are not constants."""
    return op.magnitudes[1].bit_length() * grid_bits(x.codes_format) <= LUT_PRODUCT


def lanes_behind(op: MatVec, fold: Fold) -> int:
    """Lanes of the units that take a matrix unit's sums: the fewest that are done before it has the next ones."""
    lanes, spacing = op.output_lanes(fold), op.spacing(fold)
    return min(n for n in range(1, lanes + 1) if lanes % n == 0 and lanes // n <= spacing)


def wants_block_ram(width: int, depth: int) -> bool:
    """Whether a ROM should stand in block RAM: it then saves BLOCK_LUTS LUTs for each block of 36 bits' width."""
    return width * depth / 16 >= BLOCK_LUTS * -(-width // 36)


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


def weight_bits(op: MatVec) -> int:
    """Bits of the weights in two's complement."""
    low, high = op.extremes
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1


def is_placed(op: MatVec, x: TensorType, fold: Fold) -> bool:
    """Whether a matrix unit is made of cells that are placed by hand on UltraScale+."""
    if products_of(op, x, fold) != "lut" or not isinstance(x.codes_format, Int) or x.codes_format.bits < 2:
        return False
    return not isinstance(op, Grouped) and op.magnitudes[1] > 0 and weight_bits(op) <= PLACED_WEIGHT_BITS


def dsp_fields(op: MatVec, x: TensorType, fold: Fold) -> tuple[int, int]:
    """(outputs that share a DSP48E2, bits of the field of each): a field holds the sum of a whole chain."""
    size, chain = weight_bits(op), min(fold.simd, DSP_CHAIN)
    operand = integer_range(x)
    ends = [chain * weight * end for weight in (*op.extremes, 0) for end in operand]
    width = max(max(ends).bit_length(), (-min(ends) - 1).bit_length() if min(ends) < 0 else 0) + 1
    operand_bits = max(operand[1].bit_length(), (-operand[0] - 1).bit_length() if operand[0] < 0 else 0) + 1
    if operand_bits > 18 or size > 27:
        return 0, width
    # A field above the lowest has one bit more, for what the one below borrows.
    return min(1 + max(0, (27 - size - 1) // width), 48 // width), width
