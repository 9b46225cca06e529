"""ROMs of many bits: a memory in simulation, a module of plain Verilog where they are emitted.

Amaranth and Yosys take a memory's contents bit by bit, minutes for a network of millions of weights. So what is emitted
holds an instance, and the contents as lines of text, which become modules at the end.
"""

import hashlib
import re
from collections.abc import Iterable

from amaranth.hdl import ClockSignal, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

LEAST_BITS = 2048
"""Smaller ROMs stay memories, which Yosys may turn to logic."""

BLOCK_WORDS = 32
"""Words of one `initial` block. Yosys reads a block in a time that grows with the square of its length."""

_LINE = re.compile(r"^#rom (\S+) (\d+) (\w+) (\S+)$", re.MULTILINE)


class Emission:
    """Stands for a platform where RTLIL is made: collects ROMs, each of them once however often it is instantiated."""

    def __init__(self) -> None:
        self.roms: dict[str, str] = {}

    def rom(self, width: int, words: Iterable[int], style: str) -> str:
        """The name of the module of such a ROM."""
        digits = (width + 3) // 4
        text = ",".join(f"{word:0{digits}x}" for word in words)
        name = f"rom_{hashlib.sha256(f'{width} {style} {text}'.encode()).hexdigest()[:16]}"
        self.roms[name] = f"#rom {name} {width} {style} {text}\n"
        return name

    def text(self) -> str:
        """RTLIL of the modules without their contents, and these as comments, for `modules`."""
        return "".join(_stub(line) + line for line in self.roms.values())


class Rom(wiring.Component):
    """Word `address` of `words`, one clock in which `enable` is high later.

    Parameters: `width` of the words in bits; `words`, integers; `style`, "block" or "auto", of the memory.
    """

    def __init__(self, width: int, words: list[int], style: str):
        self.width, self.words, self.style = width, words, style
        depth = range(len(words))
        super().__init__({"address": In(depth), "enable": In(1), "data": Out(width)})

    def elaborate(self, platform):
        m = Module()
        if isinstance(platform, Emission):
            name = platform.rom(self.width, self.words, self.style)
            m.submodules.words = Instance(
                name,
                i_clk=ClockSignal(),
                i_enable=self.enable,
                i_address=self.address,
                o_data=self.data,
            )
            return m
        m.submodules.words = memory = Memory(shape=self.width, depth=len(self.words), init=self.words)
        port = memory.read_port()
        m.d.comb += [port.addr.eq(self.address), port.en.eq(self.enable), self.data.eq(port.data)]
        return m


def _stub(line: str) -> str:
    name, width, _, text = _LINE.match(line).groups()
    bits = text.count(",").bit_length()
    return (
        f"attribute \\blackbox 1\nmodule \\{name}\n  wire input 1 \\clk\n  wire input 2 \\enable\n"
        f"  wire width {bits} input 3 \\address\n  wire width {width} output 4 \\data\nend\n"
    )


def modules(rtlil: str) -> str:
    """Verilog of the ROMs in a text that `Emission.text` was made part of."""
    return "".join(_module(*found.groups()) for found in _LINE.finditer(rtlil))


def without_contents(rtlil: str) -> str:
    """The text for Yosys, which need not read the contents."""
    return _LINE.sub("", rtlil)


def _module(name: str, width: str, style: str, text: str) -> str:
    words = text.split(",")
    bits = (len(words) - 1).bit_length()
    attribute = '  (* rom_style = "block" *)\n' if style == "block" else ""
    lines = [f"    words[{n}] = {width}'h{word};\n" for n, word in enumerate(words)]
    blocks = ("".join(lines[n : n + BLOCK_WORDS]) for n in range(0, len(lines), BLOCK_WORDS))
    contents = "".join(f"  initial begin\n{block}  end\n" for block in blocks)
    return f"""
module {name}(clk, enable, address, data);
  input clk;
  input enable;
  input [{bits - 1}:0] address;
  output [{int(width) - 1}:0] data;
  reg [{int(width) - 1}:0] data;
{attribute}  reg [{int(width) - 1}:0] words [{len(words) - 1}:0];
{contents}  always @(posedge clk)
    if (enable) data <= words[address];
endmodule
"""
