"""What `hwgen formats` prints."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from hwgen.cli import app
from hwgen.formats import BLOCKS, CATALOG


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["formats", *words], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.stdout


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_every_format_is_listed() -> None:
    rows = [line.split() for line in run().splitlines()]
    assert [row[0] for row in rows[1:]] == [*CATALOG, *BLOCKS]
    assert ["e4m3", "8", "4", "-448", "448", "0.00195312", "37", "42", "49"] in rows
    assert ["mxfp4", "4.25", "2", "-1.02085e+39", "1.02085e+39", "2.93874e-39", "9", "14"] in rows


def test_the_list_as_json() -> None:
    rows = {row["name"]: row for row in json.loads(run("--json"), parse_constant=refuse)}
    assert set(rows) == {*CATALOG, *BLOCKS}
    assert (rows["e5m2"]["product_lsb"], rows["e5m2"]["product_bits"]) == (-32, 65)
    assert (rows["nvfp4"]["element"], rows["nvfp4"]["size"]) == ("e2m1", 16)


def test_the_whole_code_table() -> None:
    lines = run("show", "e4m3").splitlines()
    rows = [line.split() for line in lines]
    assert len(lines) == 2 + 1 + 256
    assert ["126", "01111110", "448"] in rows
    assert ["127", "01111111", "nan"] in rows
    assert ["128", "10000000", "-0"] in rows
    assert ["124", "01111100", "inf"] in [line.split() for line in run("show", "e5m2").splitlines()]
    assert ["-8", "1000", "-8"] in [line.split() for line in run("show", "int4").splitlines()]


@pytest.mark.parametrize(("name", "count"), [("e5m2", 256), ("mxfp4", 16), ("fixed<4,1>", 16), ("dfp8", 256)])
def test_a_code_table_as_json(name: str, count: int) -> None:
    shown = json.loads(run("show", name, "--json"), parse_constant=refuse)
    assert shown["name"] == name
    assert len(shown["codes"]) == count
    if name == "e5m2":
        assert [shown["codes"][code]["value"] for code in (0x7C, 0x7D, 0xFC)] == ["inf", "nan", "-inf"]


@pytest.mark.parametrize("name", ["e4m33", "mxfp5"])
def test_an_unknown_format_is_named(name: str) -> None:
    result = CliRunner().invoke(app, ["formats", "show", name])
    assert result.exception is not None
    assert name in str(result.exception) or "E4M33" in str(result.exception)
