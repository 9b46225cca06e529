"""FINN's own RTL in Verilator against the golden model. Skipped where FINN's environment is not built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hwgen
from hwgen.backends import finn
from hwgen.errors import ToolMissingError
from hwgen.flow.simulate import Run

EXAMPLES = Path(__file__).parents[2] / "examples"

try:
    finn.python()
    WHY = ""
except ToolMissingError as error:
    WHY = str(error)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY), reason=WHY)]


def test_the_digits_network_through_finn_gives_the_golden_codes(tmp_path: Path) -> None:
    made = hwgen.compile(hwgen.load(EXAMPLES / "digits.onnx"), "ultra96")
    steps: list[str] = []
    folder = finn.emit(made.graph, made.folding, tmp_path / "prj", made.board, steps.append)
    assert "finn: 11/11 generate_hardware" in steps
    x = np.load(EXAMPLES / "digits.npz")["x"]
    result = finn.verify(folder, x, runs=(Run(), Run(0.3, 0.3, seed=3)))
    assert len(np.unique(finn.outputs(made.graph, result), axis=0)) > 100
    estimated = finn.estimates(folder)
    assert result.interval == estimated["interval"].value == max(made.design.interval, 64)
    assert result.latency > 0
