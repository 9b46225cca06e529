"""The packed L-Mul adder in LUTs and one carry chain of UltraScale+: 16 LUTs for E4M3, zero and saturation included.

t = |x| + |y| + c runs through one chain, c being 0 or 1, and its upper bits g = t >> m are the exponent sum. What keeps
it small:

- Bit 0 has no place in the chain. With o = the carry out of bit 0, bit 1 adds three bits, x1, y1 and o: the chain takes
  y1 as its carry in, and x1 ^ o as its select, so that o needs no LUT.
- A zero operand forces the two top bits of g to 0, as an underflow does, inside the chain's own LUTs: where y has no
  exponent, the top two stages select their data inputs, which are bits of y; where x has none, they cancel, and a last
  stage behind them, whose select is "x has an exponent", clears the carry.
- Then every output bit of the exponent is a function of g alone, in one LUT; and the mantissa's bits need only `edge`
  (the result is zero or may be the greatest) and the exponent's top bit, which tells the two apart.
"""

from amaranth.hdl import Cat, Const, Module, Signal, Value

from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.arith.cells import carry_chain, lut


def takes_cells(fmt: Minifloat, variant: str) -> bool:
    """Whether `packed_in_cells` makes the multiplier of this format and variant."""
    small = (fmt.mantissa_bits in (2, 3) and 2 <= fmt.exponent_bits <= 4) or (fmt.mantissa_bits, fmt.exponent_bits) in (
        (1, 3),
        (1, 4),
    )
    usual = fmt.bias == (1 << (fmt.exponent_bits - 1)) - 1 and fmt.special in ("none", "nan")
    return variant in ("lmul", "mitchell") and small and usual and fmt.has_sign and fmt.has_subnormals


def packed_in_cells(m: Module, fmt: Minifloat, a: Value, b: Value, c: int, *, finite: bool) -> Value:
    """The code of the product; c is the correction, 0 or 1. See `lmul` for `finite`."""
    assert c in (0, 1), f"the chain has one carry to give away, not {c}"
    low, high = fmt.mantissa_bits, fmt.magnitude_bits
    total, carry = _sum(m, fmt, a, b, c)
    g = [total[bit] for bit in range(low, high)] + [carry]
    bad = [_nan(m, a, b, high)] if fmt.special == "nan" and not finite else []
    size, bias, top = len(g), fmt.bias, fmt.exponent_bits - 1
    greatest = (1 << fmt.exponent_bits) - 1 + bias

    def number(bits: tuple[int, ...]) -> int:
        return sum(bit << place for place, bit in enumerate(bits[:size]))

    def field_bit(place: int):
        def bit(*bits: int) -> int:
            clipped = min(max(number(bits) - bias, 0), greatest - bias)
            return (clipped >> place) & 1 or any(bits[size:])

        return bit

    exponent = [lut(m, f"exponent_{place}", [*g, *bad], field_bit(place)) for place in range(top + 1)]
    # All ones is the greatest number, or NaN above it: then a mantissa that may be all ones is looked at more closely.
    close = fmt.special == "nan"
    wide = [total[low - 1]] if close and low > 1 else []

    def edge(*bits: int) -> int:
        sum_ = number(bits)
        return sum_ <= bias or sum_ > greatest or (close and sum_ == greatest and all(bits[size:]))

    at_edge = lut(m, "edge", [*g, *wide], edge)
    mantissa = _mantissa(m, fmt, a, b, c, (total, g, at_edge, exponent[top], bad, close))
    sign = lut(
        m,
        "sign",
        [a[high], b[high], g[-1], g[-2], *bad],
        lambda x, y, upper, lower, *nan: (x ^ y) & (upper | lower) & ~sum(nan),
    )
    return Cat(*mantissa, *exponent, sign)


def _sum(m: Module, fmt: Minifloat, a: Value, b: Value, c: int) -> tuple[Value, Value]:
    """Bits of |a| + |b| + c (bit 0 is not made) and the carry out; the top two are 0 where an operand is flushed."""
    low, high = fmt.mantissa_bits, fmt.magnitude_bits
    live = lut(m, "live", [a[bit] for bit in range(low, high)], lambda *bits: any(bits))
    first = lut(m, "select_1", [a[1], a[0], b[0]], lambda x, p, q: x ^ ((p | q) if c else (p & q)))
    select, data = [first], [a[1]]
    for bit in range(2, high - 2):
        select.append(lut(m, f"select_{bit}", [a[bit], b[bit]], lambda x, y: x ^ y))
        data.append(b[bit])
    field = [b[bit] for bit in range(low, high)]
    select.append(
        lut(m, f"select_{high - 2}", [a[high - 2], live, *field], lambda x, on, *y: (x ^ y[-2]) & on & any(y))
    )
    select.append(
        lut(
            m,
            f"select_{high - 1}",
            [a[high - 1], live, *field],
            lambda x, on, *y: any(y) and ((x ^ y[-1]) if on else y[-2]),
        )
    )
    select.append(live)
    data += [b[high - 2], b[high - 1], Const(0, 1)]
    total, carry = carry_chain(m, "chain", Cat(*select), Cat(*data), b[1])
    bits = Signal(high, name="total")
    m.d.comb += bits.eq(Cat(Const(0, 1), total[: high - 1]))
    return bits, carry[high - 1]


def _nan(m: Module, a: Value, b: Value, high: int) -> Value:
    """Whether an operand's bits below the sign are all ones."""

    def ones(*bits: int) -> int:
        return all(bits)

    if high <= 3:
        return lut(m, "nan", [*a[:high], *b[:high]], lambda *bits: all(bits[:high]) or all(bits[high:]))
    rest = min(high, 6)
    x, y = (lut(m, f"ones_{name}", [*code[:rest]], ones) for name, code in (("a", a), ("b", b)))
    left = [*a[rest:high], *b[rest:high]]
    return lut(m, "nan", [x, y, *left], lambda p, q, *bits: (p and all(bits[::2])) or (q and all(bits[1::2])))


def _mantissa(m: Module, fmt: Minifloat, a: Value, b: Value, c: int, parts) -> list[Value]:
    """The mantissa's bits, lowest first. At the edge the exponent's top bit tells the greatest number from zero."""
    total, g, edge, top, bad, close = parts
    out: dict[int, Value] = {}
    # Where all ones is NaN the greatest number ends in 0; bits between the lowest and the highest then still must
    # tell a sum that is too great from one that is just large.
    for bit in reversed(range(1, fmt.mantissa_bits)):
        between = close and bit < fmt.mantissa_bits - 1
        beyond = [g[0], g[-2]] if between else []

        def kept(own: int, at_edge: int, great: int, *rest: int, between: bool = between) -> int:
            beyond, nan = rest[: 2 * between], rest[2 * between :]
            if any(nan):
                return 1
            if not at_edge:
                return own
            return great and (own or any(beyond) or not between)

        out[bit] = lut(m, f"mantissa_{bit}", [total[bit], edge, top, *beyond, *bad], kept)
    below = [out[bit] for bit in range(1, fmt.mantissa_bits - 1)] if close else []

    def lowest(x: int, y: int, at_edge: int, great: int, *rest: int) -> int:
        raw = x ^ y ^ c
        if any(rest[len(below) :]):
            return 1
        if not at_edge:
            return raw
        return great and (not all(rest[: len(below)]) and raw if close else 1)

    out[0] = lut(m, "mantissa_0", [a[0], b[0], edge, top, *below, *bad], lowest)
    return [out[bit] for bit in range(fmt.mantissa_bits)]
