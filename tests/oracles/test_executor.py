"""Frozen graphs against the QONNX executor: equal codes, or a proven float tie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from hwgen import golden
from hwgen.frontends.qonnx import load
from hwgen.passes import explain, freeze
from tests.oracles.networks import Options, frames_of, mlp
from tests.oracles.qonnx_executor import execute

pytest.importorskip("qonnx")

FRAMES = 200
BASE = Options()
ROUNDING = ("ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_EVEN", "HALF_UP", "HALF_DOWN")
CASES = {
    **{
        f"w{w}a{a}": BASE.but(weight_bits=w, act_bits=a, narrow=int(a > 1))
        for w, a in ((2, 1), (2, 2), (3, 5), (4, 4), (6, 3), (8, 8))
    },
    "signed": BASE.but(act_signed=1, narrow=0, relu=False),
    "signed narrow": BASE.but(act_signed=1, relu=False),
    "relu to signed": BASE.but(act_signed=1, narrow=0),
    "per channel": BASE.but(per_channel=True, bias="float"),
    "act zero point": BASE.but(act_zero=5, relu=False, bias="float"),
    "weight zero point": BASE.but(weight_signed=0, weight_zero=7, narrow=0),
    "float bias": BASE.but(bias="float", gemm=False),
    "quantized bias": BASE.but(bias="quantized"),
    "batch norm": BASE.but(batch_norm=True, bias="float"),
    "batch norm per channel signed": BASE.but(batch_norm=True, per_channel=True, act_signed=1, relu=False),
    "bipolar": BASE.but(bipolar=True, batch_norm=True, relu=False),
    **{f"rounding {mode}": BASE.but(mode=mode, act_signed=1, act_bits=3, relu=False) for mode in ROUNDING},
    "8 bit zero point": BASE.but(weight_bits=8, act_bits=8, act_zero=100, relu=False, batch_norm=True),
}
ALL = {f"{name}{' exact' if exact else ''}": o.but(exact=exact) for name, o in CASES.items() for exact in (False, True)}


def compared(model: onnx.ModelProto, x: np.ndarray, path: Path, requantize: str = "auto"):  # type: ignore[no-untyped-def]
    onnx.save(model, path)
    imported = load(path)
    frozen = freeze(imported, requantize)
    oracle = execute(model, x)
    codes = golden.trace(frozen, golden.encode(frozen, x))
    comparison = explain(imported, frozen, x, codes, oracle)
    return frozen, oracle, comparison


@pytest.mark.parametrize("name", ALL)
def test_codes_equal_the_executors_or_tie(name: str, tmp_path: Path) -> None:
    options = ALL[name]
    x = frames_of(options, FRAMES)
    if options.exact:
        # Ties on purpose: multiples of a fraction of the scale.
        x = np.round(x * 64) / 64
    model = mlp(options, FRAMES)
    frozen, oracle, comparison = compared(model, x, tmp_path / "net.onnx")
    assert comparison.frames == FRAMES
    assert not comparison.unexplained, comparison.unexplained[:3]
    if options.exact and not options.batch_norm:
        assert comparison.differing == ()
    same = np.setdiff1d(np.arange(FRAMES), comparison.differing)
    assert same.size > FRAMES * 0.8
    output = oracle[model.graph.output[0].name]
    np.testing.assert_allclose(golden.predict(frozen, x)[same], output[same], rtol=1e-4, atol=1e-4)


EXACT = [name for name in ALL if name.endswith("exact") and not ALL[name].batch_norm]


@pytest.mark.parametrize("name", EXACT)
def test_thresholds_have_the_executors_ties(name: str, tmp_path: Path) -> None:
    """The same networks with every shift replaced by thresholds: float32 is exact here, so no code may differ."""
    options = ALL[name]
    x = np.round(frames_of(options, FRAMES) * 64) / 64
    frozen, _, comparison = compared(mlp(options, FRAMES), x, tmp_path / "net.onnx", "thresholds")
    assert [node.op.kind for node in frozen.nodes] == ["MatVec", "Thresholds", "MatVec", "Thresholds", "MatVec"]
    assert comparison.differing == ()


@pytest.mark.parametrize("bits", [9, 12, 16])
def test_wide_activations_are_dyadic_and_differ_by_ties_only(bits: int, tmp_path: Path) -> None:
    options = BASE.but(act_bits=bits, weight_bits=8, bias="float", per_channel=True)
    x = frames_of(options, FRAMES)
    frozen, _, comparison = compared(mlp(options, FRAMES), x, tmp_path / "net.onnx")
    assert [node.op.kind for node in frozen.nodes] == ["MatVec", "Requantize", "MatVec", "Requantize", "MatVec"]
    assert not comparison.unexplained
    assert len(comparison.differing) < FRAMES / 2
