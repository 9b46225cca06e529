"""32-lane block dot products on the DSPs of UltraScale+: LUTs and DSP48E2s of each way, beside LUTs alone.

    python bench/arith_dsp.py [format ...]

Synthesised by the same Yosys with the same flags (`synth_xilinx -family xcup -flatten -noiopad -noclkbuf`), pipelined,
exact sums. Inverters count as LUTs, a LUT6_2 as one. Results are kept by content in build/arith_dsp.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amaranth.lib import wiring

from hwgen.formats import Block, get
from hwgen.gateware.dotproduct import dsp
from hwgen.gateware.dotproduct.block import BlockDot
from hwgen.gateware.verilog import to_verilog
from hwgen.tools.cache import step
from hwgen.tools.files import digest
from hwgen.tools.resources import Resources, parse_stat
from hwgen.tools.yosys import run_script, synthesis_script

LANES = 32
CACHE = Path("build/arith_dsp")
# Most DSPs, and LUTs a lane where there is a goal for them.
GOALS: dict[str, tuple[int, float | None]] = {"mxint8": (16, None), "mxfp8e4m3": (32, 55)}
FORMATS = (*GOALS, "mxfp6e2m3", "mxfp6e3m2", "mxfp4")


def resources(component: wiring.Component, *, flag: str = "") -> Resources:
    """What synthesis says of a component; inverters among the LUTs. flag: "-nodsp" or none."""
    verilog = to_verilog(component, "dot")

    def synthesise(folder: Path) -> None:
        (folder / "dot.v").write_text(verilog)
        script = synthesis_script(["dot.v"], "dot", "xcup").replace("-noclkbuf", f"-noclkbuf {flag}".strip())
        run_script(script, cwd=folder)

    text = (step(CACHE, "dot", digest(verilog, f"xcup {flag} 1"), synthesise).path / "stat.json").read_text()
    total = parse_stat(text, "xcup", "dot").total
    assert total.lut is not None
    inverters = json.loads(text)["modules"]["\\dot"]["num_cells_by_type"].get("INV", 0)
    return Resources(total.lut + inverters, total.ff, total.bram, total.dsp, total.carry)


@contextmanager
def never_paired() -> Iterator[None]:
    """A DSP for each lane of integers too."""
    kept = dsp.pair_plan
    dsp.pair_plan = lambda a, b: None
    try:
        yield
    finally:
        dsp.pair_plan = kept


def tried(fmt: Block) -> Iterator[tuple[str, Resources]]:
    """(architecture, what it takes)."""
    yield "LUTs alone", resources(BlockDot(fmt, fmt), flag="-nodsp")
    with never_paired():
        yield "a DSP a lane", resources(BlockDot(fmt, fmt, "dsp"))
    if dsp.pair_plan(fmt.element, fmt.element):
        yield "a DSP for two lanes", resources(BlockDot(fmt, fmt, "dsp"))


def main() -> None:
    print(f"{'format':11} {'architecture':22} {'LUT':>6} {'a lane':>7} {'FF':>6} {'carry':>6} {'DSP':>4}  goal")
    for name in sys.argv[1:] or FORMATS:
        fmt = get(name)
        assert isinstance(fmt, Block)
        most, luts = GOALS.get(name, (LANES, None))
        for label, found in tried(fmt):
            assert found.lut is not None
            assert found.dsp is not None
            words = ""
            if found.dsp and name in GOALS:
                met = found.dsp <= most and (luts is None or found.lut <= luts * LANES)
                words = f"{most} DSPs" + (f", {luts:g} LUTs a lane" if luts else "") + (": met" if met else ": missed")
            row = f"{found.lut:6} {found.lut / LANES:7.1f} {found.ff:6} {found.carry:6} {found.dsp:4}"
            print(f"{name:11} {label:22} {row}  {words}", flush=True)


if __name__ == "__main__":
    main()
