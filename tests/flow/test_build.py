"""Running plans with tools that are small scripts: caching, failures, vendor tools, flash."""

import dataclasses
import json
from pathlib import Path

import pytest

from hwgen.errors import DoesNotFitError, HwgenError, ToolFailedError, ToolMissingError
from hwgen.flow import build
from hwgen.flow.boards import load_board
from hwgen.flow.build import execute, fmax_over_seeds, program
from hwgen.flow.flash import flash
from hwgen.flow.plan import BuildPlan, plan
from hwgen.flow.progress import Progress
from hwgen.flow.result import VendorToolMissingError, check_fits
from tests.flow.test_reports import ECP5, LOG, TIMING, UTILIZATION

SOURCES = {"board.v": "module board(input aclk); endmodule\n"}
STAT = {"modules": {"\\board": {"num_cells_by_type": {"LUT4": 5, "accel": 1}}, "\\accel": {"num_cells_by_type": {}}}}


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the front of the PATH for tools that are scripts."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def _tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\nset -eu\n{script}\n")
    path.chmod(0o755)


def _faked(made: BuildPlan) -> BuildPlan:
    """The same plan with each step's program replaced by one of the step's name."""
    steps = tuple(dataclasses.replace(step, command=(f"fake-{step.name}", *step.command[1:])) for step in made.steps)
    return dataclasses.replace(made, steps=steps)


def _tools(folder: Path, stat: object = STAT, route: str = ECP5, routing: str = "") -> None:
    (folder / "stat.json").write_text(json.dumps(stat))
    (folder / "route.json").write_text(route)
    _tool(folder, "fake-synthesis", f"cat board.v > netlist.json; cp {folder}/stat.json .; echo ran >> {folder}/runs")
    _tool(folder, "fake-route", routing or f"cat netlist.json board.lpf > board.config; cp {folder}/route.json .")
    _tool(folder, "fake-bitstream", "cat board.config > board.bit")


def _plan(**options: object) -> BuildPlan:
    return _faked(plan(load_board("ulx3s"), SOURCES, keep=["accel"], **options))  # type: ignore[arg-type]


def _met(achieved: float) -> str:
    return ECP5.replace("74.4", str(achieved))


def test_a_build_gives_a_bitstream_and_figures(tmp_path: Path, bin_folder: Path) -> None:
    _tools(bin_folder, route=_met(91))
    events: list[Progress] = []
    result = execute(_plan(), tmp_path / "out", events.append)
    assert result.bitstream == tmp_path / "out" / "board.bit"
    assert result.bitstream.read_text().startswith("module board")
    lut = result.resources["lut"]
    assert (lut.used.value, lut.used.source, lut.available) == (502, "route", 83640)
    assert lut.used.how.startswith("fake-route --85k")
    assert (result.synthesis["lut"].used.value, result.synthesis["lut"].used.source) == (5, "synthesis")
    assert result.modules["accel"].lut == 0
    assert set(result.modules) == {"accel"}
    assert (result.fmax["core.clk"].value, result.target["core.clk"], result.timing_met) == (91, 80, True)
    assert [(e.number, e.count, e.message) for e in events] == [
        (n, 3, message) for n in (1, 2, 3) for message in ("started", "done")
    ]
    assert json.loads((tmp_path / "out" / "flow.json").read_text()) == result.to_json()
    names = {path.name.split("-")[0] for path in (tmp_path / "out").iterdir()}
    steps = ("synthesis", "route", "bitstream")
    assert names == {"project", "board.bit", "flow.json", *steps, *(f"{step}.log" for step in steps)}


def test_a_rerun_repeats_only_what_changed(tmp_path: Path, bin_folder: Path) -> None:
    _tools(bin_folder, route=_met(91))
    out = tmp_path / "out"
    assert execute(_plan(), out).reused == ()
    assert execute(_plan(), out).reused == ("synthesis", "route", "bitstream")
    assert execute(_plan(seed=2), out).reused == ("synthesis", "bitstream")
    assert (bin_folder / "runs").read_text() == "ran\n"
    changed = _faked(plan(load_board("ulx3s"), {"board.v": "module board(input b); endmodule\n"}))
    assert execute(changed, out).reused == ()


def test_a_design_that_does_not_fit_ends_before_place_and_route(tmp_path: Path, bin_folder: Path) -> None:
    stat = {"modules": {"board": {"num_cells_by_type": {"LUT4": 90000, "MULT18X18D": 200}}}}
    _tools(bin_folder, stat, routing="touch should-not-run; exit 1")
    with pytest.raises(
        DoesNotFitError, match=r"by synthesis: LUT 90000 of 83640, 6360 too many .*; DSP 200 of 156, 44"
    ):
        execute(_plan(), tmp_path / "out")
    assert not (tmp_path / "out" / "route.log").exists()


def test_a_design_that_place_and_route_cannot_fit(tmp_path: Path, bin_folder: Path) -> None:
    log = LOG.replace("ICESTORM_LC:    6023/   5280", "TRELLIS_COMB:    90001/   83640").replace("\n", "\\n")
    _tools(bin_folder, routing=f'printf "{log.replace("%", "%%")}"; exit 1')
    with pytest.raises(DoesNotFitError, match=r"by place and route: LUT 90001 of 83640, 6361 too many"):
        execute(_plan(), tmp_path / "out")
    _tools(bin_folder, routing="echo ERROR: no route; exit 1")
    with pytest.raises(
        ToolFailedError, match=r"(?s)fake-route failed with exit code 1 \(log: .*route\.log\).*no route"
    ):
        execute(_plan(), tmp_path / "out")


def test_missed_timing_is_an_error_unless_allowed_and_keeps_the_last_bitstream(
    tmp_path: Path, bin_folder: Path
) -> None:
    out = tmp_path / "out"
    _tools(bin_folder, route=_met(91))
    execute(_plan(), out)
    before = (out / "board.bit").read_bytes()
    _tools(bin_folder, route=_met(70))
    with pytest.raises(HwgenError, match=r"timing is not met: core\.clk reaches 70\.0 MHz of 80 MHz, 1\.79 ns short"):
        execute(_plan(seed=3), out)
    assert (out / "board.bit").read_bytes() == before
    result = execute(_plan(seed=3), out, allow_timing_failure=True)
    assert result.timing_met is False
    assert result.fmax["core.clk"].value == 70


def test_tools_that_lie_or_are_missing(tmp_path: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolMissingError, match="fake-synthesis is not installed"):
        execute(_plan(), tmp_path / "out")
    _tools(bin_folder, routing="echo fine")
    with pytest.raises(ToolFailedError, match=r"fake-route ended well but wrote no route\.json \(log: .*route\.log\)"):
        execute(_plan(), tmp_path / "out")
    monkeypatch.setattr(build.sys, "executable", str(tmp_path / "python3"))
    with pytest.raises(
        ToolMissingError, match="yowasp-icepack is not installed; install it with: pip install yowasp-nextpnr"
    ):
        program("yowasp-icepack")
    monkeypatch.setattr(build, "_PACKAGES", {"fake-synthesis": "no-such-package"})
    with pytest.raises(
        ToolMissingError, match="fake-synthesis is not installed; install it with: pip install no-such-pac"
    ):
        execute(_plan(), tmp_path / "out")


def test_a_result_that_vanished(tmp_path: Path, bin_folder: Path) -> None:
    _tools(bin_folder, route=_met(91))
    execute(_plan(), tmp_path / "out")
    next((tmp_path / "out").glob("synthesis-*/stat.json")).unlink()
    with pytest.raises(HwgenError, match=r"cannot read .*stat\.json: No such file"):
        execute(_plan(), tmp_path / "out")


def _ultra96() -> BuildPlan:
    made = plan(load_board("ultra96"), SOURCES)
    synthesis = dataclasses.replace(made.steps[0], command=("fake-synthesis",))
    return dataclasses.replace(made, steps=(synthesis, made.steps[1]))


def _xcup_tools(folder: Path, cells: dict[str, int]) -> None:
    (folder / "stat.json").write_text(json.dumps({"modules": {"board": {"num_cells_by_type": cells}}}))
    _tool(folder, "fake-synthesis", f"cp {folder}/stat.json .")
    (folder / "u.rpt").write_text(UTILIZATION)
    (folder / "t.rpt").write_text(TIMING.replace("-0.250", "0.500"))


def test_without_vivado_everything_else_is_there(tmp_path: Path, bin_folder: Path) -> None:
    _xcup_tools(bin_folder, {"LUT6": 7})
    out = tmp_path / "out"
    with pytest.raises(
        VendorToolMissingError, match=r"vivado is not on the PATH, so there is no board\.bit yet"
    ) as caught:
        execute(_ultra96(), out)
    text = str(caught.value)
    assert "By synthesis the design fits ultra96" in text
    assert text.endswith(f"run: cd {out}/project && vivado -mode batch -nojournal -source build.tcl")
    assert caught.value.exit_code == ToolMissingError.exit_code
    assert {path.name for path in (out / "project").iterdir()} == {
        *("board.v", "board.xdc", "build.tcl", "build.sh", "synth.ys")
    }
    result = caught.value.result
    assert (result.bitstream, result.timing_met, result.resources["lut"].used.value) == (None, None, 7)
    assert "CARRY4" in result.note
    assert json.loads((out / "flow.json").read_text())["synthesis"]["lut"]["value"] == 7


def test_an_unknown_cell_leaves_the_fit_unknown(tmp_path: Path, bin_folder: Path) -> None:
    _xcup_tools(bin_folder, {"MYSTERY": 1})
    with pytest.raises(VendorToolMissingError, match="Whether the design fits is not known") as caught:
        execute(_ultra96(), tmp_path / "out")
    assert caught.value.result.resources["lut"].used.value is None


def test_vivado_on_the_path_is_run_and_read(tmp_path: Path, bin_folder: Path) -> None:
    _xcup_tools(bin_folder, {"LUT6": 7})
    writes = f"cp {bin_folder}/u.rpt utilization.rpt; cp {bin_folder}/t.rpt timing.rpt; "
    writes += "grep -c synth_design build.tcl > board.bit"
    _tool(bin_folder, "vivado", f'test "$*" = "-mode batch -nojournal -source build.tcl"; {writes}')
    result = execute(_ultra96(), tmp_path / "out")
    assert result.bitstream is not None
    assert result.bitstream.read_text() == "1\n"
    assert (result.resources["bram"].used.value, result.resources["bram"].used.source) == (12.5, "route")
    assert result.fmax["aclk"].value == pytest.approx(1000 / 4.5)
    _tool(bin_folder, "vivado", "echo ERROR: license; exit 1")
    with pytest.raises(ToolFailedError, match=r"(?s)vivado failed with exit code 1.*license"):
        execute(_ultra96(), tmp_path / "other")


def test_flash_takes_the_first_loader_that_is_there(tmp_path: Path, bin_folder: Path) -> None:
    board, path = load_board("ulx3s"), tmp_path / "my board.bit"
    with pytest.raises(HwgenError, match=r"cannot flash .*my board\.bit: there is no such file"):
        flash(board, path)
    path.write_text("")
    with pytest.raises(ToolMissingError) as caught:
        flash(board, path)
    assert str(caught.value) == (
        f"no loader for ulx3s is on the PATH; install one and run: openFPGALoader -b ulx3s '{path}' or fujprog '{path}'"
    )
    _tool(bin_folder, "fujprog", 'echo "loading $1"')
    lines: list[str] = []
    flash(board, path, lines.append)
    assert lines == [f"loading {path}"]
    _tool(bin_folder, "openFPGALoader", "echo no device; exit 1")
    with pytest.raises(ToolFailedError, match=r"(?s)openFPGALoader failed with exit code 1.*no device"):
        flash(board, path)
    with pytest.raises(HwgenError, match="hwgen has no loader for ultra96; its bitstream is "):
        flash(load_board("ultra96"), path)


def test_fmax_over_seeds_leaves_a_build_as_it_is(
    tmp_path: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    _tools(bin_folder, route=_met(91))
    execute(_plan(), out)
    flow = (out / "flow.json").read_text()
    (bin_folder / "seeds").write_text("")
    count = f"echo >> {bin_folder}/seeds; n=$(wc -l < {bin_folder}/seeds)"
    report = ECP5.replace("74.4", "7$n").replace('"', '\\"')
    _tools(
        bin_folder,
        routing=f'{count}; cat netlist.json > board.config; echo "{report}" > route.json'.replace("$glbnet$", ""),
    )
    monkeypatch.setattr(build, "plan", lambda board, sources, seed, keep: _plan(seed=seed))
    found = fmax_over_seeds(load_board("ulx3s"), SOURCES, out, seeds=(1, 2, 3))
    assert found == {1: 91, 2: 71, 3: 72}
    assert (out / "flow.json").read_text() == flow
    assert "--seed 1" in (out / "project" / "build.sh").read_text()
    with pytest.raises(HwgenError, match="place and route for ultra96 takes no seed"):
        fmax_over_seeds(load_board("ultra96"), SOURCES, out)


def test_a_resource_that_the_board_lacks_is_named() -> None:
    board = load_board("ulx3s")
    bare = board.model_copy(update={"resources": board.resources.model_copy(update={"bram": 0})})
    used = {"lut": 10.0, "ff": None, "bram": 2.0, "dsp": 0.0}
    with pytest.raises(DoesNotFitError, match=r"ulx3s, by synthesis: BRAM 2 of 0, 2 too many \(there are none\)$"):
        check_fits(bare, used, "synthesis")
