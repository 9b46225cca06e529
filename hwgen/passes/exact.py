"""Chains of affine operations and ReLUs between codes and a quantizer, in exact rational arithmetic.

Every parameter is a binary float and so an exact rational. However such operations follow each other, their result for
one channel is clip(slope * code + offset, low, high): one line, clipped. That is monotonic, so a quantizer behind it
is a row of integer thresholds, found here without any rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm

from hwgen.formats import Bipolar, Format, Int, Minifloat
from hwgen.formats.grid import ladder
from hwgen.ir import Node, TensorType
from hwgen.ops import Affine, Quantize, Relu, Reshape
from hwgen.passes.chain import refused


@dataclass(frozen=True)
class Line:
    """clip(slope * code + offset, low, high), exactly; None stands for no bound on that side."""

    slope: Fraction
    offset: Fraction
    low: Fraction | None = None
    high: Fraction | None = None

    def scaled(self, factor: Fraction) -> Line:
        low, high = (None if b is None else b * factor for b in (self.low, self.high))
        if factor < 0:
            low, high = high, low
        return Line(self.slope * factor, self.offset * factor, low, high)

    def shifted(self, by: Fraction) -> Line:
        low, high = (None if b is None else b + by for b in (self.low, self.high))
        return Line(self.slope, self.offset + by, low, high)

    def rectified(self) -> Line:
        zero = Fraction(0)
        return replace(
            self,
            low=zero if self.low is None else max(self.low, zero),
            high=None if self.high is None else max(self.high, zero),
        )

    def flipped(self) -> Line:
        """The same function of the negated code."""
        return replace(self, slope=-self.slope)

    def at(self, code: int | Fraction) -> Fraction:
        value = self.slope * code + self.offset
        if self.low is not None:
            value = max(value, self.low)
        return value if self.high is None else min(value, self.high)


def lines(x: TensorType, between: Sequence[Node], quantizer: Node) -> list[Line]:
    """What the quantizer rounds, per channel of the codes of `x`: value / scale + zero_point, before rounding.

    `between`: the nodes from the codes to the quantizer. Raises UnsupportedError naming a node that is not affine or
    a ReLU, since nothing shows that it is monotonic in one code, or a quantizer of bipolar codes.
    """
    result = _decoded(x, quantizer)
    channels = range(x.channels)
    for node in between:
        op = node.op
        if isinstance(op, Affine):
            mul, div, add = (_per_channel(values, x.channels) for values in (op.mul, op.div, op.add))
            result = [result[c].scaled(mul[c] / div[c]).shifted(add[c]) for c in channels]
        elif isinstance(op, Relu):
            result = [line.rectified() for line in result]
        elif isinstance(op, Reshape):
            raise refused(node, f"it changes in the middle of the network which numbers are channels, to {op.shape}")
        else:
            raise refused(node, f"it stands ahead of the quantizer {quantizer.name!r} and is not known to be monotonic")
    op = quantizer.op
    assert isinstance(op, Quantize)
    scale = _per_channel(op.scale, x.channels)
    zero_point = Fraction(op.zero_point)
    return [result[c].scaled(1 / scale[c]).shifted(zero_point) for c in channels]


def _per_channel(values: Iterable[float], channels: int) -> list[Fraction]:
    exact = [Fraction(float(value)) for value in values]
    return exact * channels if len(exact) == 1 else exact


def _decoded(x: TensorType, quantizer: Node) -> list[Line]:
    """real = scale * (worth - zero_point) as a line over integer codes."""
    if not isinstance(x.format, Int):
        raise refused(quantizer, f"it quantizes {x.codes_format.name} codes again, which is not supported")
    return [Line(s, -s * x.zero_point) for s in _per_channel(x.scale, x.channels)]


def boundary(k: int, rounding: str) -> tuple[int, bool]:
    """(b, inclusive): rounding u gives an integer >= k exactly where 2u > b, or 2u >= b if inclusive."""
    positive = k >= 1
    return {
        "half_even": (2 * k - 1, k % 2 == 0),
        "half_away": (2 * k - 1, positive),
        "half_zero": (2 * k - 1, not positive),
        "half_up": (2 * k - 1, True),
        "down": (2 * k, True),
        "up": (2 * k - 2, False),
        "zero": (2 * k, True) if positive else (2 * k - 2, False),
        "away": (2 * k - 2, False) if positive else (2 * k, True),
    }[rounding]


Bound = tuple[int | Fraction, bool]
"""(b, inclusive): reached by u where 2u > b, or 2u >= b if inclusive."""


def steps(fmt: Format, rounding: str) -> tuple[int, list[Bound]]:
    """(first code, boundaries of every further number in order) of a quantizer to `fmt`."""
    if isinstance(fmt, Bipolar):
        return 0, [(0, True)]
    if isinstance(fmt, Minifloat):
        rungs = ladder(fmt)
        worths = [Fraction(float(worth)) for worth in fmt.decode(rungs)]
        pairs = zip(rungs, worths, worths[1:], strict=False)
        return int(rungs[0]), [_between(int(code), low, high, rounding) for code, low, high in pairs]
    assert isinstance(fmt, Int)
    return fmt.min, [boundary(k, rounding) for k in range(fmt.min + 1, fmt.max + 1)]


def _between(code: int, low: Fraction, high: Fraction, rounding: str) -> Bound:
    """Where numbers between two neighbours, `low` (of `code`) and `high`, begin to round to `high`."""
    # A tie goes to the even code: to `high` where `low` is odd. Magnitudes count down on the negative side, but
    # neighbours differ in parity there just the same.
    even = code & 1 == 0
    middle, ends = low + high, (2 * low, 2 * high)
    positive = low >= 0
    return {
        "half_even": (middle, not even),
        "half_away": (middle, positive),
        "half_zero": (middle, not positive),
        "half_up": (middle, True),
        "down": (ends[1], True),
        "up": (ends[0], False),
        "zero": (ends[1], True) if positive else (ends[0], False),
        "away": (ends[0], False) if positive else (ends[1], True),
    }[rounding]


def thresholds(line: Line, bounds: Sequence[Bound], low: int, high: int) -> list[int]:
    """The least code in low..high for which each boundary is reached; high + 1 where none reaches it.

    `line` must not fall (slope >= 0).
    """
    ends = [end for end in (line.low, line.high) if end is not None]
    fractions = [line.slope, line.offset, *ends, *{bound for bound, _ in bounds if isinstance(bound, Fraction)}]
    denominator = lcm(*(fraction.denominator for fraction in fractions))
    # All times the denominator, and twice as boundaries are: plain integers are several times faster here.
    p, q = int(line.slope * denominator) * 2, int(line.offset * denominator) * 2
    floor = None if line.low is None else int(line.low * denominator) * 2
    ceiling = None if line.high is None else int(line.high * denominator) * 2
    row = []
    for bound, inclusive in bounds:
        at = int(bound * denominator)
        if floor is not None and (floor > at or (inclusive and floor == at)):
            row.append(low)
        elif ceiling is not None and (ceiling < at or (not inclusive and ceiling == at)):
            row.append(high + 1)
        elif p:
            least = -((q - at) // p) if inclusive else (at - q) // p + 1
            row.append(low if least < low else high + 1 if least > high else least)
        else:
            row.append(low if q > at or (inclusive and q == at) else high + 1)
    return row


def rounded(u: Fraction, fmt: Format, rounding: str) -> int:
    """The code of `fmt` that an exact number rounds and saturates to."""
    if isinstance(fmt, Bipolar):
        return int(u >= 0)
    if isinstance(fmt, Minifloat):
        _, bounds = steps(fmt, rounding)
        passed = sum(2 * u > bound or (inclusive and 2 * u == bound) for bound, inclusive in bounds)
        return int(ladder(fmt)[passed])
    assert isinstance(fmt, Int)
    near = min(max(int(u), fmt.min), fmt.max)
    for k in (near + 1, near, near - 1, near - 2):
        bound, inclusive = boundary(k, rounding)
        if 2 * u > bound or (inclusive and 2 * u == bound):
            return min(max(k, fmt.min), fmt.max)
    return fmt.min
