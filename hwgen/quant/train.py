"""Quantization-aware training of small networks, seeded, and its results as files that the other commands read."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError, ToolMissingError
from hwgen.tools.files import atomic_dir

Progress = Callable[[str, float], None]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Data:
    """Real inputs (frames, *shape) as float32 and their labels, split once into a training and a held-out part."""

    x_train: npt.NDArray[np.float32]
    y_train: npt.NDArray[np.int64]
    x_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trained:
    """What a training run gave; written as <name>.json beside <name>.onnx and <name>.npz."""

    name: str
    seed: int
    epochs: int
    correct: int
    total: int
    source: str
    versions: dict[str, str]

    @property
    def accuracy(self) -> float:
        return self.correct / self.total


def load_recipe(path: Path) -> ModuleType:
    """The Python file `path`, which must define model(), data(), NAME, EPOCHS, BATCH and LEARNING_RATE."""
    if not path.is_file():
        raise HwgenError(f"{path}: there is no such recipe")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise HwgenError(f"{path}: a recipe is a Python file")
    recipe = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(recipe)
    except ImportError as error:
        raise ToolMissingError(f"{path}: {error}; training needs the extra hwgen[train]") from error
    wanted = ("model", "data", "NAME", "EPOCHS", "BATCH", "LEARNING_RATE")
    if missing := [name for name in wanted if not hasattr(recipe, name)]:
        raise HwgenError(f"{path}: a recipe defines {', '.join(wanted)}; {', '.join(missing)} is missing")
    return recipe


def train(
    recipe: ModuleType, folder: Path, seed: int = 1, epochs: int | None = None, progress: Progress | None = None
) -> Trained:
    """Train `recipe.model()` on `recipe.data()` and write <folder>/<NAME>.onnx, .npz and .json.

    The .npz holds the held-out part, `x` and `y`, and Brevitas' forward pass on it: `logits`, and `quantized_0`,
    `quantized_1`, ..., what its activation quantizers give. One thread: small
    networks train several times faster than with two, and the same seed gives the same weights.
    """
    import torch

    _hush()
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    data: Data = recipe.data()
    model = recipe.model()
    count = recipe.EPOCHS if epochs is None else epochs
    if count < 1:
        raise HwgenError(f"training takes at least one epoch, not {count}")
    _fit(model, data, count, recipe.BATCH, recipe.LEARNING_RATE, progress)
    model.eval()
    with torch.no_grad(), _recorded(model) as quantized:
        logits = np.asarray(model(torch.from_numpy(data.x_test)), dtype=np.float32)
    correct = int((logits.argmax(axis=1) == data.y_test).sum())
    versions = {name: _version(name) for name in ("torch", "brevitas")}
    result = Trained(recipe.NAME, seed, count, correct, len(data.y_test), "Brevitas forward pass", versions)
    arrays = {f"quantized_{k}": array for k, array in enumerate(quantized)}
    _write(folder, result, model, data, {"logits": logits, **arrays})
    return result


def _hush() -> None:
    """Leave out what the libraries say about optional packages that nothing here needs."""
    warnings.filterwarnings("ignore", message="fast_hadamard_transform package not found")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _fit(model: Any, data: Data, epochs: int, batch: int, rate: float, progress: Progress | None) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.split(torch.randperm(len(x)), batch):
            optimizer.zero_grad()
            loss = cross_entropy(model(x[rows]), y[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        schedule.step()
        mean = total / len(x)
        if not np.isfinite(mean):
            raise HwgenError(f"the loss of epoch {epoch + 1} is {mean}; a lower learning rate than {rate} may help")
        if progress:
            progress(f"epoch {epoch + 1}/{epochs}, loss {mean:.4f}", (epoch + 1) / epochs)


@contextlib.contextmanager
def _recorded(model: Any) -> Iterator[list[Array]]:
    """What every activation quantizer gives while the block runs, in order: real values (frames, *shape)."""
    from brevitas.proxy.runtime_quant import ActQuantProxyFromInjectorBase

    seen: list[Array] = []

    def record(module: Any, inputs: Any, output: Any) -> None:
        if module.is_quant_enabled:
            seen.append(np.asarray(getattr(output, "value", output), dtype=np.float32))

    hooks = [m.register_forward_hook(record) for m in model.modules() if isinstance(m, ActQuantProxyFromInjectorBase)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _write(folder: Path, result: Trained, model: Any, data: Data, float_run: Mapping[str, Array]) -> None:
    import onnx
    import torch
    from brevitas.export import export_qonnx

    with atomic_dir(folder) as out:
        path = out / f"{result.name}.onnx"
        # The exporter announces its steps on stdout, which belongs to our own output.
        with contextlib.redirect_stdout(io.StringIO()):
            export_qonnx(model, torch.from_numpy(data.x_test[:1]), str(path))
        network = onnx.load(path)
        path.with_suffix(".onnx.data").unlink(missing_ok=True)
        onnx.save(network, path)
        arrays: dict[str, Any] = {"x": data.x_test, "y": data.y_test, **float_run}
        np.savez_compressed(out / f"{result.name}.npz", **arrays)
        record = {**asdict(result), "accuracy": result.accuracy}
        (out / f"{result.name}.json").write_text(json.dumps(record, indent=2) + "\n")
