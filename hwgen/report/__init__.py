"""What a compiled network needs, does and was proven to do: `report.json`, `report.md`, `report.html`."""

from hwgen.report.model import (
    Accuracy,
    BitExactness,
    Compared,
    Confusion,
    Difference,
    HostSide,
    Layer,
    Report,
    Resource,
    Run,
    Timing,
    json_schema,
    timing,
)
from hwgen.report.render import html, markdown, write
from hwgen.report.terminal import terminal

__all__ = [
    "Accuracy",
    "BitExactness",
    "Compared",
    "Confusion",
    "Difference",
    "HostSide",
    "Layer",
    "Report",
    "Resource",
    "Run",
    "Timing",
    "html",
    "json_schema",
    "markdown",
    "terminal",
    "timing",
    "write",
]
