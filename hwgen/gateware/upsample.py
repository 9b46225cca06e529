"""Images made larger by repeating pixels: rows in a circular buffer, each read several times."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.formats import Blocked
from hwgen.gateware import timing
from hwgen.gateware.beat import beats_of, signature
from hwgen.gateware.pipeline import counter, register
from hwgen.gateware.rows import store_rows
from hwgen.ir import TensorType
from hwgen.ops.cost_window import row_buffer


def check_upsample(op: ops.Upsample, x: TensorType) -> None:
    """Raises HwgenError where blocks lie across pixels."""
    del op
    if isinstance(x.format, Blocked) and x.channels % x.format.block.size:
        raise HwgenError(
            f"pixels keep blocks whole: blocks of {x.format.block.size} do not divide {x.channels} channels"
        )


class Upsample(wiring.Component):
    """Each pixel `across` times in a row, and each row `down` times, of C / lanes beats a pixel.

    Rows of images go into a circular buffer, those of the next frame too, while there is room. A row is read as soon as
    it is there, one beat a clock, and freed when it has been read for the last time.

    Parameters: `op`; `x`, the type of the images (rows, columns, C); `lanes`, which divide C (and a block that shares
    its scale; the scale is stored beside the lanes).
    Ports: `i`, a stream of x; `o`, a stream of as many lanes. `i.ready` depends on registers only; one clock enable
    freezes the output while a beat waits.
    Pipeline: address, buffer: depth = 2 clocks from a beat's turn to the output.
    Interval: down * across times the input beats, clocks a frame (hwgen.ops.cost_window.row_buffer).
    Latency: LineBuffer.latency(depth).
    Raises HwgenError if lanes do not divide the channels or a block.
    """

    depth = 2

    def __init__(self, op: ops.Upsample, x: TensorType, lanes: int):
        check_upsample(op, x)
        self.op, self.x = op, x
        self.buffer = row_buffer(op, x, lanes)
        self.input, self.output = beats_of(x, lanes), beats_of(op.infer(x), lanes)
        self.pixel = x.channels // lanes
        self.interval = self.buffer.interval
        self.latency = self.buffer.latency(self.depth)
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.window(self.buffer, self.depth, sink)

    def elaborate(self, platform):
        m = Module()
        enable, step = Signal(), Signal()
        stored = Signal(range(self.buffer.rows + 1))
        m.d.comb += [enable.eq(~self.o.valid | self.o.ready), step.eq(enable & (stored != 0))]
        starts, ends = [], []
        down, across = self.op.factors
        rows, columns, _ = self.x.shape
        inner: Value = step
        for name, count in zip("bjxiy", (self.pixel, across, columns, down, rows), strict=True):
            _, start, end = counter(m, inner, count, name)
            starts.append(start)
            ends.append(end)
            inner = inner & end
        freed = step & ends[0] & ends[1] & ends[2] & ends[3]
        # The writer gets the row back when its last beat is read, one enabled clock after its turn.
        left = register(m, enable, freed, "left", reset_less=False)
        read, written = store_rows(m, self.i, self.input, self.buffer, enable & left)
        m.d.sync += stored.eq(stored + written - freed)
        address = register(m, enable, self._address(m, step, ends, freed), "address")
        m.d.comb += [read.addr.eq(address), read.en.eq(enable)]
        valid = register(m, enable, step, "valid_0", reset_less=False)
        first, last = starts[0], ends[0]
        for start, end in zip(starts[1:], ends[1:], strict=True):
            first, last = first & start, last & end
        first, last = register(m, enable, first, "first_0"), register(m, enable, last, "last_0")
        with m.If(enable):
            m.d.sync += self.o.valid.eq(valid)
        m.d.comb += [
            self.o.p.lanes.eq(read.data[: self.input.lane_bits]),
            self.o.p.first.eq(register(m, enable, first, "first_1")),
            self.o.p.last.eq(register(m, enable, last, "last_1")),
        ]
        if self.input.shared:
            m.d.comb += self.o.p.shared.eq(read.data[self.input.lane_bits :])
        return m

    def _address(self, m, step, ends, freed) -> Value:
        """Where the current beat stands: a column within a slot of the buffer."""
        beat_end, j_end, x_end, _, _ = ends
        column = Signal(range(self.buffer.row_beats), name="at_column")
        with m.If(step):
            with m.If(~beat_end | (j_end & ~x_end)):
                m.d.sync += column.eq(column + 1)
            with m.Elif(~j_end):
                m.d.sync += column.eq(column - (self.pixel - 1))
            with m.Else():
                m.d.sync += column.eq(0)
        base = Signal(range(self.buffer.depth), name="slot")
        last = self.buffer.depth - self.buffer.row_beats
        with m.If(freed):
            m.d.sync += base.eq(Mux(base == last, 0, base + self.buffer.row_beats))
        place = Signal(range(self.buffer.depth), name="place")
        m.d.comb += place.eq(base + column)
        return place
