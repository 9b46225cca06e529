"""Quantizes a stream of integers to blocks that share a scale."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hwgen import ops
from hwgen.gateware import timing
from hwgen.gateware.arith.mx import MxQuantize
from hwgen.gateware.arith.scaled import ScaledQuantize
from hwgen.gateware.beat import beats_of, signature
from hwgen.ir import TensorType


class BlockQuantize(wiring.Component):
    """Codes of blocks of x * 2**lsb, each block's scale beside its elements.

    Parameters: `op`, the type `x` of its input tensor, and `lanes` of its streams, which must divide the block.
    Ports: `i`, a stream of integers; `o`, a stream of beats of element codes that share their scale's code.
    Latency: interval + block / lanes + 3 clocks, since a block's scale is known with its last number; one more where
    scales have a mantissa. Interval: one beat a clock.
    """

    def __init__(self, op: ops.BlockQuantize, x: TensorType, lanes: int):
        self.input, self.output = beats_of(x, lanes), beats_of(op.infer(x), lanes)
        made = MxQuantize if op.format.block.power_scale else ScaledQuantize
        self.quantizer = made(op.format.block, self.input, op.lsb, op.rounding)
        self.interval, self.latency = self.quantizer.interval, self.quantizer.latency
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def timing(self, sink: timing.Push) -> timing.Push:
        depth = self.quantizer.latency - self.quantizer.interval - self.quantizer.block + 2
        return timing.blocks(self.quantizer.block, depth, sink)

    def elaborate(self, platform):
        m = Module()
        m.submodules.quantizer = quantizer = self.quantizer
        connect(m, flipped(self.i), quantizer.i)
        m.d.comb += [
            self.o.valid.eq(quantizer.o.valid),
            quantizer.o.ready.eq(self.o.ready),
            self.o.p.lanes.eq(quantizer.o.p.lanes),
            self.o.p.shared.eq(quantizer.o.p.scale),
            self.o.p.first.eq(quantizer.o.p.first),
            self.o.p.last.eq(quantizer.o.p.last),
        ]
        return m
