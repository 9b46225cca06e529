"""Dot products on DSP48E2s, through Verilator, against the golden model."""

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import get
from hwgen.gateware.dotproduct.block import BlockDot
from hwgen.gateware.dotproduct.dsp import DspDot, dot_unit
from hwgen.gateware.dotproduct.dsp_pair import pair_plan
from hwgen.gateware.verilog import to_verilog
from hwgen.tools.yosys import synthesise
from tests.gateware.dotproduct.bench import Units, pack, simulate
from tests.gateware.dotproduct.cases import operands

LANES = 1_000_000
# Two lanes of integers on each DSP; a lane on each; formats that meet in either order; odd numbers of lanes.
UNITS = [
    ("fixed<8,2>n", "fixed<8,2>n", 32),
    ("e4m3", "e4m3", 32),
    ("int8", "int8", 32),
    ("int8n", "int4", 32),
    ("e4m3", "e2m1", 32),
    ("e3m2", "e4m3full", 32),
]
SMALL = [
    ("int4", "int8n", 7),
    ("int3", "int3", 1),
    ("int2", "int8n", 4),
    ("int7", "int8n", 27 * 2),
    ("e4m3", "e4m3", 1),
    ("e2m3", "e2m1", 6),
    ("int16", "int8", 5),
    ("uint8", "int8", 3),
    ("int8", "e4m3", 9),
    ("e3m4", "uint4", 2),
    ("uint7", "uint9", 4),
    ("e1m2", "e2m3", 5),
]


def check(cases, rows, folder):
    units = [DspDot(get(a), get(b), lanes) for a, b, lanes in cases]
    together = Units(units, ("a", "b"), ("sum", "nan", "valid_out"))
    codes = [operands(u.a_format, u.b_format, u.lanes, rows, seed) for seed, u in enumerate(units)]
    words = [
        {"a": pack(a, u.a_format.bits), "b": pack(b, u.b_format.bits)} for u, (a, b) in zip(units, codes, strict=True)
    ]
    for unit, case, (a, b), got in zip(units, cases, codes, simulate(together, words, folder), strict=True):
        want = golden.dot(a[:, None, :], b[:, :, None], unit.a_format, unit.b_format)
        nan = want.nan[:, 0, 0]
        np.testing.assert_array_equal(got["valid_out"].astype(bool), True, err_msg=str(case))
        np.testing.assert_array_equal(got["nan"].astype(bool), nan, err_msg=str(case))
        sums = want.integers()[:, 0, 0] << (want.exponent - unit.lsb)
        np.testing.assert_array_equal(got["sum"][~nan], sums[~nan], err_msg=str(case))


@pytest.mark.slow
def test_a_million_lanes_of_each_pair(tmp_path):
    check(UNITS, LANES // 32, tmp_path)


@pytest.mark.slow
def test_odd_numbers_of_lanes_and_odd_formats(tmp_path):
    check(SMALL, 4000, tmp_path)


@pytest.mark.slow
def test_a_lane_of_e4m3_takes_one_dsp_and_55_luts_at_most(tmp_path):
    unit = BlockDot(get("mxfp8e4m3"), get("mxfp8e4m3"), "dsp")
    (tmp_path / "dot.v").write_text(to_verilog(unit, "dot"))
    total = synthesise([tmp_path / "dot.v"], "dot", "xcup", tmp_path / "synthesis").statistics.total
    assert total.dsp == 32
    assert total.lut <= 55 * 32


def test_lanes_of_short_signed_integers_share_a_dsp():
    plan = pair_plan(get("int8n"), get("int8n"))
    assert (plan.j, plan.k, plan.product, plan.low, plan.top) == (10, 19, 15, 5, 5)
    # Of 0 to 255 no two fit beside each other, and of 16 bits none.
    assert pair_plan(get("uint8"), get("int8")) is None
    assert pair_plan(get("int16"), get("int8")) is None
    assert DspDot(get("int8n"), get("int8n"), 32).dsps == 16
    assert DspDot(get("e4m3"), get("e4m3"), 32).dsps == 32


@pytest.mark.parametrize(
    ("a", "b", "options", "error", "message"),
    [
        ("e5m2", "e5m2", {}, UnsupportedError, r"products of e5m2 and e5m2 do not fit a DSP48E2 of 27 by 18 bits"),
        ("bipolar", "int8", {}, UnsupportedError, r"products of bipolar and int8 do not fit a DSP48E2"),
        ("dfp16", "int8", {}, UnsupportedError, r"dot products take minifloats, integers.*, not dfp16"),
        ("e4m3", "e4m3", {"family": "ecp5"}, UnsupportedError, r"are made of DSP48E2, for xcup, not for ecp5"),
        ("e4m3", "e4m3", {"pipeline": 2}, HwgenError, r'has 7 registers here, .*: pipeline is "auto", not 2'),
        ("e4m3", "e4m3", {"placed": True}, HwgenError, r"on DSPs has its cells placed already: placed is for products"),
        ("e4m3", "e4m3", {"megahertz": 900}, HwgenError, r"on DSPs reaches \d+ MHz by an estimate, not 900"),
    ],
)
def test_what_a_dsp_does_not_do_is_refused(a, b, options, error, message):
    with pytest.raises(error, match=message):
        dot_unit(get(a), get(b), 8, "dsp", **options)


def test_no_lanes_are_refused():
    with pytest.raises(HwgenError, match=r"a dot product has 1 lane or more, not 0"):
        DspDot(get("e4m3"), get("e4m3"), 0)
