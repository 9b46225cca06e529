"""What needs no simulator: parameters, vectors, and how counts of the monitors become results and messages."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from hwgen.errors import HwgenError, MismatchError, ToolFailedError
from hwgen.flow import simulate, simulator, verify
from hwgen.flow.simulate import Run, SimResult, Watch
from hwgen.gateware import Stage
from hwgen.ir import Beats
from tests.sim import toy

STREAMS = simulator.watched(toy.DESIGN)


def clean(stream: simulator.Stream, frames: int = 4) -> Watch:
    zero = np.zeros(stream.beats.lanes, dtype=np.int64)
    none, marks = (0, 0), (False, False)
    return Watch(stream, frames, 0, False, True, 0, 0, none, zero, zero, 0, none, marks, 0, none)


def result(**changes: object) -> SimResult:
    watches = tuple(clean(stream) for stream in STREAMS)
    went = np.array([9, 11, 13, 15])
    base = SimResult(
        Run(), 4, np.zeros((4, 1), dtype=np.int64), np.array([6, 8, 10, 12]), went, 60, False, 1000, 0.1, 0.1, watches
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_every_node_and_the_output_are_watched() -> None:
    assert [(s.name, s.path, s.beats) for s in STREAMS] == [
        ("input", "i", toy.INPUT),
        ("scale", "dut.scale_0.o", toy.MIDDLE),
        ("total", "o", toy.OUTPUT),
    ]


def test_a_stage_without_a_node_at_the_end_is_the_output() -> None:
    fifo = Stage("fifo 0", "fifo", None, toy.OUTPUT, toy.OUTPUT, 1, 1)
    design = dataclasses.replace(toy.DESIGN, stages=(*toy.DESIGN.stages, fifo))
    assert [s.name for s in simulator.watched(design)] == ["input", "scale", "total", "output"]


def test_harness_taps_instances_by_hierarchical_names() -> None:
    text = simulator.harness(toy.DESIGN)
    assert ".payload(dut.scale_0.o__payload)" in text
    assert '.FILE("expected_2.bin")' in text
    odd = Stage("my.scale", "scale", "scale", toy.INPUT, toy.MIDDLE, 2, 2)
    design = dataclasses.replace(toy.DESIGN, stages=(odd, toy.DESIGN.stages[1]))
    assert ".payload(dut.\\my.scale .o__payload)" in simulator.harness(design)


@pytest.mark.parametrize(("changes", "text"), [({"stall_in": 1.0}, "stall_in"), ({"stall_out": -0.1}, "stall_out")])
def test_stalls_are_probabilities(changes: dict[str, float], text: str) -> None:
    with pytest.raises(HwgenError, match=f"{text} is a probability from 0 to 0.95"):
        Run(**changes)  # type: ignore[arg-type]


def test_seed_has_32_bits() -> None:
    with pytest.raises(HwgenError, match="a seed of stalls lies in"):
        Run(seed=1 << 32)


def test_a_run_takes_all_frames_or_the_first() -> None:
    assert [run.frames(4) for run in (Run(), Run(most=9), Run(most=3))] == [4, 4, 3]
    with pytest.raises(HwgenError, match="a run takes a frame or more, not 0"):
        Run(most=0)


def test_vectors_are_packed_by_stream() -> None:
    x = toy.frames(3)
    files = simulate.pack_vectors(STREAMS, x, {"total": np.zeros((3, 1))})
    assert set(files) == {"input.bin", "expected_2.bin"}
    assert np.array_equal(toy.INPUT.unpack(files["input.bin"]), x)


@pytest.mark.parametrize(
    ("codes", "expected", "text"),
    [
        (np.zeros((0, 4)), {}, "at least one frame"),
        (np.zeros((2, 3)), {}, r"input: 2 frames of 4 codes are needed, not an array of shape \(2, 3\)"),
        (np.full((2, 4), 8), {}, "input: codes 8..8 do not fit a 4-bit lane"),
        (np.zeros((2, 4)), {"scale": np.zeros((3, 4))}, "scale: 2 frames of 4 codes are needed"),
        (np.zeros((2, 4)), {"scael": np.zeros((2, 4))}, "no stream of the design is called 'scael'"),
        (np.zeros((2, 4)), {"input": np.zeros((2, 4))}, "no stream of the design is called 'input'"),
    ],
)
def test_vectors_that_do_not_fit(codes: np.ndarray, expected: dict[str, np.ndarray], text: str) -> None:
    with pytest.raises(HwgenError, match=text):
        simulate.pack_vectors(STREAMS, codes, expected)


def test_the_watchdog_waits_longer_under_stalls() -> None:
    plan = simulate.run_plan(toy.DESIGN, 5, [Run(), Run(0.5, 0.75)], {"expected_1.bin": b""}, watchdog=100)
    assert [run["watchdog"] for run in plan["runs"]] == [100, 800]
    assert [(run["stall_in"], run["stall_out"], run["check"]) for run in plan["runs"]] == [(0, 0, 2), (32768, 49152, 2)]
    assert plan["streams"][1] == {"name": "scale", "lanes": 2, "bits": 6, "signed": True, "beats": 2, "shared": 0}


def test_hexadecimal_beats_become_codes() -> None:
    beats = Beats(lanes=3, bits=3, signed=True, beats=2)
    # Nine bits are two bytes, but three digits on paper.
    packed = [f"{(1 << 0) | (7 << 3) | (4 << 6):03x}", "000"]
    assert simulate._unpack(beats, packed).tolist() == [[1, -1, -4, 0, 0, 0]]


def test_a_clean_run_has_no_faults() -> None:
    assert simulate.check(result()).latency == 3
    assert result().interval == 2
    assert result(last_out=np.array([9, 11, 13])).interval is None


def test_the_first_fault_names_node_frame_beat_lane_and_codes() -> None:
    broken = dataclasses.replace(
        clean(STREAMS[1]), wrong=2, wrong_at=(5, 1), got=np.array([3, -4]), want=np.array([3, 7])
    )
    with pytest.raises(
        MismatchError, match="node scale, frame 5, beat 1, lane 1: the hardware gives code -4, the gold"
    ):
        simulate.check(result(watches=(clean(STREAMS[0]), broken, clean(STREAMS[2]))))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"misframed": 1, "misframed_at": (2, 1), "marks": (True, False)},
            "frame 2, beat 1 of 2: first=1 last=0 is wrong",
        ),
        (
            {"unstable": 1, "unstable_at": (2, 0)},
            "node scale, frame 2, beat 0: it changed or went away while it waited",
        ),
        ({"extra": 3}, "node scale: 3 beats more than the golden model has"),
    ],
)
def test_broken_rules_of_streams(changes: dict[str, object], text: str) -> None:
    broken = dataclasses.replace(clean(STREAMS[1]), **changes)  # type: ignore[arg-type]
    with pytest.raises(MismatchError, match=text):
        simulate.check(result(watches=(clean(STREAMS[0]), broken)))


def test_a_standstill_tells_how_the_streams_stand() -> None:
    waiting = dataclasses.replace(clean(STREAMS[0], 7), beat=1, offered=True, accepting=False)
    with pytest.raises(
        MismatchError, match=r"no beat moved for 1000 cycles after 4 of 4 frames.*input waits to be acce"
    ):
        simulate.check(result(deadlock=True, watches=(waiting,)))


def written(folder: Path, output: str = "05\nfb\n", last: int = 8) -> dict[str, object]:
    (folder / "output_0.txt").write_text(output)
    (folder / "in_cycles_0.txt").write_text("5\n7\n")
    (folder / "out_cycles_0.txt").write_text(f"{last}\n10\n")
    counts = {
        "frames": {"frames": 2, "beat": 0, "valid": 0, "ready": 1, "extra": 0},
        "wrong": {"wrong": 0, "frame": 0, "beat": 0, "got": "0", "want": "0"},
        "misframed": {"misframed": 0, "frame": 0, "beat": 0, "first": 0, "last": 0},
        "unstable": {"unstable": 0, "frame": 0, "beat": 0},
    }
    numbers = {"index": 0, "frames": 2, "cycles": 50, "deadlock": False, "watchdog": 100}
    return {**numbers, "wall_seconds": 0.5, "cpu_seconds": 0.25, "monitors": [counts, counts, counts]}


def test_what_the_harness_wrote_becomes_a_result(tmp_path: Path) -> None:
    made = simulate._result(Run(), written(tmp_path), STREAMS, tmp_path)
    assert made.codes.tolist() == [[5], [-5]]
    assert (made.latency, made.cycles_per_cpu_second) == (3, 200)


def test_files_that_a_full_disk_cut_short(tmp_path: Path) -> None:
    message = "simulation without stalls: the files that the simulator wrote are incomplete; is the disk full?"
    with pytest.raises(ToolFailedError, match=re.escape(message)):
        simulate._result(Run(), written(tmp_path, output="05\n"), STREAMS, tmp_path)
    entry = {**written(tmp_path), "monitors": []}
    with pytest.raises(ToolFailedError, match="are incomplete"):
        simulate._result(Run(), entry, STREAMS, tmp_path)


def test_latency_and_interval_are_held_against_the_formulas() -> None:
    assert verify._check_timing(toy.DESIGN, result()) == 2
    with pytest.raises(MismatchError, match="latency: 4 cycles measured, 3 by the formula"):
        verify._check_timing(toy.DESIGN, result(last_out=np.array([10, 12, 14, 16])))
    with pytest.raises(MismatchError, match="interval: 3 cycles a frame measured, 2 by the formula"):
        verify._check_timing(toy.DESIGN, result(last_out=np.array([9, 11, 13, 16])))


def test_beats_that_were_not_seen_are_an_error() -> None:
    short = dataclasses.replace(clean(STREAMS[1]), frames=3)
    with pytest.raises(MismatchError, match="node scale passed 6 beats, not 4 frames of 2"):
        verify._check_counts(result(watches=(clean(STREAMS[0]), short)))


def test_design_and_graph_must_belong_together() -> None:
    other = dataclasses.replace(toy.DESIGN.stages[0], node="conv")
    design = dataclasses.replace(toy.DESIGN, stages=(other, toy.DESIGN.stages[1]))
    with pytest.raises(HwgenError, match="the design has a stage of node 'conv', the graph 'toy' has none"):
        verify.expected_streams(toy.GRAPH, design, {})
    with pytest.raises(HwgenError, match="no expected codes for tensor 'scaled' of node 'scale'"):
        verify.expected_streams(toy.GRAPH, toy.DESIGN, {})


@pytest.mark.parametrize(
    ("xml", "fault"),
    [
        ("<testsuites><testsuite><testcase name='stream'/></testsuite></testsuites>", None),
        ("<testsuites><testsuite/></testsuites>", "ran no cocotb test"),
        (
            "<testsuites><testsuite><testcase name='s'><failure error_msg='no'/></testcase></testsuite></testsuites>",
            "failed in cocotb's test s: no",
        ),
        (
            "<testsuites><testsuite><testcase name='s'><error message='bad'/></testcase></testsuite></testsuites>",
            "failed in cocotb's test s: bad",
        ),
        ("<testsuites", "left a results.xml that cannot be read"),
        (None, "left no results.xml of cocotb"),
    ],
)
def test_cocotb_results(tmp_path: Path, xml: str | None, fault: str | None) -> None:
    if xml is not None:
        (tmp_path / "results.xml").write_text(xml)
    assert simulator._cocotb_fault(tmp_path / "results.xml") == fault


def test_verify_result_is_json() -> None:
    made = verify.VerifyResult(
        4, (Run(), Run(0.5, 0, 7)), {"scale": 16}, 3, 2, 120, 0.2, 0.2, np.zeros((4, 1), dtype=np.int64)
    )
    data = json.loads(json.dumps(made.to_json()))
    assert data["runs"][0] == {
        "name": "without stalls",
        "frames": 4,
        "stall_in": 0.0,
        "stall_out": 0.0,
        "seed": 1,
        "latency": 3,
        "interval": 2,
    }
    assert data["runs"][1]["name"] == "with stalls in 0.5, out 0, seed 7"
    assert data["runs"][1]["latency"] is None
    assert data["cycles_per_cpu_second"] == pytest.approx(600)
