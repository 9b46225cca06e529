"""Digits networks in other number formats, from training to verified RTL; trained briefly, but on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hwgen
from hwgen import cli_train, golden, inputs, passes
from hwgen.frontends import qonnx
from hwgen.passes.ties import explain
from hwgen.quant import train
from hwgen.report import evaluate
from tests.oracles.qonnx_executor import execute

pytestmark = pytest.mark.slow
RECIPE = Path(__file__).parents[2] / "examples" / "digits_formats.py"
FRAMES = 40


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats")


@pytest.mark.parametrize(
    ("name", "multiplier"),
    [("e4m3", "exact"), ("e4m3", "lmul"), ("e3m2", "exact"), ("e2m1", "exact"), ("dfp16", "exact")],
)
def test_a_network_is_bit_exact(name: str, multiplier: str, build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORMAT", name)
    model = build / name / f"digits-{name}.onnx"
    if not model.exists():
        trained = train.train(train.load_recipe(RECIPE).changed(epochs=3), build / name)
        assert trained.accuracy > 0.8
    data = inputs.read_data(None, model)
    assert data is not None
    imported = qonnx.load(model)
    frozen = passes.freeze(imported, multiplier=multiplier)
    if multiplier == "exact":
        codes = golden.trace(frozen, data.x)
        assert not explain(imported, frozen, data.x, codes, execute(model, data.x)).unexplained
    accelerator = hwgen.compile(frozen, root=build)
    checked = accelerator.verify(data, FRAMES)
    assert checked["verify"]["bit_exact"]
    assert checked["verify"]["frames"] == FRAMES


@pytest.mark.parametrize("name", ["mxint8", "nvfp4"])
def test_a_network_of_blocks_is_bit_exact(name: str, build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORMAT", name)
    job = train.load_recipe(RECIPE).changed(epochs=3)
    trained = train.train(job, build / name)
    assert trained is not None
    assert trained.accuracy > 0.8
    assert cli_train.write_graph(job, build / name) is None
    model = build / name / f"digits-{name}.graph.json"
    imported, data = inputs.read_imported(model), inputs.read_data(None, model)
    assert imported is not None
    assert data is not None
    assert data.logits is not None
    frozen = passes.freeze(imported)
    # The quantizers are hwgen's own: no code may differ but at proven float ties.
    rows = evaluate.differences(imported, frozen, data.x, data.quantized, data.logits)
    assert all(row["different"] == row["ties"] for row in rows)
    accelerator = hwgen.compile(frozen, root=build)
    checked = accelerator.verify(data, FRAMES)
    assert checked["verify"]["bit_exact"]
    assert checked["verify"]["frames"] == FRAMES
    assert accelerator.verify(frames=10)["verify"]["bit_exact"]


def test_another_format_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORMAT", "e9m9")
    with pytest.raises(
        hwgen.HwgenError,
        match=r"FORMAT=e9m9 is none of e4m3, e5m2, e3m2, e2m3, e2m1, mxfp4, mxfp6e3m2, mxf.*, nvfp4, .*, dfp16",
    ):
        train.train(train.load_recipe(RECIPE).changed(epochs=1), tmp_path)
    assert not np.any(list(tmp_path.iterdir()))
