"""The cocotb bench of an accelerator with one stream in and one stream out.

It sees packed bits only. The harness (harness.sv) carries all beats at the simulator's speed; this bench sets a run's
parameters, starts it, waits, and reads what the harness found. It needs nothing but cocotb and the standard library.

Working directory: `run.json` tells the streams and the runs, `input.bin` and `expected_<k>.bin` hold the vectors,
`results.json` and, per run, `output_<run>.txt`, `in_cycles_<run>.txt`, `out_cycles_<run>.txt` are written.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import Timer

# Time steps between two looks at a run: the clock stops by itself when the run is over, so this costs nothing.
LOOK = 200_000


async def run_once(dut: Any, run: dict[str, Any]) -> dict[str, Any]:
    """Do one run; its parameters with the cycles, seconds and counts that it took."""
    for name in ("frames", "seed", "watchdog", "stall_in", "stall_out", "check"):
        getattr(dut, name).value = int(run[name])
    wall, cpu = time.perf_counter(), time.process_time()
    dut.start.value = 1
    while True:
        await Timer(LOOK, "step")
        if int(dut.done.value):
            break
        print(f"progress {run['index']} {int(dut.frames_out.value)}", flush=True)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    dut.start.value = 0
    await Timer(2, "step")
    print(f"progress {run['index']} {int(dut.frames_out.value)}", flush=True)
    for name in ("output", "in_cycles", "out_cycles"):
        Path(f"{name}.txt").replace(f"{name}_{run['index']}.txt")
    return {
        **run,
        "deadlock": bool(int(dut.deadlock.value)),
        "frames_out": int(dut.frames_out.value),
        "cycles": int(dut.cycle.value),
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "monitors": read_counts(Path("result.txt").read_text()),
    }


def read_counts(text: str) -> list[dict[str, Any]]:
    """The monitors' lines ("index name value name value ..."; the second name groups them) as one table a monitor."""
    monitors: dict[int, dict[str, Any]] = {}
    for line in text.splitlines():
        index, *words = line.split()
        pairs = dict(zip(words[0::2], words[1::2], strict=True))
        values = {name: value if name in ("got", "want") else int(value) for name, value in pairs.items()}
        monitors.setdefault(int(index), {})[words[0]] = values
    return [monitors[index] for index in sorted(monitors)]


def lanes(word: str, stream: dict[str, Any]) -> list[int]:
    """The codes of a beat, lane 0 first, from its hexadecimal digits; the bits they share stand above all lanes."""
    bits, packed = stream["bits"], int(word, 16)
    shared = packed >> stream["lanes"] * bits << bits if stream["shared"] else 0
    codes = [packed >> lane * bits & (1 << bits) - 1 | shared for lane in range(stream["lanes"])]
    return [code - (code >> bits - 1 << bits) for code in codes] if stream["signed"] else codes


def faults(run: dict[str, Any], streams: list[dict[str, Any]]) -> list[str]:
    """What went wrong in a run, one sentence each; empty when nothing did."""
    found = []
    for stream, counts in zip(streams, run["monitors"], strict=True):
        wrong, name = counts["wrong"], stream["name"]
        if wrong["wrong"]:
            got, want = lanes(wrong["got"], stream), lanes(wrong["want"], stream)
            lane = next(lane for lane in range(len(got)) if got[lane] != want[lane])
            found.append(
                f"{name}: frame {wrong['frame']}, beat {wrong['beat']}, lane {lane}: code {got[lane]}, not {want[lane]}"
            )
        for kind, rule in (("misframed", "wrong first or last"), ("unstable", "a waiting beat changed")):
            if counts[kind][kind]:
                found.append(f"{name}: frame {counts[kind]['frame']}, beat {counts[kind]['beat']}: {rule}")
        if counts["frames"]["extra"]:
            found.append(f"{name}: {counts['frames']['extra']} beats too many")
    if run["deadlock"]:
        found.append(f"no beat moved for {run['watchdog']} cycles after {run['frames_out']} of {run['frames']} frames")
    elif run["frames_out"] != run["frames"]:
        found.append(f"{run['frames_out']} frames came out, not {run['frames']}")
    return found


def timing_faults(run: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """Latency and interval that differ from the plan's, in a run without stalls."""
    if run["stall_in"] or run["stall_out"] or not run["frames_out"]:
        return []
    came = [int(word) for word in Path(f"in_cycles_{run['index']}.txt").read_text().split()]
    went = [int(word) for word in Path(f"out_cycles_{run['index']}.txt").read_text().split()]
    found = []
    if went[0] - came[0] != plan["latency"]:
        found.append(f"latency: {went[0] - came[0]} cycles measured, {plan['latency']} by the formula")
    half = len(went) // 2
    if len(went) >= 4 and went[-1] - went[half] != plan["interval"] * (len(went) - 1 - half):
        measured = (went[-1] - went[half]) / (len(went) - 1 - half)
        found.append(f"interval: {measured:g} cycles a frame measured, {plan['interval']} by the formula")
    return found


@cocotb.test()
async def stream(dut: Any) -> None:
    """Do all runs of run.json; with its `strict`, any fault fails the test."""
    plan = json.loads(Path("run.json").read_text())
    runs = [await run_once(dut, run) for run in plan["runs"]]
    temporary = Path("results.json.tmp")
    temporary.write_text(json.dumps({"runs": runs}))
    temporary.replace("results.json")
    if plan["strict"]:
        found = [
            f"run {run['index']}: {fault}"
            for run in runs
            for fault in [*faults(run, plan["streams"]), *timing_faults(run, plan)]
        ]
        assert not found, "\n".join(found)
        frames, cycles = sum(run["frames_out"] for run in runs), sum(run["cycles"] for run in runs)
        Path("summary.txt").write_text(
            f"bit-exact: {frames}/{frames} frames in {len(runs)} runs, {cycles} clock cycles\n"
        )
