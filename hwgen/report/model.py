"""The report as data: a tree of frozen dataclasses. Everything unknown is None, every measured number a Figure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError
from hwgen.ir.figure import Figure, weakest

SCHEMA_VERSION = 1


def _check_part(what: str, part: int, whole: int) -> None:
    if not 0 <= part <= whole:
        raise HwgenError(f"{what}: {part} of {whole} is not a count within a whole")


@dataclass(frozen=True)
class Accuracy:
    """How many of a data set's frames one implementation classifies rightly.

    name: the implementation ("float (Brevitas forward)", "golden", "simulated RTL"); source: the data set.
    """

    name: str
    correct: int
    total: int
    source: str = ""

    def __post_init__(self) -> None:
        _check_part(f"accuracy of {self.name}", self.correct, self.total)

    @property
    def fraction(self) -> float | None:
        return self.correct / self.total if self.total else None


@dataclass(frozen=True)
class Difference:
    """Codes of one node where the golden model and the float network disagree.

    different of `compared` codes disagree, counting only the first difference of each frame, since those behind it
    follow from it. `ties` of them are explained: the exact number is as near to a rounding boundary as float errs.
    """

    node: str
    compared: int
    different: int
    ties: int
    note: str = ""

    def __post_init__(self) -> None:
        _check_part(f"differences at {self.node}", self.different, self.compared)
        _check_part(f"float ties at {self.node}", self.ties, self.different)

    @property
    def unexplained(self) -> int:
        return self.different - self.ties


@dataclass(frozen=True)
class Compared:
    """Beats of one node's stream that were compared with the golden codes."""

    node: str
    beats: int


@dataclass(frozen=True)
class Run:
    """One simulation: probabilities that the source and the sink pause in a cycle, the seed, and what was seen.

    latency: cycles from the first input beat to the last output beat of the first frame; interval: cycles between
    frames. None where the run does not tell, for instance with stalls.
    """

    name: str
    frames: int
    equal: int
    source_stall: float = 0.0
    sink_stall: float = 0.0
    seed: int | None = None
    latency: int | None = None
    interval: float | None = None

    def __post_init__(self) -> None:
        _check_part(f"run {self.name}", self.equal, self.frames)


@dataclass(frozen=True)
class BitExactness:
    """What the simulation of the emitted Verilog proved; `frames` different frames, each in every run."""

    frames: int
    runs: tuple[Run, ...]
    compared: tuple[Compared, ...] = ()
    simulator: str = ""

    @property
    def equal(self) -> int:
        """Frames that were equal in the run where the fewest were."""
        return min((run.equal for run in self.runs), default=0)

    @property
    def exact(self) -> bool:
        return bool(self.runs) and all(run.equal == run.frames for run in self.runs)

    def text(self) -> str:
        frames = min((run.frames for run in self.runs), default=self.frames)
        return f"{'bit-exact' if self.exact else 'NOT bit-exact'}: {self.equal}/{frames} frames"


@dataclass(frozen=True)
class Layer:
    """One stage of the accelerator.

    start, end: cycles after the first input beat at which this stage takes its first beat and gives its last one, in
    the first frame, without stalls. cycles: clock cycles that it is busy with each frame.
    entries, entry_bits: of a table or of thresholds: numbers that it stores, and bits of each.
    """

    name: str
    kind: str
    cycles: Figure
    start: Figure
    end: Figure
    lut: Figure
    ff: Figure
    bram: Figure
    dsp: Figure
    pe: int | None = None
    simd: int | None = None
    weight_format: str | None = None
    input_format: str | None = None
    output_format: str | None = None
    accumulator_bits: int | None = None
    entries: int | None = None
    entry_bits: int | None = None

    @property
    def kind_text(self) -> str:
        """The kind, with the size of what it looks up or compares with."""
        size = f" ({self.entries:,} x {self.entry_bits} bits)" if self.entries is not None else ""
        return self.kind + size


@dataclass(frozen=True)
class Resource:
    """One resource of the whole design: what it uses and what the board has (None: not known)."""

    name: str
    used: Figure
    available: int | None = None

    @property
    def fraction(self) -> float | None:
        if self.used.value is None or not self.available:
            return None
        return self.used.value / self.available


@dataclass(frozen=True)
class Timing:
    """Clock and speed. `timing` makes it. target: the clock asked for, in MHz; fmax_seeds: MHz of each seed tried.

    latency_us and frames_per_second hold at Fmax and leave the host link out.
    """

    target: float | None
    fmax: Figure
    latency: Figure
    interval: Figure
    latency_us: Figure
    frames_per_second: Figure
    fmax_seeds: tuple[float, ...] = ()

    @property
    def met(self) -> bool | None:
        """Whether Fmax reaches the target; None where either is not known."""
        if self.target is None or self.fmax.value is None:
            return None
        return self.fmax.value >= self.target


@dataclass(frozen=True)
class Confusion:
    """counts[i][j]: frames of class labels[i] that were taken for labels[j]; `name`: by which implementation."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    name: str = "golden"

    def __post_init__(self) -> None:
        rows = {len(row) for row in self.counts} | {len(self.counts)}
        if rows != {len(self.labels)}:
            raise HwgenError(f"a confusion matrix of {len(self.labels)} labels is square, not of sizes {sorted(rows)}")


@dataclass(frozen=True)
class HostSide:
    """What the host computes before the input is encoded and after the output is decoded, in order."""

    pre: tuple[str, ...] = ()
    post: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything that is known about one compiled network. None, or an empty tuple, where nothing was found out."""

    network: str
    graph_hash: str
    board: str
    timing: Timing
    part: str = ""
    command: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)
    accuracy: tuple[Accuracy, ...] = ()
    differences: tuple[Difference, ...] = ()
    bit_exactness: BitExactness | None = None
    layers: tuple[Layer, ...] = ()
    resources: tuple[Resource, ...] = ()
    confusion: Confusion | None = None
    host: HostSide = HostSide()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The whole report as JSON values; `from_json` reads it back."""
        data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {"version": SCHEMA_VERSION, **data}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Report:
        """The report that `to_json` wrote; raises HwgenError naming the first field that is wrong."""
        from pydantic import TypeAdapter, ValidationError  # slow to import

        if data.get("version") != SCHEMA_VERSION:
            raise HwgenError(f"report.json has version {data.get('version')!r}; this hwgen reads {SCHEMA_VERSION}")
        try:
            return TypeAdapter(Report).validate_python(dict(data))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "report"
            raise HwgenError(f"report.json: {place}: {first['msg']}") from error

    @staticmethod
    def read(path: Path | str) -> Report:
        """The report in a `report.json` file, or in a folder that holds one; raises HwgenError naming the file."""
        path = Path(path)
        path = path / "report.json" if path.is_dir() else path
        try:
            data = json.loads(path.read_text())
        except OSError as error:
            raise HwgenError(f"cannot read {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise HwgenError(f"{path} is not JSON: {error}") from error
        if not isinstance(data, dict):
            raise HwgenError(f"{path} holds a {type(data).__name__}, not a report")
        return Report.from_json(data)


def timing(
    target: float | None, fmax: Figure, latency: Figure, interval: Figure, fmax_seeds: tuple[float, ...] = ()
) -> Timing:
    """Timing from a clock target and an Fmax in MHz and from a latency and an interval in cycles.

    The latency in microseconds and the frames per second follow, and are as good as the weaker of their two figures.
    """

    def at_fmax(cycles: Figure, unit: str, what: str) -> Figure:
        source = weakest(cycles, fmax)
        how = f"{what} ({cycles.source}) at Fmax ({fmax.source})"
        if not cycles.value or not fmax.value:
            return Figure(None, source, unit, how)
        value = cycles.value / fmax.value if unit == "us" else fmax.value * 1e6 / cycles.value
        return Figure(value, source, unit, how)

    return Timing(
        target=target,
        fmax=fmax,
        latency=latency,
        interval=interval,
        latency_us=at_fmax(latency, "us", "latency"),
        frames_per_second=at_fmax(interval, "frames/s", "interval"),
        fmax_seeds=fmax_seeds,
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `report.json`."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(Report).json_schema()
    schema["properties"]["version"] = {"const": SCHEMA_VERSION}
    schema["required"] = ["version", *schema["required"]]
    return schema
