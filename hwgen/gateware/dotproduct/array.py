"""An output-stationary array of dot-product units: C = A * B by tiles that come and go as streams."""

from amaranth.hdl import Array, Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError
from hwgen.formats import Block, Format
from hwgen.gateware.dotproduct.accumulate import FixedAccumulator, Fp32Accumulator
from hwgen.gateware.dotproduct.block import BlockDot, block_size, element_of
from hwgen.gateware.dotproduct.dot import DEFAULT_MEGAHERTZ
from hwgen.gateware.dotproduct.dsp import dot_unit
from hwgen.gateware.pipeline import register
from hwgen.tools.resources import Family

ACCUMULATORS = ("fixed", "fp32")


class MacArray(wiring.Component):
    """rows * cols sums at a time; each clock every unit takes a block of its row of A and of its column of B.

    Parameters: `rows`, `cols`; formats `a` and `b`: block formats of one size, a block and a scalar format, or two
    scalar formats with `lanes`. `depth`: the most blocks along the reduction that a tile holds, a power of two;
    `blocks`: the most that one sum is of. `accumulator`: "fixed", with a `window` (least, greatest) of the sum of both
    scales' exponents for power-of-two scales, or "fp32". `multiplier`, `pipeline`, `megahertz`, `family` as for
    `DotProduct`; the multiplier "dsp" for a `DspDot`.
    Streams, of beats {codes, scales, ...}: `a`, one block of one row a beat, rows first, then along the reduction;
    `b`, one block of every column a beat. `last` ends a tile, which both streams must make equally long. `a` says
    `final` on the last beat of a tile that ends the reduction: sums go on from tile to tile until then. `b` says
    `release` on the last beat of the last tile that meets this tile of A: until then A's tile stays for the next of B.
    `o`: one row of sums a beat, from the first, {total, nan, saturated}, `cols` of each; `last` ends the rows.
    Tiles are held twice, so that one loads while another is read. Sums: total * 2**lsb ("fixed"), or FP32 codes.
    Throughput: a tile of k blocks takes k clocks, as long as A's tiles serve `rows` tiles of B or more, k is `rows` or
    more, and nobody stalls.
    Raises HwgenError for sizes, windows and accumulators that do not fit, and what the units raise.
    """

    def __init__(
        self,
        rows: int,
        cols: int,
        a: Block | Format,
        b: Block | Format,
        *,
        lanes: int | None = None,
        depth: int = 16,
        blocks: int = 1024,
        accumulator: str = "fixed",
        window: tuple[int, int] | None = None,
        multiplier: str = "exact",
        pipeline: int | str = "auto",
        megahertz: float = DEFAULT_MEGAHERTZ,
        family: Family = "xcup",
    ):
        if rows < 1 or cols < 1:
            raise HwgenError(f"an array has 1 row and 1 column or more, not {rows} and {cols}")
        if depth < 2 or depth & (depth - 1):
            raise HwgenError(f"the depth of a tile is a power of two, 2 or more, not {depth}")
        if accumulator not in ACCUMULATORS:
            raise HwgenError(f"unknown accumulator {accumulator!r}: one of {', '.join(ACCUMULATORS)}")
        self.rows, self.cols, self.depth, self.blocks = rows, cols, depth, blocks
        self.a_format, self.b_format, self.accumulator, self.multiplier = a, b, accumulator, multiplier
        options = (multiplier, pipeline, megahertz, family)
        self.scaled = isinstance(a, Block) or isinstance(b, Block)
        self.lanes = _lanes(a, b, lanes)

        def unit():
            if self.scaled:
                return BlockDot(a, b, *options)
            return dot_unit(element_of(a), element_of(b), self.lanes, *options)

        self.units = [[unit() for _ in range(cols)] for _ in range(rows)]
        first = self.units[0][0]
        self.window = _window(first, accumulator, window)
        self.lsb = self.window[0] if self.window else None
        self.sums = [[self._accumulator(first) for _ in range(cols)] for _ in range(rows)]
        self.latency = 2 + first.latency + self.sums[0][0].latency + 1
        total = self.sums[0][0].total.shape()
        super().__init__(
            {
                "a": In(stream.Signature(_payload(a, self.lanes, 1, "final"))),
                "b": In(stream.Signature(_payload(b, self.lanes, cols, "release"))),
                "o": Out(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "total": data.ArrayLayout(total, cols),
                                "nan": data.ArrayLayout(1, cols),
                                "saturated": data.ArrayLayout(1, cols),
                                "last": 1,
                            }
                        )
                    )
                ),
            }
        )

    def _accumulator(self, unit):
        exponent = unit.exponent.shape() if self.scaled else signed(max(8, unit.lsb.bit_length() + 2))
        if self.accumulator == "fp32":
            return Fp32Accumulator(unit.shape, exponent)
        return FixedAccumulator(unit.shape, exponent, self.window, self.blocks)

    def elaborate(self, platform):
        m = Module()
        enable = Signal()
        a_words, a_tile = self._tile(m, "a", self.rows, self.a.p.final)
        b_words, b_tile = self._tile(m, "b", 1, self.b.p.release)
        # Reading: block `step` of both tiles, one a clock, as soon as both are there.
        step, reads, ends = Signal(range(self.depth)), Signal(), Signal()
        m.d.comb += [
            reads.eq(enable & a_tile["full"] & b_tile["full"]),
            ends.eq(step == b_tile["length"]),
            b_tile["done"].eq(reads & ends),
            a_tile["done"].eq(reads & ends & b_tile["flag"]),
        ]
        with m.If(reads):
            m.d.sync += step.eq(step + 1)
            with m.If(ends):
                m.d.sync += step.eq(0)
        for tile in (a_tile, b_tile):
            m.d.comb += [tile["step"].eq(step), tile["read"].eq(enable)]
        valid = register(m, enable, reads, "read_valid", reset_less=False)
        last = register(m, enable, ends & a_tile["flag"], "read_last")
        self._compute(m, enable, valid, last, a_words, b_words)
        return m

    def _tile(self, m, name, beats, flag):
        """The two tiles of one operand; (words of the block being read, signals of the tile being read)."""
        source = getattr(self, name)
        word = len(source.p.codes.as_value()) + len(source.p.scales.as_value())
        bank, step, beat = Signal(name=f"{name}_bank"), Signal(range(self.depth), name=f"{name}_load"), None
        lengths = [Signal(range(self.depth), name=f"{name}_length_{n}") for n in range(2)]
        flags = [Signal(name=f"{name}_flag_{n}") for n in range(2)]
        full = [Signal(name=f"{name}_full_{n}") for n in range(2)]
        reading = Signal(name=f"{name}_reading")
        tile = {
            "full": Array(full)[reading],
            "length": Array(lengths)[reading],
            "flag": Array(flags)[reading],
            "done": Signal(name=f"{name}_done"),
            "step": Signal(range(self.depth), name=f"{name}_step"),
            "read": Signal(name=f"{name}_read"),
        }
        takes = Signal(name=f"{name}_takes")
        m.d.comb += [source.ready.eq(~Array(full)[bank]), takes.eq(source.valid & source.ready)]
        beat, wraps = _beat_counter(m, takes, beats, name)
        with m.If(takes & wraps):
            m.d.sync += step.eq(step + 1)
            with m.If(source.p.last):
                m.d.sync += [step.eq(0), bank.eq(~bank)]
        words = []
        for number in range(beats):
            memory = Memory(shape=word, depth=2 * self.depth, init=[])
            m.submodules[f"{name}_tile_{number}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(Cat(step, bank)),
                write.data.eq(Cat(source.p.codes.as_value(), source.p.scales.as_value())),
                write.en.eq(takes & (beat == number)),
                read.addr.eq(Cat(tile["step"], reading)),
                read.en.eq(tile["read"]),
            ]
            words.append(read.data)
        for n in range(2):
            with m.If(takes & wraps & source.p.last & (bank == n)):
                m.d.sync += [full[n].eq(1), lengths[n].eq(step), flags[n].eq(flag)]
            with m.If(tile["done"] & (reading == n)):
                m.d.sync += full[n].eq(0)
        with m.If(tile["done"]):
            m.d.sync += reading.eq(~reading)
        return words, tile

    def _compute(self, m, enable, valid, last, a_words, b_words):
        first = self.units[0][0]
        for clock in range(first.latency):
            last = register(m, enable, last, f"last_{clock}")
        a_width = element_of(self.a_format).bits * self.lanes
        b_width = element_of(self.b_format).bits * self.lanes
        for r, row in enumerate(self.units):
            for c, unit in enumerate(row):
                total = self.sums[r][c]
                m.submodules[f"unit_{r}_{c}"] = unit
                m.submodules[f"sum_{r}_{c}"] = total
                m.d.comb += [
                    unit.enable.eq(enable),
                    unit.valid.eq(valid),
                    Value.cast(unit.a).eq(a_words[r][:a_width]),
                    Value.cast(unit.b).eq(b_words[0].word_select(c, b_width)),
                    total.enable.eq(enable),
                    total.sum.eq(unit.sum),
                    total.exponent.eq(unit.exponent if self.scaled else unit.lsb),
                    total.nan.eq(unit.nan),
                    total.valid.eq(unit.valid_out),
                    total.last.eq(last),
                ]
                if isinstance(self.a_format, Block):
                    m.d.comb += unit.a_scale.eq(a_words[r][a_width:])
                if isinstance(self.b_format, Block):
                    scales = b_words[0][b_width * self.cols :]
                    m.d.comb += unit.b_scale.eq(scales.word_select(c, self.b_format.scale.bits))
        self._deliver(m, enable)

    def _deliver(self, m, enable):
        """Sums that are done move to a buffer, one row of which leaves each clock; all else waits while it is full."""
        done = self.sums[0][0].valid_out
        width = len(self.o.payload.as_value()) - 1
        held = [Signal(width, name=f"row_{r}") for r in range(self.rows)]
        left = Signal(range(self.rows + 1))
        m.d.comb += [
            self.o.valid.eq(left != 0),
            self.o.payload.as_value().eq(Cat(held[0], left == 1)),
            enable.eq(~done | (left == 0) | ((left == 1) & self.o.ready)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += left.eq(left - 1)
            m.d.sync += [held[r].eq(held[r + 1]) for r in range(self.rows - 1)]
        with m.If(enable & done):
            m.d.sync += left.eq(self.rows)
            for r, row in enumerate(self.sums):
                saturated = [one.saturated & ~one.nan_out if self.window else Const(0, 1) for one in row]
                m.d.sync += held[r].eq(Cat(*(one.total for one in row), *(one.nan_out for one in row), *saturated))


def _beat_counter(m, takes, beats, name):
    if beats == 1:
        return Const(0, 1), Const(1, 1)
    beat = Signal(range(beats), name=f"{name}_beat")
    wraps = beat == beats - 1
    with m.If(takes):
        m.d.sync += beat.eq(beat + 1)
        with m.If(wraps):
            m.d.sync += beat.eq(0)
    return beat, wraps


def _payload(fmt: Block | Format, lanes: int, blocks: int, flag: str) -> data.StructLayout:
    scale = fmt.scale.bits if isinstance(fmt, Block) else 0
    return data.StructLayout(
        {
            "codes": data.ArrayLayout(element_of(fmt).bits, lanes * blocks),
            "scales": data.ArrayLayout(scale, blocks),
            "last": 1,
            flag: 1,
        }
    )


def _lanes(a: Block | Format, b: Block | Format, lanes: int | None) -> int:
    if isinstance(a, Block) or isinstance(b, Block):
        size = block_size(a, b)
        if lanes not in (None, size):
            raise HwgenError(f"units of {a.name} and {b.name} have {size} lanes, the block size, not {lanes}")
        return size
    if lanes is None:
        raise HwgenError(f"units of {a.name} and {b.name}, which have no blocks, need a number of lanes")
    return lanes


def _window(unit, accumulator: str, window: tuple[int, int] | None) -> tuple[int, int] | None:
    """The exponents of the accumulator, those of products' least bits; None for FP32."""
    if accumulator == "fp32":
        if window is not None:
            raise HwgenError("a window is for the accumulator 'fixed', not for 'fp32'")
        return None
    if not isinstance(unit, BlockDot):
        if window is not None:
            raise HwgenError("a window is for block formats; other sums have one exponent")
        return unit.lsb, unit.lsb
    if unit.significand_bits:
        if window is not None:
            raise HwgenError(
                "a window is for power-of-two scales; those with a mantissa are summed over their whole range"
            )
        return unit.low, unit.high
    if window is None:
        raise HwgenError(
            "power-of-two scales need a window for the accumulator 'fixed': (least, greatest) sum of both exponents"
        )
    if window[0] > window[1]:
        raise HwgenError(f"a window is (least, greatest) exponent, not {window}")
    return window[0] + unit.dot.lsb, window[1] + unit.dot.lsb
