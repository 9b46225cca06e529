"""LUTs of 32-lane block dot products with exact sums on UltraScale+, by every architecture tried, in one table.

    python bench/arith_size.py [format ...] [--write]

All are synthesised by the same Yosys with the same flags (`synth_xilinx -family xcup -flatten -noiopad -noclkbuf
-nodsp`); inverters count as LUTs. The goals are an open peer's figures, unpipelined, by the same tool. Results are kept
by content in build/arith_sizes. With --write they go into docs/results.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from measure import results
from measure.xcup import Size, measure

from hwgen.formats import Block, Format, get
from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.arith.multiply import multiply_fixed
from hwgen.gateware.arith.pack import Packer
from hwgen.gateware.dotproduct import placed, placed_lane, shifted
from hwgen.gateware.dotproduct.block import BlockDot
from hwgen.gateware.dotproduct.lane import Form, Product
from hwgen.gateware.dotproduct.pipe import At, Pipe

LANES = 32
# LUTs of the peer's block dot products of 32 lanes.
PEER = {"mxint8": 5465, "mxfp8e4m3": 5613, "mxfp8e5m2": 8103, "mxfp6e2m3": 2589, "mxfp6e3m2": 3002, "mxfp4": 1335}
AIM = 0.6


@contextmanager
def planned_alike() -> Iterator[None]:
    """Every shifter planned as if its last stage took cells of its own, none for the adders' cells."""
    with mock.patch.object(shifted, "ABSORBED", None):
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Each function in a LUT of its own, and shifters planned for that."""
    singles = partial(Packer, pairs=False)

    def pair_up(inputs: tuple[frozenset[int], ...]) -> tuple[tuple[int, ...], ...]:
        return tuple((n,) for n in range(len(inputs)))

    placed.plan.cache_clear()
    with mock.patch("hwgen.gateware.dotproduct.dot.Packer", singles), mock.patch.object(placed, "pair_up", pair_up):
        yield
    placed.plan.cache_clear()


@contextmanager
def added_by_synthesis() -> Iterator[None]:
    """The tree's sums stated as sums, for synthesis to make."""

    def plain(m: Module, values: Any, shape: Any, name: str, *, ones: Any = (), flip: Value | None = None) -> Signal:
        turned = values[2] if flip is None else -1 - values[2]
        third = values[2] if flip is None else Signal(turned.shape(), name=f"{name}_third")
        if flip is not None:
            wide = Cat(values[2], Const(0, 1))
            m.d.comb += third.eq((wide ^ flip.replicate(len(wide))).as_signed())
        out = Signal(shape, name=f"{name}_out")
        m.d.comb += out.eq(sum(ones, values[0] + values[1] + third))
        return out

    with mock.patch.object(placed, "ternary_cells", plain):
        yield


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


class Binned(wiring.Component):
    """Sums by two bins of the exponent: products with the same upper bit of the exponent are summed first, in placed
    cells, and each bin's sum is shifted once, which takes no cells. `nan` and the lower bits' shift as elsewhere.

    Four bins take more still, and more of them take more again.
    """

    def __init__(self, element: Minifloat):
        self.element = element
        super().__init__({"a": In(LANES * element.bits), "b": In(LANES * element.bits), "sum": Out(72), "nan": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cells, pipe = Packer(m), Pipe(m, Const(1, 1), (False,) * 32)
        lanes = [
            (self.a.word_select(n, self.element.bits), self.b.word_select(n, self.element.bits)) for n in range(LANES)
        ]
        made, bad = placed_lane.products(m, cells, self.element, self.element, lanes)
        form = Form.of(made[0])
        fine = form.greatest_shift.bit_length() - 1
        moved = [self._shifted(cells, one, form, fine, lane) for lane, one in enumerate(made)]
        total: Value = Signal(1, name="none")
        for choice in range((form.greatest_shift >> fine) + 1):
            sums = placed.Sum([])
            for lane, (one, bits) in enumerate(zip(made, moved, strict=True)):
                sums.terms.append(self._gated(cells, one, bits, fine, choice, lane))
                sums.ones.append(At(sums.terms[-1].value.value[-1], 0))
            total = total + placed.tree(pipe, 1, sums, f"bin_{choice}").value.shift_left(choice << fine)
        cells.place()
        m.d.comb += [self.sum.eq(total >> form.drop), self.nan.eq(bad)]
        return m

    @staticmethod
    def _shifted(cells: Packer, one: Product, form: Form, fine: int, lane: int) -> list[Value]:
        """The significand shifted by the lower `fine` bits of the exponent."""
        most = (1 << fine) - 1
        shifter = placed.Shifter(form.width, most, 0, form.width + most, signed=False)
        bits, select, done = list(one.significand), list(one.shift), 0
        for number, stage in enumerate(placed.plan(shifter)):
            before, end = bits, placed.reach(len(bits), done, stage, most)
            bits = []
            for place in range(end):
                chosen = placed.sources(len(before), done, stage, most, place)
                inputs = [*(before[bit] for _, bit in chosen), *select[done : done + stage]]
                function = placed.multiplexer([choice for choice, _ in chosen], stage)
                bits.append(cells.lut(f"fine {number}", f"fine_{lane}_{number}_{place}", inputs, function))
            done += stage
        return bits

    @staticmethod
    def _gated(cells: Packer, one: Product, bits: list[Value], fine: int, choice: int, lane: int) -> placed.Term:
        """The signed product, less one where it is negative, or 0 in another bin."""
        select = list(one.shift)[fine:]

        def gated(*values: int) -> int:
            here = sum(bit << n for n, bit in enumerate(values[1 : 1 + len(select)])) == choice
            return here and values[0] ^ sum(values[1 + len(select) :])

        name = f"bin_{choice}_{lane}"
        out = [cells.lut("bins", f"{name}_{n}", [bit, *select, one.sign], gated) for n, bit in enumerate(bits)]
        out.append(cells.lut("bins", f"{name}_sign", [Const(0, 1), *select, one.sign], gated))
        return placed.Term(At(Cat(*out).as_signed(), 0), -(1 << len(bits)), (1 << len(bits)) - 1)


def tried(fmt: Block) -> dict[str, Callable[[], Size]]:
    """Architectures by name."""

    def unit(pipeline: int | str = 0, multiplier: str = "exact", **options: Any) -> Size:
        return measure(BlockDot(fmt, fmt, multiplier, pipeline, **options))

    def under(context: Any, pipeline: int | str, **options: Any) -> Size:
        with context():
            return unit(pipeline, **options)

    found: dict[str, Callable[[], Size]] = {
        "textbook, unpipelined": lambda: measure(Plain(fmt.element)),
        "logic, unpipelined": unit,
        "logic, for 200 MHz": lambda: unit("auto"),
    }
    element = fmt.element
    if not isinstance(element, Minifloat):
        return found
    if placed_lane.form(element, element).greatest_shift:
        found["logic, shifters planned alike, for 200 MHz"] = lambda: under(planned_alike, "auto")
        found["placed, summed by 2 bins of the exponent"] = lambda: measure(Binned(element))
    return {
        **found,
        "placed, never two functions in one LUT": lambda: under(alone, 0, placed=True),
        "placed, but the adders by synthesis": lambda: under(added_by_synthesis, 0, placed=True),
        "placed, unpipelined": lambda: unit(placed=True),
        "placed, for 200 MHz": lambda: unit("auto", placed=True),
        "L-Mul, placed, unpipelined": lambda: unit(0, "lmul", placed=True),
    }


def compare(name: str) -> dict[str, Any]:
    """All architectures of one format, printed as they come."""
    fmt, rows = get(name), []
    assert isinstance(fmt, Block)
    for label, size_of in tried(fmt).items():
        size = size_of()
        ratio = size.lut / PEER[name]
        print(f"{name:11} {label:44} {size.lut:6} {size.ff:6} {size.carry:6} {size.depth:6} {ratio:9.0%}", flush=True)
        rows.append({"architecture": label, "ratio": ratio, **vars(size)})
    exact = [row for row in rows if not str(row["architecture"]).startswith("L-Mul")]
    best = min(exact, key=lambda row: row["ratio"])
    state = "met" if best["ratio"] <= AIM else "under the peer" if best["ratio"] < 1 else "MISSED"
    print(f"{name:11} best: {best['ratio']:.0%} of the peer's {PEER[name]} (aim {AIM:.0%}): {state}", flush=True)
    return {"best": best["lut"], "which": best["architecture"], "peer": PEER[name], "state": state, "tried": rows}


def main() -> None:
    names = [argument for argument in sys.argv[1:] if not argument.startswith("-")] or list(PEER)
    print(f"{'format':11} {'architecture':44} {'LUT':>6} {'FF':>6} {'carry':>6} {'depth':>6} {'of peer':>9}")
    found = results.read("size").get("formats", {})
    for name in names:
        found[name] = compare(name)
        if "--write" in sys.argv:
            results.write("size", {"aim": AIM, "formats": found})


if __name__ == "__main__":
    main()
