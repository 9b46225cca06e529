"""32-lane block dot products on the DSPs of UltraScale+: LUTs and DSP48E2s of each way, beside LUTs alone.

    python bench/arith_dsp.py [format ...] [--write]

Synthesised by the same Yosys with the same flags (`synth_xilinx -family xcup -flatten -noiopad -noclkbuf`), pipelined,
exact sums. Inverters count as LUTs, a LUT6_2 as one. Results are kept by content in build/arith_sizes. With --write
they go into docs/results.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

from measure import results
from measure.xcup import Size, measure

from hwgen.formats import Block, get
from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.dotproduct import dsp
from hwgen.gateware.dotproduct.block import BlockDot

LANES = 32
# Most DSPs, and LUTs a lane where there is a goal for them.
GOALS: dict[str, tuple[int, float | None]] = {"mxint8": (16, None), "mxfp8e4m3": (32, 55)}
FORMATS = (*GOALS, "mxfp6e3m2", "mxfp6e2m3", "mxfp4")


def tried(fmt: Block) -> Iterator[tuple[str, Size]]:
    """(architecture, size)."""
    yield "LUTs alone", measure(BlockDot(fmt, fmt, placed=isinstance(fmt.element, Minifloat)))
    with mock.patch.object(dsp, "pair_plan", return_value=None):
        yield "a DSP a lane", measure(BlockDot(fmt, fmt, "dsp"), "")
    if dsp.pair_plan(fmt.element, fmt.element):
        yield "a DSP for two lanes", measure(BlockDot(fmt, fmt, "dsp"), "")


def goal(name: str, size: Size) -> str:
    """What was aimed at, and whether it is met; nothing without DSPs or a goal."""
    if not size.dsp or name not in GOALS:
        return ""
    most, luts = GOALS[name]
    met = size.dsp <= most and (luts is None or size.lut <= luts * LANES)
    return f"{most} DSPs" + (f", {luts:g} LUTs a lane" if luts else "") + (": met" if met else ": missed")


def compare(name: str) -> list[dict[str, Any]]:
    """All architectures of one format, printed as they come."""
    fmt, rows = get(name), []
    assert isinstance(fmt, Block)
    for label, size in tried(fmt):
        lane, words = size.lut / LANES, goal(name, size)
        print(
            f"{name:11} {label:22} {size.lut:6} {lane:7.1f} {size.ff:6} {size.carry:6} {size.dsp:4}  {words}",
            flush=True,
        )
        rows.append({"architecture": label, "goal": words, "lut_a_lane": lane, **vars(size)})
    return rows


def main() -> None:
    names = [argument for argument in sys.argv[1:] if not argument.startswith("-")] or list(FORMATS)
    print(f"{'format':11} {'architecture':22} {'LUT':>6} {'a lane':>7} {'FF':>6} {'carry':>6} {'DSP':>4}  goal")
    found = {name: compare(name) for name in names}
    if "--write" in sys.argv:
        results.write("dsp", found)


if __name__ == "__main__":
    main()
