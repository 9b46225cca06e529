"""Products in groups: each group of channels by weights of its own, depthwise ones with many groups side by side."""

import numpy as np
from amaranth.hdl import Const, Mux, Signal, Value
from amaranth.lib.memory import Memory

from hwgen import ops
from hwgen.gateware import timing
from hwgen.gateware.matvec import MatVec
from hwgen.gateware.pipeline import APART, Flags, counter, register
from hwgen.ir import Fold, TensorType


class Grouped(MatVec):
    """acc[o] = bias[o] + sum over i of weight[o, i] * x of o's group[i], exact.

    Windows come tap by tap as they are, each tap with all channels. Every beat is multiplied as soon as it is there,
    and what the outputs have come to waits in a memory for their group's next tap; nothing of the window is kept.
    Products are those of MatVec, of every kind but constants.

    Parameters: `op`; `x`, the type of its windows (..., taps * C); `fold` as ops.Grouped has it.
    Ports: `i`, a stream of SIMD lanes; `o`, one of PE lanes for each group that a beat holds, beats in a window's last
    tap.
    A beat takes rows / PE clocks, in each of which other outputs of its group add it; one clock enable freezes the
    whole unit while its output beat waits.
    Pipeline: operands and weights, products and adder tree (`levels` registers), sums: depth = levels + 2 clocks.
    Interval: out / PE * taps * C / groups / SIMD * positions clocks a frame. Latency: interval - 1 + depth.
    Raises HwgenError if the fold does not divide.
    """

    op: ops.Grouped

    def __init__(self, op: ops.Grouped, x: TensorType, fold: Fold):
        self.repeats = op.rows // fold.pe
        self.inner = max(1, op.channels // fold.simd)
        super().__init__(op, x, fold)
        self.folds = self.neuron_folds // self.repeats
        self.keeps, self.depth = False, self.levels + 2
        self.latency = self.interval - 1 + self.depth

    def _input_lane(self, pe: int, term: int) -> int:
        return pe // self.fold.pe * self.terms + term if self.fold.simd > self.terms else term

    def _rows(self, array: np.ndarray) -> np.ndarray:
        op, beside = self.op, self.op.side_by_side(self.fold)
        outputs = (op.groups // beside, beside, self.repeats, self.fold.pe)
        split = array.reshape(*outputs, op.taps, self.inner, self.terms)
        return split.transpose(4, 0, 5, 2, 1, 3, 6).reshape(-1, self.lanes, self.terms)

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.grouped((self.op.taps, self.folds, self.inner, self.repeats), self.depth, sink)

    def _issue(self, m, enable) -> tuple[Flags, Value, Value]:
        """Take one beat and keep it for all outputs of its group; gives flags, the weights' row, the bits of lanes."""
        step, taking = Signal(), Signal()
        _, start, again_end = counter(m, step, self.repeats, "again")
        _, inner_start, inner_end = counter(m, step & again_end, self.inner, "inner")
        _, fold_start, fold_end = counter(m, step & again_end & inner_end, self.folds, "group")
        pixel_end = again_end & inner_end & fold_end
        _, tap_start, tap_end = counter(m, step & pixel_end, self.op.taps, "tap")
        row, row_start, _ = counter(m, step, len(self.weights), "row")
        m.d.comb += [
            taking.eq(start),
            step.eq(enable & (self.i.valid | ~taking)),
            self.i.ready.eq(enable & taking),
        ]
        # The frame's delimiters come with the first and the last beat of a window; sums come with its last tap.
        opens, closes = Signal(), Signal()
        with m.If(step & row_start):
            m.d.sync += opens.eq(self.i.p.first)
        with m.If(step & taking):
            m.d.sync += closes.eq(self.i.p.last)
        flags = Flags(
            valid=self.i.valid | ~taking,
            first=start & fold_start & Mux(row_start, self.i.p.first, opens),
            last=again_end & Mux(taking, self.i.p.last, closes),
            start=tap_start & inner_start,
            end=tap_end & inner_end,
        )
        return flags, row, register(m, step & taking, self.i.p.as_value()[: self.input.data_bits], "operands")

    def _sums(self, m, enable, row, beat, stages: list[Flags]):
        """Exact sums at the output: what outputs have come to, or their biases, with what a beat adds to them."""
        final = stages[-1]
        bias, added = self._totals(m, enable, row, beat)
        biases = self._biases(m, enable, stages[-2], bias)
        step, totals = enable & final.valid, Signal(self.output.lane_bits)
        held = register(m, step, totals, "held")
        sofar = self._sofar(m, step, totals, held)
        for lane, (more, bias) in enumerate(zip(added, biases, strict=True)):
            place = slice(lane * self.output.bits, (lane + 1) * self.output.bits)
            m.d.comb += totals[place].eq(Mux(final.start, bias, sofar[place].as_signed()) + more)
        m.d.comb += self.o.p.lanes.eq(held)

    def _sofar(self, m, step, totals: Value, held: Value) -> Value:
        """What the outputs whose turn it is have come to before it.

        totals: what they come to with it; held: the same of the turn before.
        """
        depth = self.neuron_folds
        if depth == 1:
            return held
        _, _, again_end = counter(m, step, self.repeats, "sum_again")
        _, inner_start, inner_end = counter(m, step & again_end, self.inner, "sum_inner")
        at = Signal(range(depth), name="sum")
        following = Signal(range(depth), name="sum_following")
        m.d.comb += following.eq(Mux(at == depth - 1, 0, at + 1))
        if self.inner > 1:
            with m.If(again_end & ~inner_end):
                m.d.comb += following.eq(at - Const(self.repeats - 1))
        with m.If(step):
            m.d.sync += at.eq(following)
        m.submodules.sofar = memory = Memory(shape=len(totals), depth=depth, init=[], attrs=APART)
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.addr.eq(at), write.data.eq(totals), write.en.eq(step)]
        m.d.comb += [read.addr.eq(following), read.en.eq(step)]
        # The same sum twice in a row is not in the memory yet.
        return Mux(inner_start, read.data, held) if self.repeats == 1 else read.data
