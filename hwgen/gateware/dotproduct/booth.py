"""Dot products of integers: radix-4 Booth digits, and a tree of adders for the digits of each weight over all lanes."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Value

from hwgen.gateware.dotproduct.add import Column, column_tree, fit, levels
from hwgen.gateware.dotproduct.pipe import At, Pipe, Segment


@dataclass(frozen=True, eq=False)
class Factor:
    """An integer operand: its bits, two's complement if `signed`, within low..high."""

    bits: Value
    signed: bool
    low: int
    high: int


def digit_count(factor: Factor) -> int:
    """Radix-4 Booth digits of the factor: the bits above the top one are its sign."""
    return len(factor.bits) // 2 + 1 if not factor.signed else (len(factor.bits) + 1) // 2


def segments(digits: int, lanes: int, sum_bits: int) -> list[Segment]:
    parts = [Segment(f"add{n}", 2 if n == 0 else 1, sum_bits - 4 - levels(lanes) + n) for n in range(levels(lanes))]
    parts = parts or [Segment("digits", 1)]
    return [*parts, *(Segment(f"join{n}", 1, sum_bits) for n in range(levels(digits) + 1))]


def partial(a: Factor, b: Factor, digit: int) -> tuple[Value, int, int, Value]:
    """(value, low, high, one more to add) of a * digit of b: the value is complemented where the digit is negative."""
    width = len(b.bits)

    def bit(place: int) -> Value:
        if place < 0:
            return Const(0, 1)
        if place < width:
            return b.bits[place]
        return b.bits[-1] if b.signed else Const(0, 1)

    high, middle, low = (bit(2 * digit + place) for place in (1, 0, -1))
    one = middle ^ low
    two = (high ^ middle) & ~one
    extended = Cat(a.bits, a.bits[-1]) if a.signed else Cat(a.bits, Const(0, 2))
    reach = 2 * max(abs(a.low), abs(a.high))
    single = extended & one.replicate(len(extended))
    double = Cat(Const(0, 1), extended)[: len(extended)] & two.replicate(len(extended))
    value = ((single | double) ^ high.replicate(len(extended))).as_signed()
    return fit(value, -reach - 1, reach), -reach - 1, reach, high


def booth_dot(pipe: Pipe, lanes: Sequence[tuple[Factor, Factor]], low: int, high: int) -> At:
    """The sum of the lanes' products, which lies in low..high."""
    digits = digit_count(lanes[0][1])
    depth = max(levels(len(lanes)), 1)
    sums: list[tuple[At, int, int, int]] = []
    extra: list[tuple[At, int]] = []
    for digit in range(digits):
        values, bits = [], []
        for lane, (a, b) in enumerate(lanes):
            value, least, most, more = partial(a, b, digit)
            values.append((pipe.made(value, 0, f"part_{digit}_{lane}"), least, most))
            if not isinstance(more, Const):
                bits.append(pipe.made(more, 0, f"negative_{digit}_{lane}"))
        total, least, most, left = column_tree(
            pipe, 0, Column(tuple(values), tuple(bits), 2 * digit), f"column_{digit}"
        )
        sums.append((total, least, most, 2 * digit))
        extra += [(bit, 2 * digit) for bit in left]
    segment = depth
    while len(sums) > 1:
        joined = []
        for n in range(0, len(sums) - 1, 2):
            (x, x_low, x_high, i), (y, y_low, y_high, j) = sums[n : n + 2]
            place = j - i
            # The low bits under y are free for a bit that is left over.
            value = pipe.use(x, segment) + pipe.use(y, segment).shift_left(place)
            least, most = x_low + (y_low << place), x_high + (y_high << place)
            carry = next((one for one in extra if one[1] == i), None)
            if carry:
                extra.remove(carry)
                value, most = value + pipe.use(carry[0], segment), most + 1
            joined.append((pipe.made(fit(value, least, most), segment, f"join_{segment}_{n}"), least, most, i))
        sums = joined + sums[len(joined) * 2 :]
        segment += 1
    total = pipe.use(sums[0][0], segment)
    if extra:
        places = {place: pipe.use(bit, segment) for bit, place in extra}
        assert len(places) == len(extra), "one bit of each weight is left over"
        rest = Cat(*(places.get(n, Const(0, 1)) for n in range(max(places) + 1)))
        total = total + rest
    return pipe.made(fit(total, low, high), segment, "total")
