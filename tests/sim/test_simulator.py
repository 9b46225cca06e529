"""Building and starting the simulator, without doing either."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from hwgen.errors import HwgenError, ToolFailedError, ToolMissingError
from hwgen.flow import simulator
from hwgen.flow.bench_folder import STANDALONE, emit_bench
from hwgen.tools.files import share
from tests.sim import toy


def load_bench() -> Any:
    spec = importlib.util.spec_from_file_location("stream_bench", share("sim", "stream_bench.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COUNTS = """1 frames 4 beat 0 valid 0 ready 1 extra 2
1 wrong 3 frame 2 beat 1 got 7c1 want 001
1 misframed 1 frame 2 beat 1 first 0 last 1
1 unstable 1 frame 3 beat 0
0 frames 4 beat 0 valid 0 ready 1 extra 0
0 wrong 0 frame 0 beat 0 got 00 want 00
0 misframed 0 frame 0 beat 0 first 0 last 0
0 unstable 0 frame 0 beat 0
"""
STREAM = {"name": "scale", "lanes": 2, "bits": 6, "signed": True, "beats": 2, "shared": 0}


def test_bench_reads_counts_and_tells_faults() -> None:
    bench = load_bench()
    monitors = bench.read_counts(COUNTS)
    assert monitors[1]["wrong"] == {"wrong": 3, "frame": 2, "beat": 1, "got": "7c1", "want": "001"}
    run = {"monitors": monitors[1:], "deadlock": True, "frames_out": 3, "frames": 4, "watchdog": 50}
    assert bench.faults(run, [STREAM]) == [
        "scale: frame 2, beat 1, lane 1: code 31, not 0",
        "scale: frame 2, beat 1: wrong first or last",
        "scale: frame 3, beat 0: a waiting beat changed",
        "scale: 2 beats too many",
        "no beat moved for 50 cycles after 3 of 4 frames",
    ]
    short = {"monitors": monitors[:1], "deadlock": False, "frames_out": 3, "frames": 4}
    assert bench.faults(short, [STREAM]) == ["3 frames came out, not 4"]
    assert bench.lanes("fc1", STREAM) == [1, -1]
    assert bench.lanes("fc1", {**STREAM, "signed": False}) == [1, 63]


def test_bench_compares_latency_and_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = load_bench()
    monkeypatch.chdir(tmp_path)
    Path("in_cycles_0.txt").write_text("6\n8\n10\n12\n")
    Path("out_cycles_0.txt").write_text("9\n11\n13\n15\n")
    run = {"index": 0, "stall_in": 0, "stall_out": 0, "frames_out": 4}
    assert bench.timing_faults(run, {"latency": 3, "interval": 2}) == []
    assert bench.timing_faults({**run, "stall_in": 1}, {"latency": 9, "interval": 9}) == []
    assert bench.timing_faults(run, {"latency": 4, "interval": 3}) == [
        "latency: 3 cycles measured, 4 by the formula",
        "interval: 2 cycles a frame measured, 3 by the formula",
    ]


def test_cocotb_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolMissingError, match="cocotb is not installed; install it with: pip install"):
        simulator.build(toy.DESIGN, tmp_path)


def test_libpython_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("find_libpython.find_libpython", lambda: None)
    with pytest.raises(ToolMissingError, match="cocotb needs libpython"):
        simulator.launch(tmp_path / "none", {}, tmp_path)


def program(folder: Path, text: str) -> Path:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


PASSED = "echo '<testsuites><testsuite><testcase name=\"stream\"/></testsuite></testsuites>' > results.xml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo last words; kill -SEGV $$", "was killed by SIGSEGV"),
        ("echo last words; exit 3", "failed with exit code 3"),
        ("echo last words", r"left no results.xml of cocotb \(log: .*simulation.log\)\n  last words"),
        (f"{PASSED}; echo last words", r"left no results.json \(log"),
    ],
)
def test_a_simulator_that_fails_is_not_passed_over(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ToolFailedError, match=message) as caught:
        simulator.launch(program(tmp_path, text), {}, tmp_path)
    assert "last words" in str(caught.value) or "left no results.json" in message


def test_progress_and_results_are_passed_on(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    runs = program(tmp_path, f"{PASSED}; echo progress 0 12; echo progress 1 3; echo '{{\"runs\": []}}' > results.json")
    assert simulator.launch(runs, {}, tmp_path, on_progress=lambda *now: seen.append(now)) == {"runs": []}
    assert seen == [(0, 12), (1, 3)]


def test_results_of_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "results.xml").write_text("<testsuites><testcase name='old'/></testsuites>")
    with pytest.raises(ToolFailedError, match=r"left no results.xml"):
        simulator.launch(program(tmp_path, "true"), {}, tmp_path)


def test_the_runs_folder_goes_away_unless_a_tool_failed(tmp_path: Path) -> None:
    with simulator.scratch_folder(tmp_path) as scratch:
        pass
    assert not scratch.exists()
    with pytest.raises(KeyboardInterrupt), simulator.scratch_folder(tmp_path) as scratch:
        raise KeyboardInterrupt
    assert not scratch.exists()
    with pytest.raises(ToolFailedError), simulator.scratch_folder(tmp_path) as scratch:
        raise ToolFailedError("see the log")
    assert scratch.exists()


def test_emitted_folder(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    for _ in range(2):  # a second time replaces the first
        emit_bench(toy.GRAPH, toy.DESIGN, toy.frames(5), folder)
        names = {path.name for path in folder.iterdir()}
        vectors = {"input.bin", "expected_1.bin", "expected_2.bin", "run.json"}
        verilog = {"accel.v", "harness.sv", "harness.vlt", *simulator.BENCH}
        assert names == {*STANDALONE, *vectors, *verilog, "stream_bench.py"}
    assert len((folder / "expected_1.bin").read_bytes()) == 5 * toy.MIDDLE.bytes_per_frame


def test_emitted_folder_spares_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(HwgenError, match="holds other files, which would be lost: it is not one that hwgen wrote"):
        emit_bench(toy.GRAPH, toy.DESIGN, toy.frames(5), tmp_path)
