"""The cells of UltraScale+ as expressions, so that Amaranth's own simulator runs units that are placed by hand."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from amaranth.hdl import Array, Cat, Const, Signal, signed

from hwgen.gateware.pipeline import register

COLUMNS, PACK = "hwgen.gateware.arith.columns", "hwgen.gateware.arith.pack"
UNROLLED = "hwgen.gateware.unrolled.cells"


def lut(m, name, inputs, function):
    rows = [int(bool(function(*((row >> n) & 1 for n in range(len(inputs)))))) for row in range(1 << len(inputs))]
    out = Signal(name=name)
    m.d.comb += out.eq(Array(Const(row, 1) for row in rows)[Cat(*inputs)])
    return out


def lut_pair(m, name, inputs, low, high):
    assert len(inputs) <= 5
    return lut(m, f"{name}_5", inputs, low), lut(m, f"{name}_6", inputs, high)


def carry_chain(m, name, select, data, carry_in):
    total, carries = Signal(len(select), name=f"{name}_sum"), Signal(len(select), name=f"{name}_carry")
    before = Cat(carry_in, carries[:-1])
    m.d.comb += [total.eq(select ^ before), carries.eq((select & before) | (~select & data))]
    return total, carries


def dsp48e2(m, name, enable, a, b, *, c=None, cascade=None, registers=1):
    """P = Z + a * b as hwgen.gateware.arith.dsp.dsp48e2 makes it without pre-adder and subtraction."""
    port_a, port_b = Signal(signed(27), name=f"{name}_a"), Signal(signed(18), name=f"{name}_b")
    m.d.comb += [port_a.eq(a), port_b.eq(b)]
    for stage in range(registers):
        port_a, port_b = (register(m, enable, port, f"{name}_{n}_{stage}") for n, port in enumerate((port_a, port_b)))
    product = register(m, enable, (port_a * port_b)[:45].as_signed(), f"{name}_m")
    z = Const(0, 48) if c is None and cascade is None else c if c is not None else cascade
    p = register(m, enable, (product + z)[:48], f"{name}_p")
    return p, p


@contextmanager
def modelled() -> Iterator[None]:
    with ExitStack() as stack:
        for place in (COLUMNS, PACK, UNROLLED):
            stack.enter_context(mock.patch(f"{place}.lut", lut))
            stack.enter_context(mock.patch(f"{place}.lut_pair", lut_pair))
        for place in (COLUMNS, UNROLLED):
            stack.enter_context(mock.patch(f"{place}.carry_chain", carry_chain))
        stack.enter_context(mock.patch("hwgen.gateware.dsp_fields.dsp48e2", dsp48e2))
        yield
