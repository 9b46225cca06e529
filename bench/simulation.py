"""Simulated clock cycles per CPU second: hwgen's bench, beside the same Verilog driven from Python at every clock.

    python bench/simulation.py [build/digits/digits.onnx] [--json]

Without the trained network (`make train`) random weights of its shape are taken: 64-32-32-10, W4A4. Both sides send
real frames back to back, compare the output codes and leave the simulator's start out; only the ratio means something.
The Python side is a plain cocotb test on cocotb's own runner: clock, valid, ready and payload from Python.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

import hwgen
from hwgen import golden
from hwgen.errors import HwgenError
from hwgen.flow import simulator
from hwgen.flow.verify import RUNS, verify
from hwgen.formats import Int
from hwgen.gateware import Design
from hwgen.ir import Beats, Graph, Node, TensorType, Value
from hwgen.ops import ArgMax, MatVec, Thresholds, integer_range
from hwgen.tools import verilator

FOLDER = Path("build/bench/simulation")
SIZES = (64, 32, 32, 10)
GOAL = 200_000
FRAMES, PYTHON_FRAMES = 2000, 40


def random_network(rng: np.random.Generator) -> Graph:
    """A frozen network of the digits example's shape: 4-bit weights, 4-bit activations by thresholds, argmax."""
    x, nodes, tensor = TensorType((SIZES[0],), Int(4, signed=False)), [], "x"
    current = x
    for k, (inputs, outputs) in enumerate(itertools.pairwise(SIZES)):
        dense = MatVec(rng.integers(-7, 8, (outputs, inputs)), Int(4), rng.integers(-50, 50, outputs))
        nodes.append(Node(f"dense{k}", dense, (tensor,), f"acc{k}"))
        current, tensor = dense.infer(current), f"acc{k}"
        if k < len(SIZES) - 2:
            low, high = integer_range(current)
            table = np.sort(rng.integers(low // 4, high // 4, (outputs, 15)), axis=1)
            nodes.append(Node(f"act{k}", Thresholds(table, 0, Int(4, signed=False)), (tensor,), f"x{k + 1}"))
            current, tensor = nodes[-1].op.infer(current), f"x{k + 1}"
    nodes.append(Node("argmax", ArgMax(), (tensor,), "label"))
    return Graph("random-digits", (Value("x", x),), tuple(nodes), ("label",))


def words(beats: Beats, codes: np.ndarray) -> list[int]:
    """Every beat of frames as the payload on the wire, frame marks included."""
    raw, size = beats.pack(codes), beats.bytes_per_beat
    plain = (int.from_bytes(raw[k : k + size], "little") for k in range(0, len(raw), size))
    first, last = 1 << beats.data_bits, 1 << beats.data_bits + 1
    return [
        word | first * (k % beats.beats == 0) | last * (k % beats.beats == beats.beats - 1)
        for k, word in enumerate(plain)
    ]


@cocotb.test()
async def per_clock(dut: Any) -> None:
    """Drive and read the accelerator at every clock, as a plain cocotb test does."""
    vectors = json.loads(Path("vectors.json").read_text())
    sent, want, got, cycles = vectors["sent"], vectors["want"], [], 0
    Clock(dut.clk, 2, "ns").start()
    dut.rst.value, dut.i__valid.value, dut.o__ready.value = 1, 0, 1
    for _ in range(4):
        await RisingEdge(dut.clk)
    dut.rst.value, dut.i__valid.value, dut.i__payload.value = 0, 1, sent[0]
    place, cpu = 0, time.process_time()
    while len(got) < len(want):
        await RisingEdge(dut.clk)
        cycles += 1
        if place < len(sent) and int(dut.i__ready.value):
            place += 1
            if place < len(sent):
                dut.i__payload.value = sent[place]
            else:
                dut.i__valid.value = 0
        if int(dut.o__valid.value):
            got.append(int(dut.o__payload.value))
    seconds = time.process_time() - cpu
    assert got == want
    Path("per_clock.json").write_text(json.dumps({"cycles": cycles, "cpu_seconds": seconds}))


def drive_from_python(design: Design, codes: np.ndarray, expected: np.ndarray, folder: Path) -> float:
    """Cycles per CPU second of `per_clock` on cocotb's runner as it comes."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "accel.v").write_text(design.verilog)
    vectors = {"sent": words(design.input, codes), "want": words(design.output, expected)}
    (folder / "vectors.json").write_text(json.dumps(vectors))
    runner = get_runner("verilator")
    log = folder / "runner.log"
    runner.build(sources=[folder / "accel.v"], hdl_toplevel="accel", build_dir=folder, always=True, log_file=log)
    results = runner.test(
        test_module=Path(__file__).stem,
        hdl_toplevel="accel",
        hdl_toplevel_lang="verilog",
        test_dir=folder,
        log_file=log,
        extra_env={"COCOTB_LOG_LEVEL": "WARNING"},
    )
    if get_results(results) != (1, 0):
        raise HwgenError(f"the bench in Python failed (log: {log})")
    found = json.loads((folder / "per_clock.json").read_text())
    return float(found["cycles"] / found["cpu_seconds"])


def main() -> None:
    import os

    paths = [Path(word) for word in sys.argv[1:] if not word.startswith("-")] or [Path("build/digits/digits.onnx")]
    trained = paths[0].exists()
    graph = hwgen.load(paths[0]) if trained else random_network(np.random.default_rng(0))
    accelerator = hwgen.compile(graph)
    design, codes = accelerator.design, accelerator.inputs(None, FRAMES, seed=1)
    start = time.perf_counter()
    simulator.build(design, FOLDER)
    built = time.perf_counter() - start
    proof = verify(graph, design, codes, FOLDER, runs=RUNS)
    os.environ.update(verilator.environment())
    few = codes[:PYTHON_FRAMES]
    slow = drive_from_python(design, few, golden.run(graph, few).reshape(len(few), -1), FOLDER / "per_clock")
    fast = proof.cycles_per_cpu_second
    if "--json" in sys.argv:
        print(json.dumps({"cycles_per_cpu_second": fast, "driven_from_python": slow, "ratio": fast / slow}))
        return
    name = paths[0] if trained else "random weights"
    print(f"network: {name}, {proof.cycles} cycles in {len(RUNS)} runs, all nodes compared")
    print(f"{'build of the simulator':40} {built:12.1f} s (indicative; 0 when it is there)")
    met = "met" if fast >= GOAL else "MISSED"
    print(f"{'hwgen verify':40} {fast:12,.0f} cycles per CPU second   goal {GOAL:,}: {met}")
    print(f"{'driven from Python at every clock':40} {slow:12,.0f} cycles per CPU second")
    print(f"{'ratio':40} {fast / slow:12.1f} x")


if __name__ == "__main__":
    main()
