"""Proofs by the SAT solver of Yosys, for all inputs or with a counterexample: equality of combinational modules, and
what holds in every clock of a sequential one."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hwgen.errors import MismatchError, ToolFailedError
from hwgen.tools.yosys import quote, run_script

__all__ = ["Design", "prove_always", "prove_equal"]

_PROVEN = "SAT proof finished - no model found: SUCCESS!"
_REFUTED = "SAT proof finished - model found: FAIL!"
_INPUT = re.compile(r"^\s*\\in_(\S+)\s+(-?\d+)\s", re.MULTILINE)


@dataclass(frozen=True)
class Design:
    """A combinational module: its SystemVerilog files, its name, and values of its parameters."""

    sources: Sequence[Path]
    top: str
    parameters: Mapping[str, int] = field(default_factory=dict)

    def script(self, name: str) -> list[str]:
        """Yosys commands that read it and put it aside, flat, under `name`."""
        values = "".join(f" -chparam {key} {value}" for key, value in self.parameters.items())
        return [
            "design -reset",
            *(f"read_verilog -sv {quote(source)}" for source in self.sources),
            f"hierarchy -check -top {quote(self.top)}{values}",
            "proc",
            "flatten",
            "opt",
            f"rename -top {name}",
            f"design -stash {name}",
        ]


def prove_equal(reference: Design, design: Design, *, log: Path | None = None, timeout: float | None = None) -> None:
    """Prove that two combinational modules with the same ports give the same outputs for all inputs.

    Raises MismatchError with inputs for which they differ, and ToolFailedError when Yosys fails or runs out of time.
    """
    # fmt: off
    script = [
        *reference.script("reference"), *design.script("design"), "design -reset",
        "design -copy-from reference -as reference reference", "design -copy-from design -as design design",
        "miter -equiv -flatten -make_outputs reference design miter",
        "hierarchy -top miter", "opt", "techmap", "opt", "abc -g AND,XOR,MUX", "opt_clean",
        "sat -prove trigger 0 -show-inputs -show-outputs miter",
    ]
    # fmt: on
    with tempfile.TemporaryDirectory(prefix="hwgen-formal-") as folder:
        path = log or Path(folder, "formal.log")
        run_script("\n".join(script) + "\n", log=path, timeout=timeout)
        text = path.read_text(encoding="utf-8", errors="replace")
    if _REFUTED in text:
        inputs = ", ".join(f"{name} = {value}" for name, value in _INPUT.findall(text))
        raise MismatchError(f"{design.top} differs from {reference.top} at {inputs}")
    if _PROVEN not in text:
        raise ToolFailedError(f"yosys neither proved nor refuted that {design.top} equals {reference.top}")


def prove_always(
    design: Design, output: str, clocks: int, *, log: Path | None = None, timeout: float | None = None
) -> None:
    """Prove that a one-bit `output` of a module with one clock is 1 in each of the first `clocks` clocks.

    For all inputs in all of these clocks; registers start from their initial values.
    Raises MismatchError when it is 0 in one (the log then ends with the inputs of each clock), and ToolFailedError when
    Yosys fails or runs out of time.
    """
    script = [
        *design.script("design"),
        "design -load design",
        "memory -nordff",
        "opt",
        f"sat -seq {clocks} -prove {quote(output)} 1 -set-def-inputs -show-inputs",
    ]
    with tempfile.TemporaryDirectory(prefix="hwgen-formal-") as folder:
        path = log or Path(folder, "formal.log")
        run_script("\n".join(script) + "\n", log=path, timeout=timeout)
        text = path.read_text(encoding="utf-8", errors="replace")
    if _REFUTED in text:
        raise MismatchError(f"{output} of {design.top} is 0 in one of the first {clocks} clocks")
    if _PROVEN not in text:
        raise ToolFailedError(f"yosys neither proved nor refuted that {output} of {design.top} is always 1")
