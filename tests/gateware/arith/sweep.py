"""Every input of combinational components, in one run of one compiled simulator for many components."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from amaranth.hdl import Cat, Const, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.gateware.arith.product import fixed
from hwgen.gateware.verilog import to_verilog
from hwgen.tools import child
from hwgen.tools.verilator import build

RTL = Path(__file__).parents[3] / "rtl"
CELLS = RTL / "cells_xcup.sv"

MAIN = """
#include "Vsweep.h"
#include <cstdint>
#include <cstdio>
#include <cstdlib>
int main(int argc, char** argv) {
    Vsweep top;
    FILE* file = fopen(argv[1], "wb");
    const uint32_t count = strtoul(argv[2], nullptr, 10);
    for (uint32_t n = 0; n < count; ++n) {
        top.n = n;
        top.eval();
        fwrite(top.o.data(), 4, WORDS, file);
    }
    return fclose(file);
}
"""


@dataclass(frozen=True)
class Dut:
    """A combinational component; `inputs`: its input ports with their widths, the first in the lowest bits of n."""

    component: wiring.Component
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[str, ...] = ("o",)


class _Sweep(wiring.Component):
    def __init__(self, duts: list[Dut]):
        self.duts = duts
        self.widths = [[len(wiring_value(dut.component, port)) for port in dut.outputs] for dut in duts]
        total = sum(map(sum, self.widths))
        # Three words at least, for which Verilator's class has an array.
        self.words = max(3, -(-total // 32))
        self.bits = max(sum(width for _, width in dut.inputs) for dut in duts)
        super().__init__({"n": In(self.bits), "o": Out(32 * self.words)})

    def elaborate(self, platform):
        m = Module()
        outs = []
        for index, dut in enumerate(self.duts):
            m.submodules[f"dut_{index}"] = dut.component
            start = 0
            for port, width in dut.inputs:
                m.d.comb += getattr(dut.component, port).eq(self.n[start : start + width])
                start += width
            outs += [wiring_value(dut.component, port) for port in dut.outputs]
        m.d.comb += self.o.eq(Cat(*outs, Const(0, 0)))
        return m


def wiring_value(component: wiring.Component, port: str):
    return (
        getattr(component, port).as_value()
        if hasattr(getattr(component, port), "as_value")
        else getattr(component, port)
    )


def sweep(duts: list[Dut], folder: Path) -> list[tuple[np.ndarray, ...]]:
    """For each component the unsigned values of its outputs, each of shape (2**input bits,), by n."""
    top = _Sweep(duts)
    (folder / "sweep.v").write_text(to_verilog(top, "sweep"))
    (folder / "main.cpp").write_text(MAIN.replace("WORDS", str(top.words)))
    args = ["--prefix", "Vsweep", "-Wno-fatal"]
    simulator = build([folder / "sweep.v", CELLS], "sweep", folder / "simulator", args, [folder / "main.cpp"])
    child.run([simulator, folder / "out.bin", str(1 << top.bits)])
    words = np.fromfile(folder / "out.bin", dtype="<u4").reshape(1 << top.bits, top.words)
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    found, start = [], 0
    for dut, widths in zip(duts, top.widths, strict=True):
        count = 1 << sum(width for _, width in dut.inputs)
        values = []
        for width in widths:
            assert width <= 160
            part = bits[:count, start : start + width].astype(np.int64 if width < 63 else object)
            weights = np.array([1 << k for k in range(width)], dtype=part.dtype)
            values.append(part @ weights)
            start += width
        found.append(tuple(values))
    return found


def pairs(a_bits: int, b_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The codes a and b of every n, for ports ("a", a_bits), ("b", b_bits)."""
    n = np.arange(1 << (a_bits + b_bits))
    return n & ((1 << a_bits) - 1), n >> a_bits


class LMulFormula(wiring.Component):
    """The exact form of L-Mul in fixed point, for tests: `function` is `lmul_formula`."""

    def __init__(self, fmt, function):
        self.format, self.function = fmt, function
        shape = function(Module(), fmt, Const(0, fmt.bits), Const(0, fmt.bits))
        self.lsb = shape.lsb
        self.width = len(shape.significand) + 2 * ((1 << fmt.exponent_bits) - 1) + 1
        super().__init__({"a": In(fmt.bits), "b": In(fmt.bits), "o": Out(self.width), "bad": Out(1)})

    def elaborate(self, platform):
        m = Module()
        product = self.function(m, self.format, self.a, self.b)
        m.d.comb += [self.o.eq(fixed(m, product, self.width)), self.bad.eq(~product.finite)]
        return m
