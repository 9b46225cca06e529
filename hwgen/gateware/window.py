"""Sliding windows over images: a circular buffer of rows, read window by window, with padding made on the fly."""

import functools
import operator

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
from hwgen.ops.cost_window import line_buffer


def check_window(op: ops.Window, x: TensorType) -> None:
    """Raises HwgenError where gateware cannot make the windows: padding without a code, blocks across pixels."""
    if any(op.padding) and op.pad is None:
        raise HwgenError("padding of codes needs the code that it is made of")
    if isinstance(x.format, Blocked) and x.channels % x.format.block.size:
        raise HwgenError(
            f"windows keep blocks whole: blocks of {x.format.block.size} do not divide {x.channels} channels"
        )


class Window(wiring.Component):
    """The window of each position of an image, row by row: kh * kw pixels, row by row, of C / lanes beats each.

    Rows of images go into a circular buffer, those of the next frame too, while there is room. A row of windows
    starts when the last image row that it reads is there, and then gives one beat a clock; after it, the rows that
    nobody reads any more are freed. Padding is put in behind the buffer and takes no room in it.

    Parameters: `op`; `x`, the type of the images (rows, columns, C); `lanes`, which divide C (and a block that shares
    its scale; the scale is stored beside the lanes).
    Ports: `i`, a stream of x; `o`, a stream of windows of as many lanes. `i.ready` depends on registers only; one clock
    enable freezes the output while a beat waits.
    Pipeline: position, address, buffer: depth = 2 clocks from a beat's turn to the output.
    Interval: the greater of input beats and output beats, clocks a frame; the buffer has enough rows for that
    (hwgen.ops.cost_window.line_buffer). Latency: LineBuffer.latency(depth).
    Raises HwgenError if lanes do not divide the channels or a block, or padding has no code.
    """

    depth = 2

    def __init__(self, op: ops.Window, x: TensorType, lanes: int):
        check_window(op, x)
        self.op, self.x = op, x
        self.buffer = line_buffer(op, x, lanes)
        self.input, self.output = beats_of(x, lanes), beats_of(op.infer(x), lanes)
        self.positions = op.positions(*x.shape[:2])
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
        m.d.comb += enable.eq(~self.o.valid | self.o.ready)
        beat, beat_start, beat_end = counter(m, step, self.pixel, "beat")
        del beat
        ends, starts = [beat_end], [beat_start]
        for name, count in zip(("j", "i", "x"), (*self.op.kernel[::-1], self.positions[1]), strict=True):
            _, start, end = counter(m, step & _all(ends), count, name)
            starts.append(start)
            ends.append(end)
        row_end = step & _all(ends)
        y, first_row, last_row = counter(m, row_end, self.positions[0], "y")
        needed, freed = self._rows(m, row_end, y)
        m.d.comb += step.eq(enable & (stored >= needed))
        # Rows are freed for the writer when the last beat is read, one enabled clock after its turn.
        rows_read = Mux(row_end, freed, 0)
        rows_left = register(m, enable, rows_read, "rows_left", reset_less=False)
        read, written = store_rows(m, self.i, self.input, self.buffer, Mux(enable, rows_left, 0))
        m.d.sync += stored.eq(stored + written - rows_read)
        address, padded = self._place(m, step, ends, last_row)
        address = register(m, enable, address, "address")
        m.d.comb += [read.addr.eq(address), read.en.eq(enable)]
        valid = register(m, enable, step, "valid_0", reset_less=False)
        first = register(m, enable, _all(starts) & first_row, "first_0")
        last = register(m, enable, _all(ends) & last_row, "last_0")
        with m.If(enable):
            m.d.sync += self.o.valid.eq(valid)
        code = read.data
        if padded is not None:
            padded = register(m, enable, register(m, enable, padded, "padded_0"), "padded_1")
            code = Mux(padded, self._padding(), code)
        m.d.comb += [
            self.o.p.lanes.eq(code[: self.input.lane_bits]),
            self.o.p.first.eq(register(m, enable, first, "first_1")),
            self.o.p.last.eq(register(m, enable, last, "last_1")),
        ]
        if self.input.shared:
            m.d.comb += self.o.p.shared.eq(code[self.input.lane_bits :])
        return m

    def _padding(self) -> int:
        """The bits of a beat of padding."""
        code, bits = self.op.pad, self.input.bits
        lane = code & ((1 << bits) - 1)
        lanes = sum(lane << (bits * n) for n in range(self.input.lanes))
        shared = (code >> bits) & ((1 << self.input.shared) - 1)
        return lanes | shared << self.input.lane_bits

    def _rows(self, m, row_end, y) -> tuple[Value, Value]:
        """Image rows that this row of windows needs, and those that it frees at its end."""
        found = []
        for name, table in (("needed", self.buffer.needed), ("freed", self.buffer.freed)):
            usual = max(set(table), key=table.count)
            value = Signal(range(self.buffer.rows + 1), name=name, init=table[0])
            if len(set(table)) > 1:
                with m.If(row_end):
                    m.d.sync += value.eq(usual)
                    with m.Switch(y):
                        for row in range(len(table)):
                            following = table[(row + 1) % len(table)]
                            if following != usual:
                                with m.Case(row):
                                    m.d.sync += value.eq(following)
            else:
                value = usual
            found.append(value)
        return found[0], found[1]

    def _place(self, m, step, ends, last_row):
        """The address of the current beat, and whether it is padding (None if there is none)."""
        op, pixel = self.op, self.pixel
        (kh, kw), (dh, dw), (sh, sw) = op.kernel, op.dilation, op.stride
        top, left, bottom, right = op.padding
        height, width = self.x.shape[0], self.buffer.row_beats
        beat_end, j_end, i_end, x_end = ends
        # The column counts beats: forth by taps and by positions, back to the left, and to the first position.
        back = (kw - 1) * dw * pixel + pixel - 1
        home = -((self.positions[1] - 1) * sw * pixel + back)
        moves = (1, (dw - 1) * pixel + 1, -back, sw * pixel - back, home)
        column = Signal(range(-left * pixel, width + right * pixel + 1), name="at_column", init=-left * pixel)
        with m.If(step):
            m.d.sync += column.eq(column + _chosen(m, (beat_end, j_end, i_end, x_end), moves, "column_move"))
        # The row moves down by taps, back up by positions, and on to the next row of windows, or the next frame.
        up = (kh - 1) * dh
        moves = (dh, -up, sh - up, height - top - ((self.positions[0] - 1) * sh - top + up))
        slot = self._slot(m, step, ends, last_row, moves)
        address = Signal(range(self.buffer.depth), name="place")
        m.d.comb += address.eq(slot + column)
        outside = []
        if left or right:
            outside += [column < 0] * bool(left) + [column >= width] * bool(right)
        if top or bottom:
            row = Signal(range(-top, height + bottom + 1), name="at_row", init=-top)
            moves = (dh, -up, sh - up, -((self.positions[0] - 1) * sh + up))
            with m.If(step & beat_end & j_end):
                m.d.sync += row.eq(row + _chosen(m, (i_end, x_end, last_row), moves, "row_move"))
            outside += [row < 0] * bool(top) + [row >= height] * bool(bottom)
        return address, _any(outside) if outside else None

    def _slot(self, m, step, ends, last_row, moves) -> Value:
        """Where the row of the current beat starts in the buffer; `moves` go round: next tap, next position, next row
        of windows, next frame."""
        beat_end, j_end, i_end, x_end = ends
        rows, start = self.buffer.rows, -self.op.padding[0] % self.buffer.rows
        slot = Signal(range(rows), init=start)
        move = _chosen(m, (i_end, x_end, last_row), [move % rows for move in moves], "slot_move")
        total = slot + move
        with m.If(step & beat_end & j_end):
            m.d.sync += slot.eq(Mux(total >= rows, total - rows, total))
        place = Signal(range(self.buffer.depth), name="slot_place")
        with m.Switch(slot):
            for n in range(rows):
                with m.Case(n):
                    m.d.comb += place.eq(n * self.buffer.row_beats)
        return place


def _chosen(m, ends, moves, name) -> Value:
    """The first of `moves` whose loop, from the innermost, is not at its end; the last one where all are."""
    low, high = min(moves), max(moves)
    move = Signal(range(min(low, 0), max(high, 0) + 1), name=name)
    m.d.comb += move.eq(moves[-1])
    for end, value in reversed(list(zip(ends, moves, strict=False))):
        with m.If(~end):
            m.d.comb += move.eq(value)
    return move


def _all(conditions) -> Value:
    return functools.reduce(operator.and_, conditions)


def _any(conditions) -> Value:
    return functools.reduce(operator.or_, conditions)
