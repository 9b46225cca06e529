"""Minifloat networks: FloatQuant files against the QONNX executor, Brevitas modules against their own exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from hwgen import golden, passes
from hwgen.errors import UnsupportedError
from hwgen.formats import Minifloat, get
from hwgen.frontends import qonnx
from hwgen.ir import Graph
from hwgen.passes.ties import explain
from tests.oracles.networks import DOMAIN, Builder
from tests.oracles.qonnx_executor import execute

# name: exponent width, mantissa width, bias, maximum
FLOATS = {
    "e4m3": (4, 3, 7, 448.0),
    "e5m2": (5, 2, 15, 57344.0),
    "e3m2": (3, 2, 3, 28.0),
    "e2m3": (2, 3, 1, 7.5),
    "e2m1": (2, 1, 1, 6.0),
}


def float_quant(b: Builder, x: str, name: str, scale: object, **attributes: object) -> str:
    widths = [b.const(value) for value in FLOATS[name]]
    given = {"has_inf": 0, "has_nan": 0, "has_subnormal": 1, "rounding_mode": "ROUND", "saturation": 1, **attributes}
    return b.op("FloatQuant", x, b.const(scale), *widths, domain=DOMAIN, **given)


def network(weight: str, activation: str, path: Path, *, scale: float = 1 / 16, relu: bool = True) -> Path:
    """Two layers of 12 inputs, 8 hidden neurons and 5 outputs; scales that are no powers of two if `scale` is not."""
    rng, b = np.random.default_rng(5), Builder()
    x = float_quant(b, "x", activation, scale)
    w = float_quant(b, b.const(rng.normal(0, 1, (12, 8))), weight, rng.uniform(0.5, 2, (1, 8)) * scale)
    x = b.op("MatMul", x, w)
    x = b.op("Add", x, b.const(rng.normal(0, 1, 8)))
    x = b.op("Relu", x) if relu else x
    x = float_quant(b, x, activation, scale)
    w = float_quant(b, b.const(rng.normal(0, 1, (8, 5))), weight, scale)
    x = b.op("MatMul", x, w)
    onnx.save(b.model(x, (25, 12), (25, 5)), path)
    return path


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(
    ("weight", "activation"), [("e4m3", "e4m3"), ("e3m2", "e4m3"), ("e2m1", "e2m3"), ("e2m1", "e2m1")]
)
def test_codes_are_those_of_the_executor(weight: str, activation: str, relu: bool, tmp_path: Path) -> None:
    path = network(weight, activation, tmp_path / "m.onnx", scale=0.137, relu=relu)
    imported = qonnx.load(path)
    frozen = passes.freeze(imported)
    x = np.random.default_rng(0).normal(0, 2, (100, 12)).astype(np.float32)
    run = execute(path, x)
    found = explain(imported, frozen, x, golden.trace(frozen, x), run)
    assert not found.unexplained
    # Beyond 24 bits float32 rounds every sum; in front of that nothing may differ but ties.
    inner = [tie for tie in found.ties if tie.node != frozen.nodes[-1].name]
    assert len(inner) <= 2
    assert np.allclose(golden.predict(frozen, x), run[frozen.outputs[0]], rtol=1e-4, atol=1e-5)


def test_inputs_on_rounding_boundaries_differ_only_by_ties(tmp_path: Path) -> None:
    path = network("e2m1", "e2m1", tmp_path / "m.onnx", relu=False)
    imported = qonnx.load(path)
    frozen = passes.freeze(imported)
    assert imported.nodes[0].op.format == get("e2m1")  # type: ignore[attr-defined]
    x = np.random.default_rng(1).integers(-100, 100, (100, 12)).astype(np.float32) / 256
    found = explain(imported, frozen, x, golden.trace(frozen, x), execute(path, x))
    assert not found.unexplained


REFUSED = [
    ({"saturation": 0}, FLOATS["e4m3"], "it does not saturate"),
    ({}, (4, 3, 7, 300.0), "its maximum 300 is none of E4M3 with bias 7: 480, 448, 240"),
    ({}, (9, 3, 7, 448.0), "no minifloat has E9M3 with bias 7 here"),
    ({}, (4, 3, 7.5, 448.0), "the exponent bias must be an integer, not 7.5"),
    ({"rounding_mode": "ODD"}, FLOATS["e4m3"], "unknown rounding mode 'ODD'"),
]


@pytest.mark.parametrize(("attributes", "widths", "message"), REFUSED)
def test_what_is_no_minifloat_is_refused(attributes, widths, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    b = Builder()
    given = {"has_inf": 0, "has_nan": 0, "has_subnormal": 1, "rounding_mode": "ROUND", "saturation": 1, **attributes}
    x = b.op("FloatQuant", "x", b.const(1.0), *[b.const(w) for w in widths], domain=DOMAIN, **given)
    onnx.save(b.model(x, (1, 4), (1, 4)), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError, match=rf"node 'FloatQuant_0' \(FloatQuant\): {message}"):
        qonnx.load(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("widths", "specials", "name"),
    [
        ((4, 3, 7), (None, ["111"]), "e4m3"),
        ((5, 2, 15), (["00"], ["01", "10", "11"]), "e5m2"),
        ((2, 1, 1), ((), ()), "e2m1"),
    ],
)
def test_formats_of_brevitas(widths, specials, name: str) -> None:  # type: ignore[no-untyped-def]
    from hwgen.frontends.brevitas_floats import minifloat_of

    assert minifloat_of(widths, specials, ValueError) == get(name)
    assert minifloat_of((4, 3, 7), (None, None), ValueError) == Minifloat(4, 3, 7)
    with pytest.raises(ValueError, match=r"its widths and bias must be integers, not 4.5, 3.0, 7.0"):
        minifloat_of((4.5, 3, 7), specials, ValueError)
    with pytest.raises(ValueError, match="its NaN codes 110 are not the one code of all ones"):
        minifloat_of((4, 3, 7), (None, ["110"]), ValueError)


def brevitas_graphs(folder: Path) -> tuple[Graph, Graph, np.ndarray, np.ndarray]:
    """A Brevitas FP8 network by both importers, inputs and its own outputs."""
    import torch
    from brevitas import nn as qnn
    from brevitas.export import export_qonnx
    from brevitas.quant.float_quant_ocp import Fp8e4m3OCPActPerTensorFloat, Fp8e4m3OCPWeightPerTensorFloat

    torch.manual_seed(0)
    weight, act = Fp8e4m3OCPWeightPerTensorFloat, Fp8e4m3OCPActPerTensorFloat
    module = torch.nn.Sequential(
        qnn.QuantIdentity(act_quant=act),
        qnn.QuantLinear(10, 8, bias=True, weight_quant=weight),
        torch.nn.BatchNorm1d(8),
        qnn.QuantReLU(act_quant=act),
        qnn.QuantLinear(8, 4, bias=False, weight_quant=weight),
    )
    x = torch.rand(50, 10)
    module(x)
    module.eval()
    export_qonnx(module, x[:1], str(folder / "m.onnx"))
    from hwgen.frontends import brevitas

    with torch.no_grad():
        y = module(x).numpy()
    return qonnx.load(folder / "m.onnx"), brevitas.from_brevitas(module, x[:1]), x.numpy(), y


@pytest.mark.slow
def test_a_brevitas_module_is_read_as_its_export_is(tmp_path: Path) -> None:
    exported, read, x, y = brevitas_graphs(tmp_path)
    graphs = [passes.freeze(graph) for graph in (exported, read)]
    codes = [golden.run(graph, x) for graph in graphs]
    assert np.array_equal(*codes)
    assert np.allclose(golden.predict(graphs[1], x), y, atol=1e-5)
