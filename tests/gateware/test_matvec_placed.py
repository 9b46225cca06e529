"""Matrix units in placed cells: exact in a model of the cells, and the models of the cells in whole networks."""

import re

import numpy as np
import pytest

from hwgen import compiler, formats, gateware, ops
from hwgen.errors import UnsupportedError
from hwgen.gateware.arith.rows import Rows
from hwgen.gateware.matvec_placed import PlacedMatVec
from hwgen.ir import Fold, Graph, Node, TensorType, Value
from hwgen.ops.cost import dsp_fields, is_placed
from tests.gateware.bench import check, random_codes
from tests.gateware.cells import modelled
from tests.gateware.test_matvec import layer

CASES = [
    (4, 6, Fold(2, 3), "int4n", "uint4"),
    (4, 4, Fold(1, 1), "int4", "int4"),
    (2, 3, Fold(2, 1), "int3", "int5"),
    (2, 8, Fold(1, 8), "int2", "int3"),
    (34, 2, Fold(1, 1), "int4", "uint2"),
    (4, 6, Fold(4, 3, dsp=True), "int4", "uint4"),
    (6, 4, Fold(3, 1, dsp=True), "int2", "int3"),
]


@pytest.mark.parametrize(("out", "inner", "fold", "weight", "x"), CASES)
def test_every_fold_gives_the_golden_sums(out, inner, fold, weight, x, rng):
    op, kind = layer(out, inner, weight, x, rng)
    assert is_placed(op, kind, fold)
    codes = random_codes(kind.format, (2, inner), rng)
    with modelled():
        check(PlacedMatVec(op, kind, fold), op.run(codes), codes, stalls=((1.0, 1.0), (0.5, 0.6)))


@pytest.mark.parametrize(("weight", "x"), [("int8", "uint4"), ("int4", "bipolar"), ("int3", "uint8")])
def test_other_products_are_made_as_elsewhere(weight, x, rng):
    assert not is_placed(*layer(4, 6, weight, x, rng), Fold(2, 2))


@pytest.mark.parametrize(("size", "ternary"), [(2, False), (3, False), (4, False), (2, True)])
@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_rows_and_corrections_come_to_the_product(size, ternary, bits):
    """In numbers: what the terms can be, with the corrections, spans the products and no more than that."""
    rows = Rows(size, ternary, bits)
    weights = np.arange(-1, 2) if ternary else np.arange(-(1 << (size - 1)), 1 << (size - 1))
    top = sum(high << shift for high, shift in rows.terms)
    products = weights[:, None] * np.arange(1 << bits)
    least = rows.corrections(weights[:, None])[:, None]
    assert (products >= least).all()
    assert (products <= least + top).all()


@pytest.mark.parametrize(
    ("lanes", "operand", "count"), [(8, "uint4", 3), (1, "uint4", 3), (4, "int4", 3), (8, "uint8", 2)]
)
def test_as_many_outputs_share_a_dsp_as_fit(lanes, operand, count):
    op = ops.MatVec(np.array([[-8] * lanes, [7] * lanes]), formats.get("int4"))
    x = TensorType((lanes,), formats.get(operand))
    assert dsp_fields(op, x, Fold(1, lanes))[0] == count


def network(weight="int4", x="uint4"):
    rng = np.random.default_rng(5)
    fmt, kind = formats.get(weight), TensorType((8,), formats.get(x))
    first = Node("fc0", ops.MatVec(random_codes(fmt, (8, 8), rng), fmt), ("x",), "a")
    steps = Node("act", ops.Thresholds(np.arange(15)[None] * 9 - 60, 0, formats.get("uint4")), ("a",), "b")
    last = Node("fc1", ops.MatVec(random_codes(fmt, (4, 8), rng), fmt), ("b",), "y")
    return Graph("two", (Value("x", kind),), (first, steps, last), ("y",))


def test_dsps_that_cannot_be_had_are_refused():
    folding = {"fc0": Fold(4, 4, dsp=True), "fc1": Fold(1, 2)}
    with pytest.raises(UnsupportedError, match=r"node 'fc0': the fold asks for DSPs; .* on UltraScale\+"):
        gateware.build(network(), folding, "ecp5")
    with pytest.raises(UnsupportedError, match=re.escape("which two outputs share at least: PE=1, 3 per DSP")):
        gateware.build(network(), {"fc0": Fold(1, 4, dsp=True), "fc1": Fold(1, 2)}, "xcup")


@pytest.mark.slow
def test_networks_of_placed_cells_are_exact(tmp_path):
    made = compiler.compile(network(), "ultra96", {"fc0": Fold(4, 4), "fc1": Fold(4, 4, dsp=True)}, tmp_path)
    assert "DSP48E2" in made.verilog()
    assert made.verify(frames=50)["verify"]["frames"] == 50
