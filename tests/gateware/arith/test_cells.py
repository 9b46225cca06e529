"""The models of UltraScale+ cells against those of Yosys, for all inputs."""

import importlib.util
from pathlib import Path

import pytest

from hwgen.tools.formal import Design, prove_equal
from tests.gateware.arith.sweep import CELLS

pytestmark = pytest.mark.slow


def test_the_chain_as_a_sum_is_the_chain_bit_by_bit():
    found = importlib.util.find_spec("pyosys")
    assert found is not None
    library = Path(found.origin).parent / "share" / "xilinx" / "cells_sim.v"
    prove_equal(Design([library], "CARRY8"), Design([CELLS], "CARRY8"))
