"""Frames through the emitted Verilog at the simulator's speed: output codes, cycles, latency, interval, faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError, MismatchError, ToolFailedError
from hwgen.flow import simulator
from hwgen.flow.simulator import OnProgress, Stream
from hwgen.ir import Beats
from hwgen.tools import child
from hwgen.tools.files import write_atomic

if TYPE_CHECKING:
    from hwgen.gateware import Design

Codes = npt.NDArray[np.int64]

FULL = 65536
"""The harness counts probabilities in parts of this."""


@dataclass(frozen=True)
class Run:
    """Frames once through the design, stalled at random.

    stall_in: probability (0 up to 0.95) that the source holds back its next beat for a cycle; stall_out: that the
    sink refuses one. seed: of both, 0 .. 2^32 - 1. most: the first so many frames; all of them by default.
    """

    stall_in: float = 0.0
    stall_out: float = 0.0
    seed: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("stall_in", self.stall_in), ("stall_out", self.stall_out)):
            if not 0 <= value <= 0.95:
                raise HwgenError(f"{name} is a probability from 0 to 0.95, not {value}")
        if not 0 <= self.seed < 1 << 32:
            raise HwgenError(f"a seed of stalls lies in 0 .. 2^32 - 1, not {self.seed}")
        if self.most is not None and self.most < 1:
            raise HwgenError(f"a run takes a frame or more, not {self.most}")

    def frames(self, given: int) -> int:
        """How many of so many frames it takes."""
        return given if self.most is None else min(given, self.most)

    def __str__(self) -> str:
        if not (self.stall_in or self.stall_out):
            return "without stalls"
        return f"with stalls in {self.stall_in:g}, out {self.stall_out:g}, seed {self.seed}"


@dataclass(frozen=True)
class Watch:
    """What the monitor of one stream saw in a run.

    frames, beat: whole frames that passed and beats of the one after; offered, accepting: its valid and ready at the
    end. wrong, misframed, unstable, extra: beats whose codes differ, whose first or last is wrong, that changed or went
    away while they waited, and that came after the last frame; with frame, beat (and codes) of the first such.
    """

    stream: Stream
    frames: int
    beat: int
    offered: bool
    accepting: bool
    extra: int
    wrong: int
    wrong_at: tuple[int, int]
    got: Codes
    want: Codes
    misframed: int
    misframed_at: tuple[int, int]
    marks: tuple[bool, bool]
    unstable: int
    unstable_at: tuple[int, int]

    @property
    def beats(self) -> int:
        """Beats that passed."""
        return self.frames * self.stream.beats.beats + self.beat

    def faults(self) -> list[str]:
        """What this stream did wrong, worst first, one sentence for each kind."""
        found, name = [], f"node {self.stream.name}"
        if self.wrong:
            lane = int(np.flatnonzero(self.got != self.want)[0])
            frame, beat = self.wrong_at
            found.append(
                f"{name}, frame {frame}, beat {beat}, lane {lane}: the hardware gives code {self.got[lane]}, "
                f"the golden model {self.want[lane]} ({self.wrong} of {self.beats} beats differ)"
            )
        if self.misframed:
            frame, beat = self.misframed_at
            first, last = self.marks
            found.append(
                f"{name}, frame {frame}, beat {beat} of {self.stream.beats.beats}: "
                f"first={first:d} last={last:d} is wrong"
            )
        if self.unstable:
            frame, beat = self.unstable_at
            found.append(f"{name}, frame {frame}, beat {beat}: it changed or went away while it waited to be accepted")
        if self.extra:
            found.append(f"{name}: {self.extra} beats more than the golden model has")
        return found

    def standing(self) -> str:
        """How the stream stands."""
        state = {(1, 1): "moves", (1, 0): "waits to be accepted", (0, 1): "awaits a beat", (0, 0): "is idle"}
        return f"{self.stream.name} {state[self.offered, self.accepting]} at frame {self.frames}, beat {self.beat}"


@dataclass(frozen=True)
class SimResult:
    """One run.

    codes: the output, (frames that came out, codes a frame). first_in, last_out: clock cycles in which each frame's
    first input beat and last output beat were accepted. cycles: of the whole run, reset included. wall_seconds,
    cpu_seconds: of the run without the simulator's start.
    """

    run: Run
    frames: int
    codes: Codes
    first_in: Codes
    last_out: Codes
    cycles: int
    deadlock: bool
    watchdog: int
    wall_seconds: float
    cpu_seconds: float
    watches: tuple[Watch, ...]

    @property
    def latency(self) -> int:
        """Cycles from the first beat into the empty design to the last beat out of the same frame."""
        return int(self.last_out[0] - self.first_in[0])

    @property
    def interval(self) -> float | None:
        """Cycles a frame in the steady state: the mean of the later half of the frames; None below 4 frames."""
        if len(self.last_out) < 4:
            return None
        half = len(self.last_out) // 2
        return float((self.last_out[-1] - self.last_out[half]) / (len(self.last_out) - 1 - half))

    @property
    def cycles_per_cpu_second(self) -> float:
        return self.cycles / max(self.cpu_seconds, 1e-9)

    def faults(self) -> list[str]:
        """Everything that went wrong, in the order of the data's way; empty when the run was clean."""
        found = [fault for watch in self.watches for fault in watch.faults()]
        if self.deadlock:
            streams = "; ".join(watch.standing() for watch in self.watches)
            found.append(
                f"the design stands still: no beat moved for {self.watchdog} cycles after {len(self.last_out)} of "
                f"{self.frames} frames ({streams})"
            )
        return found


def simulate(
    design: Design,
    codes: npt.ArrayLike,
    folder: Path,
    *,
    expected: Mapping[str, npt.ArrayLike] | None = None,
    runs: Sequence[Run] = (Run(),),
    watchdog: int | None = None,
    arguments: Sequence[str] = (),
    timeout: float | None = None,
    on_line: child.OnLine | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[SimResult, ...]:
    """Send frames through `design` in Verilator, once for each of `runs`.

    codes: input codes (frames, ...), each frame flattened in C order. folder: where executables are kept; vectors are
    written to a folder in it that goes away. expected: codes (frames, ...) of streams by their name (graph node), which
    are compared inside the simulation. watchdog: cycles without a beat after which a run ends as a deadlock.
    on_line sees the compiler's lines, on_progress the runs'. Faults are in the results; nothing is raised for them
    except by `check`. Raises HwgenError for vectors that do not fit the streams, ToolFailedError when a tool fails.
    """
    streams = simulator.watched(design)
    vectors = pack_vectors(streams, codes, expected or {})
    plan = run_plan(design, len(np.asarray(codes)), runs, vectors, watchdog)
    executable = simulator.build(design, folder, on_line)
    with simulator.scratch_folder(folder) as scratch:
        for name, data in vectors.items():
            write_atomic(scratch / name, data)
        done = simulator.launch(
            executable, plan, scratch, arguments=arguments, timeout=timeout, on_progress=on_progress
        )
        return tuple(_result(run, entry, streams, scratch) for run, entry in zip(runs, done["runs"], strict=True))


def check(result: SimResult) -> SimResult:
    """`result` itself if nothing went wrong in it; otherwise raises MismatchError with the first fault."""
    found = result.faults()
    if found:
        more = f" (and {len(found) - 1} more faults, such as: {found[1]})" if len(found) > 1 else ""
        raise MismatchError(f"simulation {result.run}: {found[0]}{more}")
    return result


def pack_vectors(
    streams: Sequence[Stream], codes: npt.ArrayLike, expected: Mapping[str, npt.ArrayLike]
) -> dict[str, bytes]:
    """The files that the harness reads, by name; raises HwgenError when they do not fit the streams."""
    unknown = set(expected) - {stream.name for stream in streams[1:]}
    if unknown:
        raise HwgenError(f"no stream of the design is called {sorted(unknown)[0]!r}")
    frames = len(np.asarray(codes))
    if not frames:
        raise HwgenError("a simulation needs at least one frame")
    files = {"input.bin": _pack(streams[0], codes, frames)}
    for k, stream in enumerate(streams):
        if stream.name in expected and k:
            files[f"expected_{k}.bin"] = _pack(stream, expected[stream.name], frames)
    return files


def _pack(stream: Stream, codes: npt.ArrayLike, frames: int) -> bytes:
    array = np.asarray(codes)
    if len(array) != frames or array.size != frames * stream.beats.codes:
        raise HwgenError(
            f"{stream.name}: {frames} frames of {stream.beats.codes} codes are needed, "
            f"not an array of shape {array.shape}"
        )
    try:
        return stream.beats.pack(array)
    except HwgenError as error:
        raise HwgenError(f"{stream.name}: {error}") from error


def run_plan(
    design: Design,
    frames: int,
    runs: Sequence[Run],
    vectors: Mapping[str, bytes],
    watchdog: int | None = None,
    *,
    strict: bool = False,
) -> dict[str, Any]:
    """What run.json tells the bench (sim/stream_bench.py); `strict` makes the bench itself fail on faults."""
    limit = watchdog or 4 * (design.latency + design.interval) + 10_000
    compared = [k for k in range(1, len(simulator.watched(design))) if f"expected_{k}.bin" in vectors]
    return {
        "strict": strict,
        "latency": design.latency,
        "interval": design.interval,
        "streams": [{"name": stream.name, **stream.beats.to_json()} for stream in simulator.watched(design)],
        "runs": [
            {
                "index": k,
                "frames": run.frames(frames),
                "seed": run.seed,
                "stall_in": round(run.stall_in * FULL),
                "stall_out": round(run.stall_out * FULL),
                # A stalled stream stands still for longer without being dead.
                "watchdog": min(int(limit / ((1 - run.stall_in) * (1 - run.stall_out))), (1 << 32) - 1),
                "check": sum(1 << number for number in compared),
            }
            for k, run in enumerate(runs)
        ],
    }


def _result(run: Run, entry: Mapping[str, Any], streams: Sequence[Stream], folder: Path) -> SimResult:
    index = entry["index"]
    words, came, went = (
        (folder / f"{name}_{index}.txt").read_text().split() for name in ("output", "in_cycles", "out_cycles")
    )
    whole = {"frames", "wrong", "misframed", "unstable"}
    counts = entry["monitors"]
    if len(counts) != len(streams) or any(set(each) != whole for each in counts):
        raise _incomplete(run)
    watches = tuple(_watch(stream, each) for stream, each in zip(streams, counts, strict=True))
    first, last = watches[0], watches[-1]
    if (len(words), len(came), len(went)) != (last.beats, first.frames + (first.beat > 0), last.frames):
        raise _incomplete(run)
    out = streams[-1].beats
    return SimResult(
        run=run,
        frames=entry["frames"],
        codes=_unpack(out, words[: last.frames * out.beats]),
        first_in=np.array(came, dtype=np.int64),
        last_out=np.array(went, dtype=np.int64),
        cycles=entry["cycles"],
        deadlock=entry["deadlock"],
        watchdog=entry["watchdog"],
        wall_seconds=entry["wall_seconds"],
        cpu_seconds=entry["cpu_seconds"],
        watches=watches,
    )


def _incomplete(run: Run) -> ToolFailedError:
    # $fdisplay does not tell when it cannot write.
    return ToolFailedError(f"simulation {run}: the files that the simulator wrote are incomplete; is the disk full?")


def _unpack(beats: Beats, words: Sequence[str]) -> Codes:
    """Codes (frames, codes) of beats written as hexadecimal numbers, most significant digit first."""
    raw = bytes.fromhex("".join(word.zfill(2 * beats.bytes_per_beat) for word in words))
    ordered = np.frombuffer(raw, dtype=np.uint8).reshape(-1, beats.bytes_per_beat)[:, ::-1]
    return beats.unpack(ordered.tobytes())


def _watch(stream: Stream, counts: Mapping[str, Any]) -> Watch:
    state, wrong, misframed, unstable = (counts[name] for name in ("frames", "wrong", "misframed", "unstable"))
    one = replace(stream.beats, beats=1)
    return Watch(
        stream=stream,
        frames=state["frames"],
        beat=state["beat"],
        offered=bool(state["valid"]),
        accepting=bool(state["ready"]),
        extra=state["extra"],
        wrong=wrong["wrong"],
        wrong_at=(wrong["frame"], wrong["beat"]),
        got=_unpack(one, [wrong["got"]])[0],
        want=_unpack(one, [wrong["want"]])[0],
        misframed=misframed["misframed"],
        misframed_at=(misframed["frame"], misframed["beat"]),
        marks=(bool(misframed["first"]), bool(misframed["last"])),
        unstable=unstable["unstable"],
        unstable_at=(unstable["frame"], unstable["beat"]),
    )
