"""Quantization-aware training of small networks, seeded, and its results as files that the other commands read."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError, ToolMissingError
from hwgen.quant import checkpoint, trainer, weights
from hwgen.quant.config import TrainConfig, make_config
from hwgen.quant.data import Data
from hwgen.quant.processes import joined
from hwgen.quant.qonnx import write_qonnx
from hwgen.quant.trainer import Progress
from hwgen.tools.files import digest, write_atomic

Array = npt.NDArray[Any]

RECIPE = ("model", "data", "NAME", "EPOCHS", "BATCH", "LEARNING_RATE")
MAX_RECORDED = 1 << 26
"""Elements of recorded activations that are worth keeping beside a network; beyond, they are left out."""


@dataclass(frozen=True)
class Job:
    """What is trained: `model()` makes the module, `data()` its real frames."""

    config: TrainConfig
    model: Callable[[], Any]
    data: Callable[[], Data]

    def changed(self, **changes: Any) -> Job:
        """The same with those fields of the configuration replaced that are not None."""
        given = {name: value for name, value in changes.items() if value is not None}
        return replace(self, config=make_config(self.config.name, {**self.config.model_dump(), **given}))


@dataclass(frozen=True)
class Trained:
    """What a training run gave; written as <name>.json beside <name>.onnx and <name>.npz."""

    name: str
    seed: int
    epochs: int
    correct: int
    total: int
    best_epoch: int
    qonnx: str | None
    """Why there is no QONNX file; None when there is one."""
    source: str
    versions: dict[str, str]

    @property
    def accuracy(self) -> float:
        return self.correct / self.total


def load_recipe(path: Path) -> Job:
    """The Python file `path`, which must define model(), data(), NAME, EPOCHS, BATCH and LEARNING_RATE."""
    recipe = load_python(path)
    if missing := [name for name in RECIPE if not hasattr(recipe, name)]:
        raise HwgenError(f"{path}: a recipe defines {', '.join(RECIPE)}; {', '.join(missing)} is missing")
    values = {
        "name": recipe.NAME,
        "model": f"{path.name} {digest(path)[:16]}",
        "dataset": "the recipe's own",
        "epochs": recipe.EPOCHS,
        "batch": recipe.BATCH,
        "learning_rate": recipe.LEARNING_RATE,
    }
    return Job(make_config(str(path), values), recipe.model, recipe.data)


def load_python(path: Path) -> ModuleType:
    """The Python file `path`, run as a module; raises HwgenError if there is none, ToolMissingError for its imports."""
    if not path.is_file():
        raise HwgenError(f"{path}: there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise HwgenError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise ToolMissingError(f"{path}: {error}; training needs the extra hwgen[train]") from error
    return module


def train(job: Job, folder: Path, progress: Progress | None = None, restart: bool = False) -> Trained | None:
    """Train `job.model()` on `job.data()` and write <folder>/<name>.onnx, .npz, .weights.npz and .json.

    A run that was interrupted in `folder` is gone on from, unless `restart`. The .npz holds the held-out part, `x`
    and `y`, and Brevitas' forward pass on it: `logits`, and `quantized_0`, `quantized_1`, ..., what its activation
    quantizers give, unless they are too many. The .weights.npz is what `hwgen.models.load` reads. The .onnx is left
    out where QONNX cannot say what the network computes; the .json tells why.
    In several processes (torchrun) the first one writes and returns the result; the others return None.
    Raises HwgenError as `hwgen.quant.trainer.fit` does.
    """
    import torch

    hush()
    config = job.config
    torch.set_num_threads(config.threads)
    with joined(config.device) as group:
        data = job.data()
        torch.manual_seed(config.seed)
        model = job.model()
        if restart and group.leads:
            for name in (checkpoint.LAST, checkpoint.BEST, trainer.METRICS):
                (folder / name).unlink(missing_ok=True)
        group.agree(None)
        run = trainer.fit(model, data, config, folder, group, progress if group.leads else None)
        return _finish(model.cpu(), data, config, folder, run) if group.leads else None


def _finish(model: Any, data: Data, config: TrainConfig, folder: Path, run: trainer.Run) -> Trained:
    import torch

    x = torch.from_numpy(data.x_test)
    with recorded(model) as quantized:
        logits = np.asarray(trainer.forward(model, x), dtype=np.float32)
    correct = int((logits.argmax(axis=1) == data.y_test).sum())
    arrays: dict[str, Any] = {"x": data.x_test, "y": data.y_test, "logits": logits}
    arrays |= {f"quantized_{k}": array for k, array in enumerate(quantized.arrays())}
    place = folder / config.name
    write_arrays(place.with_name(f"{config.name}.npz"), arrays)
    weights.save(model, place.with_name(f"{config.name}.weights.npz"))
    refused = write_qonnx(place.with_name(f"{config.name}.onnx"), model, x[:1])
    versions = {name: _version(name) for name in ("torch", "brevitas")}
    result = Trained(
        config.name,
        config.seed,
        run.epoch,
        correct,
        len(data.y_test),
        run.best_epoch,
        refused,
        "Brevitas forward pass",
        versions,
    )
    record = {**asdict(result), "accuracy": result.accuracy, "config": config.model_dump()}
    write_atomic(place.with_name(f"{config.name}.json"), json.dumps(record, indent=2) + "\n")
    return result


def hush() -> None:
    """Leave out what the libraries say about optional packages that nothing here needs."""
    warnings.filterwarnings("ignore", message="fast_hadamard_transform package not found")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


class _Recorded:
    """What activation quantizers gave, batch by batch; dropped once it is more than MAX_RECORDED elements.

    A quantizer that a network calls several times, for two branches say, counts as several.
    """

    def __init__(self) -> None:
        self.seen: dict[tuple[int, int], list[Array]] = {}
        self.calls = Counter[int]()
        self.size = 0

    def begin(self, *_: Any) -> None:
        """A batch begins."""
        self.calls.clear()

    def add(self, quantizer: int, array: Array) -> None:
        call = quantizer, self.calls[quantizer]
        self.calls[quantizer] += 1
        self.size += array.size
        if self.size > MAX_RECORDED:
            self.seen.clear()
        else:
            self.seen.setdefault(call, []).append(array)

    def arrays(self) -> list[Array]:
        return [] if self.size > MAX_RECORDED else [np.concatenate(parts) for parts in self.seen.values()]


@contextlib.contextmanager
def recorded(model: Any) -> Iterator[_Recorded]:
    """What every activation quantizer gives while the block runs, in order: real values (frames, *shape).

    Of a mean that Brevitas truncates it is the truncated sum, which is what hardware computes.
    """
    from brevitas.nn import TruncAvgPool2d
    from brevitas.proxy.runtime_quant import ActQuantProxyFromInjectorBase

    kept = _Recorded()

    def record(module: Any, inputs: Any, output: Any) -> None:
        if module.is_quant_enabled:
            kept.add(id(module), np.asarray(getattr(output, "value", output), dtype=np.float32))

    def record_sum(module: Any, inputs: Any, output: Any) -> None:
        if module.is_trunc_quant_enabled:
            value = np.asarray(getattr(output, "value", output), dtype=np.float32)
            kept.add(id(module), value * np.float32(np.prod(np.broadcast_to(module.kernel_size, 2))))

    hooks = [m.register_forward_hook(record) for m in model.modules() if isinstance(m, ActQuantProxyFromInjectorBase)]
    hooks += [m.register_forward_hook(record_sum) for m in model.modules() if isinstance(m, TruncAvgPool2d)]
    hooks.append(model.register_forward_pre_hook(kept.begin))
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(path, buffer.getvalue())
