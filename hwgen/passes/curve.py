"""Which code a quantizer gives for an activation function of a rational number: decided exactly.

Every function is enclosed between two rationals by ball arithmetic (F. Johansson, Arb, IEEE Transactions on Computers
66(8), 2017), with as many digits as it takes to tell on which side of a rounding boundary it lies. Where an enclosure
is no single number, its ends are not reached themselves: so a boundary at an end (1 of a sigmoid, 0 far to the left of
a GELU) is decided too. That always ends, since the functions are transcendental at rational numbers other than 0
(Lindemann and Weierstrass; for the error function Siegel and Shidlovskii), and so meet no boundary, or are rational and
exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from flint import arb, ctx, fmpq

from hwgen.errors import UnsupportedError
from hwgen.ops import Activation
from hwgen.passes.exact import Bound, Line

Range = tuple[Fraction, Fraction]

DIGITS, MAX_DIGITS = 40, 1280
"""Decimal digits of the first enclosure and of the last one."""

TURNING = {
    "silu": Fraction("-1.278464542761073795109358739022980155439"),
    "gelu": Fraction("-0.751791524693564457457904946779524039664"),
    "gelu_tanh": Fraction("-0.752461422071016258487954443288916090605"),
    "hard_swish": Fraction(-3, 2),
}
"""Where functions that first fall and then rise have their minimum, to 39 digits."""

TURN_ERROR = Fraction(1, 10**70)
"""More than the function at such a place differs from the minimum: it is flat there, so that digits count twice."""


def _logistic(x: arb) -> arb:
    return 1 / (1 + (-x).exp())


def _gelu_tanh(x: arb) -> arb:
    return _logistic(2 * (2 / arb.pi()).sqrt() * (x + arb(fmpq(44715, 10**6)) * x**3))


UNIT: dict[str, tuple[Callable[[arb], arb], Fraction]] = {
    "sigmoid": (_logistic, Fraction(1000)),
    "tanh": (lambda x: _logistic(2 * x), Fraction(500)),
    "silu": (_logistic, Fraction(1000)),
    "gelu": (lambda x: (-x / arb(2).sqrt()).erfc() / 2, Fraction(40)),
    "gelu_tanh": (_gelu_tanh, Fraction(25)),
    "elu": (lambda x: x.exp(), Fraction(1000)),
    "softplus": (lambda x: x.exp().log1p(), Fraction(1000)),
}
"""The transcendental part of each function: it rises from 0 to 1 (elu and softplus: for x up to 0), and never gets
there. Beyond the number beside it, on either side, only that much is asked of it, since it is nearer than any float."""


def turning(op: Activation) -> Fraction | None:
    """Where the function stops falling and begins to rise; None if it does so nowhere, or rises or falls all along."""
    if op.function == "leaky_relu" and op.slope < 0:
        return Fraction(0)
    return TURNING.get(op.function)


@lru_cache(maxsize=1 << 16)
def enclosure(op: Activation, x: Fraction, digits: int = DIGITS) -> Range:
    """(low, high) with low < function(x) < high, or low = high = function(x); to about `digits` digits."""
    exact = _rational(op, x)
    if exact is not None:
        return exact, exact
    # ln(1 + exp(x)) = max(x, 0) + ln(1 + exp(-|x|)).
    low, high = _unit(op.function, -abs(x) if op.function == "softplus" else x, digits)
    if op.function == "sigmoid":
        return low, high
    if op.function == "tanh":
        low, high = 2 * low - 1, 2 * high - 1
        return (max(low, Fraction(0)), high) if x > 0 else (low, min(high, Fraction(0)))
    if op.function == "elu":
        return Fraction(op.slope) * (low - 1), Fraction(op.slope) * (high - 1)
    if op.function == "softplus":
        return max(x, Fraction(0)) + low, max(x, Fraction(0)) + high
    low, high = sorted((x * low, x * high))
    return (low - TURN_ERROR, high) if x == TURNING[op.function] else (low, high)


def _rational(op: Activation, x: Fraction) -> Fraction | None:
    """The value where it is a rational number."""
    if op.function == "leaky_relu":
        return x if x >= 0 else Fraction(op.slope) * x
    if op.function == "hard_swish":
        return x * min(max(x + 3, Fraction(0)), Fraction(6)) / 6
    if op.function == "elu" and (x >= 0 or not op.slope):
        return max(x, Fraction(0))
    if not x and op.function != "softplus":
        return Fraction(1, 2) if op.function == "sigmoid" else Fraction(0)
    return None


def _unit(function: str, x: Fraction, digits: int) -> Range:
    """The transcendental part, in 0..1."""
    part, far = UNIT[function]
    near = min(max(x, -far), far)
    with ctx.workdps(digits + 5):
        ball = part(arb(fmpq(near.numerator, near.denominator)))
        low, high = (_fraction(end) for end in (ball.lower(), ball.upper()))
    low, high = max(low, Fraction(0)), min(high, Fraction(1))
    return (Fraction(0) if x < -far else low), (Fraction(1) if x > far else high)


def _fraction(end: arb) -> Fraction:
    mantissa, exponent = map(int, end.man_exp())
    return Fraction(mantissa << exponent) if exponent >= 0 else Fraction(mantissa, 1 << -exponent)


def reaches(op: Activation, x: Fraction, level: Fraction, inclusive: bool, most: int = MAX_DIGITS) -> bool:
    """Whether function(x) > level, or >= if inclusive; raises UnsupportedError if `most` digits do not tell."""
    digits = DIGITS
    while digits <= most:
        low, high = enclosure(op, x, digits)
        if low == high:
            return low > level or (inclusive and low == level)
        if low >= level:
            return True
        if high <= level:
            return False
        digits *= 2
    raise UnsupportedError(f"{op.function}({float(x)}) is too close to {float(level)} to tell which is greater")


@dataclass(frozen=True, eq=False)
class Curve:
    """post(function(x)), rounded at `bounds`: `level` counts those that are passed."""

    function: Activation
    post: Line
    bounds: Sequence[Bound]

    def always(self, number: int) -> bool | None:
        """Whether the boundary is passed everywhere (True) or nowhere (False) by clipping; None if x decides."""
        bound, inclusive = self._bound(number)
        post = self.post if self.post.slope else Line(Fraction(0), Fraction(0), self.post.at(0), self.post.at(0))
        if post.low is not None and (post.low > bound or (inclusive and post.low == bound)):
            return True
        if post.high is not None and (post.high < bound or (not inclusive and post.high == bound)):
            return False
        return None

    def value(self, number: int) -> Fraction:
        """What the function gives at the boundary."""
        return (self._bound(number)[0] - self.post.offset) / self.post.slope

    def passed(self, number: int, x: Fraction) -> bool:
        """Whether the boundary is passed at x."""
        known = self.always(number)
        if known is not None:
            return known
        inclusive = self._bound(number)[1]
        if self.post.slope > 0:
            return reaches(self.function, x, self.value(number), inclusive)
        return not reaches(self.function, x, self.value(number), not inclusive)

    def _bound(self, number: int) -> tuple[Fraction, bool]:
        twice, inclusive = self.bounds[number]
        return Fraction(twice) / 2, inclusive

    def level(self, x: Fraction) -> int:
        """How many boundaries are passed at x; they are passed in order."""
        least, greatest = 0, len(self.bounds)
        while least < greatest:
            middle = (least + greatest) // 2
            if self.passed(middle, x):
                least = middle + 1
            else:
                greatest = middle
        return least


@dataclass(frozen=True)
class Crossing:
    """One boundary that is passed (up) or left (not up) as x grows, somewhere after `low` and at `high` or before."""

    number: int
    up: bool
    low: Fraction
    high: Fraction

    def behind(self, curve: Curve, x: Fraction) -> bool:
        """Whether x lies behind the crossing; x is nearer to it than to any other of the same boundary."""
        if x <= self.low or x >= self.high:
            return x >= self.high
        return curve.passed(self.number, x) == self.up


def crossings(curve: Curve, least: Fraction, greatest: Fraction) -> tuple[int, list[Crossing]]:
    """(the level at `least`, every crossing from there to `greatest`, in order)."""
    middle = turning(curve.function)
    places = [least, *([middle] if middle is not None and least < middle < greatest else []), greatest]
    levels = [curve.level(x) for x in places]
    found: list[Crossing] = []
    for start, end, first, last in zip(places, places[1:], levels, levels[1:], strict=False):
        up = last > first
        numbers = range(first, last) if up else range(first - 1, last - 1, -1)
        found += _bracketed(curve, list(numbers), up, start, end)
    return levels[0], found


def _bracketed(curve: Curve, numbers: list[int], up: bool, start: Fraction, end: Fraction) -> list[Crossing]:
    """Crossings of a piece on which the function only rises or only falls: found in floats, then proven."""
    targets = np.array([float(curve.value(number)) for number in numbers])
    rises = up == (curve.post.slope > 0)
    left, right = np.full(len(numbers), float(start)), np.full(len(numbers), float(end))
    for _ in range(80):
        middle = (left + right) / 2
        beyond = (curve.function.run(middle) >= targets) == rises
        left, right = np.where(beyond, left, middle), np.where(beyond, middle, right)
    return [_proven(curve, n, up, float(x), start, end) for n, x in zip(numbers, right, strict=True)]


def _proven(curve: Curve, number: int, up: bool, near: float, start: Fraction, end: Fraction) -> Crossing:
    """The crossing near a float, between two numbers that are proven to lie on either side of it."""
    step = Fraction(2) ** -40 * max(1, abs(int(near)))
    low, high, guess = start, end, Fraction(near)
    while True:
        low, high = max(start, guess - step), min(end, guess + step)
        low_known = low == start or curve.passed(number, low) != up
        high_known = high == end or curve.passed(number, high) == up
        if low_known and high_known:
            return Crossing(number, up, low, high)
        step *= 64
