"""Two ways to run a network that was drawn: Amaranth's simulator, which starts at once, and the emitted Verilog."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from amaranth.hdl import Cat
from amaranth.sim import Simulator

from hwgen import gateware, golden
from hwgen.flow import simulate, verify
from hwgen.formats import Codes
from hwgen.gateware.top import Accelerator
from hwgen.ir import Beats, graph_from_json
from hwgen.ops import OPS, cost
from tests.fuzz.cases import Case
from tests.fuzz.numbers import inputs
from tests.gateware import bench, cells

FRAMES = 6
SETTLED = 32
"""Frames after which the interval is the formula's, where FRAMES were too few."""


class WrongError(AssertionError):
    """Something that was promised does not hold."""


def golden_codes(case: Case, frames: int, seed: int = 0) -> tuple[Codes, dict[str, Codes]]:
    """Input codes, and those of every tensor; Raises WrongError where the golden model and the definitions differ."""
    graph = case.graph
    codes = inputs(graph.input_type, frames, np.random.default_rng((case.seed, seed)))
    values = {graph.inputs[0].name: codes}
    for node in graph.nodes:
        values[node.output] = node.op.run(*(values[tensor] for tensor in node.inputs))
        fmt = graph.types[node.output].codes_format
        low, high = fmt.code_range
        found = values[node.output]
        if found.min() < low or found.max() > high or not fmt.is_number(found).all():
            raise WrongError(f"{node.name}: codes {found.min()}..{found.max()} are not all numbers of {fmt.name}")
    for name, found in golden.trace(graph, codes).items():
        if not np.array_equal(found, values[name]):
            raise WrongError(f"golden.trace of {name} differs from the operations' definitions")
    if not np.array_equal(golden.run(graph, codes), values[graph.outputs[0]]):
        raise WrongError("golden.run differs from the operations' definitions")
    if graph_from_json(graph.to_json(), OPS).hash != graph.hash:
        raise WrongError("the graph changes on its way through JSON")
    return codes, values


@dataclass(frozen=True)
class Phase:
    """Frames that go through after those before have come out; chances that the source offers and the sink takes."""

    frames: int
    valid: float = 1.0
    ready: float = 1.0


def in_amaranth(case: Case) -> None:
    """The components in Amaranth's simulator: every node's codes, unstalled, then stalled; latency and interval."""
    with cells.modelled() if case.family == "xcup" else nullcontext():
        rng = np.random.default_rng(case.seed)
        chances = [0.15, 0.4, 0.7, 0.95, 1.0]
        phases = [Phase(FRAMES), *(Phase(2, *(float(p) for p in rng.choice(chances, 2))) for _ in range(3)), Phase(1)]
        starts, ends, made = _run(case, phases)
        for place in (0, -1):
            if ends[place] - starts[place] != made.latency:
                raise WrongError(f"latency {ends[place] - starts[place]} measured, {made.latency} by the formula")
        if _interval(ends[:FRAMES]) != made.interval:
            _, ends, made = _run(case, [Phase(SETTLED)])
            if _interval(ends) != made.interval:
                raise WrongError(f"interval {_interval(ends):g} measured, {made.interval} by the formula")
        if case.wanted is not None and made.interval > case.wanted:
            raise WrongError(f"interval {made.interval} of a folding that was chosen for {case.wanted}")
        if made.interval != (estimate := cost.interval(case.graph, case.folding)):
            raise WrongError(f"interval {made.interval}, and {estimate} is what foldings are chosen by")


def _interval(ends: list[int]) -> float:
    half = len(ends) // 2
    return (ends[-1] - ends[half]) / (len(ends) - 1 - half)


def _run(case: Case, phases: list[Phase]) -> tuple[list[int], list[int], Accelerator]:
    """Clocks of each frame's first beat in and last beat out; WrongError where a stream is not what it should be."""
    made, stages = gateware.accelerator_of(case.graph, case.folding, case.family)
    codes, values = golden_codes(case, sum(phase.frames for phase in phases))
    tensors = {node.name: node.output for node in case.graph.nodes}
    watched = {}
    for stage, (_, part) in zip(stages, made.components, strict=True):
        if stage.node is not None:
            watched[stage.node] = _Watch(stage.node, stage.output, part.component.o, values[tensors[stage.node]])
    streams = list(watched.values())
    source = bench._beats(codes.reshape(len(codes), -1), made.input)
    rng = np.random.default_rng(case.seed)
    taken: list[int] = []
    end = streams[-1]

    async def run(ctx) -> None:
        cycle, frames = 0, 0
        for phase in phases:
            frames += phase.frames
            cycle = await drive(ctx, phase, cycle, frames)
        # What the output does not need is still on its way; beats that nobody asked for would come behind it.
        await drive(ctx, Phase(0), cycle, frames, after=20)

    async def drive(ctx, phase: Phase, cycle: int, frames: int, after: int = 0) -> int:
        ports = [port for stream in streams for port in stream.ports]
        limit = cycle + 4000 + 20 * phase.frames * (made.interval + made.latency) / (phase.valid * phase.ready)
        sent, wanted, offered = frames * made.input.beats, frames * made.output.beats, False
        while end.beat < wanted or after:
            after -= all(stream.beat == len(stream.want) for stream in streams)
            offered = len(taken) < sent and (offered or rng.random() < phase.valid)
            ctx.set(made.i.valid, offered)
            if offered:
                ctx.set(made.i.payload, source[len(taken)])
            ctx.set(made.o.ready, rng.random() < phase.ready)
            _, _, can, *seen = await ctx.tick().sample(made.i.ready, *ports)
            for n, stream in enumerate(streams):
                stream.see(cycle, *seen[2 * n : 2 * n + 2])
            if offered and can:
                taken.append(cycle)
                offered = False
            cycle += 1
            if cycle > limit:
                raise WrongError(f"it stands still after {end.beat} of {wanted} beats in {phase}")
        return cycle

    simulator = Simulator(made)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    for stream in streams:
        stream.check()
    return taken[:: made.input.beats], end.moved[made.output.beats - 1 :: made.output.beats], made


class _Watch:
    """One stream: its beats are compared with what they should be."""

    def __init__(self, name: str, beats: Beats, stream, codes: Codes):
        self.name, self.beats = name, beats
        self.ports = (Cat(stream.valid, stream.ready), stream.payload.as_value())
        self.want = [int.from_bytes(word, "little") for word in self._words(codes)]
        self.beat, self.moved = 0, []
        self.waiting: int | None = None

    def _words(self, codes: Codes) -> list[bytes]:
        size = self.beats.bytes_per_beat
        data = self.beats.pack(codes.reshape(len(codes), -1))
        return [data[n : n + size] for n in range(0, len(data), size)]

    def see(self, cycle: int, shake: int, payload: int) -> None:
        valid, ready = shake & 1, shake >> 1
        if self.waiting is not None and (not valid or payload != self.waiting):
            raise WrongError(f"{self.name}: beat {self.beat} changed or went away while it waited")
        self.waiting = payload if valid and not ready else None
        if not (valid and ready):
            return
        if self.beat >= len(self.want):
            raise WrongError(f"{self.name} gives a beat too many")
        bits, place = self.beats.data_bits, self.beat % self.beats.beats
        marks = (place == 0) | (place == self.beats.beats - 1) << 1
        if payload >> bits != marks:
            raise WrongError(f"{self.name}: beat {place} of a frame has last, first = {payload >> bits:02b}")
        got, want = payload & ((1 << bits) - 1), self.want[self.beat]
        if got != want:
            raise WrongError(f"{self.name}: beat {self.beat} is {got:#x}, not {want:#x}")
        self.beat += 1
        self.moved.append(cycle)

    def check(self) -> None:
        if self.beat != len(self.want):
            raise WrongError(f"{self.name} gave {self.beat} beats, not {len(self.want)}")


def in_verilator(case: Case, folder: Path) -> None:
    """The emitted Verilog in Verilator, as `hwgen verify` runs it, under random stalls."""
    rng = np.random.default_rng(case.seed)
    codes, values = golden_codes(case, SETTLED)
    design = gateware.build(case.graph, case.folding, case.family)
    stalls = [
        simulate.Run(float(rng.choice([0, 0.2, 0.5, 0.8])), float(rng.choice([0, 0.2, 0.5, 0.8])), int(seed))
        for seed in rng.integers(1, 1 << 30, 4)
    ]
    verify.verify(case.graph, design, codes, folder, expected=values, runs=(simulate.Run(), *stalls), timeout=300)
