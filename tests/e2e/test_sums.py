"""Networks whose sums need more bits than float64 has, to Verilog and through Verilator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hwgen
from hwgen import golden, passes
from hwgen.formats import Format
from hwgen.inputs import DataSet
from hwgen.ir import Graph, TensorType
from hwgen.ops import Dense, MatVec, Quantize, Relu
from tests.conftest import chain
from tests.golden.test_wide import LAYERS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sums")]

FOLD = {"fc0": (2, 4), "fc1": (1, 2)}


def network(x: Format, weight: Format, size: int = 64) -> Graph:
    """Two layers, 64-32-3, with numbers in `x` between them."""
    rng = np.random.default_rng(5)
    first, second = (weight.encode(rng.normal(0, 0.2, shape)) for shape in ((32, size), (3, 32)))
    ops = [("q", Quantize(x)), ("fc0", Dense(first, weight)), ("relu", Relu())]
    return chain("sums", TensorType((size,)), *ops, ("q1", Quantize(x)), ("fc1", Dense(second, weight)))


@pytest.mark.parametrize("name", ["mxfp8e4m3 of 16 scales", "e5m2 by e5m2"])
def test_wide_sums_are_bit_exact(name: str, tmp_path: Path) -> None:
    x, weight, _ = LAYERS[name]
    imported = network(x, weight)
    frozen = passes.freeze(imported)
    widths = [frozen.types[n.output].codes_format.bits for n in frozen.nodes if isinstance(n.op, MatVec)]
    assert max(widths) >= 53
    rng = np.random.default_rng(1)
    real = rng.normal(size=(30, 64)) * 2.0 ** rng.integers(-12, 5, (30, 2)).repeat(32, axis=1)
    value = codes = golden.encode(frozen, real)
    for node in frozen.nodes:
        value = node.op.run(value)
    np.testing.assert_array_equal(golden.run(frozen, codes), value)
    checked = hwgen.compile(frozen, fold=FOLD, root=tmp_path).verify(DataSet(real, "random"), 30)
    assert checked["verify"]["bit_exact"]
