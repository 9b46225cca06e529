"""Yosys in a child process: conversion, synthesis, failures."""

from pathlib import Path

import pytest

from hwgen.errors import HwgenError, ToolFailedError, ToolMissingError
from hwgen.tools import yosys

SQUARES = """
module layer(input clk, input [7:0] a, output reg [15:0] y); always @(posedge clk) y <= a * a; endmodule
module top(input clk, input [7:0] a, output [15:0] y);
  wire [15:0] x;
`ifdef LONG
  layer one(.clk(clk), .a(a), .y(x));
`else
  assign x = a;
`endif
  layer two(.clk(clk), .a(x[7:0]), .y(y));
endmodule
"""


def test_a_failing_script_ends_with_the_message_of_yosys() -> None:
    with pytest.raises(ToolFailedError, match=r"(?s)failed with exit code 1.*ERROR: "):
        yosys.run_script("read_verilog none.v\n")


def test_a_script_has_the_sources_the_kept_modules_and_the_outputs() -> None:
    script = yosys.synthesis_script(["a b.v"], "top", "ecp5", keep=["top.l0"], defines=["X=1"], netlist="n.json")
    assert script.splitlines() == [
        'read_verilog -sv -DX=1 "a b.v"',
        "hierarchy -top top",
        "setattr -mod -set keep_hierarchy 1 top.l0",
        "setattr -unset reprocess_after",
        "proc",
        "opt_expr",
        "opt_clean",
        "wreduce t:$mul",
        "select -set small t:$mul r:Y_WIDTH<11 %i",
        "alumacc @small",
        "synth_ecp5 -top top",
        "tee -q -o stat.json stat -json",
        "setattr -mod -unset keep_hierarchy *",
        "flatten",
        "opt_clean",
        "write_json n.json",
    ]


def test_what_a_script_cannot_say_is_refused() -> None:
    with pytest.raises(HwgenError, match="no synthesis for the FPGA family 'gowin', only for ecp5, ice40, xcup"):
        yosys.synthesis_script(["a.v"], "top", "gowin")  # type: ignore[arg-type]
    with pytest.raises(HwgenError, match="quote or a line end in its name"):
        yosys.synthesis_script(['a".v'], "top", "ecp5")


@pytest.mark.parametrize("family", ["ecp5", "ice40"])
def test_synthesis_counts_every_kept_module(tmp_path: Path, family: yosys.Family) -> None:
    source = tmp_path / "top.v"
    source.write_text(SQUARES)
    done = yosys.synthesise([source], "top", family, tmp_path / "out", keep=["layer"], defines=["LONG"])
    layer = done.statistics.modules["layer"]
    assert (layer.dsp, done.statistics.total.dsp) == (1, 2)
    # The multiplier of the iCE40 takes the flip-flops in.
    assert done.statistics.total.ff == (32 if family == "ecp5" else 2 * (layer.ff or 0))
    assert done.netlist is not None
    assert '"type": "layer"' not in done.netlist.read_text()
    assert done.note == ""


@pytest.mark.parametrize("family", ["ecp5", "ice40"])
@pytest.mark.parametrize(("bits", "dsps"), [(4, 0), (8, 1)])
def test_small_products_take_no_multiplier(tmp_path: Path, family: yosys.Family, bits: int, dsps: int) -> None:
    source = tmp_path / "top.v"
    ports = f"input signed [{bits - 1}:0] a, b, output signed [{2 * bits + 9}:0] y"
    source.write_text(f"module top({ports}); assign y = a * b; endmodule\n")
    done = yosys.synthesise([source], "top", family, tmp_path / "out")
    assert done.statistics.total.dsp == dsps
    assert (done.statistics.total.lut == 0) == bool(dsps)


def test_logic_beside_an_instantiated_multiplier_is_mapped(tmp_path: Path) -> None:
    source = tmp_path / "top.v"
    pins = ", ".join(f".A{bit}(a[{bit}]), .B{bit}(b[{bit}]), .P{bit}(p[{bit}])" for bit in range(18))
    source.write_text(
        "module top(input [17:0] a, b, c, output [17:0] y); wire [17:0] p; assign y = p + c;\n"
        f"MULT18X18D #(.REG_OUTPUT_CLK(\"NONE\")) one ({pins}, .SIGNEDA(1'b0), .SIGNEDB(1'b0)); endmodule\n"
    )
    done = yosys.synthesise([source], "top", "ecp5", tmp_path / "out")
    assert done.statistics.unknown == ()
    assert done.statistics.total.dsp == 1
    assert done.statistics.total.carry == 9


@pytest.mark.slow
def test_logic_beside_an_instantiated_lut_is_mapped(tmp_path: Path) -> None:
    source = tmp_path / "top.v"
    source.write_text(
        "module part(input [3:0] a, output x, y); LUT6_2 #(.INIT(64'h6)) one (.O5(x), .O6(y), .I0(a[0]), .I1(a[1])); "
        "endmodule\nmodule top(input [3:0] a, output x, y, z); assign z = ^a; part p(a, x, y); endmodule\n"
    )
    done = yosys.synthesise([source], "top", "xcup", tmp_path / "out")
    assert done.statistics.unknown == ()
    assert done.statistics.total.lut == 2


@pytest.mark.slow
def test_synthesis_for_ultrascale_says_what_its_figures_are_worth(tmp_path: Path) -> None:
    source = tmp_path / "top.v"
    source.write_text(SQUARES)
    done = yosys.synthesise([source], "top", "xcup", tmp_path / "out")
    assert done.netlist is None
    assert done.statistics.total.dsp == 1
    assert done.statistics.unknown == ()
    assert "CARRY4" in done.note


@pytest.mark.slow
def test_deep_memories_of_one_port_are_distributed_rams(tmp_path: Path) -> None:
    source = tmp_path / "top.v"
    source.write_text(
        "module top(input clk, we, input [9:0] at, input d, output q); reg words [0:1023];\n"
        "always @(posedge clk) if (we) words[at] <= d;\nassign q = words[at]; endmodule\n"
    )
    done = yosys.synthesise([source], "top", "xcup", tmp_path / "out")
    assert done.statistics.unknown == ()
    assert done.statistics.total.ff == 0
    # Two banks of 512 words, a LUT each for their write enables, and one that chooses between them.
    assert done.statistics.total.lut == 2 * 8 + 2 + 1


def test_block_rams_are_left_empty_where_nobody_asks_for_their_contents() -> None:
    script = yosys.synthesis_script(["a.v"], "top", "xcup", contents=False).splitlines()
    places = [
        n for n, line in enumerate(script) if "memory_libmap" in line or "INIT" in line or "brams_xcu_map" in line
    ]
    assert places == [places[0], places[0] + 1, places[0] + 3]
    assert script[places[1]] == "setparam -set INIT 1'x t:$__XILINX_BLOCKRAM_*"
    assert "INIT" not in yosys.synthesis_script(["a.v"], "top", "xcup")
    assert yosys.synthesis_script(["a.v"], "top", "ecp5") == yosys.synthesis_script(
        ["a.v"], "top", "ecp5", contents=False
    )


@pytest.mark.slow
def test_empty_block_rams_count_as_full_ones(tmp_path: Path) -> None:
    words = "".join(f"initial words[{n}] = {n * n * 2654435761 % (1 << 36)};\n" for n in range(1100))
    ports = "input clk, enable, input [10:0] at, output reg [35:0] q"
    (tmp_path / "top.v").write_text(
        f'module top({ports}); (* rom_style = "block" *) reg [35:0] words [0:1099];\n{words}'
        "always @(posedge clk) if (enable) q <= words[at]; endmodule\n"
    )
    found = []
    for contents in (True, False):
        yosys.run_script(yosys.synthesis_script(["top.v"], "top", "xcup", contents=contents), cwd=tmp_path)
        found.append(yosys.parse_stat((tmp_path / "stat.json").read_text(), "xcup", "top"))
    assert found[0] == found[1]
    assert found[0].unknown == ()
    assert found[0].total.bram == 1.5


def test_synthesis_for_ultrascale_takes_the_list_of_rams_of_yosys(monkeypatch: pytest.MonkeyPatch) -> None:
    script = yosys.synthesis_script(["a.v"], "top", "xcup").splitlines()
    assert 'option "ABITS" 9 {' in [line.strip() for line in script]
    assert "abits 16;" not in [line.strip() for line in script]
    monkeypatch.setattr(yosys.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolMissingError, match="Yosys is not installed; install it with: pip install pyosys"):
        yosys.synthesis_script(["a.v"], "top", "xcup")


def test_a_failing_synthesis_names_its_log(tmp_path: Path) -> None:
    source = tmp_path / "top.v"
    source.write_text("module top(input a; endmodule")
    with pytest.raises(ToolFailedError, match=r"(?s)log: .*synth\.log.*syntax error"):
        yosys.synthesise([source], "top", "ecp5", tmp_path / "out")
