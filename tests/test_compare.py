"""Back ends compared: rows, differences, what cannot run, the files that are written."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import hwgen
from hwgen import cli, compare, compare_show, golden
from hwgen.backends import finn, hls4ml
from hwgen.compare import Made
from hwgen.compiler import Accelerator
from hwgen.errors import HwgenError, MismatchError, ToolFailedError, ToolMissingError
from hwgen.flow import simulator
from hwgen.ir.figure import Figure
from hwgen.tools import yosys
from hwgen.tools.resources import Resources
from tests.conftest import random_mlp

EXAMPLES = Path(__file__).parents[1] / "examples"


def right(accelerator: Accelerator, codes: np.ndarray, folder: Path, tell: compare.Tell) -> Made:
    """A back end that gives the golden codes, and Verilog of its own."""
    tell("running")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "top.v").write_text("module top;\nendmodule\n")
    cycles = Figure(9, "simulation", "cycles")
    got = golden.run(accelerator.graph, codes)
    return Made(got, cycles, cycles, (folder / "top.v",), "top", 3, {"emit": 0.5, "simulate": 1.25})


def wrong(accelerator: Accelerator, codes: np.ndarray, folder: Path, tell: compare.Tell) -> Made:
    made = right(accelerator, codes, folder, tell)
    got = made.codes.copy()
    got[2, 1] += 5
    got[7] -= 1
    return replace(made, codes=got, sources=(), note="no RTL")


def missing(accelerator: Accelerator, codes: np.ndarray, folder: Path, tell: compare.Tell) -> Made:
    raise ToolMissingError("g++ is not installed")


@pytest.fixture
def accelerator(tmp_path: Path) -> Accelerator:
    return hwgen.compile(random_mlp((8, 6, 4)), "ultra96", root=tmp_path / "build")


@pytest.fixture
def synthesised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Yosys' answer without the seconds that it takes."""
    total = Resources(lut=4, ff=7, bram=0, dsp=0, carry=None)
    done = yosys.Synthesis(yosys.Statistics("xcup", "top", total, {}, ()), None, "")
    monkeypatch.setattr(yosys, "synthesise", lambda *_: done)


@pytest.fixture
def codes() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 16, (9, 8))


@pytest.mark.usefixtures("synthesised")
def test_rows_and_files(accelerator, codes, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(compare, "RUNNERS", {"a": right, "b": wrong, "c": missing})
    told: list[str] = []
    found = compare.compare(accelerator, codes, ["a", "b", "c"], tmp_path / "out", "made up", told.append)
    assert told == ["a: running", "a: Yosys", "b: running"]
    a, b, c = found.rows
    assert (a.exact, b.exact, c.exact) == (True, False, None)
    assert b.wrong == (2, 7)
    assert "frame 2, code [1]: it gives" in b.first
    assert "(2 of 9 frames differ)" in b.first
    assert a.figure("ff").value == 7
    assert (a.figure("ff").source, b.figure("ff").value, c.figure("latency").value) == ("synthesis", None, None)
    assert list(a.seconds) == ["emit", "simulate", "synthesis"]
    message = r"2 of 3 back ends gave no right and whole result: b: frame 2, .*; c: g\+\+ is not installed"
    with pytest.raises(MismatchError, match=message):
        found.check()
    paths = compare_show.write(found, tmp_path / "out")
    assert [path.name for path in paths] == ["compare.json", "compare.svg", "compare.md"]
    read = json.loads(paths[0].read_text())
    assert [row["bit_exact"] for row in read["rows"]] == [True, False, None]
    assert [row["exit_code"] for row in read["rows"]] == [0, 7, 5]
    page = paths[2].read_text()
    assert "| a | bit-exact | 9 | 9 |" in page
    assert "| c | not run | not known |" in page
    assert "- b differs: frame 2, code [1]" in page
    assert "frames 2, 7" in page
    assert "- c: g++ is not installed" in page


def test_what_does_not_synthesise_keeps_its_codes(accelerator, codes, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def fail(*_: object) -> None:
        raise ToolFailedError("yosys failed with exit code 1")

    monkeypatch.setattr(compare, "RUNNERS", {"a": right})
    monkeypatch.setattr(yosys, "synthesise", fail)
    found = compare.compare(accelerator, codes, ["a"], tmp_path / "out")
    assert found.rows[0].exact
    assert found.rows[0].figure("lut").value is None
    with pytest.raises(ToolFailedError, match=r"1 of 1 back ends gave .*: a: yosys failed with exit code 1"):
        found.check()


def test_without_figures_or_matplotlib_there_is_no_plot(accelerator, codes, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(compare, "RUNNERS", {"b": wrong, "c": missing})
    found = compare.compare(accelerator, codes, ["c"], tmp_path / "out")
    assert [path.name for path in compare_show.write(found, tmp_path / "out")] == ["compare.json", "compare.md"]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = compare.compare(accelerator, codes, ["b", "c"], tmp_path / "out")
    assert [path.name for path in compare_show.write(found, tmp_path / "out")] == ["compare.json", "compare.md"]
    assert "compare.svg" not in (tmp_path / "out" / "compare.md").read_text()


def test_differences() -> None:
    want = np.zeros((3, 2), dtype=np.int64)
    assert compare.difference(want, want) == ((), "")
    frames, first = compare.difference(want[:, :1], want)
    assert frames == (0, 1, 2)
    assert first == "it gives codes of shape (3, 1), the golden model (3, 2)"


def test_names() -> None:
    with pytest.raises(HwgenError, match="unknown backend 'hls': one of native, hls4ml, finn"):
        compare.check_names(["native", "hls"])
    with pytest.raises(HwgenError, match="are different ones, at least one, not native, native"):
        compare.check_names(["native", "native"])
    with pytest.raises(HwgenError, match="at least one, not none"):
        compare.check_names([])


def test_without_finns_environment_its_project_is_kept(accelerator, codes, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("HWGEN_FINN_ENV", str(tmp_path / "nowhere"))
    found = compare.compare(accelerator, codes, ["finn"], tmp_path / "out")
    with pytest.raises(
        ToolMissingError, match=r"1 of 1 back ends .*: finn: FINN's environment is not there .*finn-env"
    ):
        found.check()
    assert found.rows[0].to_json()["exit_code"] == 5
    assert (tmp_path / "out" / "finn" / "model.onnx").is_file()


@pytest.mark.usefixtures("synthesised")
def test_where_vitis_is_its_cycles_and_rtl_are_compared(accelerator, codes, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    rtl = tmp_path / "out" / "hls4ml" / f"{hls4ml.project_name(accelerator.graph)}_prj" / "solution1/syn/verilog"

    def build(folder: Path) -> dict[str, Figure]:
        rtl.mkdir(parents=True)
        (rtl / "top.v").write_text("module top;\nendmodule\n")
        return dict.fromkeys(("latency", "interval"), Figure(77, "estimate", "cycles"))

    def fail(folder: Path) -> None:
        raise ToolFailedError("vitis-run failed with exit code 1")

    monkeypatch.setattr(hls4ml, "compile_simulation", lambda folder: None)
    monkeypatch.setattr(hls4ml, "simulate", lambda *_: golden.run(accelerator.graph, codes))
    monkeypatch.setattr(hls4ml, "vitis", lambda: None)
    (row,) = compare.compare(accelerator, codes, ["hls4ml"], tmp_path / "out").rows
    assert (row.exact, row.failure, row.figure("latency").value, row.figure("lut").value) == (True, None, None, None)
    monkeypatch.setattr(hls4ml, "vitis", lambda: "vitis-run")
    monkeypatch.setattr(hls4ml, "build", build)
    (row,) = compare.compare(accelerator, codes, ["hls4ml"], tmp_path / "out").rows
    assert (row.exact, row.failure, row.figure("latency").value, row.figure("lut").value) == (True, None, 77, 4)
    monkeypatch.setattr(hls4ml, "build", fail)
    (row,) = compare.compare(accelerator, codes, ["hls4ml"], tmp_path / "out").rows
    assert (row.exact, row.failure and row.failure.exit_code) == (True, 6)


@dataclass(frozen=True)
class Simulated:
    """What a run of FINN's RTL gives, as far as a comparison reads it; `text`: its fault."""

    codes: np.ndarray
    text: str = ""
    latency: int = 40
    interval: float = 12.0
    run: str = "without stalls"

    def faults(self) -> list[str]:
        return [self.text] if self.text else []


@pytest.mark.usefixtures("synthesised")
def test_finns_rtl_is_compared_and_its_own_files_are_counted(accelerator, codes, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    rtl = tmp_path / "out" / "finn" / "rtl"

    def emit(graph: object, folding: object, folder: Path, board: object) -> None:
        rtl.mkdir(parents=True, exist_ok=True)
        for name, lines in (("mvu.sv", 50), ("node.v", 5), ("accel.sv", 7)):
            (rtl / name).write_text("//\n" * lines)
        (folder / "nodes.json").write_text(json.dumps([{"files": ["node.v", "memblock.dat"]}]))

    want = golden.run(accelerator.graph, codes)
    given = Simulated(want)
    monkeypatch.setattr(finn, "emit", emit)
    monkeypatch.setattr(finn, "design", lambda folder: None)
    monkeypatch.setattr(simulator, "build", lambda *_: None)
    monkeypatch.setattr(finn, "simulate", lambda *_: (given,))
    monkeypatch.setattr(finn, "synthesis", lambda folder: ([rtl / "synthesis.v"], "accel"))
    (row,) = compare.compare(accelerator, codes, ["finn"], tmp_path / "out").rows
    assert (row.exact, row.failure, row.figure("interval").value) == (True, None, 12)
    assert row.made is not None
    assert row.made.lines == 12

    def fail(folder: Path) -> None:
        raise ToolFailedError("yosys failed with exit code 1")

    with monkeypatch.context() as patch:
        patch.setattr(finn, "synthesis", fail)
        (row,) = compare.compare(accelerator, codes, ["finn"], tmp_path / "out").rows
        assert (row.exact, row.failure and row.failure.exit_code) == (True, 6)
    given = Simulated(want + 1, "node fc0, frame 0: the hardware gives code 3")
    (row,) = compare.compare(accelerator, codes, ["finn"], tmp_path / "out").rows
    assert len(row.wrong) == 9
    for given in (Simulated(want, "node fc0: 2 beats more"), Simulated(want[:3], "the design stands still")):
        (row,) = compare.compare(accelerator, codes, ["finn"], tmp_path / "out").rows
        assert (row.exact, row.failure and row.failure.exit_code) == (None, 7)
        assert given.text in str(row.error)


def hwgen_command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["hwgen", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.usefixtures("synthesised")
def test_the_command_ends_with_the_error_after_all_is_written(tmp_path: Path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "RUNNERS", {"hls4ml": missing, "native": right})
    words = ["compare", str(EXAMPLES / "digits.onnx"), "--backends", "hls4ml, native", "--frames", "5", "-o", "out"]
    assert hwgen_command(monkeypatch, *words) == 5
    streams = capsys.readouterr()
    assert "5 frames: " in streams.out
    assert "digits.npz" in streams.out
    assert "hls4ml: g++ is not installed" in streams.out
    assert "error: 1 of 2 back ends" in " ".join(streams.err.split())
    assert hwgen_command(monkeypatch, *words[:2], "--backends", "native", "-o", "two", "--frames", "5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["lines"] == 3
    assert hwgen_command(monkeypatch, *words[:2], "--backends", "nativ") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "digits-cnn"])
def test_trained_networks_on_every_image(name: str, tmp_path: Path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    words = ["compare", str(EXAMPLES / f"{name}.onnx"), "--backends", "native,hls4ml", "-o", "out", "--json"]
    if name == "digits-cnn":  # its synthesis takes half a minute and says nothing new
        monkeypatch.setattr(compare, "_synthesise", lambda *_: {})
    assert hwgen_command(monkeypatch, *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 360
    assert [(row["backend"], row["bit_exact"]) for row in found["rows"]] == [("native", True), ("hls4ml", True)]
    assert found["rows"][0]["interval"]["value"] > 0
