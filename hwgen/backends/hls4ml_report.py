"""What Vitis HLS says of a project that it has synthesised: csynth.xml as figures."""

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
"""Where each figure stands in csynth.xml, and its unit."""


def figures(folder: Path | str, name: str) -> dict[str, Figure]:
    """Latency, interval, clock period and resources of the project `name`, by the keys of `PLACES`.

    All are estimates: HLS states them before logic synthesis. What the file does not have is a figure without a value.
    Raises HwgenError where there is no such file or it cannot be read.
    """
    path = Path(folder) / f"{name}_prj" / "solution1" / "syn" / "report" / "csynth.xml"
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise HwgenError(f"Vitis HLS left no report that can be read: {path}: {error}") from error
    return {key: Figure(_number(root.findtext(place)), "estimate", unit, HOW) for key, (place, unit) in PLACES.items()}


def _number(text: str | None) -> float | None:
    """The number in `text`; None for what HLS leaves open ("undef")."""
    try:
        return float(text or "")
    except ValueError:
        return None
