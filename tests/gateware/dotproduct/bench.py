"""Many units side by side in one compiled simulator: a new vector each clock, random stalls, every output recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from amaranth.hdl import Cat, Const, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.gateware.verilog import to_verilog
from hwgen.tools import child
from hwgen.tools.verilator import build

CELLS = Path(__file__).parents[3] / "rtl" / "cells_xcup.sv"

MAIN = """
#include "Vunits.h"
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
int main(int, char** argv) {
    Vunits top;
    FILE* in = fopen(argv[1], "rb");
    FILE* out = fopen(argv[2], "wb");
    const unsigned rows = strtoul(argv[3], nullptr, 10), drain = strtoul(argv[4], nullptr, 10);
    const uint64_t stall = strtoul(argv[5], nullptr, 10);
    uint64_t state = 88172645463325252ull;
    static uint32_t word[IN_WORDS];
    top.rst = 0;
    for (unsigned row = 0; row < rows + drain;) {
        state ^= state << 13; state ^= state >> 7; state ^= state << 17;
        const bool moves = (state >> 40) % 100 >= stall;
        if (moves && row < rows && fread(word, 4, IN_WORDS, in) != IN_WORDS) return 1;
        memcpy(top.word.m_storage, word, sizeof word);
        top.enable = moves;
        top.valid = row < rows;
        top.clk = 0;
        top.eval();
        if (moves) {
            fwrite(top.result.m_storage, 4, OUT_WORDS, out);
            row++;
        }
        top.clk = 1;
        top.eval();
    }
    return fclose(out);
}
"""


@dataclass(frozen=True)
class Field:
    start: int
    width: int
    signed: bool = False


class Units(wiring.Component):
    """All units with their operands in one long input `word` and their results in one long output `result`.

    `operands` and `results` are names of ports; a unit need not have all of them.
    """

    def __init__(self, units: Sequence[wiring.Component], operands: Sequence[str], results: Sequence[str]):
        self.units, self.operands, self.results = units, operands, results
        self.inputs = _fields(units, operands)
        self.outputs = _fields(units, results)
        super().__init__(
            {
                "enable": In(1),
                "valid": In(1),
                "word": In(32 * self.in_words),
                "result": Out(32 * self.out_words),
            }
        )

    @property
    def in_words(self) -> int:
        return max(3, sum(-(-field.width // 32) for unit in self.inputs for field in unit.values()))

    @property
    def out_words(self) -> int:
        return max(3, sum(-(-field.width // 32) for unit in self.outputs for field in unit.values()))

    def elaborate(self, platform):
        m = Module()
        parts = []
        for n, unit in enumerate(self.units):
            m.submodules[f"unit_{n}"] = unit
            m.d.comb += [unit.enable.eq(self.enable), unit.valid.eq(self.valid)]
            for name, field in self.inputs[n].items():
                m.d.comb += Value.cast(getattr(unit, name)).eq(self.word[field.start : field.start + field.width])
            for name in self.outputs[n]:
                value = Value.cast(getattr(unit, name))
                parts += [value, Const(0, -len(value) % 32)]
        m.d.comb += self.result.eq(Cat(*parts))
        return m


def _fields(units, names) -> list[dict[str, Field]]:
    start, found = 0, []
    for unit in units:
        here = {}
        for name in names:
            if not hasattr(unit, name):
                continue
            value = Value.cast(getattr(unit, name))
            here[name] = Field(start, len(value), value.shape().signed)
            start += 32 * -(-len(value) // 32)
        found.append(here)
    return found


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Rows of packed words, uint32 (rows, words), of codes (rows, lanes) of `bits` bits each."""
    rows, lanes = codes.shape
    one = ((codes[:, :, None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(rows, lanes * bits)
    padded = np.pad(one, ((0, 0), (0, -one.shape[1] % 32)))
    return np.packbits(padded, axis=1, bitorder="little").view("<u4")


def integers(words: np.ndarray, field: Field) -> np.ndarray:
    """The integers, an object array (rows,), of a field of the recorded rows."""
    start = field.start // 32
    total = np.zeros(len(words), dtype=object)
    for place in range(-(-field.width // 32)):
        total += words[:, start + place].astype(object) << (32 * place)
    if field.signed:
        total = np.where(total >= 1 << (field.width - 1), total - (1 << field.width), total)
    return total


def simulate(units: Units, inputs: Sequence[dict[str, np.ndarray]], folder: Path, stall: int = 20):
    """What each unit gives, as a list of dicts of object arrays (rows,); `inputs` are packed words by port name."""
    (folder / "units.v").write_text(to_verilog(units, "units"))
    (folder / "main.cpp").write_text(MAIN)
    sizes = [f"-DIN_WORDS={units.in_words}", f"-DOUT_WORDS={units.out_words}"]
    args = [
        "-Wno-fatal",
        "-Wno-lint",
        "--x-assign",
        "fast",
        "-MAKEFLAGS",
        "OPT_FAST=-O1",
        *(w for size in sizes for w in ("-CFLAGS", size)),
    ]
    sources = [folder / "units.v", CELLS, CELLS.with_name("dsp_xcup.sv")]
    simulator = build(sources, "units", folder, args, [folder / "main.cpp"])
    columns = [given[name] for given in inputs for name in units.operands if name in given]
    words = np.concatenate(columns, axis=1)
    rows = len(words)
    words = np.pad(words, ((0, 0), (0, units.in_words - words.shape[1])))
    (folder / "in.bin").write_bytes(np.ascontiguousarray(words).tobytes())
    drain = max(unit.latency for unit in units.units)
    command = [simulator, folder / "in.bin", folder / "out.bin", str(rows), str(drain), str(stall)]
    child.run([str(word) for word in command], timeout=600)
    recorded = np.fromfile(folder / "out.bin", dtype="<u4").reshape(rows + drain, units.out_words)
    found = []
    for unit, fields in zip(units.units, units.outputs, strict=True):
        seen = recorded[unit.latency : unit.latency + rows]
        found.append({name: integers(seen, field) for name, field in fields.items()})
    return found
