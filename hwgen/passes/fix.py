"""Fixed point behind FP32 sums, as fine as the next quantizer can see and as wide as it can tell numbers apart."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from hwgen.formats import Blocked, Format, Int, Minifloat
from hwgen.ir import Node, TensorType
from hwgen.ops import Activation, Affine, Fix, MatVec, Pool, Quantize, Relu
from hwgen.ops.block_sums import total_reach
from hwgen.passes.chain import refused
from hwgen.passes.exact import Line, lines

EXTRA_BITS = 2
"""Bits below a quantizer's finest step that a rounding to odd needs to go unnoticed."""

GUARD_BITS = 8
"""Bits more where the quantizer's boundaries are no multiples of such bits: factors, addends, sums of several."""

MAX_BITS = 53
"""The widest fixed point behind FP32, which has 24 bits itself."""


def fix_behind(node: Node, x: TensorType, rest: Sequence[Node]) -> Node | None:
    """The Fix behind a matrix unit, or None where it adds exactly or no quantizer follows.

    x: what the unit reads; rest: the nodes behind it, still of real numbers.
    Where all channels are scaled by one power of two, with addends of half steps at most, and no sums of several are
    taken, Fix goes unnoticed: the quantizer gives what it would have given for the FP32 sums. Else a code can differ
    only where an FP32 sum is within 2**-(EXTRA_BITS + GUARD_BITS) of a step of a boundary.
    Raises UnsupportedError naming the quantizer that would need more than MAX_BITS bits.
    """
    if not isinstance(node.op, MatVec) or node.op.accumulator != "fp32":
        return None
    end = next((i for i, one in enumerate(rest) if isinstance(one.op, Quantize)), None)
    if end is None:
        return None
    for one in rest[:end]:
        if isinstance(one.op, Activation):
            raise refused(one, f"FP32 sums of {node.name!r} reach it; add exactly, or put a quantizer ahead of it")
    made = _fix(x, node.op.infer(x), node.op, rest[:end], rest[end])
    return Node(f"{node.name}.fix", made, (), f"{node.output}.fix")


def _fix(x: TensorType, y: TensorType, op: MatVec, between: Sequence[Node], quantizer: Node) -> Fix:
    """x: what the matrix unit reads; y: its FP32 sums."""
    sums = [node.op.taps for node in between if isinstance(node.op, Pool) and node.op.reduce == "sum"]
    affine = [node for node in between if isinstance(node.op, Affine | Relu)]
    # The lines of numbers in units of 1: any integer format stands for them.
    found = [_positive(line) for line in lines(TensorType(y.shape, Int(2), y.scale), affine, quantizer)]
    greatest = max((line.slope for line in found), default=Fraction(0))
    if not greatest:
        raise refused(quantizer, "what it quantizes does not depend on its input")
    assert isinstance(quantizer.op, Quantize)
    fmt = quantizer.op.format
    step = fmt.lsb if isinstance(fmt, Minifloat | Blocked) else 0
    exact = not sums and _even(found, step)
    lsb = step - _exponent(greatest) - EXTRA_BITS - (0 if exact else GUARD_BITS)
    assert isinstance(x.format, Blocked)
    reach = total_reach(op.weight_format, op.weight, x.format)
    if not sums:
        reach = min(reach, max(enough(line, fmt) if line.slope else Fraction(0) for line in found))
    bits = max(int(reach / Fraction(2) ** lsb).bit_length() + 1, 3)
    if bits > MAX_BITS:
        raise refused(quantizer, f"FP32 sums ahead of it need {bits} bits of fixed point; at most {MAX_BITS} are had")
    return Fix(lsb, Int(bits, narrow=True))


def _positive(line: Line) -> Line:
    return line if line.slope >= 0 else line.flipped()


def _even(found: Sequence[Line], step: int) -> bool:
    """Whether all boundaries, in terms of the sums, are multiples of half a step divided by one power of two."""
    slopes = {line.slope for line in found}
    half = Fraction(2) ** (step - 1)
    (slope, *others) = slopes
    power = slope.numerator & (slope.numerator - 1) == 0 and slope.denominator & (slope.denominator - 1) == 0
    return not others and power and all((line.offset / half).denominator == 1 for line in found)


def _exponent(number: Fraction) -> int:
    """The least e with number <= 2**e."""
    e = number.numerator.bit_length() - number.denominator.bit_length()
    return e if number <= Fraction(2) ** e else e + 1


def enough(line: Line, fmt: Format) -> Fraction:
    """The magnitude of a sum from which on the quantizer gives its greatest or its least code."""
    # The next power of two above the greatest number: also what a block's greatest scale is chosen for.
    most = Fraction(2) ** (_exponent(max(abs(end) for end in fmt.extremes)) + 1)
    return (most + abs(line.offset)) / line.slope
