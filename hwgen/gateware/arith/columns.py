"""Sums of up to three numbers in placed cells of UltraScale+, a LUT and a carry bit for each bit of the sum.

A bit of a number may be a function of several signals: what a column's LUT has inputs left for costs nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Signal, Value, unsigned

from hwgen.gateware.arith.cells import carry_chain, lut, lut_pair
from hwgen.gateware.arith.pack import SHARED_INPUTS


@dataclass(frozen=True, eq=False)
class Bit:
    """`truth(*inputs)`, called with one integer 0 or 1 for each."""

    inputs: tuple[Value, ...]
    truth: Callable[..., int] = lambda bit: bit


def known(bit: int) -> Bit:
    """A constant."""
    return Bit((), lambda: bit)


def plain(value: Value) -> list[Bit]:
    """The bits of a value, lowest first."""
    return [Bit((bit,)) for bit in value]


def column_fits(bits: Sequence[Bit]) -> bool:
    """Whether one cell adds these bits and the carry of the column below."""
    return sum(len(bit.inputs) for bit in bits) + 1 <= SHARED_INPUTS


def add(m: Module, columns: Sequence[Sequence[Bit]], name: str) -> Signal:
    """The sum of the bits of each column, weighted 2**column, modulo 2**len(columns), unsigned.

    A column has three bits at most; `column_fits` holds for it.
    """
    select: list[Value] = []
    data: list[Value] = []
    saved: Value | None = None
    for place, bits in enumerate(columns):
        place_name = f"{name}_{place}"
        inputs = [value for bit in bits for value in bit.inputs]
        below = [] if saved is None else [saved]

        def total(*values: int, bits: Sequence[Bit] = bits) -> int:
            found, start = 0, 0
            for bit in bits:
                found += bit.truth(*values[start : start + len(bit.inputs)])
                start += len(bit.inputs)
            return found

        def odd(*values: int, total: Callable[..., int] = total, used: int = len(inputs)) -> int:
            return (total(*values[:used]) + sum(values[used:])) & 1

        if saved is None and len(bits) == 2:
            # Two bits, and nothing from below but the chain's own carry: an adder of two.
            first = bits[0]

            def one(*values: int, first: Bit = first) -> int:
                return first.truth(*values[: len(first.inputs)])

            five, six = lut_pair(m, place_name, inputs, one, odd)
            select.append(six)
            data.append(five)
        elif len(bits) > 1 and place + 1 < len(columns):

            def carry(*values: int, total: Callable[..., int] = total, used: int = len(inputs)) -> int:
                return total(*values[:used]) >= 2

            data.append(saved if saved is not None else Const(0, 1))
            saved, six = lut_pair(m, place_name, [*inputs, *below], carry, odd)
            select.append(six)
        else:
            select.append(_single(m, [*inputs, *below], odd, place_name))
            data.append(saved if saved is not None else Const(0, 1))
            saved = None
    chained, _ = carry_chain(m, name, Cat(*select), Cat(*data), Const(0, 1))
    out = Signal(unsigned(len(columns)), name=f"{name}_out")
    m.d.comb += out.eq(chained)
    return out


def _single(m: Module, inputs: list[Value], function: Callable[..., int], name: str) -> Value:
    if not inputs:
        return Const(int(function()), 1)
    if len(inputs) == 1 and function(1) and not function(0):
        return inputs[0]
    return lut(m, name, inputs, function)
