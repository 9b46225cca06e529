"""Reading what place and route tools report: utilisation and timing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from hwgen.errors import HwgenError
from hwgen.tools.yosys import Family


@dataclass(frozen=True)
class ClockTiming:
    """`fmax` and `target` in MHz; `slack` in ns, negative when the target is missed."""

    clock: str
    fmax: float
    target: float

    @property
    def slack(self) -> float:
        return 1000 / self.target - 1000 / self.fmax

    @property
    def met(self) -> bool:
        return self.fmax >= self.target


@dataclass(frozen=True)
class Routed:
    """What a design takes after place and route (used, available) by kind, and the timing of its clocks."""

    used: Mapping[str, tuple[float, float]]
    clocks: tuple[ClockTiming, ...]


# Names in nextpnr's utilisation. ECP5: a carry cell takes two of TRELLIS_COMB. iCE40: a logic cell is a LUT4 with a
# flip-flop, and how many flip-flops are in use is not reported.
_NEXTPNR: dict[str, dict[str, str]] = {
    "ecp5": {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "bram": "DP16KD", "dsp": "MULT18X18D"},
    "ice40": {"lut": "ICESTORM_LC", "bram": "ICESTORM_RAM", "dsp": "ICESTORM_DSP"},
}


def _clock_name(net: str) -> str:
    """A clock's name in the design, without what nextpnr adds when it moves the net to a global one."""
    return re.sub(r"^\$glbnet\$|\$SB_IO_IN.*$|_\$glb_clk$", "", net)


def parse_nextpnr(text: str, family: Family) -> Routed:
    """Read the file of nextpnr's `--report`. Raises HwgenError when it is not one."""
    try:
        report = json.loads(text)
        cells = report["utilization"]
        used = {
            kind: (cells[cell]["used"], cells[cell]["available"])
            for kind, cell in _NEXTPNR[family].items()
            if cell in cells
        }
        clocks = tuple(
            ClockTiming(_clock_name(name), clock["achieved"], round(clock["constraint"], 3))
            for name, clock in report["fmax"].items()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HwgenError(f"not a report of nextpnr: {error!r}") from error
    return Routed(used, clocks)


def parse_nextpnr_log(text: str, family: Family) -> dict[str, tuple[float, float]]:
    """Used and available, by kind, from nextpnr's messages: what is left of a run that failed to place a design."""
    found: dict[str, tuple[float, float]] = {}
    for kind, cell in _NEXTPNR[family].items():
        if match := re.search(rf"^Info:\s+{cell}:\s*(\d+)/\s*(\d+)\s", text, re.MULTILINE):
            found[kind] = (int(match[1]), int(match[2]))
    return found


_VIVADO = {
    "lut": r"CLB LUTs\*?",
    "ff": r"CLB Registers",
    "bram": r"Block RAM Tile",
    "dsp": r"DSPs",
}


def parse_vivado(utilization: str, timing: str) -> Routed:
    """Read Vivado's `report_utilization` and `report_timing_summary`.

    A clock's Fmax is what its period and worst slack give. Raises HwgenError when a report lacks a figure.
    """
    used: dict[str, tuple[float, float]] = {}
    for kind, name in _VIVADO.items():
        match = re.search(rf"^\|\s*{name}\s*\|(.*)\|\s*$", utilization, re.MULTILINE)
        if match is None:
            raise HwgenError(f"Vivado's utilization report has no line for {kind} ({name})")
        # | Site Type | Used | Fixed | Prohibited | Available | Util% |, where older versions have no Prohibited.
        cells = [cell.strip() for cell in match[1].split("|")]
        used[kind] = (float(cells[0]), float(cells[-2]))
    return Routed(used, _vivado_clocks(timing))


def _section(text: str, title: str) -> list[list[str]]:
    """Rows of the table under `| title` in a timing summary, split into words."""
    match = re.search(rf"^\| {re.escape(title)}\n.*?\n\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    if match is None:
        return []
    lines = match[1].splitlines()
    start = next((i for i, line in enumerate(lines) if set(line.strip()) <= {"-", " "} and line.strip()), None)
    return [line.split() for line in lines[start + 1 :] if line.strip()] if start is not None else []


def _vivado_clocks(timing: str) -> tuple[ClockTiming, ...]:
    # Clock Summary: name, {waveform}, period, frequency. Intra Clock Table: name and four columns each for setup, hold
    # and pulse width; a clock without setup paths leaves columns empty and says nothing of its speed.
    periods = {row[0]: float(row[-2]) for row in _section(timing, "Clock Summary")}
    clocks = []
    for row in _section(timing, "Intra Clock Table"):
        name = row[0]
        if name in periods and len(row) == 13 and re.fullmatch(r"-?\d+\.\d+", row[1]):
            period = periods[name]
            clocks.append(ClockTiming(name, 1000 / (period - float(row[1])), 1000 / period))
    if not clocks:
        raise HwgenError("Vivado's timing summary has no clock with a worst slack")
    return tuple(clocks)
