"""The circular buffer of image rows that sliding windows and upsampling read."""

from amaranth.hdl import Signal
from amaranth.lib.memory import Memory

from hwgen.gateware.pipeline import APART, counter
from hwgen.ops.cost import wants_block_ram


def store_rows(m, i, beats, buffer, freed):
    """Write a stream into a buffer as long as rows of it are free.

    i: the stream; its `ready` depends on registers only. beats: the `Beats` of what it carries. buffer: a `LineBuffer`.
    freed: rows that are free from the next clock on.
    Gives the port that reads the buffer, and whether a row is complete with the beat that is written.
    """
    depth, width = buffer.depth, beats.data_bits
    style = "block" if wants_block_ram(width, depth) else "distributed"
    m.submodules.rows = memory = Memory(shape=width, depth=depth, init=[], attrs={"ram_style": style, **APART})
    write, read = memory.write_port(), memory.read_port()
    at, _, _ = counter(m, write.en, depth, "write")
    _, _, full = counter(m, write.en, buffer.row_beats, "column")
    used = Signal(range(buffer.rows + 1))
    m.d.sync += used.eq(used + (write.en & full) - freed)
    m.d.comb += [
        i.ready.eq(used != buffer.rows),
        write.en.eq(i.valid & i.ready),
        write.addr.eq(at),
        write.data.eq(i.p.as_value()[:width]),
    ]
    return read, write.en & full
