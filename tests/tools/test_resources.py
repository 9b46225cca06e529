"""Cell counts turned into resources; what is unknown stays unknown."""

import json

import pytest

from hwgen.errors import HwgenError
from hwgen.tools.resources import Family, Resources, parse_stat


def _stat(**modules: dict[str, int]) -> str:
    return json.dumps({"modules": {f"\\{name}": {"num_cells_by_type": cells} for name, cells in modules.items()}})


@pytest.mark.parametrize(
    ("family", "cells", "expected"),
    [
        (
            "ecp5",
            {"LUT4": 10, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "TRELLIS_FF": 7, "DP16KD": 2, "MULT18X18D": 1, "PFUMX": 4},
            Resources(lut=28, ff=7, bram=2, dsp=1, carry=3),
        ),
        (
            "ice40",
            {"SB_LUT4": 5, "SB_CARRY": 2, "SB_DFF": 1, "SB_DFFNESS": 1, "SB_RAM40_4KNR": 1, "SB_MAC16": 2, "SB_IO": 9},
            Resources(lut=5, ff=2, bram=1, dsp=2, carry=2),
        ),
        (
            "xcup",
            {
                "LUT1": 1,
                "LUT6": 2,
                "RAM64M8": 1,
                "SRL16E": 3,
                "FDRE": 5,
                "RAMB18E2": 1,
                "CARRY4": 2,
                "MUXF7": 8,
                "INV": 1,
            },
            Resources(lut=14, ff=5, bram=0.5, dsp=0, carry=2),
        ),
    ],
)
def test_cells_of_each_family(family: Family, cells: dict[str, int], expected: Resources) -> None:
    assert parse_stat(_stat(top=cells), family, "top").total == expected


def test_modules_count_all_that_they_contain() -> None:
    text = _stat(leaf={"LUT4": 1, "TRELLIS_FF": 2}, layer={"leaf": 3, "LUT4": 1}, top={"layer": 2, "leaf": 1})
    found = parse_stat(text, "ecp5", "top")
    assert found.modules["leaf"] == Resources(1, 2, 0, 0, 0)
    assert found.modules["layer"] == Resources(4, 6, 0, 0, 0)
    assert found.total == found.modules["top"] == Resources(9, 14, 0, 0, 0)
    assert found.total.to_json() == {"lut": 9, "ff": 14, "bram": 0, "dsp": 0, "carry": 0}


def test_a_cell_of_unknown_cost_makes_its_modules_unknown_not_zero() -> None:
    found = parse_stat(
        _stat(known={"LUT4": 1}, odd={"MYSTERY": 1, "LUT4": 1}, top={"known": 1, "odd": 1}), "ecp5", "top"
    )
    assert found.unknown == ("MYSTERY",)
    assert found.modules["known"].lut == 1
    assert found.modules["odd"] == found.total == Resources(None, None, None, None, None)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"modules": {"a": {}}}', '{"modules": {"a": {"num_cells_by_type": 1}}}']
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(HwgenError, match=r"not the output of yosys stat -json"):
        parse_stat(text, "ecp5", "top")


def test_a_missing_top_is_named() -> None:
    with pytest.raises(HwgenError, match="yosys' statistics have no module top, only a, b"):
        parse_stat(_stat(b={}, a={}), "ecp5", "top")
