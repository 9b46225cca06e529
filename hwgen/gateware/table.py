"""A function of one small code, looked up in a ROM."""

import numpy as np
from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen import ops
from hwgen.gateware import timing
from hwgen.gateware.beat import beats_of, signature
from hwgen.gateware.pipeline import carry_frame, counter, rom
from hwgen.ir import TensorType


class Table(wiring.Component):
    """code[c] = table[c, bits of x[c]].

    A lane has one ROM with a registered output: of 2**bits words where all its channels have one table, else of as many
    for each of its channels. Block RAM holds it where it is large, LUTs where not. Bits that all words share are not
    stored.

    Parameters: `op`; `x`, the type of its input tensor; `lanes`, which divide the channels.
    Ports: `i`, a stream of x; `o`, a stream of codes of as many lanes. One clock enable freezes the whole unit while
    its output beat waits.
    Pipeline: depth = 1 clock. Latency: beats - 1 + 1. Interval: one beat a clock.
    """

    depth = 1

    def __init__(self, op: ops.Table, x: TensorType, lanes: int):
        self.input, self.output = beats_of(x, lanes), beats_of(op.infer(x), lanes)
        entries = op.table.shape[1]
        # (channel fold, lane, entry); one fold if all channels of a lane have the same table.
        table = np.broadcast_to(op.table, (x.channels, entries)).reshape(-1, lanes, entries)
        self.table = table[:1] if (table == table[0]).all() else table
        self.interval = self.input.beats
        self.latency = self.interval - 1 + self.depth
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.pipeline(self.depth, sink)

    def elaborate(self, platform):
        m = Module()
        enable = carry_frame(m, self.i, self.o, self.depth)
        folds = len(self.table)
        fold, _, _ = counter(m, enable & self.i.valid, folds, "fold")
        for lane, code in enumerate(self.i.p.lanes):
            address = Cat(code, fold) if folds > 1 else code.as_unsigned()
            (found,) = rom(m, enable, address, self.table[:, lane].reshape(-1, 1), f"table_{lane}")
            m.d.comb += self.o.p.lanes[lane].eq(found)
        return m
