"""Thresholds by binary search: one comparison and one small ROM in each pipeline stage."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed

from hwgen import ops
from hwgen.formats import Minifloat
from hwgen.formats.grid import ladder
from hwgen.gateware.elementwise import Elementwise, by_fold
from hwgen.gateware.pipeline import carry_frame, counter, register, rom
from hwgen.ir import TensorType


class Thresholds(Elementwise):
    """code[c] = as many steps above `first` as there are thresholds t of channel c with x[c] >= t.

    Stage k finds bit n - 1 - k of the count, n = bit length of the number of steps; a table that is not full is
    padded with thresholds that never count.

    Parameters: `op`; `x`, the type of its input tensor; `lanes`, which divide the channels.
    Ports: `i`, a stream of x; `o`, a stream of codes of as many lanes. One clock enable freezes the whole unit while
    its output beat waits.
    Pipeline: n clocks, and one before them to look up the first threshold where a lane serves several channels with
    thresholds of their own. Latency: beats - 1 + depth. Interval: one beat a clock.
    """

    def __init__(self, op: ops.Thresholds, x: TensorType, lanes: int):
        self.bits = op.steps.bit_length()
        never = ops.integer_range(x)[1] + 1
        padding = np.full((len(op.thresholds), (1 << self.bits) - 1 - op.steps), never)
        self.table = by_fold(np.concatenate([op.thresholds, padding], axis=1), x, lanes)
        super().__init__(op, x, lanes, depth=self.bits + (len(self.table) > 1))

    def elaborate(self, platform):
        m = Module()
        enable = carry_frame(m, self.i, self.o, self.depth)
        folds = len(self.table)
        fold, _, _ = counter(m, enable & self.i.valid, folds, "fold")
        fold_at = [fold]
        for stage in range(self.depth - 1):
            fold_at.append(register(m, enable, fold_at[-1], f"fold_{stage}"))
        for lane in range(self.input.lanes):
            m.d.comb += self.o.p.lanes[lane].eq(self._search(m, enable, self.i.p.lanes[lane], fold_at, lane))
        return m

    def _thresholds(self, lane: int, stage: int) -> np.ndarray:
        """Thresholds that stage `stage` of a lane compares with, by (fold, bits found before)."""
        size = 1 << (self.bits - stage)
        return self.table[:, lane, size // 2 - 1 :: size]

    def _code(self, m, found, lane) -> Value:
        """The code that stands `found` steps above the first: for minifloats a signed count of steps from zero, whose
        magnitude is that of the code."""
        fmt = self.op.format
        if not isinstance(fmt, Minifloat):
            return found + self.op.first
        below = self.op.base - int(np.flatnonzero(ladder(fmt) == 0)[0])
        if below >= 0:
            return found + below
        steps = Signal(signed(fmt.bits + 1), name=f"steps_{lane}")
        m.d.comb += steps.eq(found + below)
        negative = Cat((-steps)[: fmt.magnitude_bits], 1)
        return Mux(steps < 0, negative, steps[: fmt.magnitude_bits])

    def _search(self, m, enable, x, fold_at, lane):
        """The code of one lane, `depth` enabled clocks after `x`."""
        found = Const(0, 0)
        clock = 0
        if len(self.table) == 1:
            threshold = Const(int(self._thresholds(lane, 0)[0, 0]))
        else:
            (threshold,) = rom(m, enable, fold_at[0], self._thresholds(lane, 0).reshape(-1, 1), f"table_{lane}_0")
            x = register(m, enable, x, f"x_{lane}")
            clock = 1
        for stage in range(self.bits):
            bit = Signal(name=f"bit_{lane}_{stage}")
            m.d.comb += bit.eq(x >= threshold)
            found = Cat(bit, found)
            if stage + 1 < self.bits:
                table = self._thresholds(lane, stage + 1).reshape(-1, 1)
                address = Cat(found, fold_at[clock])
                (threshold,) = rom(m, enable, address, table, f"table_{lane}_{stage + 1}")
                x = register(m, enable, x, f"x_{lane}_{stage}")
                found = register(m, enable, found, f"found_{lane}_{stage}")
                clock += 1
        code = Signal(self.output.bits, name=f"code_{lane}_next")
        m.d.comb += code.eq(self._code(m, found, lane))
        return register(m, enable, code, f"code_{lane}")
