"""Folded matrix-vector product: PE output lanes by SIMD input lanes, an exact accumulator, weights in a ROM."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwgen import ops
from hwgen.gateware import dot, timing
from hwgen.gateware.beat import beats_of, lane_shape, signature
from hwgen.gateware.decode import decode
from hwgen.gateware.pipeline import Flags, counter, register, rom, split
from hwgen.ir import Fold, TensorType


class MatVec(wiring.Component):
    """acc[o] = bias[o] + sum over i of weight[o, i] * x[i], exact.

    Output o = neuron_fold * PE + lane, input i = synapse_fold * SIMD + lane. The input beats of a vector are taken
    during its first neuron fold (bubbles are allowed there) and kept for the others. One clock enable freezes the
    whole unit while its output beat waits.

    Parameters: `op`, the type `x` of its input tensor, and `fold`, which must divide the layer.
    Ports: `i`, a stream of x.size / SIMD beats a frame; `o`, a stream of beats of PE sums.
    Pipeline: operands, products, ceil(log2 SIMD) tree levels, accumulator: depth = 3 + ceil(log2 SIMD) clocks.
    Interval: (out / PE) * (in / SIMD) * positions clocks a frame; no clock is lost between frames.
    Latency: interval - 1 + depth clocks from the first input beat to the last output beat.
    """

    def __init__(self, op: ops.MatVec, x: TensorType, fold: Fold):
        self.interval = op.cycles(x, fold)
        self.op, self.x, self.fold = op, x, fold
        out, inner = op.weight.shape
        self.neuron_folds, self.synapse_folds = out // fold.pe, inner // fold.simd
        self.positions = x.size // inner
        self.input = beats_of(x, fold.simd)
        self.output = beats_of(op.infer(x), fold.pe)
        self.levels = dot.tree_depth(fold.simd)
        self.depth = 3 + self.levels
        self.latency = self.interval - 1 + self.depth
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.matvec(self.synapse_folds, self.neuron_folds, self.depth, sink)

    def elaborate(self, platform):
        m = Module()
        enable = Signal()
        m.d.comb += enable.eq(~self.o.valid | self.o.ready)
        flags, row, lanes = self._issue(m, enable)
        stages = [flags.delayed(m, enable, 0)]
        for stage in range(1, self.depth - 1):
            stages.append(stages[-1].delayed(m, enable, stage))
        weights = self._weights(m, enable, row)
        biases = self._biases(m, enable, stages[-2])
        final = stages[-1]
        for lane in range(self.fold.pe):
            terms = [self._product(m, enable, weights, lane, i, lanes[i]) for i in range(self.fold.simd)]
            total = dot.add_tree(m, enable, terms, self.levels, f"tree_{lane}")
            self._accumulate(m, enable & final.valid, final.start, total.value, biases[lane], lane)
        with m.If(enable):
            m.d.sync += self.o.valid.eq(final.valid & final.end)
        m.d.comb += [
            self.o.p.first.eq(register(m, enable, final.first, "first")),
            self.o.p.last.eq(register(m, enable, final.last, "last")),
        ]
        return m

    def _issue(self, m, enable):
        """Take or repeat one input beat a clock; gives its flags, the weights' row and the decoded operand lanes."""
        step, filling = Signal(), Signal()
        synapse, start, end = counter(m, step, self.synapse_folds, "synapse")
        neuron, filling_now, last_fold = counter(m, step & end, self.neuron_folds, "neuron")
        m.d.comb += [
            filling.eq(filling_now),
            step.eq(enable & (self.i.valid | ~filling)),
            self.i.ready.eq(enable & filling),
        ]
        if self.synapse_folds & (self.synapse_folds - 1):
            row, _, _ = counter(m, step, self.neuron_folds * self.synapse_folds, "row")
        else:
            row = Cat(synapse, neuron)
        # The frame's delimiters come with the first and the last beat of a vector and are kept for its sums.
        opens, closes = Signal(), Signal()
        with m.If(step & filling & start):
            m.d.sync += opens.eq(self.i.p.first)
        with m.If(step & filling & end):
            m.d.sync += closes.eq(self.i.p.last)
        flags = Flags(
            valid=self.i.valid | ~filling,
            first=filling & Mux(start, self.i.p.first, opens),
            last=last_fold & Mux(filling, self.i.p.last, closes),
            start=start,
            end=end,
        )
        shape = lane_shape(self.input)
        codes = split(self._operands(m, step, filling, synapse), shape, self.fold.simd)
        return flags, row, [decode(self.x.codes_format, code) for code in codes]

    def _operands(self, m, step, filling, index) -> Value:
        """The operand register: a new beat while filling, after that the beat kept from before."""
        new = self.i.p.lanes.as_value()
        if self.neuron_folds == 1:
            return register(m, step, new, "operands")
        if self.synapse_folds == 1:
            return register(m, step & filling, new, "operands")
        memory = Memory(shape=len(new), depth=self.synapse_folds, init=[])
        m.submodules.kept = memory
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(index),
            write.data.eq(new),
            write.en.eq(step & filling),
            read.addr.eq(index),
            read.en.eq(step),
        ]
        fresh = register(m, step, filling, "fresh")
        operands = Signal(len(new))
        m.d.comb += operands.eq(Mux(fresh, register(m, step & filling, new, "taken"), read.data))
        return operands

    def _matrix(self) -> np.ndarray:
        """Worth of the weights as (row, PE lane, SIMD lane)."""
        shape = (self.neuron_folds, self.fold.pe, self.synapse_folds, self.fold.simd)
        matrix = self.op.worth.reshape(shape).transpose(0, 2, 1, 3)
        return matrix.reshape(-1, self.fold.pe, self.fold.simd)

    def _weights(self, m, enable, row):
        """Weight values by (PE lane, SIMD lane), one clock after `row`; None when there is one row of constants."""
        matrix = self._matrix()
        if len(matrix) == 1:
            return None
        values = rom(m, enable, row, matrix.reshape(len(matrix), -1), "weights")
        return [values[start : start + self.fold.simd] for start in range(0, len(values), self.fold.simd)]

    def _product(self, m, enable, weights, lane, i, x):
        column = self._matrix()[:, lane, i]
        low, high = ops.integer_range(self.x)
        bounds = dot.product_bounds(column, low, high)
        exact = Signal(dot.Term(Const(0), *bounds).shape, name=f"times_{lane}_{i}")
        m.d.comb += exact.eq(dot.times_constant(x, int(column[0])) if weights is None else x * weights[lane][i])
        return dot.Term(register(m, enable, exact, f"product_{lane}_{i}"), *bounds)

    def _biases(self, m, enable, flags):
        """The bias of each lane for the vector whose last tree stage comes next."""
        bias = self.op.bias.reshape(-1, self.fold.pe)
        if (bias == bias[0]).all():
            return [Const(int(b)) for b in bias[0]]
        step = enable & flags.valid & flags.start
        index, _, _ = counter(m, step, self.neuron_folds, "bias_index")
        return rom(m, step, index, bias, "biases")

    def _accumulate(self, m, enable, start, total, bias, lane):
        acc = Signal(signed(self.output.bits), name=f"acc_{lane}", reset_less=True)
        # Sums wrap modulo two to the width, so only the final one, which fits, has to be right.
        wrapped = Signal(signed(self.output.bits), name=f"acc_{lane}_next")
        base = bias if self.synapse_folds == 1 else Mux(start, bias, acc)
        m.d.comb += [wrapped.eq(base + total), self.o.p.lanes[lane].eq(acc)]
        with m.If(enable):
            m.d.sync += acc.eq(wrapped)
