"""A function of one small code, looked up in a ROM."""

from amaranth.hdl import Cat, Module

from hwgen import ops
from hwgen.gateware.elementwise import Elementwise, by_fold
from hwgen.gateware.pipeline import carry_frame, counter, rom
from hwgen.ir import TensorType


class Table(Elementwise):
    """code[c] = table[c, bits of x[c]].

    A lane has one ROM with a registered output: of 2**bits words where all its channels have one table, else of as many
    for each of its channels. Block RAM holds it where it is large, LUTs where not. Bits that all words share are not
    stored.

    Parameters: `op`; `x`, the type of its input tensor; `lanes`, which divide the channels.
    Ports: `i`, a stream of x; `o`, a stream of codes of as many lanes. One clock enable freezes the whole unit while
    its output beat waits.
    Pipeline: depth = 1 clock. Latency: beats - 1 + 1. Interval: one beat a clock.
    """

    def __init__(self, op: ops.Table, x: TensorType, lanes: int):
        self.table = by_fold(op.table, x, lanes)
        super().__init__(op, x, lanes, depth=1)

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
