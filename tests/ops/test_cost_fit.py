"""The fitted cost model: its coefficients, what it counts, and how near it is to the syntheses it was fitted to."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hwgen import formats, ops
from hwgen.ir import Fold, TensorType
from hwgen.ops import cost_branches, cost_fit, cost_matvec, cost_memory, cost_terms
from hwgen.ops.cost_fit import Term, Terms, cost

ROOT = Path(__file__).parents[2]
DATA = json.loads((ROOT / "docs" / "results" / "cost.json").read_text())


def test_terms_are_weighed_by_family(monkeypatch):
    known = {"ecp5": {"adder": {"lut": {"bits": 2.0}, "ff": {"bits": 0.5}}}}
    monkeypatch.setattr(cost_fit, "coefficients", lambda: known)
    terms = Terms("adder", {"bits": Term(10, 8), "unit": Term(1, 1)}, bram=2, dsp=1)
    assert (cost(terms, "ecp5").lut, cost(terms, "ecp5").ff) == (21, 5)
    assert cost(terms, "ice40") == cost(terms, "ecp5")
    assert (cost(terms, "xcup").lut, cost(terms, "xcup").bram, cost(terms, "xcup").dsp) == (11, 2, 1)


def test_every_coefficient_is_that_of_a_term_and_none_is_negative():
    for family, formulas in cost_fit.coefficients().items():
        assert family in ("ecp5", "xcup")
        for kinds in formulas.values():
            assert set(kinds) == set(cost_fit.KINDS)
            assert all(value >= 0 for one in kinds.values() for value in one.values())


@pytest.mark.parametrize(
    ("width", "depth", "blocks"),
    [(36, 512, (1, 1)), (64, 1152, (6, 3)), (80, 1152, (7, 3)), (4, 10240, (3, 3)), (1, 100, (1, 1))],
)
def test_block_rams_are_as_few_as_can_be(width, depth, blocks):
    assert cost_memory.blocks_of(width, depth) == blocks


@pytest.mark.parametrize(
    ("width", "depth", "family", "luts", "blocks"),
    [
        (34, 64, "ecp5", 0, 1),
        (34, 64, "xcup", 40, 0),
        (34, 128, "xcup", 0, 1),
        (4, 16, "ecp5", 6, 0),
        (24, 72, "ecp5", 0, 1),
    ],
)
def test_memories_are_blocks_where_synthesis_takes_them(width, depth, family, luts, blocks):
    stored, found = cost_memory.memory(width, depth, family)
    assert (stored.lut, found) == (luts, blocks)


def test_one_address_reaches_deeper():
    assert [cost_memory.memory_luts(16, 512, "xcup", single=single) for single in (False, True)] == [192, 128]
    assert cost_memory.memory_luts(16, 512, "ecp5", single=True) == cost_memory.memory_luts(16, 512, "ecp5")


def test_joins_multiply_in_dsps_from_a_width_on():
    shape = (4, 4, 8)
    for name, dsp in (("int8", 2), ("uint2", 0)):
        x = TensorType(shape, formats.get(name))
        made = cost_branches.join(ops.Multiply((x.format, x.format), (0, 0)), [x, x], 2, [2, 40], "ecp5")
        assert (made.formula, made.dsp, made.bram) == ("multiply", dsp, 0)
    x = TensorType(shape, formats.get("int8"))
    sums = [cost_branches.join(ops.Add((1, n), (x.format,) * 2), [x, x], 2, [2, 2], "ecp5") for n in (1, 3, 5, 8)]
    assert [made.dsp for made in sums] == [0, 0, 2, 0]
    assert [made.parts["products"].lut > 0 for made in sums] == [False, True, False, False]


@pytest.mark.parametrize(
    ("a", "b", "family", "count"), [(19, 19, "ecp5", 1), (19, 19, "xcup", 2), (8, 9, "ecp5", 1), (27, 18, "xcup", 1)]
)
def test_multipliers_of_wide_products(a, b, family, count):
    assert cost_terms.multipliers(a, b, family) == count


def test_placed_units_cost_less_and_dsps_are_counted():
    rng = np.random.default_rng(1)
    op = ops.MatVec(rng.integers(-8, 8, (32, 64)), formats.get("int4"))
    x = TensorType((64,), formats.get("uint4"))
    found = {
        name: cost(cost_matvec.matvec(op, x, Fold(4, 8, dsp), family), family)
        for name, dsp, family in (("ecp5", False, "ecp5"), ("luts", False, "xcup"), ("dsps", True, "xcup"))
    }
    assert found["dsps"].lut < found["luts"].lut < found["ecp5"].lut
    assert [found[name].dsp for name in ("ecp5", "luts", "dsps")] == [0, 0, 8]


def test_the_model_is_near_the_syntheses_it_was_fitted_to():
    """Every case can be described anew, and the sum of every third is within 5 percent."""
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        import cost_model
    finally:
        sys.path.remove(str(ROOT / "bench"))
    for family, rows in DATA["families"].items():
        sums = np.zeros((2, 2))
        for row in rows[::3]:
            guess = cost(cost_model.terms(row["case"], family), family)
            sums += [[guess.lut, guess.ff], [row["lut"], row["ff"]]]
        assert np.allclose(sums[0], sums[1], rtol=0.05), (family, sums)
