"""Matrix units of narrow weights on UltraScale+, in LUTs and carry chains that are placed by hand and on DSPs."""

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib.memory import Memory

from hwgen.errors import UnsupportedError
from hwgen.gateware.arith import columns
from hwgen.gateware.arith.columns import Bit
from hwgen.gateware.arith.pack import SHARED_INPUTS, Packer
from hwgen.gateware.arith.rows import Rows, Term
from hwgen.gateware.decode import decode
from hwgen.gateware.dsp_fields import Fields, fields_of
from hwgen.gateware.matvec import MatVec
from hwgen.gateware.pipeline import counter, register, rom
from hwgen.ops.cost import magnitude_bits, wants_block_ram, weight_bits
from hwgen.ops.cost_tree import groups, joined, rest, tree_levels


class PlacedMatVec(MatVec):
    """The same as MatVec for weights of four bits or fewer that stand in a ROM, on UltraScale+;
    hwgen.ops.cost.is_placed tells.

    Rows of partial products (hwgen.gateware.arith.rows) are added three by three, a LUT6_2 a bit, and the last adder is
    the accumulator. With `fold.dsp` as many PE lanes as there are fields of a DSP's operand share chains of DSP48E2s,
    one for each SIMD lane (hwgen.gateware.dsp_fields); a lane that is left alone stays in LUTs.
    Pipeline: kept beats (only if both folds are more than one), operands, DSPs, a register behind each level of adders,
    one at least, accumulator.
    """

    def _choose_levels(self) -> int:
        codes = self.x.codes_format
        ternary = magnitude_bits(self.weights) == 1
        self.rows = Rows(weight_bits(self.op), ternary, codes.bits)
        self.fields, self.on_dsp = self._choose_fields()
        least = 1 if self.fold.pe == len(self.on_dsp) else tree_levels(self.rows.terms * self.fold.simd)
        if self.on_dsp:
            chains = -(-self.fold.simd // self.fields.chain)
            least = max(least, self.fields.latency + tree_levels([(2 * self.fields.half - 1, 0)] * chains))
        return max(least, 1)

    def _count_levels(self) -> int:
        return self.product_levels

    def _choose_fields(self) -> tuple[Fields, range]:
        """The fields of DSPs, and the PE lanes that are made of them."""
        fields = fields_of(self.op, self.x, self.fold)
        if not self.fold.dsp:
            return fields, range(0)
        if fields.count < 2 or self.fold.pe < 2:
            raise UnsupportedError(
                f"the fold asks for DSPs, which two outputs share at least: PE={self.fold.pe}, {fields.count} per DSP"
            )
        alone = self.fold.pe % fields.count == 1
        return fields, range(self.fold.pe - alone)

    def _bias(self) -> np.ndarray:
        """What the accumulators start from, by output, with all that rows and fields have too much or lack."""
        op, pe = self.op, np.arange(self.op.weight.shape[0]) % self.fold.pe
        offset = decode(self.x.codes_format, Const(0, self.x.codes_format.bits)).offset
        rows = self.rows.corrections(op.worth) + op.worth.sum(axis=1) * offset
        chains = -(-self.fold.simd // self.fields.chain)
        return op.bias + np.where(pe < len(self.on_dsp), -self.fields.half * chains * self.synapse_folds, rows)

    def _sums(self, m, enable, row, beat, stages):
        cells, simd = Packer(m), self.fold.simd
        operands = [decode(self.x.codes_format, code) for code in self._codes(beat)]
        bits = [_held(m, one.bits, f"operand_{n}") for n, one in enumerate(operands)]
        words, packed = self._words(m, enable, row)
        biases = self._start(m, cells, enable, stages[-2], self._bias())
        late: list[list[Term]] = []
        for number, (count, lanes) in enumerate(packed):
            worths = [one.worth for one in operands]
            late += self.fields.terms(m, enable, lanes, worths, count, f"fields_{number}")
        for pe, start in enumerate(biases):
            if pe < len(late):
                terms = self._tree(m, enable, late[pe], self.product_levels - self.fields.latency, pe)
            else:
                found = words[(pe - len(late)) * simd :]
                rows = [self.rows.of(cells, found[n], bits[n], f"row_{pe}_{n}") for n in range(simd)]
                terms = self._tree(m, enable, [term for row in rows for term in row], self.product_levels, pe)
            self._last(m, cells, enable, stages[-1], terms, start, pe)
        cells.place()

    def _words(self, m, enable, row) -> tuple[list[list[Value]], list[tuple[int, list[list[Value]]]]]:
        """What the ROM gives: words of the PE lanes in LUTs, by PE and SIMD lane; and for each group of lanes on DSPs
        their count and their words by SIMD lane."""
        parts = [self.rows.stored(self.weights[:, len(self.on_dsp) :]).reshape(len(self.weights), -1)]
        counts = []
        for start in range(0, len(self.on_dsp), self.fields.count):
            lanes = self.weights[:, start : min(start + self.fields.count, len(self.on_dsp))]
            counts.append(lanes.shape[1])
            parts.append(self.fields.stored(lanes.transpose(0, 2, 1)).reshape(len(self.weights), -1))
        table = np.concatenate(parts, axis=1)
        bits = [word.parts[0] for word in rom(m, enable, row, table, "weights")]
        found, at = [], 0
        sizes = [(self.fold.pe - len(self.on_dsp)) * self.fold.simd] + [self.fold.simd] * len(counts)
        for part, count in zip(parts, sizes, strict=True):
            size = part.shape[1] // count if count else 0
            found.append([bits[at + n * size : at + (n + 1) * size] for n in range(count)])
            at += part.shape[1]
        return found[0], list(zip(counts, found[1:], strict=True))

    def _tree(self, m, enable, terms: list[Term], levels: int, pe: int) -> list[Term]:
        """The terms in two at most, `levels` registers later."""
        for level in range(levels):
            made = groups([(term.high, term.shift) for term in terms])
            after = [_add(m, [terms[n] for n in group], f"sum_{pe}_{level}_{group[0]}") for group in made]
            after += [terms[n] for n in rest(len(terms), made)]
            terms = [
                Term(register(m, enable, one.value, f"term_{pe}_{level}_{n}"), one.high, one.shift)
                for n, one in enumerate(after)
            ]
        return terms

    def _start(self, m, cells: Packer, enable, flags, bias: np.ndarray) -> list[list[Bit]]:
        """The bits that each lane's accumulator starts from, for the vector that starts in the next clock."""
        width, pe = self.output.bits, self.fold.pe
        words = (bias % (1 << width)).reshape(-1, pe)
        if self.neuron_folds == 1:
            return [[columns.known(int(word) >> place & 1) for place in range(width)] for word in words[0]]
        step = enable & flags.valid & flags.start
        index, _, _ = counter(m, step, self.neuron_folds, "bias_index")
        if len(index) > SHARED_INPUTS:
            return [columns.plain(word) for word in rom(m, step, index, words, "biases")]
        address = list(index)
        found = []
        for lane in range(pe):
            bits = []
            for place in range(width):
                column = [int(word) >> place & 1 for word in words[:, lane]]

                def truth(*at: int, column: list[int] = column) -> int:
                    row = sum(bit << n for n, bit in enumerate(at))
                    return column[row] if row < len(column) else column[-1]

                bits.append(cells.lut("biases", f"bias_{lane}_{place}", address, truth))
            found.append(columns.plain(register(m, step, Cat(*bits), f"bias_{lane}")))
        return found

    def _last(self, m, cells: Packer, enable, final, terms: list[Term], start: list[Bit], pe: int):
        """The accumulator: the terms, and what it starts from or has come to."""
        width = self.output.bits
        acc = Signal(signed(width), name=f"acc_{pe}", reset_less=True)
        found = []
        for place in range(width):
            bits = [bit for term in terms for bit in term.bit(place)]
            base = self._base(final.start, start[place] if place < len(start) else columns.known(0), acc[place])
            if base.inputs and not columns.column_fits([*bits, base]):
                base = Bit((cells.lut(f"base_{pe}", f"base_{pe}_{place}", base.inputs, base.truth),))
            found.append([*bits, base] if base.inputs or base.truth() else bits)
        m.d.comb += self.o.p.lanes[pe].eq(acc)
        total = columns.add(m, found, f"next_{pe}")
        with m.If(enable & final.valid):
            m.d.sync += acc.eq(total)

    def _base(self, start: Value, bias: Bit, held: Value) -> Bit:
        if self.synapse_folds == 1:
            return bias

        def truth(first: int, kept: int, *inputs: int) -> int:
            return bias.truth(*inputs) if first else kept

        return Bit((start, held, *bias.inputs), truth)

    def _operands(self, m, enable, step, filling, index) -> Value:
        """As in MatVec, but beats that LUTs keep are read from there from the first time on: there is no choice."""
        in_blocks = wants_block_ram(self.input.data_bits, self.synapse_folds)
        if self.neuron_folds == 1 or self.synapse_folds == 1 or in_blocks:
            return super()._operands(m, enable, step, filling, index)
        new = self.i.p.as_value()[: self.input.data_bits]
        memory = Memory(shape=len(new), depth=self.synapse_folds, init=[], attrs={"ram_style": "distributed"})
        m.submodules.kept = memory
        write, read = memory.write_port(), memory.read_port(domain="comb")
        m.d.comb += [
            write.addr.eq(index),
            write.data.eq(new),
            write.en.eq(step & filling),
            read.addr.eq(register(m, step, index, "kept_index")),
        ]
        return register(m, enable, read.data, "operands")


def _add(m: Module, terms: Sequence[Term], name: str) -> Term:
    high, shift = joined([(term.high, term.shift) for term in terms])
    found = [[bit for term in terms for bit in term.bit(place + shift)] for place in range(high.bit_length())]
    return Term(columns.add(m, found, name), high, shift)


def _held(m: Module, value: Value, name: str) -> list[Value]:
    """The bits of a value, each the same object wherever it is used."""
    held = Signal(len(value), name=name)
    m.d.comb += held.eq(value)
    return list(held)
