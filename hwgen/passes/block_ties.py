"""How far numbers are from where a quantizer to blocks would have given other codes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from hwgen.formats import Block, Blocked, Fixed, Format, Int
from hwgen.formats.block_steps import scale_steps
from hwgen.formats.grid import ladder
from hwgen.passes.exact import steps


def block_distance(
    block: Sequence[Fraction], place: int, fmt: Blocked, rounding: str, codes: tuple[int, int]
) -> Fraction:
    """From the exact numbers of a `block` to where element `place` would have the other of two `codes`.

    With one scale that is the farthest boundary between both elements. Where the scales differ it is where the scale
    of the block's greatest magnitude changes: next to a power of two, or, for scales with a mantissa, between two of
    them; elements that then differ follow from it.
    """
    scales, elements = fmt.scales(codes), fmt.elements(codes)
    if scales[0] != scales[1]:
        return _scale_distance(max(map(abs, block)), fmt.block, *sorted(map(int, scales)))
    significand, exponent = fmt.block.scale.significand_exponent(scales[0])
    step = int(significand) * Fraction(2) ** int(exponent)
    element: Format = fmt.block.element
    if isinstance(element, Fixed):
        step *= Fraction(2) ** element.lsb
        element = Int(element.bits, element.signed, element.narrow)
    _, bounds = steps(element, rounding)
    worth = element.decode(ladder(element))
    low, high = sorted(int(np.flatnonzero(worth == one)[0]) for one in element.decode(elements))
    return max((abs(block[place] - Fraction(bounds[k][0]) / 2 * step) for k in range(low, high)), default=Fraction(0))


def _scale_distance(greatest: Fraction, block: Block, low: int, high: int) -> Fraction:
    """From the greatest magnitude of a block to the farthest place between two scale codes."""
    if block.power_scale:
        return abs(greatest - Fraction(2) ** (high - block.scale.bias + block.emax))
    return max(abs(greatest - bound) for bound, _ in scale_steps(block)[low:high])
