"""LUTs of 32-lane block dot products with exact sums on UltraScale+, by every architecture tried, in one table.

    python bench/arith_size.py [format ...]

All are synthesised by the same Yosys with the same flags (`synth_xilinx -family xcup -flatten -noiopad -noclkbuf
-nodsp`); inverters count as LUTs. The goals are an open peer's figures, unpipelined, by the same tool. Results are kept
by content in build/arith_size.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.formats import Block, Format, get
from hwgen.gateware.arith.multiply import multiply_fixed
from hwgen.gateware.dotproduct import shifted
from hwgen.gateware.dotproduct.block import BlockDot
from hwgen.gateware.verilog import to_verilog
from hwgen.tools.cache import step
from hwgen.tools.files import digest
from hwgen.tools.resources import parse_stat
from hwgen.tools.yosys import run_script, synthesis_script

LANES = 32
# LUTs of the peer's block dot products of 32 lanes.
PEER = {"mxint8": 5465, "mxfp8e4m3": 5613, "mxfp8e5m2": 8103, "mxfp6e2m3": 2589, "mxfp6e3m2": 3002, "mxfp4": 1335}
AIM = 0.6
CACHE = Path("build/arith_size")


def luts(component: wiring.Component) -> tuple[int, int, int]:
    """(LUTs and inverters, flip-flops, carry cells) of a component on xcup without DSPs."""
    verilog = to_verilog(component, "dot")

    def synthesise(folder: Path) -> None:
        (folder / "dot.v").write_text(verilog)
        script = synthesis_script(["dot.v"], "dot", "xcup").replace("-noclkbuf", "-noclkbuf -nodsp")
        run_script(script, cwd=folder)

    text = (step(CACHE, "dot", digest(verilog, "xcup -nodsp 1"), synthesise).path / "stat.json").read_text()
    total = parse_stat(text, "xcup", "dot").total
    inverters = json.loads(text)["modules"]["\\dot"]["num_cells_by_type"].get("INV", 0)
    assert total.lut is not None
    assert total.ff is not None
    assert total.carry is not None
    return int(total.lut) + inverters, int(total.ff), int(total.carry)


@contextmanager
def planned_alike() -> Iterator[None]:
    """Every shifter planned as if its last stage took cells of its own, none for the adders' cells."""
    kept, shifted.ABSORBED = shifted.ABSORBED, None
    try:
        yield
    finally:
        shifted.ABSORBED = kept


class Plain(wiring.Component):
    """The textbook unit: every product to fixed point, negated, shifted, and all of them summed up."""

    def __init__(self, element: Format):
        self.element = element
        super().__init__({"a": In(LANES * element.bits), "b": In(LANES * element.bits), "sum": Out(72)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total: Value = Signal(1, name="none")
        for lane in range(LANES):
            a, b = (port.word_select(lane, self.element.bits) for port in (self.a, self.b))
            if self.element.signed:
                total = total + a.as_signed() * b.as_signed()
                continue
            total = total + multiply_fixed(m, self.element, self.element, a, b, f"lane_{lane}")
        m.d.comb += self.sum.eq(total)
        return m


def tried(fmt: Block) -> dict[str, Callable[[], tuple[int, int, int]]]:
    """Architectures by name."""

    def apart() -> tuple[int, int, int]:
        with planned_alike():
            return luts(BlockDot(fmt, fmt, pipeline="auto"))

    found: dict[str, Callable[[], tuple[int, int, int]]] = {
        "textbook, unpipelined": lambda: luts(Plain(fmt.element)),
        "this, unpipelined": lambda: luts(BlockDot(fmt, fmt, pipeline=0)),
        "this, pipelined for 200 MHz": lambda: luts(BlockDot(fmt, fmt, pipeline="auto")),
        "this, pipelined for 300 MHz": lambda: luts(BlockDot(fmt, fmt, pipeline="auto", megahertz=300)),
    }
    if fmt.element.signed or fmt.name == "mxfp4":
        return found
    return {
        **found,
        "shifters planned alike, 200 MHz": apart,
        "L-Mul, 200 MHz": lambda: luts(BlockDot(fmt, fmt, "lmul")),
    }


def main() -> None:
    names = sys.argv[1:] or list(PEER)
    print(f"{'format':11} {'architecture':32} {'LUT':>6} {'FF':>6} {'CARRY4':>7} {'of the peer':>12}")
    for name in names:
        fmt = get(name)
        assert isinstance(fmt, Block)
        best: dict[str, int] = {}
        for label, measure in tried(fmt).items():
            lut, ff, carry = measure()
            if not label.startswith("L-Mul"):
                best[label] = lut
            print(f"{name:11} {label:32} {lut:6} {ff:6} {carry:7} {lut / PEER[name]:11.0%}", flush=True)
        least = min(best.values()) / PEER[name]
        words = "met" if least <= AIM else "under the peer" if least < 1 else "MISSED"
        print(f"{name:11} best: {least:.0%} of the peer's {PEER[name]} (aim {AIM:.0%}): {words}", flush=True)


if __name__ == "__main__":
    main()
