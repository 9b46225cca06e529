"""PLL settings, board tops and constraints."""

from pathlib import Path

import pytest

from hwgen.errors import HwgenError
from hwgen.flow import constraints
from hwgen.flow.boards import Board, load_board
from hwgen.flow.pll import ecp5_pll, ice40_pll
from hwgen.flow.shell import shell_sources
from hwgen.ir.beats import Beats
from hwgen.tools import verilator

IN, OUT = Beats(lanes=2, bits=4, signed=False, beats=32), Beats(lanes=1, bits=4, signed=False, beats=1)
GRAPH_ID = "0123456789abcdef"
PAYLOADS = "input clk, rst, input [9:0] i__payload, input i__valid, output i__ready, "
ACCEL = (
    f"module accel({PAYLOADS}output [5:0] o__payload, output o__valid, input o__ready);\n"
    "  assign o__payload = {^i__payload[9:5], i__payload[4:0] ^ {4'd0, clk & rst}};\n"
    "  assign o__valid = i__valid;\n  assign i__ready = o__ready;\nendmodule\n"
)
PLLS = (
    "module EHXPLLL(input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG, "
    "PLLWAKESYNC, ENCLKOP, output CLKOP, LOCK);\n  parameter {};\n  assign CLKOP = CLKI;\n  assign LOCK = 1'b1;\n"
    "endmodule\n"
    "module SB_PLL40_PAD(input PACKAGEPIN, RESETB, BYPASS, output PLLOUTGLOBAL, LOCK);\n"
    "  parameter FEEDBACK_PATH = 0, DIVR = 0, DIVF = 0, DIVQ = 0, FILTER_RANGE = 0;\n"
    "  assign PLLOUTGLOBAL = PACKAGEPIN;\n  assign LOCK = 1'b1;\nendmodule\n"
)
EHX = "PLLRST_ENA INTFB_WAKE STDBY_ENABLE DPHASE_SOURCE OUTDIVIDER_MUXA OUTDIVIDER_MUXB OUTDIVIDER_MUXC OUTDIVIDER_MUXD"
EHX += " CLKI_DIV CLKFB_DIV FEEDBK_PATH CLKOP_ENABLE CLKOP_DIV CLKOP_CPHASE CLKOP_FPHASE"


@pytest.mark.parametrize("target", [12.5, 25, 37.5, 40, 50, 62.5, 200 / 3, 75, 80, 100, 125, 200])
def test_the_ecp5_pll_makes_the_clock_within_its_limits(target: float) -> None:
    pll = ecp5_pll(25, target)
    assert 25 / pll.clki_div * pll.clkfb_div == pytest.approx(target)
    assert 400 <= target * pll.clkop_div <= 800
    assert 25 / pll.clki_div >= 3.125


@pytest.mark.parametrize(("source", "target"), [(12, 16.5), (12, 24), (12, 48), (16, 20), (100, 50)])
def test_the_ice40_pll_makes_the_clock_within_its_limits(source: float, target: float) -> None:
    pll = ice40_pll(source, target)
    detector = source / (pll.divr + 1)
    assert detector * (pll.divf + 1) / 2**pll.divq == pytest.approx(target)
    assert 10 <= detector <= 133
    assert 533 <= detector * (pll.divf + 1) <= 1066


def test_the_ice40_pll_settings_are_those_of_icepll() -> None:
    pll = ice40_pll(12, 24)
    assert (pll.divr, pll.divf, pll.divq, pll.filter_range) == (0, 63, 5, 1)


def test_clocks_that_no_pll_makes() -> None:
    with pytest.raises(HwgenError, match=r"the ECP5 PLL cannot make 81\.37 MHz from 25 MHz"):
        ecp5_pll(25, 81.37)
    with pytest.raises(HwgenError, match="the iCE40 PLL cannot make 13 MHz from 12 MHz"):
        ice40_pll(12, 13)


def _board(name: str, **clock: float) -> Board:
    board = load_board(name)
    return board.model_copy(update={"clock": board.clock.model_copy(update=clock)}) if clock else board


def _lint(folder: Path, sources: dict[str, str]) -> None:
    parameters = ", ".join(f"{name} = 0" for name in EHX.split())
    everything = {**sources, "accel.v": ACCEL, "plls.vlt": '`verilator_config\nlint_off -file "*plls.v"\n'}
    everything["plls.v"] = PLLS.replace("{}", parameters)
    for name, text in everything.items():
        (folder / name).write_text(text)
    names = sorted(everything, key=lambda name: not name.endswith(".vlt"))
    # Blocks of the shell that a board does not use are part of its sources all the same.
    verilator.lint([folder / name for name in names], "board", args=["-Wno-MULTITOP"])


@pytest.mark.parametrize(
    "board",
    [
        _board("ulx3s"),
        _board("ulx3s", design_mhz=25),
        _board("icebreaker"),
        _board("icebreaker", design_mhz=24),
        _board("ultra96"),
    ],
    ids=["ecp5-pll", "ecp5", "ice40", "ice40-pll", "axis"],
)
def test_tops_lint_clean(tmp_path: Path, board: Board) -> None:
    _lint(tmp_path, shell_sources(board, IN, OUT, GRAPH_ID))


def test_the_top_carries_the_streams_the_identity_and_the_clock() -> None:
    text = shell_sources(load_board("ulx3s"), IN, OUT, GRAPH_ID, watchdog=77)["board.sv"]
    for part in (".CLKI_DIV(1)", ".CLKFB_DIV(2)", ".CLKOP_DIV(12)", ".DIVISOR(50)", ".IN_BITS(8), .IN_BEATS(32)"):
        assert part in text
    for part in (".OUT_BITS(4), .OUT_BEATS(1)", f"64'h{GRAPH_ID}", ".WATCHDOG(77)", "wifi_gpio0 = {1{1'b1}}"):
        assert part in text
    assert "PLL" not in shell_sources(load_board("icebreaker"), IN, OUT, GRAPH_ID)["board.sv"]


def test_a_wrong_graph_id() -> None:
    with pytest.raises(HwgenError, match="a graph id is 16 hexadecimal digits, not 'xyz'"):
        shell_sources(load_board("ulx3s"), IN, OUT, "xyz")


def test_constraints_of_each_family() -> None:
    lpf = constraints.lpf(load_board("ulx3s")).splitlines()
    assert lpf[0] == 'FREQUENCY PORT "clk" 25 MHZ;'
    assert 'LOCATE COMP "leds[2]" SITE "C1";' in lpf
    assert 'IOBUF PORT "uart_rx" IO_TYPE=LVCMOS33 PULLMODE=UP;' in lpf
    pcf = constraints.pcf(load_board("icebreaker")).splitlines()
    assert pcf[:3] == ["set_frequency clk 12", "set_io clk 35", "set_io -pullup yes uart_rx 6"]
    assert "set_io leds[1] 11" in pcf
    assert "-period 5.000 [get_ports aclk]" in constraints.xdc(load_board("ultra96"))
