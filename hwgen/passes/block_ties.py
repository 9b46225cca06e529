"""How far numbers are from where a quantizer to blocks would have given other codes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from hwgen.formats import Blocked, Fixed, Format, Int
from hwgen.formats.grid import ladder
from hwgen.passes.exact import steps


def block_distance(
    block: Sequence[Fraction], place: int, fmt: Blocked, rounding: str, codes: tuple[int, int]
) -> Fraction:
    """From the exact numbers of a `block` to where element `place` would have the other of two `codes`.

    With one scale that is the farthest boundary between both elements. Where the scales differ it is the power of two
    that the block's greatest magnitude lies next to; elements that then differ follow from it.
    """
    scales, elements = fmt.scales(codes), fmt.elements(codes)
    bias = fmt.block.scale.bias
    if scales[0] != scales[1]:
        edge = Fraction(2) ** (int(scales.max()) - bias + fmt.block.emax)
        return abs(max(map(abs, block)) - edge)
    step = Fraction(2) ** (int(scales[0]) - bias)
    element: Format = fmt.block.element
    if isinstance(element, Fixed):
        step *= Fraction(2) ** element.lsb
        element = Int(element.bits, element.signed, element.narrow)
    _, bounds = steps(element, rounding)
    worth = element.decode(ladder(element))
    low, high = sorted(int(np.flatnonzero(worth == one)[0]) for one in element.decode(elements))
    return max((abs(block[place] - Fraction(bounds[k][0]) / 2 * step) for k in range(low, high)), default=Fraction(0))
