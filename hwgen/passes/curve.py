"""Which code a quantizer gives for an activation function of a rational number: decided exactly.

Every function is enclosed between two rationals, with as many digits as it takes to tell on which side of a rounding
boundary it lies. Where an enclosure is no single number, its ends are not reached themselves: so a boundary at an end
(1 of a sigmoid, 0 far to the left of a GELU) is decided too. That always ends, since the functions are transcendental
at rational numbers other than 0 (Lindemann and Weierstrass; for the error function Siegel and Shidlovskii), and so meet
no boundary, or are rational and exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import lru_cache

import numpy as np

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

FAR = 1000
"""Beyond this exp(-|x|) is less than any float: it is only known to be positive, and less than at this place."""

FAR_GAUSS = 40
"""The same for the tail of the normal distribution."""


def turning(op: Activation) -> Fraction | None:
    """Where the function stops falling and begins to rise; None if it does so nowhere, or rises or falls all along."""
    if op.function == "leaky_relu" and op.slope < 0:
        return Fraction(0)
    return TURNING.get(op.function)


@lru_cache(maxsize=1 << 16)
def enclosure(op: Activation, x: Fraction, digits: int = DIGITS) -> Range:
    """(low, high) with low < function(x) < high, or low = high = function(x); to about `digits` digits."""
    if op.function == "leaky_relu":
        return _exactly(x if x >= 0 else Fraction(op.slope) * x)
    if op.function == "hard_swish":
        return _exactly(x * min(max(x + 3, Fraction(0)), Fraction(6)) / 6)
    if op.function == "elu":
        if x >= 0 or not op.slope:
            return _exactly(max(x, Fraction(0)))
        low, high = _exp(x, digits)
        return Fraction(op.slope) * (low - 1), Fraction(op.slope) * (min(high, Fraction(1)) - 1)
    if op.function == "softplus":
        return _softplus(x, digits)
    if not x:
        return _exactly(Fraction(1, 2) if op.function == "sigmoid" else Fraction(0))
    if op.function == "sigmoid":
        return _sigmoid(x, x, digits)
    if op.function == "tanh":
        low, high = _sigmoid(2 * x, 2 * x, digits)
        low, high = 2 * low - 1, 2 * high - 1
        return (max(low, Fraction(0)), high) if x > 0 else (low, min(high, Fraction(0)))
    low, high = _factor(op, x, digits)
    # Between 0 and x, whatever the digits.
    low, high = (x * low, x * high) if x > 0 else (x * high, x * low)
    return (low - TURN_ERROR, high) if x == TURNING[op.function] else (low, high)


def _exactly(value: Fraction) -> Range:
    return value, value


def _contexts(digits: int) -> tuple[Context, Context]:
    """Rounding down and up. They saturate to subnormals and infinity where exponents do not suffice: nowhere here."""
    down, up = (Context(digits, r, MIN_EMIN, MAX_EMAX, traps=[]) for r in (ROUND_FLOOR, ROUND_CEILING))
    return down, up


def _decimals(low: Fraction, high: Fraction, digits: int) -> tuple[Decimal, Decimal]:
    down, up = _contexts(digits)
    return (
        down.divide(Decimal(low.numerator), Decimal(low.denominator)),
        up.divide(Decimal(high.numerator), Decimal(high.denominator)),
    )


def _exp_decimal(low: Decimal, high: Decimal, digits: int) -> tuple[Decimal, Decimal]:
    """exp of a range: it is correctly rounded, so that one more unit encloses it."""
    near = Context(digits, "ROUND_HALF_EVEN", MIN_EMIN, MAX_EMAX, traps=[])
    return near.next_minus(near.exp(low)), near.next_plus(near.exp(high))


def _exp(x: Fraction, digits: int) -> Range:
    if x < -FAR:
        return Fraction(0), _exp(Fraction(-FAR), digits)[1]
    low, high = _exp_decimal(*_decimals(x, x, digits), digits)
    return Fraction(low), Fraction(high)


def _sigmoid(low: Fraction, high: Fraction, digits: int) -> Range:
    """Of a range of numbers."""
    if low > FAR:
        return _sigmoid(Fraction(FAR), Fraction(FAR), digits)[0], Fraction(1)
    if high < -FAR:
        return Fraction(0), _sigmoid(Fraction(-FAR), Fraction(-FAR), digits)[1]
    down, up = _contexts(digits)
    least, greatest = _exp_decimal(*_decimals(-high, -low, digits), digits)
    one = Decimal(1)
    return (
        Fraction(down.divide(one, up.add(one, greatest))),
        Fraction(up.divide(one, down.add(one, least))),
    )


def _softplus(x: Fraction, digits: int) -> Range:
    """ln(1 + exp(x)) = max(x, 0) + ln(1 + exp(-|x|)); ln(1 + e) lies between e - e^2 / 2 and e."""
    base = max(x, Fraction(0))
    low, high = _exp(-abs(x), digits)
    if high < Fraction(1, 10 ** (digits // 2)):
        return base + low - low * low / 2, base + high
    near = Context(digits, "ROUND_HALF_EVEN", MIN_EMIN, MAX_EMAX, traps=[])
    least, greatest = _decimals(1 + low, 1 + high, digits)
    return base + Fraction(near.next_minus(near.ln(least))), base + Fraction(near.next_plus(near.ln(greatest)))


def _factor(op: Activation, x: Fraction, digits: int) -> Range:
    """What silu and gelu multiply x by: a sigmoid or the normal distribution function, in 0..1."""
    if op.function == "silu":
        return _sigmoid(x, x, digits)
    if op.function == "gelu":
        return _normal(x, digits)
    inner = x + Fraction(44715, 10**6) * x**3
    low, high = _square_root_over_pi(digits)
    ends = sorted((2 * low * inner, 2 * high * inner))
    return _sigmoid(ends[0], ends[1], digits)


@lru_cache(maxsize=64)
def _pi(digits: int) -> Range:
    """J. Machin: pi = 16 arctan(1/5) - 4 arctan(1/239), in integers."""
    unit = 10 ** (digits + 10)

    def arctan(inverse: int) -> int:
        power, total, n = unit // inverse, 0, 0
        while power:
            total += (-power if n % 2 else power) // (2 * n + 1)
            power //= inverse * inverse
            n += 1
        return total

    # Each of fewer than 10 * digits terms is wrong by less than 2 units.
    near, error = 16 * arctan(5) - 4 * arctan(239), 1000 * (digits + 10)
    return Fraction(near - error, unit), Fraction(near + error, unit)


@lru_cache(maxsize=64)
def _square_root_over_pi(digits: int) -> Range:
    """sqrt(2 / pi)."""
    low, high = _pi(digits)
    down, up = _contexts(digits)
    least, greatest = _decimals(2 / high, 2 / low, digits)
    return Fraction(down.next_minus(down.sqrt(least))), Fraction(up.next_plus(up.sqrt(greatest)))


@lru_cache(maxsize=1 << 12)
def _normal(x: Fraction, digits: int) -> Range:
    """The normal distribution function: 1/2 + phi(x) (x + x^3/3 + x^5/(3 5) + ...), all terms of one sign.

    G. Marsaglia, Evaluating the normal distribution, Journal of Statistical Software 11(4), 2004.
    """
    if x < 0:
        low, high = _normal(-x, digits)
        return 1 - high, 1 - low
    if x > FAR_GAUSS:
        return _normal(Fraction(FAR_GAUSS), digits)[0], Fraction(1)
    least, greatest = _decimals(x, x, digits)
    down, up = _contexts(digits)
    totals = []
    for context, end in ((down, least), (up, greatest)):
        square = context.multiply(end, end)
        term, total, n = end, end, 1
        # Until terms fall by half or more each, and are too small to matter: then all that follow are below the last.
        while term > context.scaleb(total, -digits - 2) or square * 2 > 2 * n + 1:
            n += 1
            term = context.divide(context.multiply(term, square), Decimal(2 * n - 1))
            total = context.add(total, term)
        totals.append(context.add(total, term) if context is up else total)
    # phi(x) = exp(-x^2 / 2) / sqrt(2 pi) = exp(-x^2 / 2) sqrt(2 / pi) / 2.
    low, high = _exp(-x * x / 2, digits)
    root = _square_root_over_pi(digits)
    half = Fraction(1, 2)
    return half + low * root[0] / 2 * Fraction(totals[0]), min(half + high * root[1] / 2 * Fraction(totals[1]), _ONE)


_ONE = Fraction(1)


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
