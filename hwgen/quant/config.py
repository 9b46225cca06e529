"""What a training run is: its model, data, number formats and schedule, from a TOML file."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hwgen.errors import HwgenError


class TrainConfig(BaseModel):
    """One training run. Two runs of equal configurations (and equal versions of torch) give equal weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    """Of the trained network's files."""
    model: str
    """A network of hwgen.models; of a recipe, its file."""
    dataset: str
    """digits, mnist or fashion-mnist."""
    weight: str | None = None
    """Format of the weights; None is the model's own."""
    activation: str | None = None
    """Format of the activations; None is the model's own."""
    multiplier: str | None = None
    """exact, lmul, mitchell...; None is the model's own."""
    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    """Frames a step, over all processes."""
    learning_rate: float = Field(gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: int = Field(default=0, ge=0)
    """Epochs in which the learning rate grows linearly from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled, on matrices and kernels only."""
    validation: float = Field(default=0.0, ge=0, lt=1)
    """The share of the training part that is held back to choose the best epoch; with 0 the last epoch is taken."""
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better validation accuracy before training stops; None: never."""
    seed: int = Field(default=1, ge=0)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1)
    """Threads of each process. One is the fastest for small networks."""

    @model_validator(mode="after")
    def _agrees(self) -> TrainConfig:
        if self.patience is not None and not self.validation:
            raise ValueError("patience needs a validation share above 0")
        if self.warmup >= self.epochs and self.warmup:
            raise ValueError(f"warmup of {self.warmup} epochs does not end within {self.epochs}")
        return self

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step `step` of an epoch's `steps`, counted from 0 over the whole run."""
        warm, total = self.warmup * steps, self.epochs * steps
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))

    def differences(self, other: dict[str, Any]) -> list[str]:
        """The fields in which `other`, a dumped configuration, differs: "field: its value, not ours"."""
        mine = self.model_dump()
        names = sorted({*mine, *other})
        return [f"{n}: {other.get(n)!r}, not {mine.get(n)!r}" for n in names if mine.get(n) != other.get(n)]


def read_config(path: Path, **changes: Any) -> TrainConfig:
    """The configuration in a TOML file; `changes` that are not None replace its values.

    The name is the file's own unless the file has one. Raises HwgenError naming the file, the field and the rule.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HwgenError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HwgenError(f"{path} is not TOML: {error}") from error
    return make_config(str(path), {"name": path.stem, **values, **_given(changes)})


def make_config(source: str, values: dict[str, Any]) -> TrainConfig:
    """A configuration from plain values; an error names `source`."""
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors()]
        raise HwgenError(f"{source}: {'; '.join(wrong)}") from error


def _given(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if value is not None}
