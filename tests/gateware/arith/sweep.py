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


CLOCKED = """
#include "Vclocked.h"
#include <cstdint>
#include <cstdio>
int main(int argc, char** argv) {
    Vclocked top;
    FILE* in = fopen(argv[1], "rb");
    FILE* out = fopen(argv[2], "wb");
    top.rst = 0;
    uint32_t words[IN_WORDS];
    while (fread(words, 4, IN_WORDS, in) == IN_WORDS) {
        for (int n = 0; n < IN_WORDS; ++n) top.n.data()[n] = words[n];
        top.clk = 0;
        top.eval();
        fwrite(top.o.data(), 4, OUT_WORDS, out);
        top.clk = 1;
        top.eval();
    }
    fclose(in);
    return fclose(out);
}
"""


@dataclass(frozen=True)
class Dut:
    """A combinational component; `inputs`: its input ports with their widths, the first in the lowest bits of n."""

    component: wiring.Component
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[str, ...] = ("o",)


class _Clocked(wiring.Component):
    def __init__(self, duts: list[Dut]):
        self.duts = duts
        self.in_widths = [sum(width for _, width in dut.inputs) for dut in duts]
        self.out_widths = [sum(len(wiring_value(d.component, port)) for port in d.outputs) for d in duts]
        self.in_words, self.out_words = (max(3, -(-sum(w) // 32)) for w in (self.in_widths, self.out_widths))
        super().__init__({"n": In(32 * self.in_words), "o": Out(32 * self.out_words)})

    def elaborate(self, platform):
        m = Module()
        start, outs = 0, []
        for index, dut in enumerate(self.duts):
            m.submodules[f"dut_{index}"] = dut.component
            for port, width in dut.inputs:
                m.d.comb += wiring_value(dut.component, port).eq(self.n[start : start + width])
                start += width
            outs += [wiring_value(dut.component, port) for port in dut.outputs]
        m.d.comb += self.o.eq(Cat(*outs))
        return m


def clocked(duts: list[Dut], bits: list[np.ndarray], folder: Path) -> list[np.ndarray]:
    """The output bits of each component, uint8 (clocks, bits), in each clock before its edge.

    `bits`, likewise and of as many clocks each, are what their input ports get. One simulator runs them all.
    """
    top = _Clocked(duts)
    text = CLOCKED.replace("IN_WORDS", str(top.in_words)).replace("OUT_WORDS", str(top.out_words))
    (folder / "clocked.v").write_text(to_verilog(top, "clocked"))
    (folder / "main.cpp").write_text(text)
    sources = [folder / "clocked.v", CELLS, RTL / "dsp_xcup.sv", RTL / "dsp_ecp5.sv"]
    args = ["--prefix", "Vclocked", "-Wno-fatal"]
    simulator = build(sources, "clocked", folder / "simulator", args, [folder / "main.cpp"])
    together = np.concatenate(bits, axis=1)
    padded = np.zeros((len(together), 32 * top.in_words), dtype=np.uint8)
    padded[:, : together.shape[1]] = together
    np.packbits(padded, axis=1, bitorder="little").tofile(folder / "in.bin")
    child.run([simulator, folder / "in.bin", folder / "out.bin"])
    raw = np.fromfile(folder / "out.bin", dtype=np.uint8).reshape(len(together), 4 * top.out_words)
    out = np.unpackbits(raw, axis=1, bitorder="little")
    ends = np.cumsum(top.out_widths)
    return [out[:, end - width : end] for end, width in zip(ends, top.out_widths, strict=True)]


def to_bits(values: np.ndarray, width: int) -> np.ndarray:
    """Integers (n, lanes) as bits (n, lanes * width), lane 0 lowest."""
    values = np.asarray(values, dtype=np.int64)
    return ((values[..., None] >> np.arange(width)) & 1).astype(np.uint8).reshape(len(values), -1)


def from_bits(bits: np.ndarray, width: int, *, is_signed: bool = False) -> np.ndarray:
    """Integers (n, lanes) of bits (n, lanes * width)."""
    lanes = bits.reshape(len(bits), -1, width).astype(np.int64)
    values = lanes @ (np.int64(1) << np.arange(width))
    return np.where(lanes[..., -1] == 1, values - (1 << width), values) if is_signed else values


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
        self.lsb = 2 - 2 * fmt.bias - fmt.mantissa_bits
        self.width = fmt.mantissa_bits + 2 + 2 * ((1 << fmt.exponent_bits) - 1) + 1
        super().__init__({"a": In(fmt.bits), "b": In(fmt.bits), "o": Out(self.width), "bad": Out(1)})

    def elaborate(self, platform):
        m = Module()
        product = self.function(m, self.format, self.a, self.b)
        m.d.comb += [self.o.eq(fixed(m, product, self.width)), self.bad.eq(~product.finite)]
        return m


class Flat(wiring.Component):
    """A component with streams `i` and `o` whose signals are plain ports, for tests."""

    def __init__(self, dut):
        self.dut = dut
        super().__init__(
            {
                "i_payload": In(len(wiring_value(dut.i, "payload"))),
                "i_valid": In(1),
                "o_payload": Out(len(wiring_value(dut.o, "payload"))),
                "o_valid": Out(1),
                "o_ready": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.dut
        m.d.comb += [
            self.dut.i.payload.as_value().eq(self.i_payload),
            self.dut.i.valid.eq(self.i_valid),
            self.dut.o.ready.eq(self.o_ready),
            self.o_payload.eq(self.dut.o.payload.as_value()),
            self.o_valid.eq(self.dut.o.valid),
        ]
        return m
