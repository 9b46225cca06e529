"""FINN's own RTL in Verilator against the golden model. Skipped where FINN's environment is not built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hwgen
from hwgen.backends import finn
from hwgen.errors import ToolMissingError
from hwgen.flow.boards import load_board
from hwgen.flow.simulate import Run
from hwgen.ir import Fold
from tests.backends.test_finn import signed_images

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


def test_images_through_finn_give_the_golden_codes(tmp_path: Path) -> None:
    graph = signed_images()
    folder = finn.emit(graph, {"fc": Fold(2, 6), "fd": Fold(1, 3)}, tmp_path / "prj", load_board("ultra96"))
    x = np.random.default_rng(1).integers(-8, 8, (100, *graph.input_type.shape))
    result = finn.verify(folder, x, runs=(Run(), Run(0.3, 0.3, seed=3)))
    assert len(np.unique(result.codes, axis=0)) > 50
    assert finn.stand_ins(folder) == ["Pool_hls_0"]
