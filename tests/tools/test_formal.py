from pathlib import Path

import pytest

from hwgen.errors import MismatchError, ToolFailedError
from hwgen.tools import formal
from hwgen.tools.formal import Design, prove_always, prove_equal

ADD = """module add #(parameter int W = 4) (input logic [W-1:0] a, b, output logic [W-1:0] o);
assign o = a + b;
endmodule
"""
SUB = "module sub(input logic [4:0] a, b, output logic [4:0] o);\nassign o = a - (~b + 5'd1);\nendmodule\n"
OR = "module merge(input logic [4:0] a, b, output logic [4:0] o);\nassign o = a | b;\nendmodule\n"


def write(folder, name, text) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_equal_modules_are_proven_with_parameters(tmp_path):
    add = Design([write(tmp_path, "add.sv", ADD)], "add", {"W": 5})
    prove_equal(add, Design([write(tmp_path, "sub.sv", SUB)], "sub"))


def test_a_difference_is_shown(tmp_path):
    add = Design([write(tmp_path, "add.sv", ADD)], "add", {"W": 5})
    with pytest.raises(MismatchError, match=r"merge differs from add at a = \d+, b = \d+"):
        prove_equal(add, Design([write(tmp_path, "or.sv", OR)], "merge"))


def test_no_verdict_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(formal, "run_script", lambda script, *, log, timeout: log.write_text("nothing"))
    design = Design([write(tmp_path, "add.sv", ADD)], "add")
    with pytest.raises(ToolFailedError, match="yosys neither proved nor refuted that add equals add"):
        prove_equal(design, design)
    with pytest.raises(ToolFailedError, match="yosys neither proved nor refuted that o of add is always 1"):
        prove_always(design, "o", 2)


def test_modules_with_other_ports_fail(tmp_path):
    add = Design([write(tmp_path, "add.sv", ADD)], "add")
    with pytest.raises(ToolFailedError, match="miter"):
        prove_equal(add, Design([write(tmp_path, "or.sv", OR)], "merge"))
