"""One network through several back ends, on the same input codes: what each gives, takes and costs.

Every back end emits its project and runs its own simulation; what it emits as RTL is synthesised by the same Yosys with
the same flags. All are compared with the golden model, code for code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import golden
from hwgen.compiler import Accelerator
from hwgen.errors import HwgenError, MismatchError
from hwgen.formats import Codes
from hwgen.ir.figure import Figure

KINDS = ("lut", "ff", "dsp", "bram")

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """What a back end made of a network, and what its simulation gave.

    codes: outputs (frames, *shape). latency, interval: clock cycles. sources, top: the RTL, none where it emits none.
    lines: of text written for this network. seconds: by step, in order; tools' own caches make them differ from run to
    run. note: what to know about the figures. problem: what went wrong behind the simulation.
    """

    codes: Codes
    latency: Figure
    interval: Figure
    sources: tuple[Path, ...]
    top: str
    lines: int
    seconds: Mapping[str, float]
    note: str = ""
    problem: HwgenError | None = None


@dataclass(frozen=True)
class Row:
    """One back end in a comparison.

    error: why it has no result, or not all of them. wrong: frames whose codes differ from the golden model's.
    first: the first code that differs, in words. used: LUT, FF, DSP and BRAM by Yosys.
    """

    backend: str
    folder: Path
    made: Made | None = None
    error: HwgenError | None = None
    wrong: tuple[int, ...] = ()
    first: str = ""
    used: Mapping[str, Figure] = field(default_factory=dict)
    synthesis_seconds: float | None = None

    @property
    def exact(self) -> bool | None:
        """Whether all codes are the golden model's; None where there are no codes."""
        return None if self.made is None else not self.wrong

    @property
    def failure(self) -> HwgenError | None:
        """What the command ends with: codes that differ, else the error."""
        return MismatchError(self.first) if self.wrong else self.error

    @property
    def seconds(self) -> dict[str, float]:
        """By step, synthesis included."""
        found = dict(self.made.seconds) if self.made else {}
        return found if self.synthesis_seconds is None else {**found, "synthesis": self.synthesis_seconds}

    def figure(self, name: str) -> Figure:
        """One of latency, interval, lut, ff, dsp, bram; without a value where it is not known."""
        if name in KINDS:
            return self.used.get(name, Figure(None, "synthesis", how="no RTL"))
        unknown = Figure(None, "simulation", "cycles")
        return unknown if self.made is None else {"latency": self.made.latency, "interval": self.made.interval}[name]

    def to_json(self) -> dict[str, Any]:
        names = ("latency", "interval", *KINDS)
        return {
            "backend": self.backend,
            "folder": str(self.folder),
            "bit_exact": self.exact,
            "wrong_frames": list(self.wrong),
            "first_difference": self.first or None,
            "error": str(self.error) if self.error else None,
            "exit_code": self.failure.exit_code if self.failure else 0,
            **{name: self.figure(name).to_json() for name in names},
            "lines": self.made.lines if self.made else None,
            "seconds": self.seconds,
            "note": self.made.note if self.made else "",
        }


@dataclass(frozen=True)
class Comparison:
    """All back ends on the same frames; `note`: what to know about the synthesis."""

    network: str
    hash: str
    board: str
    part: str
    frames: int
    source: str
    golden_seconds: float
    note: str
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "hash": self.hash,
            "board": self.board,
            "part": self.part,
            "frames": self.frames,
            "source": self.source,
            "golden_seconds": self.golden_seconds,
            "note": self.note,
            "rows": [row.to_json() for row in self.rows],
        }

    def check(self) -> None:
        """Raises what the first back end that failed did, naming all that did; MismatchError where codes differ."""
        errors = {row.backend: row.failure for row in self.rows if row.failure}
        if not errors:
            return
        first = next((e for e in errors.values() if isinstance(e, MismatchError)), next(iter(errors.values())))
        reasons = "; ".join(f"{name}: {error}" for name, error in errors.items())
        raise type(first)(f"{len(errors)} of {len(self.rows)} back ends gave no right and whole result: {reasons}")


def compare(
    accelerator: Accelerator,
    codes: Codes,
    backends: Sequence[str],
    folder: Path,
    source: str = "",
    tell: Tell = lambda text: None,
) -> Comparison:
    """Send input codes (frames, *shape) through back ends of `RUNNERS`; each leaves its files in `folder`/NAME.

    A back end that cannot run is a row with its error, and the others go on. Raises HwgenError for names that are not
    known or given twice.
    """
    check_names(backends)
    start = time.perf_counter()
    want = golden.run(accelerator.graph, codes)
    golden_seconds = time.perf_counter() - start
    rows = tuple(_row(name, accelerator, codes, want, folder / name, tell) for name in backends)
    from hwgen.tools import yosys

    board = accelerator.board
    return Comparison(
        network=accelerator.graph.name,
        hash=accelerator.graph.hash,
        board=board.name,
        part=board.part,
        frames=len(codes),
        source=source,
        golden_seconds=golden_seconds,
        note=yosys.NOTES[board.family],
        rows=rows,
    )


def check_names(backends: Sequence[str]) -> None:
    for name in backends:
        if name not in RUNNERS:
            raise HwgenError(f"unknown backend {name!r}: one of {', '.join(RUNNERS)}")
    if len(set(backends)) < len(backends) or not backends:
        raise HwgenError(f"back ends to compare are different ones, at least one, not {', '.join(backends) or 'none'}")


def _row(name: str, accelerator: Accelerator, codes: Codes, want: Codes, folder: Path, tell: Tell) -> Row:
    def say(text: str) -> None:
        tell(f"{name}: {text}")

    try:
        made = RUNNERS[name](accelerator, codes, folder, say)
    except HwgenError as error:
        return Row(name, folder, error=error)
    wrong, first = difference(made.codes, want)
    if not made.sources:
        return Row(name, folder, made, made.problem, wrong, first)
    say("Yosys")
    start = time.perf_counter()
    try:
        used = _synthesise(made, accelerator, folder / "yosys")
    except HwgenError as error:
        return Row(name, folder, made, error, wrong, first)
    return Row(name, folder, made, None, wrong, first, used, time.perf_counter() - start)


def difference(got: Codes, want: Codes) -> tuple[tuple[int, ...], str]:
    """The frames that differ, and the first code that does in words ("" where none does)."""
    if got.shape != want.shape:
        return tuple(range(len(want))), f"it gives codes of shape {got.shape}, the golden model {want.shape}"
    places = np.argwhere(got != want)
    if not len(places):
        return (), ""
    frame, *place = (int(n) for n in places[0])
    frames = tuple(int(n) for n in np.unique(places[:, 0]))
    values = f"it gives {got[frame, *place]}, the golden model {want[frame, *place]}"
    return frames, f"frame {frame}, code {place}: {values} ({len(frames)} of {len(want)} frames differ)"


def _synthesise(made: Made, accelerator: Accelerator, folder: Path) -> dict[str, Figure]:
    from hwgen.tools import yosys

    folder.mkdir(parents=True, exist_ok=True)
    total = yosys.synthesise(made.sources, made.top, accelerator.board.family, folder).statistics.total
    how = f"Yosys, {accelerator.board.family}: {folder}/synth.ys"
    return {kind: Figure(getattr(total, kind), "synthesis", kind.upper(), how) for kind in KINDS}


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start


def _lines(paths: Sequence[Path]) -> int:
    return sum(path.read_bytes().count(b"\n") for path in paths)


def _native(accelerator: Accelerator, codes: Codes, folder: Path, tell: Tell) -> Made:
    """hwgen's own Verilog in Verilator, without stalls."""
    from hwgen.flow import simulate, simulator
    from hwgen.tools.files import write_atomic

    seconds: dict[str, float] = {}
    tell("Verilog")
    path = folder / "accel.v"
    with _timed(seconds, "emit"):
        design = accelerator.design
        write_atomic(path, design.verilog)
    simulators = accelerator.root / "simulators"
    tell("compiling the simulator")
    with _timed(seconds, "compile"):
        simulator.build(design, simulators)
    tell("simulating")
    with _timed(seconds, "simulate"):
        (result,) = simulate.simulate(design, codes, simulators)
    simulate.check(result)
    return Made(
        result.codes.reshape(len(codes), *accelerator.graph.output_type.shape),
        Figure(result.latency, "simulation", "cycles", "Verilator"),
        Figure(result.interval, "simulation", "cycles", "Verilator"),
        (path,),
        "accel",
        _lines([path]),
        seconds,
    )


def _hls4ml(accelerator: Accelerator, codes: Codes, folder: Path, tell: Tell) -> Made:
    """The C simulation of the HLS project; cycles and RTL where Vitis HLS is installed, which is run then."""
    from hwgen.backends import hls4ml

    board = accelerator.board
    seconds: dict[str, float] = {}
    tell("writing the HLS project")
    with _timed(seconds, "emit"):
        hls4ml.write(accelerator.graph, folder, board.part, board.clock.design_mhz, accelerator.folding)
    tell("compiling the C simulation")
    with _timed(seconds, "compile"):
        library = hls4ml.compile_simulation(folder)
    tell("C simulation")
    with _timed(seconds, "simulate"):
        got = hls4ml.simulate(folder, codes, library)
    lines = _lines([folder / name for name in hls4ml.emitted(folder)])
    unknown = Figure(None, "estimate", "cycles", "Vitis HLS was not run")
    made = Made(got, unknown, unknown, (), "", lines, seconds, "cycles and RTL are Vitis HLS', which was not run")
    if hls4ml.vitis() is None:
        return made
    tell("Vitis HLS")
    try:
        with _timed(seconds, "Vitis HLS"):
            figures = hls4ml.build(folder)
    except HwgenError as error:
        return replace(made, problem=error)
    top = hls4ml.project_name(accelerator.graph)
    sources = sorted((folder / f"{top}_prj" / "solution1" / "syn" / "verilog").glob("*.v"))
    note = "latency and interval are estimates of Vitis HLS"
    latency, interval = figures["latency"], figures["interval"]
    return replace(made, latency=latency, interval=interval, sources=tuple(sources), top=top, note=note)


def _finn(accelerator: Accelerator, codes: Codes, folder: Path, tell: Tell) -> Made:
    """FINN's RTL, stitched and simulated without Vivado."""
    from hwgen.backends import finn
    from hwgen.flow import simulate, simulator

    graph, seconds = accelerator.graph, dict[str, float]()
    tell("FINN makes its RTL")
    with _timed(seconds, "emit"):
        finn.emit(graph, accelerator.folding, folder, accelerator.board)
    simulators = accelerator.root / "simulators"
    tell("compiling the simulator")
    with _timed(seconds, "compile"):
        simulator.build(finn.design(folder), simulators)
    tell("simulating")
    with _timed(seconds, "simulate"):
        (result,) = finn.simulate(folder, codes, simulators)
    if len(result.codes) < len(codes) or np.array_equal(finn.outputs(graph, result), golden.run(graph, codes)):
        simulate.check(result)  # what is wrong besides the network's own codes
    made = Made(
        finn.outputs(graph, result),
        Figure(result.latency, "simulation", "cycles", "Verilator"),
        Figure(result.interval, "simulation", "cycles", "Verilator"),
        (),
        "",
        _lines(_own_rtl(folder)),
        seconds,
    )
    tell("reading its SystemVerilog")
    try:
        with _timed(seconds, "read"):
            sources, top = finn.synthesis(folder)
    except HwgenError as error:
        return replace(made, problem=error)
    return replace(made, sources=tuple(sources), top=top)


def _own_rtl(folder: Path) -> list[Path]:
    """The RTL in a FINN project that is of its network: accel.sv, and what FINN made of its templates."""
    from hwgen.backends import finn_stitch

    made = {name for entry in finn_stitch.read_nodes(folder) for name in entry["files"]}
    return [path for path in finn_stitch.files(folder) if path.name in {*made, "accel.sv"}]


RUNNERS: dict[str, Callable[[Accelerator, Codes, Path, Tell], Made]] = {
    "native": _native,
    "hls4ml": _hls4ml,
    "finn": _finn,
}
"""What can be compared."""
