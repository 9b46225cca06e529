"""LUTs, carry cells and logic depth of combinational and clocked units on UltraScale+, by Yosys."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from hwgen.gateware.verilog import to_verilog
from hwgen.tools.cache import step
from hwgen.tools.files import digest
from hwgen.tools.resources import parse_stat
from hwgen.tools.yosys import run_script, synthesis_script

CACHE = Path("build/arith_sizes")
COMMAND = "synth_xilinx -family xcup -flatten -noiopad -noclkbuf -nodsp"


@dataclass(frozen=True)
class Size:
    """LUTs with inverters, flip-flops, bits of carry by fours, cells on the longest path between registers, DSPs."""

    lut: int
    ff: int
    carry: int
    depth: int
    dsp: int = 0


def measure(component: wiring.Component, flags: str = "-nodsp") -> Size:
    """The size of a component; kept by content in build/arith_sizes.

    A CARRY8, which only cells placed by hand are, counts as two of the CARRY4 that Yosys makes.
    """
    return measure_verilog(to_verilog(component, "unit"), flags)


def measure_verilog(verilog: str, flags: str = "-nodsp") -> Size:
    """The size of the module `unit` of a Verilog text; as `measure`."""

    def synthesise(folder: Path) -> None:
        (folder / "unit.v").write_text(verilog)
        script = synthesis_script(["unit.v"], "unit", "xcup", netlist="netlist.json")
        run_script(script.replace("-noclkbuf", f"-noclkbuf {flags}"), cwd=folder)

    folder = step(CACHE, "unit", digest(verilog, f"xcup {flags} 2"), synthesise).path
    total = parse_stat((folder / "stat.json").read_text(), "xcup", "unit").total
    cells = json.loads((folder / "netlist.json").read_text())["modules"]["unit"]["cells"]
    assert total.lut is not None
    assert total.ff is not None
    kinds = [cell["type"] for cell in cells.values()]
    carry = kinds.count("CARRY4") + 2 * kinds.count("CARRY8")
    return Size(int(total.lut) + kinds.count("INV"), int(total.ff), carry, depth(cells), kinds.count("DSP48E2"))


def depth(cells: dict[str, Any]) -> int:
    """Cells on the longest path between registers; multiplexers inside a slice (MUXF) are free, DSPs are registers."""
    driver: dict[int, tuple[str, str, int]] = {}
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port, "output" if port in ("O", "CO") else "input") == "output":
                driver.update({bit: (name, port, n) for n, bit in enumerate(bits) if isinstance(bit, int)})
    found: dict[int, int] = {}

    def of(bit: int) -> int:
        if bit not in found:
            name, port, place = driver[bit]
            cell = cells[name]
            if cell["type"].startswith(("FD", "DSP")):
                found[bit] = 0
            else:
                before = [of(one) for one in sources(cell, port, place) if one in driver]
                found[bit] = int(not cell["type"].startswith("MUXF")) + max(before, default=0)
        return found[bit]

    sys.setrecursionlimit(20_000)
    return max(map(of, driver), default=0)


def sources(cell: dict[str, Any], port: str, place: int) -> list[int]:
    """Nets that bit `place` of an output of `cell` depends on."""
    nets = cell["connections"]
    if cell["type"].startswith("CARRY"):
        found = [*nets["S"][: place + 1], *nets["DI"][: place + (port == "CO")]]
        found += [bit for name in ("CI", "CYINIT", "CI_TOP") for bit in nets.get(name, ())]
    elif cell["type"] == "LUT6_2":
        truth = cell["parameters"]["INIT"][::-1]
        rows = truth[:32] if port == "O5" else truth[32:]
        used = [n for n in range(5) if any(rows[row] != rows[row ^ (1 << n)] for row in range(32))]
        found = [nets[f"I{n}"][0] for n in used]
    else:
        found = [bit for name, bits in nets.items() if name not in ("O", "CO", "O5", "O6", "Q") for bit in bits]
    return [bit for bit in found if isinstance(bit, int)]
