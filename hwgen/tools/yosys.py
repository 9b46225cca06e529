"""Yosys, from the `pyosys` package, in a child Python process: RTLIL to Verilog, and synthesis with statistics."""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwgen.errors import HwgenError, ToolMissingError
from hwgen.tools import child
from hwgen.tools.files import write_atomic
from hwgen.tools.resources import FAMILIES, Family, Resources, Statistics, parse_stat

__all__ = [
    "FAMILIES",
    "NOTES",
    "Family",
    "Resources",
    "Statistics",
    "Synthesis",
    "parse_stat",
    "quote",
    "run_script",
    "synthesis_script",
    "synthesise",
]

# What to say beside a figure of a family.
NOTES: dict[Family, str] = {
    "ecp5": "",
    "ice40": "",
    "xcup": "Yosys' xcup mapping uses CARRY4, infers few SRLs and does not pair small LUTs, so Vivado needs fewer LUTs",
}

_SYNTH: dict[Family, str] = {
    "ecp5": "synth_ecp5",
    "ice40": "synth_ice40 -dsp",
    "xcup": "synth_xilinx -family xcup -flatten -noiopad -noclkbuf",
}

# Cells with parameters that are instantiated, a MULT18X18D or a LUT6_2 for instance, get marked to be elaborated again
# once Yosys has read the family's own library: that would be after synthesis, whose result it would throw away for the
# module as it was written.
_ELABORATED = "setattr -unset reprocess_after"

# Passes before synthesis. On ECP5 Yosys would put products of two bits and more on the 18x18 multipliers, which without
# their own registers are slower than a small multiplier of LUTs, far to reach and soon used up: those whose product has
# less than 11 bits, the limit that Yosys itself has for the iCE40, are turned into adders first.
_SMALL = ("select -set small t:$mul r:Y_WIDTH<11 %i", "alumacc @small")
_PREPARE: dict[Family, tuple[str, ...]] = {
    "ecp5": ("proc", "opt_expr", "opt_clean", "wreduce t:$mul", *_SMALL),
    "ice40": (),
    "xcup": (),
}

# What `synth_xilinx` does for memories of UltraScale+, of its step `map_memory`, but with our list of distributed RAMs.
_LUTRAMS = "lutrams.txt"
_MEMORIES = (
    f"memory_libmap -logic-cost-rom 0.015625 -lib {_LUTRAMS} -lib +/xilinx/brams_xc4v.txt -D HAS_SIZE_36"
    " -D HAS_MIXWIDTH_SDP -D HAS_ADDRCE -lib +/xilinx/urams.txt -no-auto-huge",
    "techmap -map +/xilinx/lutrams_xc5v_map.v",
    "techmap -map +/xilinx/brams_xcu_map.v",
    "techmap -map +/xilinx/urams_map.v",
)

# After the first of _MEMORIES: block RAMs lose their contents, which say nothing about sizes. Each of other contents is
# another cell for the next step, which takes seconds for each.
_EMPTY = "setparam -set INIT 1'x t:$__XILINX_BLOCKRAM_*"

_RUNNER = Path(__file__).with_name("pyosys_run.py")


@dataclass(frozen=True)
class Synthesis:
    """A synthesised design. `netlist` is the JSON for place and route, or None where none was asked for."""

    statistics: Statistics
    netlist: Path | None
    note: str


def quote(name: Path | str) -> str:
    """`name` as one word of a Yosys script; raises HwgenError for a name that Yosys cannot take."""
    text = str(name)
    if '"' in text or "\n" in text:
        raise HwgenError(f"yosys cannot read a file or module with a quote or a line end in its name: {text!r}")
    return f'"{text}"' if re.search(r"\s", text) else text


def run_script(
    script: str,
    *,
    log: Path | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    on_line: child.OnLine | None = None,
) -> None:
    """Run the text of a Yosys script; raises ToolFailedError with Yosys' last lines when a command of it fails."""
    with tempfile.TemporaryDirectory(prefix="hwgen-yosys-") as folder:
        path = Path(folder, "script.ys")
        path.write_text(script, encoding="utf-8")
        child.run([sys.executable, _RUNNER, path], log=log, cwd=cwd, timeout=timeout, on_line=on_line)


def _distributed_rams() -> str:
    """Yosys' list of UltraScale's distributed RAMs, where the deepest of one port has 512 words (AMD UG574).

    Yosys 0.70 says 16 address bits there, and then has no cell for it: memories of one port that are deeper than 256
    words and not block RAMs ended with "invalid OPTION_ABITS/WIDTH combination".
    """
    found = importlib.util.find_spec("pyosys")
    if found is None or found.origin is None:
        raise ToolMissingError("Yosys is not installed; install it with: pip install pyosys")
    path = Path(found.origin).parent / "share" / "xilinx" / "lutrams_xcu.txt"
    return re.sub(r'(option "ABITS" |\babits )16\b', r"\g<1>9", path.read_text(encoding="utf-8"))


def _mapping(family: Family, top: str, contents: bool) -> list[str]:
    """The commands that synthesise `top` for `family`; block RAMs of xcup have their contents only where asked for."""
    command = f"{_SYNTH[family]} -top {quote(top)}"
    if family != "xcup":
        return [command]
    lutrams = [f"write_file {_LUTRAMS} <<EOT", *_distributed_rams().splitlines(), "EOT"]
    memories = _MEMORIES if contents else (_MEMORIES[0], _EMPTY, *_MEMORIES[1:])
    return [*lutrams, f"{command} -run :map_memory", *memories, f"{command} -run map_ffram:"]


def synthesis_script(
    sources: Sequence[Path | str],
    top: str,
    family: Family,
    *,
    keep: Sequence[str] = (),
    defines: Sequence[str] = (),
    netlist: Path | str | None = None,
    stat: Path | str = "stat.json",
    contents: bool = True,
) -> str:
    """A Yosys script that synthesises `top` for `family` and writes statistics and, where named, a JSON netlist.

    Modules named in `keep` are synthesised apart, so that the statistics have a line for each of them; everything
    inside them is flattened, and the netlist is flat. `defines` are Verilog macros, `NAME` or `NAME=VALUE`. Without
    `contents` block RAMs of xcup may be left empty: the statistics are the same, and sooner there.
    Raises HwgenError for an unknown family, and ToolMissingError for xcup without Yosys, whose list of RAMs it takes.
    """
    if family not in FAMILIES:
        raise HwgenError(f"no synthesis for the FPGA family {family!r}, only for {', '.join(FAMILIES)}")
    macros = "".join(f" -D{define}" for define in defines)
    lines = [f"read_verilog -sv{macros} {quote(source)}" for source in sources]
    lines.append(f"hierarchy -top {quote(top)}")
    # Generated names have dots, which a selection pattern reads as they are; `\` is how Yosys stores public names.
    lines += [f"setattr -mod -set keep_hierarchy 1 {quote(name)}" for name in keep]
    lines += [_ELABORATED, *_PREPARE[family]]
    lines += [*_mapping(family, top, contents), f"tee -q -o {quote(stat)} stat -json"]
    if netlist is not None:
        if keep:
            lines += ["setattr -mod -unset keep_hierarchy *", "flatten", "opt_clean"]
        lines.append(f"write_json {quote(netlist)}")
    return "\n".join(lines) + "\n"


def synthesise(
    sources: Sequence[Path],
    top: str,
    family: Family,
    out_dir: Path,
    *,
    keep: Sequence[str] = (),
    defines: Sequence[str] = (),
    timeout: float | None = None,
    on_line: child.OnLine | None = None,
) -> Synthesis:
    """Synthesise into `out_dir`: `synth.ys`, `synth.log`, `stat.json`, and `netlist.json` for ecp5 and ice40.

    See `synthesis_script` for `keep` and `defines`. Raises ToolFailedError when Yosys fails.
    """
    netlist = None if family == "xcup" else "netlist.json"
    absolute = [Path(source).resolve() for source in sources]
    script = synthesis_script(absolute, top, family, keep=keep, defines=defines, netlist=netlist)
    write_atomic(out_dir / "synth.ys", script)
    run_script(script, log=out_dir / "synth.log", cwd=out_dir, timeout=timeout, on_line=on_line)
    text = (out_dir / "stat.json").read_text(encoding="utf-8")
    return Synthesis(parse_stat(text, family, top), out_dir / netlist if netlist else None, NOTES[family])
