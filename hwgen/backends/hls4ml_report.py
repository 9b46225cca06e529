"""What Vitis HLS says of a project that it has synthesised: the figures in its csynth.xml files."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from hwgen.errors import HwgenError
from hwgen.ir.figure import Figure

HOW = "Vitis HLS, csynth.xml"

LATENCY = "PerformanceEstimates/SummaryOfOverallLatency"

PLACES = {
    "latency": (f"{LATENCY}/Worst-caseLatency", "cycles"),
    "interval": (f"{LATENCY}/Interval-max", "cycles"),
    "clock": ("PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod", "ns"),
    "lut": ("AreaEstimates/Resources/LUT", "LUT"),
    "ff": ("AreaEstimates/Resources/FF", "FF"),
    "dsp": ("AreaEstimates/Resources/DSP", "DSP"),
    "bram": ("AreaEstimates/Resources/BRAM_18K", "BRAM18"),
}
"""Where each figure stands in a csynth.xml, and its unit."""

FIRST = 2
"""The number that hls4ml gives the layer of a graph's first node; 1 is the input."""


def _folder(folder: Path | str, name: str) -> Path:
    return Path(folder) / f"{name}_prj" / "solution1" / "syn" / "report"


def figures(folder: Path | str, name: str) -> dict[str, Figure]:
    """Latency, interval, clock period and resources of the project `name`, by the keys of `PLACES`.

    All are estimates: HLS states them before logic synthesis. What the file does not have is a figure without a value.
    Raises HwgenError where there is no such file or it cannot be read.
    """
    return _figures(_read(_folder(folder, name) / "csynth.xml"))


def version(folder: Path | str, name: str) -> str:
    """The version of Vitis HLS that made the report; raises as `figures`."""
    return (_read(_folder(folder, name) / "csynth.xml").findtext("ReportVersion/Version") or "not known").strip()


def layer(folder: Path | str, name: str, place: int) -> dict[str, Figure]:
    """The figures of the graph's node number `place`, by the keys of `PLACES`; without values where HLS has none.

    HLS has a report for each function that it does not inline, whose name ends in the layer's configuration; where
    several have the same one, a function with those that it calls is the greatest.
    """
    paths = _folder(folder, name).glob(f"*_config{place + FIRST}_s_csynth.xml")
    found = [_figures(_read(path)) for path in sorted(paths)]
    unknown = {key: Figure(None, "estimate", unit, HOW) for key, (_, unit) in PLACES.items()}
    return max(found, key=lambda one: one["lut"].value or 0, default=unknown)


def _read(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise HwgenError(f"Vitis HLS left no report that can be read: {path}: {error}") from error


def _figures(root: ElementTree.Element) -> dict[str, Figure]:
    return {key: Figure(_number(root.findtext(place)), "estimate", unit, HOW) for key, (place, unit) in PLACES.items()}


def _number(text: str | None) -> float | None:
    """The number in `text`; None for what HLS leaves open ("undef", "?", "~0")."""
    try:
        return float(text or "")
    except ValueError:
        return None
