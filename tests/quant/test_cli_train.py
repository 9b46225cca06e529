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

from hwgen.quant import checkpoint

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
    alone = start(config, "-o", tmp_path / "two")
    _, err = alone.communicate(timeout=60)
    assert alone.returncode == 1
    assert "of another configuration (processes: 2, not 1)" in " ".join(err.split())


@pytest.mark.slow
def test_what_training_leaves(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    found = trained(config, "-o", folder, "--epochs", "8", "--seed", "3")
    assert {path.name for path in folder.iterdir()} == {
        *(f"small.{kind}" for kind in ("onnx", "npz", "weights.npz", "json")),
        *("checkpoint.pt", "best.pt", "metrics.jsonl"),
    }
    record = json.loads((folder / "small.json").read_text())
    assert record["config"]["seed"] == record["seed"] == 3
    assert record["correct"] == found["correct"]
    assert found["qonnx"] is None

    import hwgen
    from hwgen import inputs

    data = inputs.read_data(None, folder / "small.onnx")
    assert data is not None
    assert data.logits is not None
    graph = hwgen.load(folder / "small.onnx")
    assert len(data.quantized) == 3
    real = hwgen.golden.predict(graph, data.x)
    same = (real.argmax(1) == data.logits.argmax(1)).mean()
    assert same > 0.99
    assert int((data.logits.argmax(1) == data.y).sum()) == found["correct"]
