"""The training loop on scikit-learn's digits: same seed, same weights, also when it was interrupted."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from torch import nn

from hwgen.errors import HwgenError
from hwgen.quant import checkpoint, trainer
from hwgen.quant.config import TrainConfig, make_config
from hwgen.quant.data import Data, digits
from hwgen.quant.processes import Processes, joined

CONFIG: dict[str, Any] = {
    "name": "net",
    "model": "here",
    "dataset": "digits",
    "epochs": 4,
    "batch": 64,
    "learning_rate": 0.01,
    "validation": 0.2,
}


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def data() -> Data:
    whole = digits().shaped(64)
    return Data(whole.x_train[:600], whole.y_train[:600], whole.x_test, whole.y_test)


def network() -> nn.Module:
    """Brevitas collects the scales of its activations over the first 300 steps: plain counters, to be kept too."""
    torch.manual_seed(5)
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=4),
        nn.Dropout(0.1),
        qnn.QuantLinear(64, 16, bias=False, weight_bit_width=4),
        nn.BatchNorm1d(16),
        qnn.QuantReLU(bit_width=4),
        nn.Sequential(qnn.QuantLinear(16, 10, bias=True, weight_bit_width=4)),
    )


def fit(data: Data, folder: Path, model: nn.Module | None = None, stop_after: int = 99, **changes: Any) -> nn.Module:
    """The trained network; stopped as by a kill, in the middle of the epoch after `stop_after`."""
    model = model or network()

    def tell(message: str, fraction: float) -> None:
        lines = folder / trainer.METRICS
        if lines.is_file() and len(lines.read_text().splitlines()) >= stop_after:
            raise KilledError

    config = make_config("test", {**CONFIG, **changes})
    trainer.fit(model, data, config, folder, None, tell)
    return model


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in checkpoint.state_of(model)["tensors"].items()}


def equal(first: nn.Module, second: nn.Module) -> bool:
    one, two = weights(first), weights(second)
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def test_the_network_learns(data: Data, tmp_path: Path) -> None:
    model = fit(data, tmp_path, epochs=12)
    assert trainer.accuracy(model, torch.from_numpy(data.x_test), torch.from_numpy(data.y_test)) > 0.85
    assert not model.training
    rows = [json.loads(line) for line in (tmp_path / trainer.METRICS).read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert rows[-1]["loss"] < rows[0]["loss"]
    best = max(rows, key=lambda row: (row["validation"], -row["epoch"]))
    assert checkpoint.read(tmp_path / checkpoint.BEST)["epoch"] == best["epoch"]


def test_a_resumed_run_gives_the_same_weights(data: Data, tmp_path: Path) -> None:
    whole = fit(data, tmp_path / "whole")
    for epoch in (1, 3):
        with pytest.raises(KilledError):
            fit(data, tmp_path / "cut", stop_after=epoch)
    assert equal(fit(data, tmp_path / "cut"), whole)
    assert not equal(fit(data, tmp_path / "other", seed=2), whole)


def test_a_finished_run_is_not_trained_again(data: Data, tmp_path: Path) -> None:
    done = fit(data, tmp_path)
    before = (tmp_path / checkpoint.LAST).read_bytes()
    assert equal(fit(data, tmp_path), done)
    assert (tmp_path / checkpoint.LAST).read_bytes() == before


def test_training_stops_early(data: Data, tmp_path: Path) -> None:
    fit(data, tmp_path, learning_rate=1e-9, patience=2, epochs=9)
    last = checkpoint.read(tmp_path / checkpoint.LAST)
    assert last["epoch"] - last["best_epoch"] == 2
    assert last["epoch"] < 9


def test_without_validation_the_last_epoch_is_taken(data: Data, tmp_path: Path) -> None:
    model = fit(data, tmp_path, validation=0.0, epochs=2)
    kept = checkpoint.read(tmp_path / checkpoint.LAST)["model"]["tensors"]
    assert all(np.array_equal(tensor, kept[name].numpy()) for name, tensor in weights(model).items())
    assert not (tmp_path / checkpoint.BEST).exists()


def test_a_checkpoint_of_another_configuration_is_refused(data: Data, tmp_path: Path) -> None:
    fit(data, tmp_path, epochs=1)
    with pytest.raises(HwgenError, match=r"of another configuration \(batch: 64, not 32; epochs: 1, not 4\).*restart"):
        fit(data, tmp_path, batch=32)
    fewer = Data(data.x_train[:500], data.y_train[:500], data.x_test, data.y_test)
    with pytest.raises(HwgenError, match="train_frames: 600, not 500"):
        fit(fewer, tmp_path, epochs=1)


def test_a_checkpoint_of_another_network_is_refused(data: Data, tmp_path: Path) -> None:
    fit(data, tmp_path, epochs=1)
    with pytest.raises(HwgenError, match=r"checkpoint.pt is of another network: only one of them has '0"):
        fit(data, tmp_path, nn.Sequential(nn.Linear(64, 10)), epochs=1)


def test_broken_checkpoints_are_refused(data: Data, tmp_path: Path) -> None:
    fit(data, tmp_path, epochs=1)
    path = tmp_path / checkpoint.LAST
    raw = path.read_bytes()
    for damaged in (raw[: len(raw) // 2], b"", b"text"):
        path.write_bytes(damaged)
        with pytest.raises(HwgenError, match=r"checkpoint.pt is not a whole checkpoint: .*--restart begins anew"):
            fit(data, tmp_path, epochs=1)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        (largest, *_) = sorted(archive.infolist(), key=lambda entry: -entry.file_size)
        start = raw.index(archive.read(largest))
    path.write_bytes(raw[:start] + bytes([raw[start] ^ 1]) + raw[start + 1 :])
    with pytest.raises(HwgenError, match=r"checkpoint.pt is not a whole checkpoint: \S+ is damaged; --restart begins"):
        fit(data, tmp_path, epochs=1)
    torch.save([1], path)
    with pytest.raises(HwgenError, match="holds a list, not a checkpoint"):
        fit(data, tmp_path, epochs=1)
    with pytest.raises(HwgenError, match=r"cannot read .*: Is a directory"):
        checkpoint.read(tmp_path)


class Breaks(nn.Module):
    """Gives NaN from the `calls`-th training step on."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left -= self.training
        return x / 0 * 0 if self.left <= 0 else x


def test_a_loss_of_nan_names_step_and_layer_and_keeps_the_checkpoint(data: Data, tmp_path: Path) -> None:
    steps = 480 // 64
    model = nn.Sequential(nn.Linear(64, 10), nn.Sequential(Breaks(steps + 3)))
    with pytest.raises(
        HwgenError,
        match=rf"the loss of step {steps + 3} \(epoch 2\) is nan: layer '1.0' \(Breaks\) is the first .*"
        r"the last good checkpoint is .*checkpoint.pt\. A lower learning rate than 0.01",
    ):
        fit(data, tmp_path, model)
    kept = checkpoint.read(tmp_path / checkpoint.LAST)
    assert kept["epoch"] == 1
    assert all(torch.isfinite(tensor).all() for tensor in kept["model"]["tensors"].values())


def test_a_weight_of_nan_is_not_kept(data: Data, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(64, 10))
    last_step = 480 // 64
    calls = [0]

    def spoil(grad: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        return grad * (float("nan") if calls[0] == last_step else 1)

    model[0].weight.register_hook(spoil)
    with pytest.raises(HwgenError, match=r"after step 7 \(epoch 1\) the weight of layer '0' is not finite; there was"):
        fit(data, tmp_path, model)
    assert not (tmp_path / checkpoint.LAST).exists()


def test_a_loss_of_nan_from_finite_outputs(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", lambda x, y: x.sum() * float("inf"))
    with pytest.raises(HwgenError, match=r"the loss of step 1 \(epoch 1\) is -?inf: all layers give finite values"):
        fit(data, tmp_path, nn.Sequential(nn.Linear(64, 10)))


def test_batches_that_do_not_fit(data: Data, tmp_path: Path) -> None:
    with pytest.raises(HwgenError, match="a batch of 481 is more than the 480 frames to train on"):
        fit(data, tmp_path, batch=481)
    config = TrainConfig(**CONFIG)
    with pytest.raises(HwgenError, match="a batch of 64 cannot be shared by 3 processes"):
        trainer.fit(network(), data, config, tmp_path, Processes(3, 0))


def test_one_process_needs_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as group:
        assert group == Processes()
        tensor = torch.ones(2)
        group.average([tensor])
        assert tensor.tolist() == [1, 1]
        assert group.agree(3) == 3


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(HwgenError, match="device = 'cuda': this PyTorch finds no GPU"), joined("cuda"):
        pass


def test_layers_are_named_as_a_reader_knows_them() -> None:
    assert [name for name, _ in trainer.layers(network())] == ["0", "1", "2", "3", "4", "5.0"]
