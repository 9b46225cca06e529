"""The bench in Verilator: a right design passes, and every kind of wrong one is reported where it is wrong."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hwgen import gateware, golden
from hwgen.errors import MismatchError, ToolFailedError
from hwgen.flow import simulate, simulator
from hwgen.flow.bench_folder import emit_bench
from hwgen.flow.simulate import Run, SimResult
from hwgen.flow.verify import RUNS, verify
from hwgen.formats import Int
from hwgen.ir import Fold, Graph, Node, TensorType, Value
from hwgen.ops import ArgMax, MatVec
from tests.sim import toy

pytestmark = pytest.mark.slow

FRAMES = 50
X = toy.frames(FRAMES)


def run(simulators: Path, fault: str, run: Run) -> SimResult:
    trace = golden.trace(toy.GRAPH, X)
    expected = {"scale": trace["scaled"], "total": trace["sum"]}
    (result,) = simulate.simulate(
        toy.DESIGN, X, simulators, expected=expected, runs=[run], watchdog=200, arguments=[fault] if fault else []
    )
    return result


def test_a_right_design_is_proven_and_built_once(simulators: Path) -> None:
    seen: list[tuple[int, int]] = []
    proof = verify(toy.GRAPH, toy.DESIGN, X, simulators, on_progress=lambda *now: seen.append(now))
    assert proof.beats == {"scale": 2 * FRAMES * len(RUNS), "total": FRAMES * len(RUNS)}
    assert (proof.latency, proof.interval, proof.frames) == (3, 2, FRAMES)
    assert np.array_equal(proof.codes, golden.run(toy.GRAPH, X))
    assert seen[-1] == (FRAMES * len(RUNS), FRAMES * len(RUNS))
    few = verify(toy.GRAPH, toy.DESIGN, X[:3], simulators, runs=[Run(0.9, 0.9, 77, most=2)])
    assert few.beats == {"scale": 2 * (3 + 2), "total": 3 + 2}
    assert [one["frames"] for one in few.to_json()["runs"]] == [3, 2]
    assert len(list(simulators.glob("simulator-*"))) == 1
    assert not list(simulators.glob(".run-*"))


def spacing(result: SimResult) -> float:
    return float(np.diff(result.last_out).mean())


def test_stalls_happen_as_often_as_asked_and_repeat(simulators: Path) -> None:
    results = [run(simulators, "", Run(0.5, 0, seed)) for seed in (1, 1, 2)]
    assert np.array_equal(results[0].first_in, results[1].first_in)
    assert not np.array_equal(results[0].first_in, results[2].first_in)
    # Two beats a frame, each after one waiting cycle in the mean.
    assert spacing(results[0]) == pytest.approx(4, rel=0.25)
    out = run(simulators, "", Run(0, 0.8, 3))
    assert spacing(out) == pytest.approx(5, rel=0.35)


def code(name: str, frame: int, place: int) -> int:
    return int(golden.trace(toy.GRAPH, X)[name][frame].flat[place])


@pytest.mark.parametrize("stalls", [Run(), Run(0.5, 0.5, 5)], ids=str)
def test_one_flipped_bit(simulators: Path, stalls: Run) -> None:
    want = code("scaled", 5, 3)
    message = (
        f"node scale, frame 5, beat 1, lane 1: the hardware gives code {want ^ 4}, the golden model {want} \\(1 of"
    )
    with pytest.raises(MismatchError, match=message):
        simulate.check(run(simulators, "+flip=5", stalls))


@pytest.mark.parametrize("stalls", [Run(), Run(0.5, 0.5, 5)], ids=str)
def test_a_dropped_beat(simulators: Path, stalls: Run) -> None:
    result = run(simulators, "+drop=7", stalls)
    got, want = code("scaled", 8, 0), code("scaled", 7, 2)
    found = result.faults()
    assert found[0].startswith(f"node scale, frame 7, beat 1, lane 0: the hardware gives code {got}, the golden model")
    assert f"the golden model {want} " in found[0]
    assert found[1].startswith("node scale, frame 7, beat 1 of 2: first=1 last=0 is wrong")
    assert "no beat moved for" in found[-1]
    assert len(result.codes) == FRAMES - 1


def test_wrong_frame_marks(simulators: Path) -> None:
    with pytest.raises(MismatchError, match="node scale, frame 4, beat 0 of 2: first=0 last=0 is wrong"):
        simulate.check(run(simulators, "+misframe=4", Run()))


def test_a_beat_that_changes_while_it_waits(simulators: Path) -> None:
    assert run(simulators, "+unstable", Run()).faults() == []  # nothing waits without stalls
    found = run(simulators, "+unstable", Run(0, 0.5, 1)).faults()
    assert any("node total, frame" in fault and "it changed or went away while it waited" in fault for fault in found)


def test_a_design_that_hangs(simulators: Path) -> None:
    result = run(simulators, "+hang=3", Run())
    assert len(result.codes) == 3
    with pytest.raises(
        MismatchError, match=r"no beat moved for 200 cycles after 3 of 50 frames.*scale waits to be acc"
    ):
        simulate.check(result)


def test_a_beat_too_many(simulators: Path) -> None:
    found = run(simulators, f"+extra={FRAMES - 1}", Run()).faults()
    assert found == ["node total: 1 beats more than the golden model has"]


def test_a_simulator_that_stops(simulators: Path) -> None:
    with pytest.raises(ToolFailedError, match=r"told to crash") as caught:
        run(simulators, "+crash", Run())
    log = Path(str(caught.value).split("log: ")[1].split(")")[0])
    assert "told to crash" in log.read_text()


@pytest.mark.parametrize(("name", "measured"), [("latency", 3), ("interval", 2)])
def test_wrong_formulas(simulators: Path, name: str, measured: int) -> None:
    design = dataclasses.replace(toy.DESIGN, **{name: 9})
    with pytest.raises(MismatchError, match=f"{name}: {measured} cycles .*measured, 9 by the formula"):
        verify(toy.GRAPH, design, X, simulators, runs=[Run()])


def test_verilog_that_does_not_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "_runtime", lambda folder, on_line: folder)
    design = dataclasses.replace(toy.DESIGN, verilog="module accel; nonsense")
    with pytest.raises(ToolFailedError, match=r"verilator failed with exit code 1 \(log: .*"):
        simulator.build(design, tmp_path)


def test_generated_gateware_is_proven(simulators: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    layers = [
        Node("dense", MatVec(rng.integers(-7, 8, (6, 8)), Int(4), rng.integers(-9, 9, 6)), ("x",), "acc"),
        Node("argmax", ArgMax(), ("acc",), "label"),
    ]
    graph = Graph("small", (Value("x", TensorType((8,), Int(4, False))),), tuple(layers), ("label",))
    design = gateware.build(graph, {"dense": Fold(2, 4)})
    monkeypatch.chdir(simulators.parent)  # a relative folder, as users give it
    proof = verify(graph, design, rng.integers(0, 16, (40, 8)), Path(simulators.name))
    assert (proof.latency, proof.interval) == (design.latency, design.interval)
    assert set(proof.beats) == {"dense", "argmax"}


def test_emitted_folder_needs_no_hwgen(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    emit_bench(toy.GRAPH, toy.DESIGN, X, folder)
    assert "hwgen" not in "".join(path.read_text() for path in folder.glob("*.py"))
    command = ["make", "-C", str(folder), "sim", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"bit-exact: {FRAMES * len(RUNS)}/{FRAMES * len(RUNS)} frames" in done.stdout
    # A wrong vector fails the same bench, with the place.
    wrong = bytearray((folder / "expected_1.bin").read_bytes())
    wrong[2 * toy.MIDDLE.bytes_per_frame] ^= 1
    (folder / "expected_1.bin").write_bytes(wrong)
    done = subprocess.run([sys.executable, "test_accel.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "run 0: scale: frame 2, beat 0, lane 0: code" in done.stdout + done.stderr
