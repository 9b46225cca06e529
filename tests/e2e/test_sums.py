"""Networks whose sums need more bits than float64 has, or are FP32, to Verilog and through Verilator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hwgen
from hwgen import golden, passes
from hwgen.formats import Format
from hwgen.inputs import DataSet
from hwgen.ir import Graph, TensorType, graph_from_json
from hwgen.ops import OPS, Dense, MatVec, Quantize, Relu
from tests.conftest import chain
from tests.golden.test_wide import LAYERS, blocks

pytestmark = pytest.mark.slow

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


def test_fp32_sums_are_bit_exact(tmp_path: Path) -> None:
    x, weight = blocks("mxfp6e3m2", -12, -5), blocks("mxfp6e3m2", -20, 20)
    frozen = passes.freeze(network(x, weight), accumulator="fp32")
    kinds = [type(node.op).__name__ for node in frozen.nodes]
    assert kinds[:2] == ["MatVec", "Fix"]
    assert frozen.output_type.codes_format.name == "fp32"
    real = np.random.default_rng(1).normal(size=(30, 64))
    codes = value = golden.encode(frozen, real)
    for node in frozen.nodes:
        value = node.op.run(value)
    np.testing.assert_array_equal(golden.run(frozen, codes), value)
    accelerator = hwgen.compile(frozen, fold=FOLD, root=tmp_path)
    assert accelerator.verify(DataSet(real, "random"), 30)["verify"]["bit_exact"]
    assert {stage.kind for stage in accelerator.design.stages} >= {"matvec", "fix"}
    assert graph_from_json(frozen.to_json(), OPS).hash == frozen.hash
