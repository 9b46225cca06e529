"""cocotb bench of the AXI4-Stream shell: frames in and out, with and without pauses at both ends, tlast, reset.

It sees only packed bytes: the stand-in accelerator adds 1 to every lane.
"""

import random
from collections.abc import Iterator

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.handle import HierarchyObject
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from hwgen.ir.beats import Beats

INPUT = Beats(lanes=3, bits=5, signed=True, beats=4)
OUTPUT = Beats(lanes=3, bits=6, signed=True, beats=4)


def pauses(seed: int) -> Iterator[bool]:
    generator = random.Random(seed)
    while True:
        yield generator.random() < 0.6


async def start(dut: HierarchyObject) -> tuple[AxiStreamSource, AxiStreamSink]:
    cocotb.start_soon(Clock(dut.aclk, 2, "step").start())
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, dut.aresetn, False)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, dut.aresetn, False)
    source.log.setLevel("WARNING")
    sink.log.setLevel("WARNING")
    await reset(dut)
    return source, sink


async def reset(dut: HierarchyObject) -> None:
    dut.aresetn.value = 0
    await ClockCycles(dut.aclk, 4)
    dut.aresetn.value = 1
    await RisingEdge(dut.aclk)


@cocotb.test()
@cocotb.parametrize(in_pauses=[False, True], out_pauses=[False, True])
async def frames(dut: HierarchyObject, in_pauses: bool, out_pauses: bool) -> None:
    source, sink = await start(dut)
    if in_pauses:
        source.set_pause_generator(pauses(1))
    if out_pauses:
        sink.set_pause_generator(pauses(2))
    codes = np.random.default_rng(3).integers(-14, 16, (50, INPUT.codes))
    for row in codes:
        source.send_nowait(AxiStreamFrame(INPUT.pack(row)))
    for row in codes:
        received = await sink.recv()
        assert (OUTPUT.unpack(bytes(received.tdata))[0] == row + 1).all()
    assert sink.empty()
    assert dut.frame_error.value == 0


@cocotb.test()
async def a_short_frame_is_shown_until_reset(dut: HierarchyObject) -> None:
    source, sink = await start(dut)
    row = np.arange(INPUT.codes) - 6
    await source.send(AxiStreamFrame(INPUT.pack(row)[:4]))
    await source.wait()
    await ClockCycles(dut.aclk, 4)
    assert dut.frame_error.value == 1
    await reset(dut)
    assert dut.frame_error.value == 0
    await source.send(AxiStreamFrame(INPUT.pack(row)))
    assert (OUTPUT.unpack(bytes((await sink.recv()).tdata))[0] == row + 1).all()
