"""The proof: every beat of every node, under stalls and without, equals the golden model; cycles equal the formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hwgen import golden
from hwgen.errors import HwgenError, MismatchError
from hwgen.flow import simulator
from hwgen.flow.simulate import Codes, Run, SimResult, check, simulate
from hwgen.ir import Graph
from hwgen.tools import child

if TYPE_CHECKING:
    from hwgen.gateware import Design

RUNS = (Run(), Run(stall_in=0.5, seed=1), Run(stall_out=0.5, seed=2), *(Run(0.3, 0.3, seed=seed) for seed in (3, 4, 5)))
"""Without stalls (this one is measured), at the input, at the output, and at both ends with three seeds."""

OnVerify = Callable[[int, int], None]
"""Called with (frames done in all runs, frames to do)."""


@dataclass(frozen=True)
class VerifyResult:
    """A proof that held: it is only made when nothing differed.

    frames: in each run that does not take fewer. beats: compared in all runs, by node. latency, interval: cycles,
    measured in the run without stalls, equal to the design's formulas; interval is None below 4 frames. cycles,
    cpu_seconds: of all runs, without the simulator's start.
    """

    frames: int
    runs: tuple[Run, ...]
    beats: dict[str, int]
    latency: int
    interval: int | None
    cycles: int
    wall_seconds: float
    cpu_seconds: float
    codes: Codes

    @property
    def cycles_per_cpu_second(self) -> float:
        return self.cycles / max(self.cpu_seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """Everything but the codes, as JSON values."""
        return {
            "bit_exact": True,
            "frames": self.frames,
            "beats": dict(self.beats),
            "runs": [self._run_json(run) for run in self.runs],
            "latency": self.latency,
            "interval": self.interval,
            "cycles": self.cycles,
            "wall_seconds": self.wall_seconds,
            "cpu_seconds": self.cpu_seconds,
            "cycles_per_cpu_second": self.cycles_per_cpu_second,
        }

    def _run_json(self, run: Run) -> dict[str, Any]:
        measured = _unstalled(run)
        return {
            "name": str(run),
            "frames": run.frames(self.frames),
            "stall_in": run.stall_in,
            "stall_out": run.stall_out,
            "seed": run.seed,
            "latency": self.latency if measured else None,
            "interval": self.interval if measured else None,
        }


def verify(
    graph: Graph,
    design: Design,
    codes: npt.ArrayLike,
    folder: Path,
    *,
    expected: dict[str, Codes] | None = None,
    runs: Sequence[Run] = RUNS,
    timeout: float | None = None,
    on_line: child.OnLine | None = None,
    on_progress: OnVerify | None = None,
) -> VerifyResult:
    """Prove `design` equal to the golden model of `graph` on the input codes `codes` (frames, *shape).

    expected: codes of every tensor by name, as `golden.trace` gives (and computed by it when None). The first run
    without stalls is measured; one is put in front when there is none. folder: see `simulate`.
    Raises MismatchError naming node, frame, beat, lane and both codes, a broken rule of streams, a standstill, or a
    latency or interval that is not the formula's; HwgenError for input that does not fit; ToolFailedError.
    """
    inputs = np.asarray(codes, dtype=np.int64)
    if not any(_unstalled(run) for run in runs):
        runs = (Run(), *runs)
    results = simulate(
        design,
        inputs,
        folder,
        expected=expected_streams(graph, design, golden.trace(graph, inputs) if expected is None else expected),
        runs=runs,
        timeout=timeout,
        on_line=on_line,
        on_progress=_of_all([run.frames(len(inputs)) for run in runs], on_progress),
    )
    for result in results:
        check(result)
        _check_counts(result)
    measured = next(result for result in results if _unstalled(result.run))
    interval = _check_timing(design, measured)
    return VerifyResult(
        frames=len(inputs),
        runs=tuple(runs),
        beats={
            watch.stream.name: sum(result.watches[k].beats for result in results)
            for k, watch in enumerate(measured.watches)
            if k
        },
        latency=measured.latency,
        interval=interval,
        cycles=sum(result.cycles for result in results),
        wall_seconds=sum(result.wall_seconds for result in results),
        cpu_seconds=sum(result.cpu_seconds for result in results),
        codes=measured.codes,
    )


def _of_all(parts: Sequence[int], on_progress: OnVerify | None) -> simulator.OnProgress:
    """Progress in one run, as that in all of them, of so many frames each."""
    done = 0

    def progress(index: int, out: int) -> None:
        nonlocal done
        done = max(done, sum(parts[:index]) + out)
        if on_progress:
            on_progress(done, sum(parts))

    return progress


def _unstalled(run: Run) -> bool:
    return run.stall_in == run.stall_out == 0


def expected_streams(graph: Graph, design: Design, trace: dict[str, Codes]) -> dict[str, Codes]:
    """Codes of every watched stream but the input, by its name, from those of every tensor by its name."""
    tensors = {node.name: node.output for node in graph.nodes}
    found = {}
    for stream in simulator.watched(design)[1:]:
        tensor = tensors.get(stream.name)
        if tensor is None:
            raise HwgenError(f"the design has a stage of node {stream.name!r}, the graph {graph.name!r} has none")
        if tensor not in trace:
            raise HwgenError(f"no expected codes for tensor {tensor!r} of node {stream.name!r}")
        found[stream.name] = trace[tensor]
    return found


def _check_counts(result: SimResult) -> None:
    """A run that ended well has passed exactly the expected beats at every node: nothing was left uncompared."""
    for watch in result.watches:
        if watch.beats != result.frames * watch.stream.beats.beats:
            raise MismatchError(
                f"simulation {result.run}: node {watch.stream.name} passed {watch.beats} beats, "
                f"not {result.frames} frames of {watch.stream.beats.beats}"
            )


def _check_timing(design: Design, result: SimResult) -> int | None:
    """The measured interval; raises MismatchError when it or the latency is not the formula's."""
    if result.latency != design.latency:
        raise MismatchError(f"latency: {result.latency} cycles measured, {design.latency} by the formula")
    interval = result.interval
    if interval is not None and interval != design.interval:
        raise MismatchError(f"interval: {interval:g} cycles a frame measured, {design.interval} by the formula")
    return None if interval is None else int(interval)
