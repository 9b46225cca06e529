"""The bench of one core: sends the vectors of vectors.json and compares what comes out, clock by clock or beat by beat.

ip.json: `flow` is "pipeline" (inputs and outputs move together on clocks with `enable` high, `latency` clocks apart),
"combinational", or "stream" (each port is a stream with valid and ready). A vector has a value for each input and each
output; null stands for an output that means nothing there. Of streams, outputs are beats and masks of what counts.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, Timer

HERE = Path(__file__).resolve().parent
CORE = json.loads((HERE / "ip.json").read_text())
VECTORS = json.loads((HERE / "vectors.json").read_text())


def compare(dut, vector, number: int) -> None:
    for name, want in vector["outputs"].items():
        got = int(getattr(dut, name).value)
        assert want is None or got == int(want), f"vector {number}, {name}: {got:#x} came out, not {int(want):#x}"


def drive(dut, vector) -> None:
    for name, value in vector["inputs"].items():
        getattr(dut, name).value = int(value)


async def start(dut) -> None:
    if hasattr(dut, "rst"):
        dut.rst.value = 0
    Clock(dut.clk, 10, "ns").start()
    await FallingEdge(dut.clk)


async def pipeline(dut, stall: float, seed: int) -> None:
    """A new vector on each clock with `enable`; what they give is seen `latency` such clocks later."""
    rng = random.Random(seed)
    latency = CORE["latency"]
    step = 0
    while step < len(VECTORS) + latency:
        moves = rng.random() >= stall
        dut.enable.value = int(moves)
        dut.valid.value = int(step < len(VECTORS))
        drive(dut, VECTORS[min(step, len(VECTORS) - 1)])
        await Timer(1, "ns")
        if moves:
            seen = step - latency
            if 0 <= seen < len(VECTORS):
                assert int(dut.valid_out.value) == 1, f"vector {seen} is not marked valid"
                compare(dut, VECTORS[seen], seen)
            step += 1
        await FallingEdge(dut.clk)


async def combinational(dut) -> None:
    for number, vector in enumerate(VECTORS):
        drive(dut, vector)
        await Timer(1, "ns")
        compare(dut, vector, number)


async def stream(dut, stall: float, seed: int) -> None:
    """Every stream on its own, with random pauses on both sides; beats must come out in order."""
    sources = [cocotb.start_soon(source(dut, name, stall, seed + n)) for n, name in enumerate(CORE["inputs"])]
    for n, name in enumerate(CORE["outputs"]):
        await sink(dut, name, stall, seed + 100 + n)
    for task in sources:
        await task


async def source(dut, name: str, stall: float, seed: int) -> None:
    rng = random.Random(seed)
    valid, ready = getattr(dut, f"{name}__valid"), getattr(dut, f"{name}__ready")
    for beat in VECTORS["inputs"][name]:
        while rng.random() < stall:
            valid.value = 0
            await FallingEdge(dut.clk)
        valid.value = 1
        getattr(dut, f"{name}__payload").value = int(beat)
        while True:
            await Timer(1, "ns")
            taken = int(ready.value)
            await FallingEdge(dut.clk)
            if taken:
                break
    valid.value = 0


async def sink(dut, name: str, stall: float, seed: int) -> None:
    rng = random.Random(seed)
    valid, ready = getattr(dut, f"{name}__valid"), getattr(dut, f"{name}__ready")
    waited = 0
    for number, want in enumerate(VECTORS["outputs"][name]):
        while True:
            ready.value = int(rng.random() >= stall)
            await Timer(1, "ns")
            has = int(valid.value) and int(ready.value)
            got = int(getattr(dut, f"{name}__payload").value)
            await FallingEdge(dut.clk)
            waited = 0 if has else waited + 1
            assert waited < 100_000, f"{name}: beat {number} never came"
            if has:
                break
        value, mask = (int(one) for one in want)
        assert got & mask == value, f"{name}: beat {number} is {got & mask:#x}, not {value:#x}"
    ready.value = 0


@cocotb.test()
async def every_vector(dut) -> None:
    if CORE["flow"] == "combinational":
        await combinational(dut)
        return
    await start(dut)
    for stall, seed in ((0.0, 1), (0.4, 2)):
        await (pipeline if CORE["flow"] == "pipeline" else stream)(dut, stall, seed)
    await RisingEdge(dut.clk)
