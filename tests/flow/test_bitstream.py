"""From sources to a real bitstream with the packaged tools, around an accelerator of plain Verilog."""

from pathlib import Path

import pytest

from hwgen.errors import DoesNotFitError
from hwgen.flow.boards import Resources, load_board
from hwgen.flow.build import execute
from hwgen.flow.plan import plan
from hwgen.flow.result import VendorToolMissingError
from hwgen.flow.shell import shell_sources
from hwgen.ir.beats import Beats

IN, OUT = Beats(lanes=2, bits=4, signed=False, beats=32), Beats(lanes=1, bits=4, signed=False, beats=1)
ACCEL = """
module accel(input clk, input rst, input [9:0] i__payload, input i__valid, output i__ready,
             output [5:0] o__payload, output o__valid, input o__ready);
  reg [3:0] sum = 0;
  reg full = 0;
  assign i__ready = !full;
  assign o__valid = full;
  assign o__payload = {2'b11, sum};
  always @(posedge clk) begin
    if (i__valid && i__ready) begin
      sum <= (i__payload[8] ? 4'd0 : sum) + i__payload[3:0] * i__payload[7:4];
      full <= i__payload[9];
    end
    if (full && o__ready) full <= 0;
    if (rst) full <= 0;
  end
endmodule
"""


def _sources(board: str) -> dict[str, str]:
    return {**shell_sources(load_board(board), IN, OUT, "0123456789abcdef"), "accel.v": ACCEL}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "start"), [("ulx3s", b"\xff\x00Part: LFE5U-85F"), ("icebreaker", b"\xff\x00\x00\xff")]
)
def test_a_board_gets_its_bitstream(tmp_path: Path, name: str, start: bytes) -> None:
    made = plan(load_board(name), _sources(name), keep=["accel"])
    result = execute(made, tmp_path)
    assert result.bitstream is not None
    assert start in result.bitstream.read_bytes()[:64]
    assert result.timing_met
    assert result.modules["accel"].ff == 5
    assert (result.resources["lut"].used.value or 0) > 300
    again = execute(made, tmp_path)
    assert again.reused == ("synthesis", "route", "bitstream")
    small = load_board(name).model_copy(update={"resources": Resources(lut=100, ff=100, bram=0, dsp=0)})
    with pytest.raises(DoesNotFitError, match=r"by synthesis: LUT \d+ of 100, \d+ too many \(\d+ %\); FF \d+ of 100"):
        execute(plan(small, _sources(name), keep=["accel"]), tmp_path)


@pytest.mark.slow
def test_ultra96_gets_its_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(VendorToolMissingError, match="By synthesis the design fits ultra96") as caught:
        execute(plan(load_board("ultra96"), _sources("ultra96")), tmp_path)
    assert (caught.value.result.resources["lut"].used.value or 0) > 5
