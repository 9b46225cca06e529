"""The report as data: round trip, schema, derived figures, refusals."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hwgen.errors import HwgenError
from hwgen.ir.figure import SOURCES, Figure, weakest
from hwgen.report import Accuracy, BitExactness, Confusion, Difference, Report, Resource, Run, json_schema, timing
from hwgen.report.model import SCHEMA_VERSION
from tests.report.report_sample import bare, figure, full

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("make", [full, bare])
def test_round_trip(make, tmp_path):
    report = make()
    text = json.dumps(report.to_json())
    assert Report.from_json(json.loads(text)) == report
    (tmp_path / "report.json").write_text(text)
    assert Report.read(tmp_path) == Report.read(tmp_path / "report.json") == report


def test_unknown_is_null_in_json():
    data = bare().to_json()
    assert data["timing"]["fmax"]["value"] is None
    assert data["timing"]["frames_per_second"]["value"] is None
    assert data["bit_exactness"] is None


def test_timing_takes_the_weaker_source():
    found = timing(50, figure(100.0, "route"), figure(200, "simulation"), figure(50, "estimate"))
    assert found.latency_us == Figure(2.0, "simulation", "us", "latency (simulation) at Fmax (route)")
    assert found.frames_per_second.value == 2e6
    assert found.frames_per_second.source == "estimate"
    assert found.met is True
    assert dataclasses.replace(found, target=101).met is False
    assert bare().timing.met is None


def test_no_figure_from_an_unknown_one():
    found = timing(50, figure(None, "route"), figure(200), figure(50))
    assert not found.latency_us.known
    assert not found.frames_per_second.known


def test_figure_text():
    assert Figure(None, "route", "MHz").text() == "not known"
    assert Figure(82.128, "route", "MHz").text() == "82.13 MHz"
    assert Figure(123456.7, "estimate").text() == "123,457"
    assert Figure(0, "synthesis", "DSP").text() == "0 DSP"
    assert Figure(0.5, "synthesis").text() == "0.5"
    assert weakest(figure(1, "board"), figure(1, "synthesis"), figure(1, "route")) == "synthesis"


def test_bit_exactness():
    runs = (Run("a", 10, 10), Run("b", 10, 9))
    assert BitExactness(10, runs[:1]).text() == "bit-exact: 10/10 frames"
    assert BitExactness(10, runs).text() == "NOT bit-exact: 9/10 frames"
    assert not BitExactness(10, ()).exact


def test_shares():
    assert Resource("LUT", figure(5), 10).fraction == 0.5
    assert Resource("LUT", figure(5)).fraction is None
    assert Resource("LUT", figure(None), 10).fraction is None
    assert Accuracy("golden", 3, 4).fraction == 0.75
    assert Accuracy("golden", 0, 0).fraction is None
    assert Difference("a", 10, 3, 1).unexplained == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Accuracy("golden", 5, 4), "accuracy of golden: 5 of 4"),
        (lambda: Run("r", 1, 2), "run r: 2 of 1"),
        (lambda: Difference("n", 3, 4, 0), "differences at n: 4 of 3"),
        (lambda: Difference("n", 4, 3, 4), "float ties at n: 4 of 3"),
        (lambda: Confusion(("a", "b"), ((1, 2),)), "confusion matrix of 2 labels is square"),
        (lambda: Figure(1, "guess"), "source is one of estimate, .* not 'guess'"),  # type: ignore[arg-type]
        (lambda: Figure(float("inf"), "route"), "finite number or None"),
        (lambda: Report.from_json({"version": 9}), "report.json has version 9; this hwgen reads 1"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(HwgenError, match=message):
        make()


def test_a_wrong_field_is_named():
    data = full().to_json()
    data["layers"][0]["pe"] = "many"
    with pytest.raises(HwgenError, match=r"report\.json: layers\.0\.pe: .*integer"):
        Report.from_json(data)


def test_bad_files(tmp_path):
    with pytest.raises(HwgenError, match=r"cannot read .*report\.json: No such file"):
        Report.read(tmp_path / "report.json")
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(HwgenError, match=r"report\.json is not JSON"):
        Report.read(tmp_path)
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(HwgenError, match="holds a list, not a report"):
        Report.read(tmp_path)


def test_schema_is_documented():
    """docs/report.md names every field of every object of the schema, and no other."""
    schema = json_schema()
    text = (ROOT / "docs" / "report.md").read_text()
    assert f"version {SCHEMA_VERSION}" in text
    for name, part in {"Report": schema, **schema["$defs"]}.items():
        section = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE)
        assert section, f"docs/report.md has no section {name}"
        assert set(re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE)) == set(part["properties"]), name
    assert all(f"`{source}`" in text for source in SOURCES)


def test_import_is_cheap():
    code = (
        "import sys, hwgen.report; print([m for m in ('matplotlib', 'jinja2', 'rich', 'pydantic') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
