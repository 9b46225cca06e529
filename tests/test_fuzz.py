"""The fuzzer itself: a few of its seeds, and that it finds what is wrong."""

from pathlib import Path

import numpy as np
import pytest

from hwgen import ops
from hwgen.formats import Int
from hwgen.ir import TensorType
from tests.fuzz import __main__ as fuzz
from tests.fuzz import cases
from tests.gateware.networks import chain

pytestmark = pytest.mark.slow


def test_a_few_seeds_of_each_kind_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--seeds", "0:3", "--verilator", "0", "--folder", str(tmp_path)]) == 0
    assert fuzz.main(["--what", "files", "--seeds", "0:20", "--folder", str(tmp_path)]) == 0
    assert fuzz.main(["--what", "reals", "--seeds", "0:5", "--folder", str(tmp_path)]) == 0
    assert "20 done, 0 failed" in capsys.readouterr().out
    assert str(cases.case(3)) == str(cases.case(3))


def test_a_difference_is_told_with_its_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(op: ops.Table, x: np.ndarray) -> np.ndarray:
        return right(op, x) ^ 1

    right = ops.Table.run
    graph = chain(TensorType((2,), Int(2)), ops.Table([[0, 1, 2, 3]], Int(3)))
    monkeypatch.setattr(cases, "case", lambda seed: cases.Case(seed, graph, {}, "ecp5"))
    monkeypatch.setattr(ops.Table, "run", wrong)
    assert fuzz.main(["--seeds", "0:1", "--verilator", "0", "--folder", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "FAILED seed 0" in told
    assert "table0" in told
    assert (tmp_path / "seed-0" / "what.txt").read_text().startswith("seed 0")
