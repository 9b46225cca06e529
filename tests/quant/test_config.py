"""Configurations of training runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwgen.errors import HwgenError
from hwgen.quant.config import TrainConfig, make_config, read_config

GIVEN = {
    "name": "net",
    "model": "digits-mlp",
    "dataset": "digits",
    "epochs": 4,
    "batch": 32,
    "learning_rate": 0.1,
}


def test_a_file_with_defaults(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text('model = "tfc"\ndataset = "mnist"\nepochs = 3\nbatch = 10\nlearning_rate = 1e-3\n')
    config = read_config(path, seed=7, epochs=None)
    assert (config.name, config.seed, config.epochs, config.schedule) == ("small", 7, 3, "cosine")


def test_schedules() -> None:
    cosine = TrainConfig(**GIVEN)
    assert cosine.rate(0, 10) == 0.1
    assert cosine.rate(20, 10) == pytest.approx(0.05)
    assert cosine.rate(40, 10) == pytest.approx(0, abs=1e-9)
    warm = make_config("x", {**GIVEN, "warmup": 1, "schedule": "constant"})
    assert [warm.rate(step, 4) for step in (0, 3, 4, 15)] == pytest.approx([0.025, 0.1, 0.1, 0.1])


def test_differences_name_fields() -> None:
    config = TrainConfig(**GIVEN)
    assert config.differences(config.model_dump()) == []
    other = {**config.model_dump(), "batch": 64}
    del other["seed"]
    assert config.differences(other) == ["batch: 64, not 32", "seed: None, not 1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "net.toml: epochs: Input should be greater than or equal to 1"),
        ({"epohcs": 1}, "net.toml: epohcs: Extra inputs are not permitted"),
        ({"schedule": "step"}, "schedule: Input should be 'constant' or 'cosine'"),
        ({"patience": 2}, "patience needs a validation share above 0"),
        ({"warmup": 4}, "warmup of 4 epochs does not end within 4"),
        ({"name": "a/b"}, "name: String should match pattern"),
    ],
)
def test_bad_values(changes: dict[str, object], message: str) -> None:
    with pytest.raises(HwgenError, match=message):
        make_config("net.toml", {**GIVEN, **changes})


def test_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    with pytest.raises(HwgenError, match=r"cannot read .*a\.toml: No such file"):
        read_config(path)
    path.write_text("epochs = ")
    with pytest.raises(HwgenError, match=r"a\.toml is not TOML: "):
        read_config(path)
    path.write_bytes(b"\xff")
    with pytest.raises(HwgenError, match=r"a\.toml is not TOML: "):
        read_config(path)
