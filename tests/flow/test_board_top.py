"""The tops of the boards themselves in simulation, with the real host driver on their UART."""

import json
from pathlib import Path

import numpy as np
import pytest

from hwgen import runtime
from hwgen.flow.boards import load_board
from hwgen.flow.shell import TOP, shell_sources
from hwgen.ir.beats import Beats
from hwgen.tools.board_sim import build_board_sim

IN, OUT = Beats(lanes=3, bits=5, signed=True, beats=4), Beats(lanes=3, bits=6, signed=True, beats=4)
GRAPH_ID = "0123456789abcdef"
# Adds 1 to every lane.
ACCEL = """
module accel(input clk, input rst, input [16:0] i__payload, input i__valid, output i__ready,
             output [19:0] o__payload, output o__valid, input o__ready);
  function [5:0] plus(input [4:0] x); plus = {x[4], x} + 6'd1; endfunction
  assign o__payload = {i__payload[16:15], plus(i__payload[14:10]), plus(i__payload[9:5]), plus(i__payload[4:0])};
  assign o__valid = i__valid;
  assign i__ready = o__ready;
endmodule
"""
# Only the behaviour that a simulator can have: the clock goes through, and the PLL locks after a while.
PLL = """
module EHXPLLL #(
    parameter PLLRST_ENA = "", INTFB_WAKE = "", STDBY_ENABLE = "", DPHASE_SOURCE = "", OUTDIVIDER_MUXA = "",
    OUTDIVIDER_MUXB = "", OUTDIVIDER_MUXC = "", OUTDIVIDER_MUXD = "", CLKI_DIV = 0, CLKFB_DIV = 0, FEEDBK_PATH = "",
    CLKOP_ENABLE = "", CLKOP_DIV = 0, CLKOP_CPHASE = 0, CLKOP_FPHASE = 0) (
    input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG, PLLWAKESYNC, ENCLKOP,
    output CLKOP, output LOCK);
  reg [6:0] count = 0;
  assign CLKOP = CLKI;
  assign LOCK = count[6];
  always @(posedge CLKI) if (!LOCK) count <= count + 1;
endmodule
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["icebreaker", "ulx3s"])
def test_frames_go_through_the_boards_own_top(tmp_path: Path, name: str) -> None:
    board = load_board(name)
    sources = {**shell_sources(board, IN, OUT, GRAPH_ID), "accel.v": ACCEL, "pll.v": PLL}
    for file, text in sources.items():
        (tmp_path / file).write_text(text)
    level = 0 if board.pins["button"].inverted else 1
    files = [tmp_path / file for file in sources]
    simulator = build_board_sim(files, TOP, board.divisor(), tmp_path / "out", reset="button", reset_level=level)
    about = {"hash": GRAPH_ID + "0" * 48, "input": IN.to_json(), "output": OUT.to_json()}
    about["board_sim"] = str(simulator.relative_to(tmp_path))
    (tmp_path / "manifest.json").write_text(json.dumps(about))
    frames = np.random.default_rng(1).integers(-16, 16, (5, IN.codes))
    with runtime.connect(f"sim:{tmp_path}") as device:
        assert np.array_equal(device.run(frames), frames + 1)
