"""Dot products in dynamic fixed point (arXiv 1802.00930): integer codes, one exponent for each tensor."""

from __future__ import annotations

from typing import Literal

import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Codes, DynamicFixed, Int, round_shift
from hwgen.formats.multiply import check_codes
from hwgen.golden.exact import Exact
from hwgen.golden.sums import dot

Accumulator = Literal["exact", "int32"]
ACCUMULATORS: tuple[str, ...] = ("exact", "int32")

INT32_REACH = (1 << 31) - 1
CHAIN = 31
"""Products that INT32 adds up before it spills into a wide accumulator."""

PRE_SHIFT = 2
"""Bits that both operands lose for that: codes of 16 bits come down to magnitudes of 2**13 at most."""

Tensor = tuple[int, npt.ArrayLike]
"""(shared exponent, codes), as `DynamicFixed.encode` gives them."""


def dynamic_dot(
    a: Tensor,
    b: Tensor,
    fmt: DynamicFixed,
    accumulator: Accumulator = "exact",
    pre_shift: int = PRE_SHIFT,
    chain: int = CHAIN,
    rounding: str = "half_even",
) -> Exact:
    """Sums of products of two tensors with shapes as in `@`; the exponents add.

    accumulator: "exact", or "int32": both operands are first shifted right by `pre_shift`, rounded by name, so that
    `chain` products never leave INT32; then the chain spills into an accumulator that is wide enough. So the sums of
    the shifted operands are exact, and only the shift loses bits. Raises HwgenError where the chain could leave
    INT32, an unknown accumulator, and codes outside the format.
    """
    if accumulator not in ACCUMULATORS:
        raise HwgenError(f"unknown accumulator {accumulator!r}: one of {', '.join(ACCUMULATORS)}")
    (ea, x), (eb, y) = (a[0], check_codes(a[1], fmt.element)), (b[0], check_codes(b[1], fmt.element))
    element = fmt.element
    if accumulator == "int32":
        x, element = shift_operand(x, fmt, pre_shift, chain, rounding)
        y, _ = shift_operand(y, fmt, pre_shift, chain, rounding)
        ea, eb = ea + pre_shift, eb + pre_shift
    found = dot(x, y, element, element)
    return Exact(found.limbs, found.exponent + ea + eb, found.nan, found.saturated)


def shift_operand(
    codes: npt.ArrayLike, fmt: DynamicFixed, pre_shift: int = PRE_SHIFT, chain: int = CHAIN, rounding: str = "half_even"
) -> tuple[Codes, Int]:
    """(codes, format) of an operand shifted right by `pre_shift`, for chains of `chain` products in INT32.

    The least code, -2**(bits-1), shifts to -2**(bits-1-pre_shift), and rounding may take the greatest to the same
    magnitude. Raises HwgenError where `chain` such products could leave INT32.
    """
    if not 0 <= pre_shift < fmt.bits or chain < 1:
        raise HwgenError(f"a pre-shift of {pre_shift} and a chain of {chain} are none: 0..{fmt.bits - 1} and 1 or more")
    greatest = 1 << (fmt.bits - 1 - pre_shift)
    if chain * greatest * greatest > INT32_REACH:
        most = INT32_REACH // (greatest * greatest)
        raise HwgenError(
            f"{chain} products of {fmt.name} shifted right by {pre_shift} can leave INT32; at most {most} are safe"
        )
    return round_shift(check_codes(codes, fmt.element), pre_shift, rounding), Int(max(2, fmt.bits - pre_shift + 1))
