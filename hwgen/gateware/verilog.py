"""Readable, lint-clean Verilog of a component."""

import gc
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from hwgen.gateware.rom import Emission, modules, without_contents
from hwgen.tools.yosys import run_script

# Amaranth's own attributes, which other tools do not know.
_REMOVED = " ".join(
    f"-remove {name}" for name in ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding")
)

# Amaranth's converter leaves a wire for every field and alias of a signal, and adders a carry too wide: those go,
# and processes become plain registers with enables. The hierarchy and its ports stay as they are.
_SCRIPT = f"""
read_rtlil in.il
proc -noopt
memory_collect
opt_clean -purge
wreduce
opt_dff
opt_merge
opt_clean -purge
attrmap {_REMOVED}
attrmap -modattr {_REMOVED}
write_verilog -norename out.v
"""

_INITIALISED = re.compile(r"^  reg ((?:signed )?(?:\[\d+:0\] )?)(\S+ ?) = (\S+);$", re.MULTILINE)

# What Verilator need not say of the file. DECLFILENAME: it holds all modules. WIDTHEXPAND: Yosys writes `a + b` for
# operands of different widths, counting on Verilog to extend the narrower one, which is exact. UNUSEDSIGNAL: an input
# whose weights are all zero is not read, and neither are bits of sums that constants decide.
_WAIVED = ("DECLFILENAME", "WIDTHEXPAND", "UNUSEDSIGNAL")
_HEADER = "".join(f"/* verilator lint_off {name} */\n" for name in _WAIVED)
_FOOTER = "".join(f"/* verilator lint_on {name} */\n" for name in _WAIVED)


def to_verilog(component: wiring.Component, name: str) -> str:
    """Verilog text of `component` as module `name`, its submodules' instances named as in Amaranth.

    Registers start from their reset values also without a reset, which the text states in `initial` statements.
    """
    return from_rtlil(to_rtlil(component, name))


@contextmanager
def _without_collector() -> Iterator[None]:
    """Hardware descriptions are millions of objects that all live to the end; to look for garbage among them again and
    again took a third of the time.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@_without_collector()
def to_rtlil(component: wiring.Component, name: str) -> str:
    """What Yosys reads of `component` as module `name`: the same text for the same gateware."""
    emission = Emission()
    return rtlil.convert(component, name=name, platform=emission, emit_src=False) + emission.text()


def from_rtlil(text: str) -> str:
    """The Verilog text of what `to_rtlil` gave."""
    with tempfile.TemporaryDirectory(prefix="hwgen-gateware-") as folder:
        Path(folder, "in.il").write_text(without_contents(text), encoding="utf-8")
        run_script(_SCRIPT, cwd=Path(folder))
        verilog = Path(folder, "out.v").read_text(encoding="utf-8")
    return _HEADER + _INITIALISED.sub(r"  reg \1\2;\n  initial \2 = \3;", verilog) + modules(text) + _FOOTER
