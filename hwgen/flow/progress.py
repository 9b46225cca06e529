"""What a running build tells whoever draws it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One event of a build: step `number` of `count`, and what it does now."""

    step: str
    number: int
    count: int
    message: str


OnProgress = Callable[[Progress], None]

_YOSYS = re.compile(r"^\d+\.(?:\d+\.)? Executing ([A-Z0-9_]+) pass")
_NEXTPNR = re.compile(r"^Info: ([A-Z][\w -]+?)\.\.\.?$|^Info: +(at iteration #\d+)|^Info: (Routing .*)$")
_WASM = re.compile(r"^Preparing to run (\S+)\. This might take a while")


def milestone(line: str) -> str | None:
    """What a line of a tool's output says about how far it is, or None for the thousands that say nothing."""
    if match := _YOSYS.match(line):
        return match[1].lower()
    if match := _WASM.match(line):
        return f"first use of {match[1]}: it is being compiled, which takes a while once"
    if match := _NEXTPNR.match(line):
        return next(group for group in match.groups() if group)
    return None
