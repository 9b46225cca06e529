"""LUTs and carry chains placed by hand on UltraScale+, where the mapping matters; models: `rtl/cells_xcup.sv`.

Synthesis maps logic for depth first, which undoes structures that are made to be small: a cell that is instantiated
stays as it is.
"""

from collections.abc import Callable, Sequence

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value


def lut(m: Module, name: str, inputs: Sequence[Value], function: Callable[..., int]) -> Signal:
    """One LUT whose output is the truth of `function`, called with one integer 0 or 1 for each of 1 to 6 `inputs`."""
    count = len(inputs)
    assert 1 <= count <= 6, f"a LUT has 1 to 6 inputs, not {count}"
    rows = [bool(function(*((row >> n) & 1 for n in range(count)))) for row in range(1 << count)]
    init = sum(int(value) << row for row, value in enumerate(rows))
    out = Signal(name=name)
    ports = {f"i_I{n}": value for n, value in enumerate(inputs)}
    m.submodules[f"lut_{name}"] = Instance(f"LUT{count}", p_INIT=Const(init, 1 << count), **ports, o_O=out)
    return out


def lut_pair(
    m: Module, name: str, inputs: Sequence[Value], low: Callable[..., int], high: Callable[..., int]
) -> tuple[Signal, Signal]:
    """Two functions of the same inputs, five at most, in one LUT6_2: (O5, O6)."""
    count = len(inputs)
    assert 1 <= count <= 5, f"a LUT6_2 with two outputs has 1 to 5 shared inputs, not {count}"
    init = 0
    for row in range(32):
        bits = [(row >> n) & 1 for n in range(count)]
        init |= int(bool(low(*bits))) << row | int(bool(high(*bits))) << (row + 32)
    five, six = Signal(name=f"{name}_5"), Signal(name=f"{name}_6")
    padded = [*inputs, *[Const(0, 1)] * (5 - count), Const(1, 1)]
    ports = {f"i_I{n}": value for n, value in enumerate(padded)}
    m.submodules[f"lut_{name}"] = Instance("LUT6_2", p_INIT=Const(init, 64), **ports, o_O5=five, o_O6=six)
    return five, six


def carry_chain(m: Module, name: str, select: Value, data: Value, carry_in: Value) -> tuple[Signal, Signal]:
    """(sum bits, carry out of each bit) of a carry chain over CARRY8 cells.

    Bit i: sum = select ^ carry, and the carry out is the carry in where `select` is high, else `data`.
    """
    width = len(select)
    total, carries = Signal(width, name=f"{name}_sum"), Signal(width, name=f"{name}_carry")
    first = carry_in
    for number, start in enumerate(range(0, width, 8)):
        stop = min(start + 8, width)
        pad = Const(0, 8 - (stop - start))
        out, carry = Signal(8, name=f"{name}_o{number}"), Signal(8, name=f"{name}_co{number}")
        m.submodules[f"{name}_carry8_{number}"] = Instance(
            "CARRY8",
            p_CARRY_TYPE="SINGLE_CY8",
            i_CI=first,
            i_CI_TOP=Const(0, 1),
            i_DI=Cat(data[start:stop], pad),
            i_S=Cat(select[start:stop], pad),
            o_O=out,
            o_CO=carry,
        )
        m.d.comb += [total[start:stop].eq(out[: stop - start]), carries[start:stop].eq(carry[: stop - start])]
        first = carry[7]
    return total, carries
