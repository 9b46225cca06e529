"""Depthwise products: each channel of a window by its own weights, one tap after the other."""

import numpy as np
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwgen import ops
from hwgen.gateware import dot, timing
from hwgen.gateware.beat import beats_of, lane_shape, signature
from hwgen.gateware.decode import decode
from hwgen.gateware.pipeline import APART, Flags, counter, register, rom, split
from hwgen.ir import Fold, TensorType
from hwgen.ops.cost import magnitude_bits
from hwgen.ops.cost_layers import narrow_products


class Depthwise(wiring.Component):
    """acc[c] = bias[c] + sum over t of weight[c, t] * x[t * C + c], exact.

    A lane has one product and one sum. The C / SIMD channels that take turns on it keep their sums in a memory.
    Products are those of a folded matrix unit: partial products in LUTs for narrow weights, else multipliers.

    Parameters: `op`; `x`, the type of its windows (..., taps * C); `fold`: PE = 1, SIMD lanes, which divide C.
    Ports: `i`, a stream of x; `o`, a stream of as many lanes, one beat for each in a window's last pixel. One clock
    enable freezes the whole unit while its output beat waits.
    Pipeline: operands and weights, products (`levels` registers), sums: depth = levels + 2 clocks.
    Interval: (C / SIMD) * taps * positions clocks a frame, one input beat a clock. Latency: interval - 1 + depth.
    Raises HwgenError if the fold does not divide the channels.
    """

    def __init__(self, op: ops.Depthwise, x: TensorType, fold: Fold):
        self.interval = op.cycles(x, fold)
        self.op, self.x = op, x
        channels, self.taps = op.weight.shape
        self.pixel = channels // fold.simd
        self.input, self.output = beats_of(x, fold.simd), beats_of(op.infer(x), fold.simd)
        # (tap and channel fold, lane): in the order of the beats.
        self.weights = op.worth.T.reshape(-1, fold.simd)
        self.narrow = narrow_products(op, x)
        self.levels = max(dot.tree_depth(magnitude_bits(op.worth)), 1) if self.narrow else 2
        self.depth = self.levels + 2
        self.latency = self.interval - 1 + self.depth
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.gather(self.taps * self.pixel, self.depth, sink, self.pixel)

    def elaborate(self, platform):
        m = Module()
        enable = self.i.ready
        m.d.comb += enable.eq(~self.o.valid | self.o.ready)
        take = enable & self.i.valid
        row, _, _ = counter(m, take, len(self.weights), "row")
        start, end = row < self.pixel, row >= len(self.weights) - self.pixel
        flags = Flags(self.i.valid, self.i.p.first, self.i.p.last, start, end)
        stages = [flags]
        for stage in range(self.levels + 1):
            stages.append(stages[-1].delayed(m, enable, stage))
        operands = register(m, enable, self.i.p.lanes.as_value(), "operands")
        codes = split(operands, lane_shape(self.input), self.input.lanes)
        products, left_out = self._products(m, enable, row, [decode(self.x.codes_format, code) for code in codes])
        self._sums(m, enable, stages[-2], stages[-1], products, self.op.bias + left_out)
        return m

    def _products(self, m, enable, row, lanes) -> tuple[list[Value], np.ndarray]:
        """A product for each lane, `levels` clocks after the operands, and what they leave out of channels' sums."""
        zeros = np.zeros(len(self.op.worth), dtype=np.int64)
        if not self.narrow:
            words = rom(m, enable, row, self.weights, "weights")
            # Registers ahead of the multiplier and behind it: a DSP takes both in.
            factors = [
                (register(m, enable, x.worth, f"x_{n}"), register(m, enable, word, f"w_{n}"))
                for n, (x, word) in enumerate(zip(lanes, words, strict=True))
            ]
            return [register(m, enable, x * w, f"product_{n}") for n, (x, w) in enumerate(factors)], zeros
        bits = magnitude_bits(self.weights)
        words = rom(m, enable, row, np.abs(self.weights) + ((self.weights < 0).astype(int) << bits), "weights")
        products = []
        for n, (x, word) in enumerate(zip(lanes, words, strict=True)):
            terms = dot.partial_terms(x, word, bits, self.weights[:, n])
            product = dot.add_tree(m, enable, terms, self.levels, self.output.bits, f"product_{n}").full
            products.append(product.shift_left(x.step.bit_length() - 1))
        x = lanes[0]
        left_out = dot.offset_correction(self.op.worth, x.step, x.offset, (1 << len(x.bits)) - 1)
        return products, left_out

    def _sums(self, m, enable, before: Flags, now: Flags, products, bias: np.ndarray):
        """Add `products` to what their channels have come to; `before` is a clock ahead of `now`."""
        step = enable & now.valid
        beat, beat_start, _ = counter(m, step, self.pixel, "beat")
        ahead, _, _ = counter(m, enable & before.valid, self.pixel, "ahead")
        biases = rom(m, enable, ahead, bias.reshape(self.pixel, -1), "bias")
        shape = lane_shape(self.output)
        totals = Signal(self.output.lane_bits)
        sofar = self._sofar(m, step, beat, totals)
        for lane, (product, start) in enumerate(zip(products, biases, strict=True)):
            place = slice(lane * shape.width, (lane + 1) * shape.width)
            old = Mux(now.start, start, sofar[place].as_signed())
            m.d.comb += totals[place].eq(old + product)
        held = sofar if self.pixel == 1 else register(m, step, totals, "held")
        opens = Signal(reset_less=True)
        with m.If(step & now.start & beat_start):
            m.d.sync += opens.eq(now.first)
        with m.If(enable):
            m.d.sync += self.o.valid.eq(now.valid & now.end)
        m.d.comb += [
            self.o.p.lanes.eq(held),
            self.o.p.first.eq(register(m, step, Mux(now.start, now.first, opens) & beat_start, "opening")),
            self.o.p.last.eq(register(m, step, now.last, "closing")),
        ]

    def _sofar(self, m, step, beat, totals) -> Value:
        """What the current beat's channels have come to before it; `totals` is what they come to with it."""
        if self.pixel == 1:
            return register(m, step, totals, "sofar")
        m.submodules.sofar = memory = Memory(shape=len(totals), depth=self.pixel, init=[], attrs=APART)
        write, read = memory.write_port(), memory.read_port()
        following = Mux(beat == self.pixel - 1, 0, beat + 1)
        m.d.comb += [write.addr.eq(beat), write.data.eq(totals), write.en.eq(step)]
        m.d.comb += [read.addr.eq(following), read.en.eq(step)]
        return read.data
