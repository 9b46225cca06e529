"""Folded matrix-vector product: PE output lanes by SIMD input lanes, an exact accumulator, weights in a ROM."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.formats import Int, Minifloat
from hwgen.gateware import dot, timing
from hwgen.gateware.arith.lmul import lmul
from hwgen.gateware.beat import beats_of, lane_shape, signature
from hwgen.gateware.block_products import (
    BlockBeats,
    block_singles,
    block_totals,
    block_weights,
    element_dot,
    sum_levels,
)
from hwgen.gateware.decode import decode
from hwgen.gateware.pipeline import Flags, counter, register, rom, split
from hwgen.ir import Fold, TensorType
from hwgen.ops.cost import magnitude_bits, products_of


class MatVec(wiring.Component):
    """acc[o] = bias[o] + sum over i of weight[o, i] * x[i], exact.

    Output o = neuron_fold * PE + lane, input i = synapse_fold * SIMD + lane. The input beats of a vector are taken
    during its first neuron fold (bubbles are allowed there) and kept for the others. One clock enable freezes the
    whole unit while its output beat waits.

    Parameters: `op`, the type `x` of its input tensor, and `fold`, which must divide the layer.
    Ports: `i`, a stream of x.size / SIMD beats a frame; `o`, a stream of beats of PE sums.
    Where PE = out and SIMD = in, constant weights are adders instead: hwgen.gateware.unrolled.
    Products (`products`): "lut" for narrow weights: partial products and adders; "codes" for L-Mul and its like;
    "blocks" for inputs in blocks: a dot product of elements, moved by the scales; else "multiplier".
    accumulator "fp32": the sums of blocks are added in FP32, a whole addition in one clock, since the next block may
    come in the next: that clock is the longest path, whatever else the unit does. A network of MXFP6 that reaches
    82 MHz on ECP5 with exact sums, routed, reached 23 MHz with FP32, in 2.5 times the LUTs of a matrix unit.
    Pipeline: kept beats (only if both folds are more than one), operands, products and adder tree (`levels`
    registers), accumulator: depth = levels + 2 or levels + 3 clocks; in FP32 one level more.
    Interval: (out / PE) * (in / SIMD) * positions clocks a frame; no clock is lost between frames.
    Latency: interval - 1 + depth clocks from the first input beat to the last output beat.
    """

    def __init__(self, op: ops.MatVec, x: TensorType, fold: Fold):
        self.interval = op.cycles(x, fold)
        self.op, self.x, self.fold = op, x, fold
        self.lanes = op.output_lanes(fold)
        self.terms = op.terms(fold)
        out, inner = op.weight.shape
        self.neuron_folds, self.synapse_folds = out // self.lanes, inner // self.terms
        self.input = beats_of(x, fold.simd)
        self.output = beats_of(op.infer(x), self.lanes)
        self.products, self.singles = products_of(op, x, fold), op.accumulator == "fp32"
        if self.products == "constant":
            raise HwgenError(f"PE={fold.pe}, SIMD={fold.simd} is the whole matrix: hwgen.gateware.unrolled.ShiftAdd")
        # The elements of blocks are multiplied by themselves, whatever their scales.
        self.weights = self._rows(op.weight if self.products == "blocks" else op.worth)
        self.has_minifloats = any(isinstance(f, Minifloat) for f in (op.weight_format, x.codes_format))
        self.product_levels = self._choose_levels()
        self.levels = self._count_levels()
        # Whether beats are kept in a memory: then they come one clock later.
        self.keeps = self.neuron_folds > 1 and self.synapse_folds > 1
        self.depth = self.levels + 2 + self.keeps
        self.latency = self.interval - 1 + self.depth
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def _input_lane(self, pe: int, term: int) -> int:
        """The input lane that product `term` of output lane `pe` is of."""
        del pe
        return term

    def _rows(self, array: np.ndarray) -> np.ndarray:
        """An array (out, in) by (row of the ROM, PE lane, SIMD lane)."""
        pe, simd = self.fold.pe, self.fold.simd
        shape = (self.neuron_folds, pe, self.synapse_folds, simd)
        return array.reshape(shape).transpose(0, 2, 1, 3).reshape(-1, pe, simd)

    def _choose_levels(self) -> int:
        """Register levels from the operands to the products (blocks: to the sum)."""
        kind = self.products
        if kind == "blocks":
            self.dots = [element_dot(self.op, self.terms) for _ in range(self.lanes)]
            return sum_levels(self.op, self.dots[0]) + 1 + self.singles
        if kind in ("multiplier", "codes"):
            # Minifloats are put on their grid one level before they are multiplied, or after for products of codes.
            return 2 if self.has_minifloats else 1
        # The biases are looked up one level before the accumulator, so there is one level at least.
        least = 1 if self.terms == 1 else 0
        return max(dot.tree_depth(magnitude_bits(self.weights)), least)

    def _count_levels(self) -> int:
        """Register levels from the operands to the sums."""
        whole = self.products in ("constant", "blocks")
        return self.product_levels + (0 if whole else dot.tree_depth(self.terms))

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.matvec(self.synapse_folds, self.neuron_folds, self.depth, sink)

    def elaborate(self, platform):
        m = Module()
        enable = Signal()
        m.d.comb += enable.eq(~self.o.valid | self.o.ready)
        flags, row, beat = self._issue(m, enable)
        if self.keeps:
            row = register(m, enable, row, "row_0")
        stages = [flags.delayed(m, enable, 0)]
        for stage in range(self.depth - 2):
            stages.append(stages[-1].delayed(m, enable, stage + 1))
        final = stages[-1]
        if self.singles:
            self._singles(m, enable, row, beat, stages)
        else:
            self._sums(m, enable, row, beat, stages)
        with m.If(enable):
            m.d.sync += self.o.valid.eq(final.valid & final.end)
        m.d.comb += [
            self.o.p.first.eq(register(m, enable, final.first, "first")),
            self.o.p.last.eq(register(m, enable, final.last, "last")),
        ]
        return m

    def _singles(self, m, enable, row, beat, stages: list[Flags]):
        """FP32 sums at the output: rounded beside the last stage but one, added beside the last one."""
        weights = block_weights(self.op, self.weights)
        operands, scale = self._block_operands(beat)
        count = self.op.input_format.block.size // self.fold.simd
        beats = BlockBeats(stages[-3].valid, count, stages[-2].valid, stages[-2].end)
        totals = block_singles(m, enable, row, operands, scale, self.op, weights, self.dots, beats)
        m.d.comb += [self.o.p.lanes[lane].eq(total) for lane, total in enumerate(totals)]

    def _sums(self, m, enable, row, beat, stages: list[Flags]):
        """Exact sums at the output, from what the row of weights and the beat come to."""
        final = stages[-1]
        bias, totals = self._totals(m, enable, row, beat)
        biases = self._biases(m, enable, stages[-2], bias)
        for lane, (total, bias) in enumerate(zip(totals, biases, strict=True)):
            self._accumulate(m, enable & final.valid, final.start, total, bias, lane)

    def _codes(self, beat: Value) -> list[Value]:
        """The codes of a beat's lanes."""
        return split(beat, lane_shape(self.input), self.fold.simd)

    def _block_operands(self, beat: Value) -> tuple[list[Value], Value]:
        """The packed element codes that each output lane multiplies, and their scale's code."""
        codes = self._codes(beat)
        lanes = ([codes[self._input_lane(pe, term)] for term in range(self.terms)] for pe in range(self.lanes))
        return [Cat(*lane) for lane in lanes], beat[self.input.lane_bits :]

    def _totals(self, m, enable, row, beat) -> tuple[np.ndarray, list[Value]]:
        """(what the accumulators start from, the sum over the SIMD lanes for each PE lane)."""
        if self.products == "blocks":
            weights = block_weights(self.op, self.weights)
            operands, scale = self._block_operands(beat)
            width = self.output.bits
            return self.op.bias, block_totals(m, enable, row, operands, scale, self.op, weights, self.dots, width)
        codes = self._codes(beat)
        lanes = [decode(self.x.codes_format, code) for code in codes]
        totals = self._dot_products(m, enable, row, codes if self.products == "codes" else lanes)
        if self.products != "lut":
            return self.op.bias, totals
        # Partial products leave out the operands' offset, and their step, a power of two.
        x = lanes[0]
        left_out = dot.offset_correction(self.op.worth, x.step, x.offset, (1 << len(x.bits)) - 1)
        return self.op.bias + left_out, [total.shift_left(x.step.bit_length() - 1) for total in totals]

    def _issue(self, m, enable) -> tuple[Flags, Value, Value]:
        """Take or repeat one input beat a clock; gives its flags, the weights' row and the bits of its lanes."""
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
        return flags, row, self._operands(m, enable, step, filling, synapse)

    def _operands(self, m, enable, step, filling, index) -> Value:
        """The operand register: a new beat while filling, after that the beat kept from before."""
        # The lanes, and above them what they share.
        new = self.i.p.as_value()[: self.input.data_bits]
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
        operands = Signal(len(new), name="operands_next")
        m.d.comb += operands.eq(Mux(fresh, register(m, step & filling, new, "taken"), read.data))
        # A register of their own: else synthesis would build the choice again into each partial product.
        return register(m, enable, operands, "operands")

    def _dot_products(self, m, enable, row, lanes) -> list[Value]:
        """The sum over the SIMD lanes for each PE lane, `levels` enabled clocks after the operands."""
        width = self.output.bits
        kinds = {"lut": self._lut_products, "multiplier": self._multiplier_products, "codes": self._code_products}
        product = kinds[self.products]
        totals = []
        for pe, products in enumerate(product(m, enable, row, lanes)):
            tree = dot.add_tree(m, enable, products, self.levels - self.product_levels, width, f"tree_{pe}")
            totals.append(tree.full)
        return totals

    def _lut_products(self, m, enable, row, lanes):
        """Products of bits and magnitudes, unsigned: (PE lane, SIMD lane) terms."""
        columns = self.weights.reshape(len(self.weights), -1)
        bits = magnitude_bits(columns)
        words = rom(m, enable, row, np.abs(columns) + ((columns < 0).astype(int) << bits), "weights")
        for pe in range(self.lanes):
            products = []
            for term in range(self.terms):
                n, x = pe * self.terms + term, lanes[self._input_lane(pe, term)]
                terms = dot.partial_terms(x, words[n], bits, columns[:, n])
                products.append(dot.add_tree(m, enable, terms, self.product_levels, self.output.bits, f"product_{n}"))
            yield products

    def _multiplier_products(self, m, enable, row, lanes):
        """Signed products, each in a multiplier: (PE lane, SIMD lane) terms."""
        factors = [x.worth for x in lanes]
        if self.has_minifloats:
            # Codes are stored, and both operands are put on their grid before a register of their own.
            weights = self._rom_codes(m, enable, row)
            weights = [
                register(m, enable, decode(self.op.weight_format, code).worth.shift_right(self.op.shift), f"weight_{n}")
                for n, code in enumerate(weights)
            ]
            factors = [register(m, enable, factor, f"factor_{n}") for n, factor in enumerate(factors)]
        else:
            weights = rom(m, enable, row, self.weights.reshape(len(self.weights), -1), "weights")
        return self._terms(m, enable, lambda n, lane: factors[lane] * weights[n])

    def _code_products(self, m, enable, row, codes):
        """Products that are codes, registered, then put on the grid: (PE lane, SIMD lane) terms."""
        fmt = self.op.weight_format
        weights = self._rom_codes(m, enable, row)

        def worth(n: int, lane: int) -> Value:
            code = lmul(m, fmt, codes[lane], weights[n], self.op.multiplier, finite=True)
            return decode(fmt, register(m, enable, code, f"code_{n}")).worth

        return self._terms(m, enable, worth)

    def _rom_codes(self, m, enable, row) -> list[Value]:
        """Codes of the weights by SIMD lane within PE lane, one enabled clock after their row."""
        fmt = self.op.weight_format
        codes = self._rows(self.op.weight)
        columns = rom(m, enable, row, codes.reshape(len(codes), -1), "weights")
        if isinstance(fmt, Int):
            return columns
        # Bits that no weight has are not stored; a code has them all the same.
        return [Cat(column, Const(0, max(0, fmt.bits - len(column))))[: fmt.bits] for column in columns]

    def _terms(self, m, enable, product):
        """Registered products, with the bounds of each over the rows of weights: (PE lane, SIMD lane) terms."""
        low, high = (self._rows(end).reshape(len(self.weights), -1) for end in self.op.product_range(self.x))
        for pe in range(self.lanes):
            terms = []
            for place in range(self.terms):
                n = pe * self.terms + place
                term = dot.Term(product(n, self._input_lane(pe, place)), low[:, n], high[:, n])
                terms.append(dot.add_tree(m, enable, [term], 1, self.output.bits, f"product_{n}"))
            yield terms

    def _biases(self, m, enable, flags, bias: np.ndarray):
        """What each lane starts from, of `bias` (out,); for the vector that the accumulator starts in the next
        clock."""
        half = 1 << (self.output.bits - 1)
        bias = ((bias + half) % (2 * half) - half).reshape(-1, self.lanes)
        if self.neuron_folds == 1:
            return [Const(int(b), signed(self.output.bits)) for b in bias[0]]
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
