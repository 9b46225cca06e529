"""Synthesis by components: what is a component, what is kept, what the sum says."""

import re
from pathlib import Path

import numpy as np
import pytest

from hwgen import compiler, formats, ops, report
from hwgen.errors import HwgenError
from hwgen.flow import components
from hwgen.flow.components import Component
from hwgen.formats import Int
from hwgen.ir import Graph, Node, TensorType, Value
from hwgen.tools.resources import Resources

STAT = '{"modules": {"\\\\unit": {"num_cells_by_type": {"LUT4": %d, "TRELLIS_FF": 3}}}}'


def network() -> Graph:
    """Two layers of the same weights, thresholds between them, so that both matrix units are equal."""
    weight = np.random.default_rng(3).integers(-3, 4, (4, 4))
    first = Node("fc0", ops.MatVec(weight, Int(3)), ("x",), "a")
    steps = Node("act", ops.Thresholds(np.arange(3)[None], 0, formats.get("uint2")), ("a",), "b")
    second = Node("fc1", ops.MatVec(weight, Int(3)), ("b",), "y")
    return Graph("twice", (Value("x", TensorType((4,), formats.get("uint2"))),), (first, steps, second), ("y",))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Yosys replaced by a size that depends on the text alone; the list has what was asked for."""
    asked: list[bytes] = []

    def synthesise(packed: bytes, on_line: object, family: str) -> tuple[str, str]:
        asked.append(packed)
        return STAT % len(asked), components._version()

    monkeypatch.setattr(components, "_synthesise", synthesise)
    return asked


FOLD = {"fc0": (2, 2), "fc1": (2, 2)}


def test_equal_components_are_synthesised_once(tmp_path: Path, counted: list[bytes]) -> None:
    made = compiler.compile(network(), "ulx3s", FOLD, tmp_path)
    told: list[tuple[str, float | None]] = []
    sizes = made.synthesise(workers=1, progress=lambda text, fraction: told.append((text, fraction)))
    parts = {part.name: part for part in sizes.parts}
    assert parts["matvec0"].resources == parts["matvec1"].resources
    assert (parts["matvec0"].reused, parts["matvec1"].reused) == (False, True)
    assert len(counted) == len(parts) - 1
    assert told[-1][1] == 1.0
    assert any("matvec0, matvec1" in text for text, _ in told)
    again = made.synthesise(workers=1)
    assert len(counted) == len(parts) - 1
    assert all(part.reused for part in again.parts)
    assert again.total == sizes.total
    assert sizes.total.ff == 3 * len(parts)


def test_the_report_names_its_source(tmp_path: Path, counted: list[bytes]) -> None:
    made = compiler.compile(network(), "ulx3s", FOLD, tmp_path)
    assert {row.used.source for row in made.report().resources} == {"estimate"}
    sizes = made.synthesise()
    data = made.report()
    lut = data.resources[0].used
    assert (lut.value, lut.source, lut.how) == (sizes.total.lut, "synthesis", "hwgen synth: synthesis (per component)")
    assert [layer.ff.value for layer in data.layers] == [3] * len(data.layers)
    assert report.Report.from_json(data.to_json()) == data


def test_a_sum_with_an_unknown_is_unknown() -> None:
    known, unknown = Resources(1, 2, 0, 0, 0), Resources(None, None, 1, 0, 0)
    parts = tuple(components.Size(f"n{n}", "matvec", None, one, False) for n, one in enumerate((known, unknown)))
    total = components.Sizes("ecp5", parts).total
    assert (total.lut, total.ff, total.bram) == (None, None, 1)


def test_workers_have_the_same_yosys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "_synthesise", lambda *_, family: (STAT % 1, "0.1"))
    with pytest.raises(HwgenError, match=r"a worker of None has pyosys 0\.1, this machine has \d"):
        components.synthesise([Component("a", "matvec", None, "text")], "ecp5", tmp_path)


def test_a_broken_store_is_named(tmp_path: Path) -> None:
    one = Component("a", "matvec", None, "text")
    folder = tmp_path / f"component-{one.key('ecp5')[:16]}"
    folder.mkdir()
    with pytest.raises(HwgenError, match=re.escape(f"cannot read {folder}/stat.json: No such file")):
        components.synthesise([one], "ecp5", tmp_path)


@pytest.mark.slow
def test_the_parts_come_to_the_whole(tmp_path: Path) -> None:
    made = compiler.compile(network(), "ulx3s", FOLD, tmp_path)
    sizes = made.synthesise(workers=1)
    assert all(value is not None and value >= 0 for value in sizes.total.to_json().values())
    assert sizes.total.lut is not None
    assert sizes.total.lut > 50
