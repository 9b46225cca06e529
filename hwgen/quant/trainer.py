"""The training loop: seeded, checkpointed after every epoch, resumed bit for bit, alone or in several processes.

Everything random in an epoch follows from the seed, the epoch's number and the process' rank, so that a checkpoint
between two epochs is all that a resumed run needs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.quant import checkpoint
from hwgen.quant.checkpoint import BEST, LAST, State
from hwgen.quant.config import TrainConfig
from hwgen.quant.data import Data
from hwgen.quant.processes import Processes
from hwgen.tools.files import write_atomic

Progress = Callable[[str, float], None]

METRICS = "metrics.jsonl"
EVALUATION_BATCH = 1000
TELL_EVERY = 20
LIBRARIES = ("torch.nn", "brevitas.", "hwgen.")


@dataclass
class Run:
    """Where training stands after `epoch` epochs."""

    epoch: int = 0
    best_epoch: int = 0
    best: float = -1.0
    """Validation accuracy of the best epoch."""
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def stopped(self, config: TrainConfig) -> bool:
        """Whether training is over: all epochs done, or too many without a better one."""
        waited = config.patience is not None and self.epoch - self.best_epoch >= config.patience
        return self.epoch >= config.epochs or waited


def fit(
    model: Any,
    data: Data,
    config: TrainConfig,
    folder: Path,
    processes: Processes | None = None,
    progress: Progress | None = None,
) -> Run:
    """Train `model` in place on the training part of `data`; at the end it has the best epoch's state, in eval mode.

    After every epoch <folder>/checkpoint.pt is replaced, best.pt when the validation accuracy has grown, and
    metrics.jsonl. A checkpoint of the same configuration that is there is gone on from, with the same result as
    without the interruption.
    Raises HwgenError: a loss or a weight that is not finite (with step and layer; the checkpoint before it stays), a
    checkpoint of another configuration, a batch that does not fit the data or the processes.
    """
    group = processes or Processes()
    made_by: State = {"processes": group.count, "train_frames": len(data.x_train)}
    return _Trainer(model, data, config, folder, group, made_by, progress or (lambda message, fraction: None)).run()


def accuracy(model: Any, x: Any, y: Any) -> float:
    """The share of frames whose largest output is that of their label; `x` and `y` are tensors."""
    outputs = forward(model, x)
    return float((outputs.argmax(1) == y).sum()) / len(y)


def forward(model: Any, x: Any) -> Any:
    """The outputs of `model` in eval mode for all frames of the tensor `x`."""
    import torch

    model.eval()
    with torch.no_grad():
        return torch.cat([_value(model(part)) for part in torch.split(x, EVALUATION_BATCH)])


def _value(output: Any) -> Any:
    return getattr(output, "value", output)


def layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The layers of a module and their names: torch's, Brevitas' and hwgen's own, not what is inside them."""
    for name, part in model.named_children():
        path = f"{prefix}.{name}" if prefix else name
        holds = type(part).__name__ in ("Sequential", "ModuleList") or not type(part).__module__.startswith(LIBRARIES)
        if holds and any(True for _ in part.children()):
            yield from layers(part, path)
        else:
            yield path, part


def split(count: int, share: float, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The numbers of the frames to train on and of those to validate on, drawn by the seed."""
    held = round(count * share)
    order = np.random.default_rng([seed, count]).permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])


@dataclass
class _Trainer:
    model: Any
    data: Data
    config: TrainConfig
    folder: Path
    group: Processes
    made_by: State
    progress: Progress

    def __post_init__(self) -> None:
        import torch

        self.device = torch.device(self.config.device)
        self.model.to(self.device)
        rows, held = split(len(self.data.x_train), self.config.validation, self.config.seed)
        x, y = torch.from_numpy(self.data.x_train), torch.from_numpy(self.data.y_train)
        if len(held):
            self.x_held, self.y_held = x[held].to(self.device), y[held].to(self.device)
            x, y = x[rows], y[rows]
        self.validates = bool(len(held))
        self.x, self.y = x.to(self.device), y.to(self.device)
        self.steps = len(self.x) // self.config.batch
        if not self.steps:
            raise HwgenError(f"a batch of {self.config.batch} is more than the {len(self.x)} frames to train on")
        if self.config.batch % self.group.count:
            raise HwgenError(f"a batch of {self.config.batch} cannot be shared by {self.group.count} processes")
        self.optimizer = torch.optim.AdamW(self._groups(), lr=self.config.learning_rate)

    def _groups(self) -> list[dict[str, Any]]:
        trained = [p for p in self.model.parameters() if p.requires_grad]
        wide, narrow = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
        decays = ((wide, self.config.weight_decay), (narrow, 0.0))
        return [{"params": group, "weight_decay": decay} for group, decay in decays if group]

    def run(self) -> Run:
        run = self._resume()
        while not run.stopped(self.config):
            self._epoch(run)
            self._keep(run)
            self.group.agree(None)  # nobody goes on before the checkpoint is there
        if self.validates:
            best = checkpoint.read(self.folder / BEST)
            checkpoint.restore(self.model, best["model"], str(self.folder / BEST))
        self.model.eval()
        return run

    def _resume(self) -> Run:
        path = self.folder / LAST
        found = checkpoint.load(path, self.config, self.made_by)
        if found is None:
            return Run()
        checkpoint.restore(self.model, found["model"], str(path))
        self.optimizer.load_state_dict(found["optimizer"])
        return Run(found["epoch"], found["best_epoch"], found["best"], found["metrics"])

    def _epoch(self, run: Run) -> None:
        import torch

        start = time.perf_counter()
        number = run.epoch + 1
        words = [self.config.seed, number]
        order = torch.from_numpy(np.random.default_rng(words).permutation(len(self.x)))
        torch.manual_seed(int(np.random.SeedSequence([*words, self.group.rank]).generate_state(1)[0]))
        self.model.train()
        total = 0.0
        for step in range(self.steps):
            done = run.epoch * self.steps + step
            rows = order[step * self.config.batch : (step + 1) * self.config.batch][self.group.rank :: self.group.count]
            total += self._step(rows, done)
            if step % TELL_EVERY == 0:
                self.progress(self._told(run), done / (self.steps * self.config.epochs))
        self._check_weights(run.epoch + 1)
        run.epoch = number
        score = self.group.agree(accuracy(self.model, self.x_held, self.y_held)) if self.validates else None
        if score is None or score > run.best:
            run.best, run.best_epoch = (-1.0 if score is None else score), number
        run.metrics.append(
            {
                "epoch": number,
                "step": number * self.steps,
                "loss": total / self.steps,
                "validation": score,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "seconds": round(time.perf_counter() - start, 3),
            }
        )
        self.progress(self._told(run), number / self.config.epochs)

    def _told(self, run: Run) -> str:
        if not run.metrics:
            return f"epoch 1/{self.config.epochs}"
        last = run.metrics[-1]
        held = "" if last["validation"] is None else f", validation {100 * last['validation']:.2f} %"
        return f"epoch {last['epoch']}/{self.config.epochs}, loss {last['loss']:.4f}{held}"

    def _step(self, rows: Any, done: int) -> float:
        from torch.nn.functional import cross_entropy

        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(done, self.steps)
        self.optimizer.zero_grad()
        x, y = self.x[rows], self.y[rows]
        loss = cross_entropy(_value(self.model(x)), y)
        loss.backward()  # type: ignore[no-untyped-call]
        self.group.average(p.grad for p in self.model.parameters() if p.grad is not None)
        mean = loss.detach().clone()
        self.group.average([mean])
        if not np.isfinite(float(mean)):
            where = self._first_not_finite(x)
            raise self._stopped(
                f"the loss of step {done + 1} (epoch {done // self.steps + 1}) is {float(mean)}: {where}"
            )
        self.optimizer.step()
        if self.group.count > 1:
            # Each process has seen other frames: running means and scales that are statistics differ by a little.
            self.group.average([*self.model.parameters(), *self.model.buffers()])
        return float(mean)

    def _stopped(self, reason: str) -> HwgenError:
        last = self.folder / LAST
        kept = f"the last good checkpoint is {last}" if last.is_file() else "there was no checkpoint yet"
        rate = self.config.learning_rate
        return HwgenError(f"{reason}; {kept}. A lower learning rate than {rate:g}, or a warmup, may help")

    def _check_weights(self, epoch: int) -> None:
        import torch

        for name, tensor in self.model.named_parameters():
            if not torch.isfinite(tensor).all():
                layer, _, kind = name.rpartition(".")
                at = f"step {epoch * self.steps} (epoch {epoch})"
                raise self._stopped(f"after {at} the {kind} of layer {layer!r} is not finite")

    def _first_not_finite(self, x: Any) -> str:
        """Which layer is the first to give something that is not finite for `x`."""
        import torch

        found: list[str] = []

        def look(name: str) -> Callable[..., None]:
            def hook(part: Any, inputs: Any, output: Any) -> None:
                value = _value(output)
                if not found and isinstance(value, torch.Tensor) and not torch.isfinite(value).all():
                    found.append(f"{name!r} ({type(part).__name__})")

            return hook

        hooks = [part.register_forward_hook(look(name)) for name, part in layers(self.model)]
        try:
            with torch.no_grad():
                self.model(x)
        finally:
            for one in hooks:
                one.remove()
        if not found:
            return "all layers give finite values"
        return f"layer {found[0]} is the first to give values that are not finite"

    def _keep(self, run: Run) -> None:
        if not self.group.leads:
            return
        circumstances = {"config": self.config.model_dump(), "made_by": self.made_by}
        content = {**circumstances, "model": checkpoint.state_of(self.model)}
        if self.validates and run.best_epoch == run.epoch:
            checkpoint.save(self.folder / BEST, {**content, "epoch": run.epoch})
        where = {"epoch": run.epoch, "best_epoch": run.best_epoch, "best": run.best, "metrics": run.metrics}
        checkpoint.save(self.folder / LAST, {**content, **where, "optimizer": self.optimizer.state_dict()})
        lines = "".join(json.dumps(row) + "\n" for row in run.metrics)
        write_atomic(self.folder / METRICS, lines)
