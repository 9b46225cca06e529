"""What place and route tools report."""

import json

import pytest

from hwgen.errors import DoesNotFitError, HwgenError
from hwgen.flow.boards import load_board
from hwgen.flow.progress import milestone
from hwgen.flow.reports import ClockTiming, parse_nextpnr, parse_nextpnr_log, parse_vivado
from hwgen.flow.result import check_fits, check_timing

ECP5 = json.dumps(
    {
        "utilization": {
            "TRELLIS_COMB": {"used": 502, "available": 83640},
            "TRELLIS_FF": {"used": 261, "available": 83640},
            "DP16KD": {"used": 2, "available": 208},
            "MULT18X18D": {"used": 0, "available": 156},
            "DCCA": {"used": 1, "available": 56},
        },
        "fmax": {"$glbnet$core.clk": {"achieved": 74.4, "constraint": 80}},
        "critical_paths": [],
    }
)
ICE40 = json.dumps(
    {
        "utilization": {"ICESTORM_LC": {"used": 558, "available": 5280}},
        "fmax": {"clk$SB_IO_IN_$glb_clk": {"achieved": 29.5, "constraint": 12.00004768371582}},
    }
)
LOG = """Info: Device utilisation:
Info: \t         ICESTORM_LC:    6023/   5280   114%
Info: \t        ICESTORM_RAM:       2/     30     6%
ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'ICESTORM_LC'
"""
UTILIZATION = """
| Design       : board
1. CLB Logic
------------

+----------------------------+-------+-------+------------+-----------+-------+
|          Site Type         |  Used | Fixed | Prohibited | Available | Util% |
+----------------------------+-------+-------+------------+-----------+-------+
| CLB LUTs*                  | 12345 |     0 |          0 |     70560 | 17.50 |
|   LUT as Logic             | 12000 |     0 |          0 |     70560 | 17.01 |
| CLB Registers              |  9876 |     0 |          0 |    141120 |  7.00 |
+----------------------------+-------+-------+------------+-----------+-------+

3. BLOCKRAM
-----------

+-------------------+------+-------+------------+-----------+-------+
|     Site Type     | Used | Fixed | Prohibited | Available | Util% |
+-------------------+------+-------+------------+-----------+-------+
| Block RAM Tile    | 12.5 |     0 |          0 |       216 |  5.79 |
|   RAMB36/FIFO*    |   12 |     0 |          0 |       216 |  5.56 |
+-------------------+------+-------+------------+-----------+-------+

4. ARITHMETIC
-------------

+----------------+------+-------+------------+-----------+-------+
|    Site Type   | Used | Fixed | Prohibited | Available | Util% |
+----------------+------+-------+------------+-----------+-------+
| DSPs           |   10 |     0 |          0 |       360 |  2.78 |
|   DSP48E2 only |   10 |       |            |           |       |
+----------------+------+-------+------------+-----------+-------+
"""
RULE = "-" * 60
COLUMNS = "WNS(ns) TNS(ns) {0} {0} WHS(ns) THS(ns) {0} {0} WPWS(ns) TPWS(ns) {0} {0}".format("Endpoints")
TIMING = f"""{RULE}
| Clock Summary
| -------------
{RULE}

Clock  Waveform(ns)         Period(ns)      Frequency(MHz)
-----  ------------         ----------      --------------
aclk   {{0.000 2.500}}        5.000           200.000
idle   {{0.000 5.000}}        10.000          100.000


{RULE}
| Intra Clock Table
| -----------------
{RULE}

Clock  {COLUMNS}
-----  {"  ".join(["-------"] * 12)}
aclk       -0.250   -1.500    12    4321    0.031    0.000    0    4321    1.725    0.000    0    1234
idle                                                                       3.200    0.000    0    2


{RULE}
| Inter Clock Table
| -----------------
{RULE}

"""


def test_nextpnr_reports() -> None:
    ecp5 = parse_nextpnr(ECP5, "ecp5")
    assert ecp5.used == {"lut": (502, 83640), "ff": (261, 83640), "bram": (2, 208), "dsp": (0, 156)}
    assert ecp5.clocks == (ClockTiming("core.clk", 74.4, 80),)
    assert ecp5.clocks[0].slack == pytest.approx(12.5 - 1000 / 74.4)
    assert not ecp5.clocks[0].met
    ice40 = parse_nextpnr(ICE40, "ice40")
    assert ice40.used == {"lut": (558, 5280)}
    assert ice40.clocks == (ClockTiming("clk", 29.5, 12.0),)


@pytest.mark.parametrize("text", ["", "{}", '{"utilization": {}, "fmax": {"a": {}}}', "[]"])
def test_what_is_not_a_report_of_nextpnr(text: str) -> None:
    with pytest.raises(HwgenError, match="not a report of nextpnr: "):
        parse_nextpnr(text, "ecp5")


def test_the_log_of_a_failed_run_tells_what_was_used() -> None:
    assert parse_nextpnr_log(LOG, "ice40") == {"lut": (6023, 5280), "bram": (2, 30)}


def test_vivado_reports() -> None:
    routed = parse_vivado(UTILIZATION, TIMING)
    assert routed.used == {"lut": (12345, 70560), "ff": (9876, 141120), "bram": (12.5, 216), "dsp": (10, 360)}
    assert [(one.clock, one.target) for one in routed.clocks] == [("aclk", 200)]
    assert routed.clocks[0].slack == pytest.approx(-0.25)


def test_vivado_reports_that_lack_something() -> None:
    with pytest.raises(HwgenError, match=r"Vivado's utilization report has no line for dsp \(DSPs\)"):
        parse_vivado(UTILIZATION.replace("DSPs", "other"), TIMING)
    with pytest.raises(HwgenError, match="Vivado's timing summary has no clock with a worst slack"):
        parse_vivado(UTILIZATION, "")


def test_what_does_not_fit_is_told_per_resource() -> None:
    board = load_board("icebreaker")
    check_fits(board, {"lut": 5280, "ff": None, "bram": 30, "dsp": 8}, "synthesis")
    with pytest.raises(DoesNotFitError) as caught:
        check_fits(board, {"lut": 6000, "ff": 100, "bram": 31, "dsp": None}, "synthesis")
    assert str(caught.value) == (
        "the design does not fit icebreaker, by synthesis: LUT 6000 of 5280, 720 too many (114 %); "
        "BRAM 31 of 30, 1 too many (103 %)"
    )


def test_missed_timing_says_by_how_much() -> None:
    check_timing([ClockTiming("clk", 80, 80)])
    with pytest.raises(HwgenError, match=r"timing is not met: b reaches 50\.0 MHz of 80 MHz, 7\.50 ns short$"):
        check_timing([ClockTiming("a", 90, 80), ClockTiming("b", 50, 80)])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2.12. Executing ABC9 pass.", "abc9"),
        ("2.12.1. Executing OPT pass (performing simple optimizations).", None),
        ("Info: Packing LUTs...", "Packing LUTs"),
        ("Info:     at iteration #5, type ALL: wirelen solved = 1", "at iteration #5"),
        ("Info: Routing 2042 arcs.", "Routing 2042 arcs."),
        ("Info: constraining", None),
        (
            "Preparing to run yowasp-ecppack. This might take a while...",
            "first use of yowasp-ecppack: it is being compiled, which takes a while once",
        ),
        ("anything", None),
    ],
)
def test_milestones(line: str, message: str | None) -> None:
    assert milestone(line) == message
