"""Registers of a pipeline that has one clock enable."""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Const, Module, Shape, Signal, Value
from amaranth.lib.memory import Memory

from hwgen.gateware.rom import LEAST_BITS, Rom
from hwgen.ops.cost import wants_block_ram

APART = {"no_rw_check": 1}
"""Attributes of a memory that never reads what is written in the same clock: nothing is spent on what it would read."""


def register(m: Module, enable: Value, value: Value, name: str, *, reset_less: bool = True) -> Signal:
    """`value` one enabled clock later. Data needs no reset; a valid bit does."""
    held = Signal(value.shape(), name=name, reset_less=reset_less)
    with m.If(enable):
        m.d.sync += held.eq(value)
    return held


@dataclass(frozen=True)
class Flags:
    """What travels beside the data of one pipeline stage; `start` and `end` mark the beats of one vector."""

    valid: Value
    first: Value
    last: Value
    start: Value
    end: Value

    def delayed(self, m: Module, enable: Value, stage: int) -> "Flags":
        """The same flags one enabled clock later."""
        return Flags(
            register(m, enable, self.valid, f"valid_{stage}", reset_less=False),
            *(register(m, enable, getattr(self, n), f"{n}_{stage}") for n in ("first", "last", "start", "end")),
        )


def carry_frame(m: Module, i, o, depth: int) -> Value:
    """Flow of a unit that gives one beat for each, `depth` clocks later: valid, ready, first and last.

    `i` and `o` are its streams. Returns the clock enable, which is low while the output beat waits.
    """
    enable = i.ready
    m.d.comb += enable.eq(~o.valid | o.ready)
    valid, first, last = i.valid, i.p.first, i.p.last
    for stage in range(depth):
        if stage + 1 < depth:
            valid = register(m, enable, valid, f"valid_{stage}", reset_less=False)
        first = register(m, enable, first, f"first_{stage}")
        last = register(m, enable, last, f"last_{stage}")
    with m.If(enable):
        m.d.sync += o.valid.eq(valid)
    m.d.comb += [o.p.first.eq(first), o.p.last.eq(last)]
    return enable


def counter(m: Module, step: Value, count: int, name: str) -> tuple[Signal, Value, Value]:
    """(value, is zero, is the last) of a counter from 0 to `count` - 1 that wraps and moves when `step` is high."""
    value = Signal(range(count), name=name)
    at_end = value == count - 1
    with m.If(step):
        m.d.sync += value.eq(value + 1)
        if count & (count - 1):
            with m.If(at_end):
                m.d.sync += value.eq(0)
    return value, value == 0, at_end


def split(packed: Value, shape: Shape, count: int) -> list[Value]:
    """The `count` fields of `shape` in `packed`, lowest first."""
    fields = [packed[n * shape.width : (n + 1) * shape.width] for n in range(count)]
    return [field.as_signed() for field in fields] if shape.signed else fields


def range_shape(low: int, high: int) -> Shape:
    """The narrowest shape, of one bit at least, that holds `low`..`high`."""
    return Shape.cast(range(min(low, 0), max(high, 1) + 1))


def rom(m: Module, enable: Value, address: Value, table: np.ndarray, name: str) -> list[Value]:
    """The integers of row `address` of `table` (rows, columns) one enabled clock later.

    It is a ROM whose output is registered, so that block RAM may hold it. All columns have the narrowest shape that
    holds the whole table; bits that are the same in every row are not stored.
    """
    shape = range_shape(int(table.min()), int(table.max()))
    bits = ((table[:, :, None] >> np.arange(shape.width)) & 1).astype(np.uint8)
    bits = bits.reshape(len(table), -1)
    stored = np.flatnonzero((bits != bits[0]).any(axis=0))
    found: list[Value] = [Const(int(bit), 1) for bit in bits[0]]
    if len(stored):
        words = [int.from_bytes(row, "little") for row in np.packbits(bits[:, stored], axis=1, bitorder="little")]
        data = _stored(m, enable, address, len(stored), words, name)
        for place, bit in enumerate(stored):
            found[bit] = data[place]
    columns = [Cat(found[n : n + shape.width]) for n in range(0, len(found), shape.width)]
    return [column.as_signed() if shape.signed else column for column in columns]


def _stored(m: Module, enable: Value, address: Value, width: int, words: list[int], name: str) -> Value:
    """The word at `address`, one enabled clock later."""
    style = "block" if wants_block_ram(width, len(words)) else "auto"
    if width * len(words) >= LEAST_BITS:
        m.submodules[name] = large = Rom(width, words, style)
        m.d.comb += [large.address.eq(address), large.enable.eq(enable)]
        return large.data
    attrs = {"rom_style": style} if style == "block" else {}
    m.submodules[name] = memory = Memory(shape=width, depth=len(words), init=words, attrs=attrs)
    port = memory.read_port()
    m.d.comb += [port.addr.eq(address), port.en.eq(enable)]
    return port.data
