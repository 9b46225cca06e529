"""Configurations of training runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hwgen.errors import HwgenError, ToolMissingError
from hwgen.quant import data
from hwgen.quant.config import TrainConfig, make_config, read_config
from hwgen.quant.train import load_recipe

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


def test_recipes_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("NAME = 1")
    (tmp_path / "lacks.py").write_text("import no_such_package")
    (tmp_path / "half.py").write_text("NAME = 'half'\nEPOCHS = 1\nBATCH = 2\n")
    for name, error, message in (
        ("none.py", HwgenError, r"none.py: there is no such file"),
        ("a.txt", HwgenError, r"a.txt is not a Python file"),
        ("lacks.py", ToolMissingError, r"lacks.py: No module named 'no_such_package'; training needs the extra"),
        ("half.py", HwgenError, r"half.py: a recipe defines model, .*; model, data, LEARNING_RATE is missing"),
    ):
        with pytest.raises(error, match=message):
            load_recipe(tmp_path / name)


def test_digits_need_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ToolMissingError, match=r"the digits data set: .*; it needs the extra hwgen\[train\]"):
        data.digits()
