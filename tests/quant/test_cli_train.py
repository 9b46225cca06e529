"""`hwgen train` and `hwgen data` as users type them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hwgen import cli, compiler, golden, inputs, models
from hwgen.quant import checkpoint, fetch

CONFIG = """
model = "digits-mlp"
dataset = "digits"
epochs = {epochs}
batch = 32
learning_rate = 0.01
validation = 0.2
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(CONFIG.format(epochs=6))
    return path


def start(*words: str | Path, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, "-m", "hwgen.cli", "train", *map(str, words), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def trained(*words: str | Path, launcher: tuple[str, ...] = ()) -> dict[str, object]:
    child = start(*words, launcher=launcher)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    found: dict[str, object] = json.loads(out)
    return found


def state(folder: Path) -> dict[str, np.ndarray]:
    tensors = checkpoint.read(folder / checkpoint.LAST)["model"]["tensors"]
    return {name: tensor.numpy() for name, tensor in tensors.items()}


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(config: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    trained(config, "-o", whole)
    child = start(config, "-o", cut)
    metrics = cut / "metrics.jsonl"
    limit = time.monotonic() + 60
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) >= 2):
        assert time.monotonic() < limit
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert len(metrics.read_text().splitlines()) < 6
    trained(config, "-o", cut)
    one, two = state(whole), state(cut)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert (whole / "small.onnx").read_bytes() == (cut / "small.onnx").read_bytes()


@pytest.mark.slow
def test_two_processes_train_one_network(config: Path, tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    found = trained(config, "-o", tmp_path / "two", launcher=launcher)
    assert found["total"] == 360
    assert float(str(found["accuracy"])) > 0.9
    assert checkpoint.read(tmp_path / "two" / checkpoint.LAST)["made_by"]["processes"] == 2


@pytest.mark.slow
def test_what_training_leaves(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert in_process(monkeypatch, "train", config, "-o", folder, "--epochs", "2", "--seed", "3", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {path.name for path in folder.iterdir()} == {
        *(f"small.{kind}" for kind in ("onnx", "graph.json", "npz", "weights.npz", "json")),
        *("checkpoint.pt", "best.pt", "metrics.jsonl"),
    }
    record = json.loads((folder / "small.json").read_text())
    assert record["config"]["seed"] == record["seed"] == 3
    assert record["correct"] == found["correct"] > 300
    assert found["qonnx"] is None

    data = inputs.read_data(None, folder / "small.onnx")
    assert data is not None
    assert data.logits is not None
    graph = compiler.load(folder / "small.onnx")
    assert len(data.quantized) == 3
    real = golden.predict(graph, data.x)
    assert (real.argmax(1) == data.logits.argmax(1)).mean() > 0.99
    assert int((data.logits.argmax(1) == data.y).sum()) == found["correct"]

    config.write_text(CONFIG.format(epochs=3))
    assert in_process(monkeypatch, "train", config, "-o", folder) == 1
    assert "checkpoint.pt is of another configuration (epochs: 2, not 3; seed: 3, not 1)" in flat(capsys)
    assert in_process(monkeypatch, "train", config, "-o", folder, "--restart", "--epochs", "1") == 0


def flat(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


FORMATS = """
model = "digits-mlp"
dataset = "digits"
weight = "{0}"
activation = "{0}"
multiplier = "{1}"
epochs = 1
batch = 128
learning_rate = 0.01
"""


def in_process(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["hwgen", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_what_qonnx_cannot_say_becomes_a_graph(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(config.parent)
    config.write_text(FORMATS.format("mxfp4", "exact"))
    assert in_process(monkeypatch, "train", config) == 0
    shown = capsys.readouterr().out
    assert "not in QONNX: quantizer '2.act_quant' has the format mxfp4" in shown
    folder = Path("build/small")
    assert not (folder / "small.onnx").exists()
    graph = inputs.read_model(folder / "small.graph.json")
    with np.load(folder / "small.npz") as arrays:
        predicted = golden.predict(graph, arrays["x"]).argmax(1)
        assert (predicted == arrays["logits"].argmax(1)).mean() > 0.99
    module = models.load(folder)
    assert not module.training


def test_a_network_that_hardware_does_not_have(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(config.parent)
    config.write_text(FORMATS.format("float32", "exact"))
    assert in_process(monkeypatch, "train", config, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["qonnx"] == "its layers are not quantized"
    assert "weights are not quantized" in shown["graph"]
    assert not Path("build/small/small.graph.json").exists()


def test_getting_data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(fetch, "fetch", lambda name: tmp_path / name)
    assert in_process(monkeypatch, "data", "mnist") == 0
    assert in_process(monkeypatch, "data") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{name}: {tmp_path / name}" for name in ("mnist", "mnist", "fashion-mnist")]
