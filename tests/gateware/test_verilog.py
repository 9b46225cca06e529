"""The Verilog itself: Verilator has nothing to say about it, and Yosys synthesises it for every family."""

import numpy as np
import pytest

from hwgen import gateware
from hwgen.explore.folding import least_cost
from hwgen.ops import cost
from hwgen.tools import verilator, yosys
from tests.gateware.networks import mlp
from tests.gateware.test_top import folding_of

NETWORKS = {
    "thresholds": ({"sizes": (16, 8, 6)}, [(2, 4), (2, 4)]),
    "requantize": ({"sizes": (8, 6, 4), "requantize": True, "act": "int4", "weight": "int8"}, [(2, 2), (2, 3)]),
    "unrolled": ({"sizes": (6, 4, 3), "weight": "int3"}, [(4, 6), (3, 4)]),
    "bipolar": ({"sizes": (8, 6, 4), "weight": "bipolar", "act": "bipolar", "x": "bipolar"}, [(3, 4), (2, 3)]),
    "positions": ({"sizes": (4, 6, 4), "positions": (3,), "argmax": False}, [(2, 2), (2, 3)]),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verilog")
    found = {}
    for name, (kwargs, folds) in NETWORKS.items():
        rng = np.random.default_rng(3)
        found[name] = folder / name / "accel.v"
        found[name].parent.mkdir()
        found[name].write_text(gateware.build(mlp(**kwargs, rng=rng), folding_of(folds)).verilog)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_verilator_lints_it_clean(name, sources):
    verilator.lint([sources[name]], "accel")


@pytest.mark.slow
@pytest.mark.parametrize("family", yosys.FAMILIES)
@pytest.mark.parametrize("name", ["thresholds", "requantize", "unrolled"])
def test_yosys_synthesises_it_and_knows_every_cell(name, family, sources, tmp_path):
    statistics = yosys.synthesise([sources[name]], "accel", family, tmp_path, timeout=300).statistics
    assert statistics.unknown == ()
    assert statistics.total.lut > 0
    assert statistics.total.ff > 0


@pytest.mark.slow
def test_the_estimate_is_near_synthesis(tmp_path):
    graph = mlp((64, 32, 32, 10), np.random.default_rng(3))
    folding = least_cost(graph, 64).folding
    source = tmp_path / "accel.v"
    source.write_text(gateware.build(graph, folding).verilog)
    found = yosys.synthesise([source], "accel", "ecp5", tmp_path, timeout=300).statistics.total
    guess = cost.estimate(graph, folding)
    assert guess.lut == pytest.approx(found.lut, rel=0.2)
    assert guess.ff == pytest.approx(found.ff, rel=0.2)
    assert (guess.bram, guess.dsp) == (found.bram, found.dsp)
