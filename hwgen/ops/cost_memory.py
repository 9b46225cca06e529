"""What memories cost: ROMs, and what is written and read, in LUTs or in block RAMs, as synthesis chooses."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwgen.ops.cost_fit import Term
from hwgen.ops.cost_rules import wants_block_ram
from hwgen.tools.resources import Family


@dataclass(frozen=True)
class Cells:
    """Memory cells of `luts` LUTs, which hold `bits` bits of `words` words, or fewer bits of up to `deepest` words, and
    synthesis' cost of one."""

    words: int
    bits: int
    deepest: int
    luts: int
    cost: int


@dataclass(frozen=True)
class Device:
    """rom: bits of a ROM in one LUT. table: words that synthesis looks up as one table. ram: cells of a memory that is
    read apart from writing; single: of one that has one address for both. by_bits: whether synthesis counts only those
    bits of a cell that are used.
    """

    rom: int
    table: int
    ram: Cells
    single: Cells
    by_bits: bool


# Cells and their costs in Yosys' lists of memories: lutrams_trellis.txt; lutrams_xcu.txt.
_DPR16X4 = Cells(16, 4, 16, 6, 4)
_ECP5 = Device(16, 128, _DPR16X4, _DPR16X4, by_bits=False)
_XCUP = Device(64, 64, Cells(32, 14, 64, 8, 16), Cells(32, 16, 512, 8, 16), by_bits=True)
DEVICES: dict[Family, Device] = {"ecp5": _ECP5, "ice40": _ECP5, "xcup": _XCUP}

RAGGED = 5
"""How many times as many LUTs a ROM of many words, but no power of two of them, takes."""

BLOCK_COST = 128
"""Yosys' cost of a block RAM of 18 kbit."""


def rom(width: float, depth: int, family: Family) -> tuple[Term, int]:
    """(a ROM with a registered output in LUTs, the blocks of 18 kbit that it takes instead)."""
    if depth <= 1 or not width:
        return Term(), 0
    if wants_block_ram(round(width), depth):
        return Term(), blocks_of(round(width), depth)[0]
    device = DEVICES[family]
    whole = 1 << (depth - 1).bit_length()
    if depth > device.table and depth != whole:
        # The multiplexers behind the LUTs are not shared by words that end before the addresses do.
        return Term(width * RAGGED * depth / device.rom, width), 0
    return Term(width * max((whole if depth <= device.table else depth) / device.rom, 0.8), width), 0


def memory(width: int, depth: int, family: Family, *, single: bool = False) -> tuple[Term, int]:
    """(a memory that is written and read, in LUTs, the blocks that synthesis takes instead if it is large).

    single: whether it has one address for both.
    """
    weighed, luts = _in_luts(width, depth, family, single=single)
    blocks, rows = blocks_of(width, depth)
    if weighed <= blocks * BLOCK_COST + _choice(width, rows):
        return Term(luts, width), 0
    return blocks_chosen(width, depth)


def image_rows(width: int, depth: int, family: Family) -> tuple[Term, int]:
    """(rows of an image, in LUTs, the blocks that the gateware asks for instead if there are many)."""
    if wants_block_ram(width, depth):
        return blocks_chosen(width, depth)
    return Term(memory_luts(width, depth, family), width), 0


def blocks_chosen(width: int, depth: int) -> tuple[Term, int]:
    """(what chooses between words that stand side by side in blocks, the blocks)."""
    blocks, rows = blocks_of(width, depth)
    return Term(0.6 * width * (rows - 1)), blocks


def memory_luts(width: int, depth: int, family: Family, *, single: bool = False) -> int:
    """LUTs of a memory that is written and read, whatever its size."""
    return _in_luts(width, depth, family, single=single)[1]


def _in_luts(width: int, depth: int, family: Family, *, single: bool) -> tuple[float, int]:
    """(synthesis' cost, LUTs) of a memory in LUTs: of rows of cells, as deep as is the cheapest."""
    device = DEVICES[family]
    cells = device.single if single else device.ram
    found = []
    for deep in (cells.words << n for n in range((cells.deepest // cells.words).bit_length())):
        rows, row = -(-depth // deep), width * deep / (cells.words * cells.bits)
        cost = rows * cells.cost * (row if device.by_bits else math.ceil(row)) + _choice(width, rows)
        found.append((cost, rows * math.ceil(row) * cells.luts))
    return min(found)


def _choice(width: int, rows: int) -> float:
    """Synthesis' cost of a choice between so many words."""
    return width * (rows - 1) / 2


def blocks_of(width: int, depth: int) -> tuple[int, int]:
    """(blocks of 18 kbit, words that stand side by side in them, among which LUTs choose), as synthesis weighs them."""
    shapes = [(36 >> n, 512 << n) for n in range(6)]
    found = ((-(-depth // deep), wide) for wide, deep in shapes)
    packed = ((-(-rows * width // wide), rows) for rows, wide in found)
    return min(packed, key=lambda one: one[0] * BLOCK_COST + _choice(width, one[1]))


def kept_operands(word: int, neuron_folds: int, synapse_folds: int, family: Family) -> tuple[Term, int]:
    """(the operands of a vector, kept for all its outputs; the blocks that hold them if they are many)."""
    if neuron_folds == 1 or synapse_folds == 1:
        return Term(0, word), 0
    stored, blocks = memory(word, synapse_folds, family, single=True)
    # The beat that was taken, what comes from there or from the memory, and where the memory is LUTs what it gave.
    return Term(word + stored.lut, 2 * word + stored.ff * (not blocks)), blocks
