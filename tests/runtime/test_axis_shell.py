"""The AXI4-Stream shell: lint, and the cocotb bench beside this file."""

from pathlib import Path

import pytest
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from hwgen.tools import verilator
from hwgen.tools.files import share
from tests.runtime.conftest import BUILD, INPUT, OUTPUT, one_at_a_time

SOURCES = [share("rtl", "axis_shell.sv"), Path(__file__).with_name("accel.sv")]
PARAMETERS = {
    "IN_BITS": INPUT.data_bits,
    "IN_BEATS": INPUT.beats,
    "OUT_BITS": OUTPUT.data_bits,
    "OUT_BEATS": OUTPUT.beats,
}


def test_the_axis_shell_lints_clean() -> None:
    verilator.lint(SOURCES, "axis_shell", args=[f"-G{name}={value}" for name, value in PARAMETERS.items()])


@pytest.mark.slow
def test_the_axis_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in verilator.environment().items():
        monkeypatch.setenv(name, value)
    folder = BUILD / "axis"
    runner = get_runner("verilator")
    with one_at_a_time(folder):
        runner.build(sources=SOURCES, hdl_toplevel="axis_shell", parameters=PARAMETERS, build_dir=folder)
        results = runner.test(hdl_toplevel="axis_shell", test_module="tests.runtime.axis_bench", build_dir=folder)
    assert get_results(results) == (5, 0)
