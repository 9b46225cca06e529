"""What a synthesised netlist takes of an FPGA: cell counts of `yosys stat -json` turned into resources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hwgen.errors import HwgenError

Family = Literal["ecp5", "ice40", "xcup"]
FAMILIES: tuple[Family, ...] = ("ecp5", "ice40", "xcup")

BLOCK_KBIT: dict[Family, int] = {"ecp5": 18, "ice40": 4, "xcup": 36}
"""Size of a family's block RAMs."""

# What one cell takes. Lattice: FPGA-TN-02205 (CCU2C spans two LUT4; a DPR16X4 takes four LUTs and the slice that
# drives its write port). Xilinx: UG974 (LUTs of each distributed RAM; a RAMB18 is half of a block RAM tile).
_CELLS: dict[Family, dict[str, dict[str, float]]] = {
    "ecp5": {
        "LUT4": {"lut": 1},
        "CCU2C": {"lut": 2, "carry": 1},
        "TRELLIS_DPR16X4": {"lut": 6},
        "TRELLIS_FF": {"ff": 1},
        "DP16KD": {"bram": 1},
        "PDPW16KD": {"bram": 1},
        "MULT18X18D": {"dsp": 1},
        "MULT9X9D": {"dsp": 0.5},
        "ALU54B": {},
    },
    "ice40": {
        "SB_LUT4": {"lut": 1},
        "SB_CARRY": {"carry": 1},
        "SB_MAC16": {"dsp": 1},
        **{f"SB_RAM40_4K{suffix}": {"bram": 1.0} for suffix in ("", "NR", "NW", "NRNW")},
        **{
            f"SB_DFF{edge}{kind}": {"ff": 1.0}
            for edge in ("", "N")
            for kind in ("", "E", "SR", "R", "SS", "S", "ESR", "ER", "ESS", "ES")
        },
    },
    "xcup": {
        **{f"LUT{n}": {"lut": 1.0} for n in range(1, 7)},
        "LUT6_2": {"lut": 1},
        **{name: {"lut": 1.0} for name in ("SRL16E", "SRLC16E", "SRLC32E", "RAM32X1S", "RAM64X1S")},
        "RAM32X1D": {"lut": 2},
        "RAM64X1D": {"lut": 2},
        "RAM128X1S": {"lut": 2},
        "RAM128X1D": {"lut": 4},
        "RAM256X1S": {"lut": 4},
        "RAM256X1D": {"lut": 8},
        "RAM512X1S": {"lut": 8},
        "RAM32M": {"lut": 4},
        "RAM64M": {"lut": 4},
        "RAM32M16": {"lut": 8},
        "RAM64M8": {"lut": 8},
        **{f"{name}{suffix}": {"ff": 1.0} for name in ("FDRE", "FDSE", "FDCE", "FDPE") for suffix in ("", "_1")},
        "LDCE": {"ff": 1},
        "LDPE": {"ff": 1},
        "CARRY4": {"carry": 1},
        "CARRY8": {"carry": 1},
        "RAMB18E2": {"bram": 0.5},
        "RAMB36E2": {"bram": 1},
        "DSP48E2": {"dsp": 1},
    },
}

# Cells that take none of the counted resources: pins, clocks, and multiplexers that stand beside the LUTs.
_FREE: dict[Family, frozenset[str]] = {
    "ecp5": frozenset({"PFUMX", "L6MUX21", "TRELLIS_IO", "EHXPLLL", "GSR", "SGSR", "DCCA", "VHI", "VLO", "USRMCLK"}),
    "ice40": frozenset({"SB_IO", "SB_GB", "SB_GB_IO", "SB_PLL40_CORE", "SB_PLL40_PAD", "SB_RGBA_DRV", "SB_HFOSC"}),
    "xcup": frozenset({"MUXF7", "MUXF8", "MUXF9", "IBUF", "OBUF", "OBUFT", "BUFG", "BUFGCE", "INV", "GND", "VCC"}),
}

_KINDS = ("lut", "ff", "bram", "dsp", "carry")


@dataclass(frozen=True)
class Resources:
    """Resources taken; None means unknown, because the netlist has a cell whose cost is not known.

    `lut`: LUTs, with those used as memory and, on ECP5, those of carry cells. `ff`: flip-flops. `bram`: block RAMs
    (ECP5 18 kbit, iCE40 4 kbit, UltraScale+ 36 kbit tiles, where a half counts 0.5). `dsp`: multipliers (ECP5
    18x18, iCE40 SB_MAC16, UltraScale+ DSP48E2). `carry`: carry cells (ECP5 two bits, iCE40 one, UltraScale+ four).
    """

    lut: float | None
    ff: float | None
    bram: float | None
    dsp: float | None
    carry: float | None

    def to_json(self) -> dict[str, float | None]:
        return {kind: getattr(self, kind) for kind in _KINDS}


@dataclass(frozen=True)
class Statistics:
    """Resources of a netlist; `modules`: of every module with all it contains; `unknown`: cells of unknown cost."""

    family: Family
    top: str
    total: Resources
    modules: dict[str, Resources]
    unknown: tuple[str, ...]


def parse_stat(text: str, family: Family, top: str) -> Statistics:
    """Read what `yosys stat -json` wrote for a netlist of `family`; raises HwgenError when it is not that."""
    try:
        modules = {
            name.removeprefix("\\"): {str(cell): int(count) for cell, count in module["num_cells_by_type"].items()}
            for name, module in json.loads(text)["modules"].items()
        }
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise HwgenError(f"not the output of yosys stat -json: {error!r}") from error
    if top not in modules:
        raise HwgenError(f"yosys' statistics have no module {top}, only {', '.join(sorted(modules)) or 'none'}")
    unknown: set[str] = set()
    done: dict[str, Resources] = {}
    for name in modules:
        _total(name, modules, family, done, unknown)
    return Statistics(family, top, done[top], done, tuple(sorted(unknown)))


def _total(
    name: str,
    modules: Mapping[str, Mapping[str, int]],
    family: Family,
    done: dict[str, Resources],
    unknown: set[str],
) -> Resources:
    if name in done:
        return done[name]
    sums: dict[str, float] = dict.fromkeys(_KINDS, 0)
    known = True
    for cell, count in modules[name].items():
        if cell in modules:
            inner = _total(cell, modules, family, done, unknown)
            known = known and inner.lut is not None
            cost = {kind: value for kind, value in inner.to_json().items() if value is not None}
        elif cell in _CELLS[family]:
            cost = _CELLS[family][cell]
        elif cell in _FREE[family] or cell == "$scopeinfo":
            cost = {}
        else:
            known = False
            unknown.add(cell)
            cost = {}
        for kind, value in cost.items():
            sums[kind] += value * count
    done[name] = Resources(**{kind: _whole(value) if known else None for kind, value in sums.items()})
    return done[name]


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value
