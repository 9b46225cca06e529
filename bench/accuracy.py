"""What each number format costs in accuracy: trains networks on the real data sets, three seeds each, and writes
docs/results/accuracy.json, .md and plots.

    python bench/accuracy.py [--datasets fashion-mnist,mnist] [--seeds 3] [--jobs 2] [--only e4m3]

Float and DFP16, between which a tenth of a point is looked for, have five seeds on Fashion-MNIST.

Each run is kept in build/accuracy, so that an interrupted comparison goes on where it stopped. For every network that
hardware can carry, the golden model of the frozen network predicts the whole test set too.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from hwgen.tools.files import digest, write_atomic

ROOT = Path(__file__).parents[1]
KEPT, RESULTS = ROOT / "build" / "accuracy", ROOT / "docs" / "results"
EPOCHS = {"tfc": 6, "fmnist-cnn": 4}
TUNING_RATE = 0.001
CALIBRATION = 512
FLOAT = "float32"
SEEDS = {FLOAT: 5, "dfp16": 5}
"""Of the perceptron in these formats on Fashion-MNIST; the others have as many as are asked for."""


@dataclass(frozen=True)
class Row:
    """One line of the table: a network in two formats, and how it got there."""

    group: str
    weight: str
    activation: str
    multiplier: str = "exact"
    method: str = "QAT"
    model: str = "tfc"


def same(group: str, *formats: str, **more: str) -> list[Row]:
    return [Row(group, fmt, fmt, **more) for fmt in formats]


def after(group: str, *formats: str, method: str = "round") -> list[Row]:
    return [Row(group, fmt, fmt, method=f"PTQ {method}") for fmt in formats]


CNN = ("int4", "e3m2", "mxfp4", "mxint8", "qfx6", "dfp16")
ROWS = [
    *same("float", FLOAT, method="float"),
    *same("integers", "int8", "int4", "int3"),
    *same("minifloats", "e4m3", "e5m2", "e3m2", "e2m3", "e2m1"),
    *same("MX", "mxfp8e4m3", "mxfp8e5m2", "mxfp6e3m2", "mxfp6e2m3", "mxfp4", "mxint8"),
    *same("fixed point", "qfx8", "qfx6", "qfx4"),
    *same("fixed point", "qfx8", "qfx6", "qfx4", method="tuned"),
    *after("fixed point", "qfx8", "qfx6", "qfx4"),
    Row("K-hot", "khot1", "qfx6"),
    Row("K-hot", "khot2", "qfx6"),
    *same("dynamic fixed point", "dfp16"),
    *same("dynamic fixed point", "dfp16", method="tuned"),
    *after("dynamic fixed point", "dfp16"),
    *(Row("L-Mul", f, f, m) for f in ("e4m3", "e5m2", "e3m2") for m in ("lmul", "mitchell")),
    *after("after training", "int8", "int4", "e4m3", "e3m2"),
    *after("after training", "int4", "e3m2", method="gptq"),
    *same("convolutions", FLOAT, method="float", model="fmnist-cnn"),
    *(Row("convolutions", f, f, model="fmnist-cnn") for f in CNN),
    Row("convolutions", "khot2", "qfx6", model="fmnist-cnn"),
    Row("convolutions", "e4m3", "e4m3", "lmul", model="fmnist-cnn"),
]


def count(row: Row, dataset: str, seeds: int) -> int:
    """How many seeds a row gets on a data set where `seeds` are asked for."""
    if row.model == "tfc":
        return max(seeds, SEEDS.get(row.weight, 0)) if dataset == "fashion-mnist" else seeds
    return seeds if dataset == "fashion-mnist" else 0


def config(row: Row, dataset: str, seed: int) -> Any:
    from hwgen.quant.config import TrainConfig

    quantized = row.method == "QAT"
    return TrainConfig(
        name=f"{row.model}-{row.weight if quantized else FLOAT}",
        model=row.model,
        dataset=dataset,
        weight=row.weight if quantized else FLOAT,
        activation=row.activation if quantized else FLOAT,
        multiplier=row.multiplier,
        epochs=EPOCHS[row.model],
        batch=256,
        learning_rate=0.005,
        seed=seed,
    )


def kept(row: Row, dataset: str, seed: int) -> Path:
    """Where the figures of a run are kept."""
    return KEPT / f"{digest(asdict(row), dataset, seed, EPOCHS)[:16]}.json"


def result(row: Row, dataset: str, seed: int) -> dict[str, Any]:
    """Train, or take the float network of this seed and quantize it; then count what is right."""
    place = kept(row, dataset, seed)
    if place.is_file():
        known = dict(json.loads(place.read_text()))
        if not known.get("other_predictions") or "codes" in known:
            return known
    import torch

    from hwgen import models
    from hwgen.quant import trainer

    torch.set_num_threads(1)
    job = models.job(config(row, dataset, seed))
    data = job.data()
    folder = KEPT / digest(job.config.model_dump_json())[:16]
    torch.manual_seed(seed)
    model = job.model()
    trainer.fit(model, data, job.config, folder)
    model.eval()
    calibration = torch.from_numpy(data.x_train[:CALIBRATION])
    if row.method == "tuned":
        from hwgen.quant import quantize

        # The float network goes on training in the format, at a fifth of the learning rate.
        model = quantize(model, row.weight, row.activation)
        tuned = job.config.model_copy(update={"learning_rate": TUNING_RATE})
        trainer.fit(model, data, tuned, KEPT / f"{folder.name}-{row.weight}")
        model.eval()
    if row.method.startswith("PTQ"):
        from hwgen.quant.ptq import ptq

        model = ptq(model, calibration, row.weight, row.activation, row.method.split()[1])  # type: ignore[arg-type]
    logits = np.asarray(trainer.forward(model, torch.from_numpy(data.x_test)))
    found = {
        **asdict(row),
        "dataset": dataset,
        "seed": seed,
        "accuracy": float((logits.argmax(axis=1) == data.y_test).mean()),
        "frames": len(data.y_test),
        **golden_figures(row, model, calibration.numpy(), data.x_test, data.y_test, logits),
    }
    write_atomic(place, json.dumps(found, indent=1) + "\n")
    return found


def golden_figures(row: Row, model: Any, example: Any, x: Any, y: Any, logits: Any) -> dict[str, Any]:
    """What the golden model of the frozen network predicts; or why the network cannot be frozen."""
    from accuracy_codes import differing

    from hwgen import golden
    from hwgen.compiler import from_brevitas
    from hwgen.errors import HwgenError

    if row.method == "float":
        return {"golden": None, "refused": "not quantized"}
    try:
        frozen = from_brevitas(model, example)
        predicted = np.concatenate([golden.predict(frozen, part).reshape(len(part), -1) for part in np.split(x, 10)])
    except HwgenError as error:
        return {"golden": None, "refused": str(error)}
    classes = predicted.argmax(axis=1)
    other = np.flatnonzero(classes != logits.argmax(axis=1))
    codes = {"codes": differing(model, example, x, other)} if len(other) else {}
    return {"golden": float((classes == y).mean()), "other_predictions": len(other), **codes}


def _run(pool: ProcessPoolExecutor, wave: list[tuple[Row, str, int]], found: list[dict[str, Any]]) -> int:
    """Run a wave, add its figures to `found`, and tell how many failed."""
    waiting = {pool.submit(result, *one): one for one in wave}
    failed = 0
    for done, future in enumerate(as_completed(waiting), 1):
        row, dataset, seed = waiting[future]
        label = f"{done}/{len(waiting)} {row.model} {row.weight} {row.multiplier} {row.method} {dataset} seed {seed}"
        try:
            one = future.result()
        except Exception as error:  # One run must not end the others: it is counted, and shown by its own words.
            failed += 1
            print(f"{label}: failed: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        found.append(one)
        print(f"{label}: {100 * one['accuracy']:.2f} %", file=sys.stderr, flush=True)
    return failed


def main(
    datasets: Annotated[str, typer.Option(help="Names, with commas.")] = "fashion-mnist,mnist",
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Processes, one core each.")] = os.cpu_count() or 1,
    only: Annotated[str | None, typer.Option(help="Rows whose weights have this format.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Write what is kept; train nothing.")] = False,
) -> None:
    """Train what is missing, one core a run, and write the results."""
    from accuracy_report import write

    # All rows of one seed first, perceptrons ahead of the slower networks: a comparison that is stopped early is
    # complete for the seeds that it has.
    most = max(seeds, *SEEDS.values())
    todo = [
        (row, dataset, seed)
        for seed in range(1, most + 1)
        for dataset in datasets.split(",")
        for row in ROWS
        if only in (None, row.weight) and seed <= count(row, dataset, seeds)
    ]
    todo.sort(key=lambda one: one[0].model != "tfc")
    KEPT.mkdir(parents=True, exist_ok=True)
    if report:
        todo = [one for one in todo if kept(*one).is_file()]
    found: list[dict[str, Any]] = []
    failed = 0
    with ProcessPoolExecutor(jobs) as pool:
        for model in dict.fromkeys(row.model for row, _, _ in todo):
            # Runs after training need the float run of their seed and data set, which otherwise both would train.
            for floats in (True, False):
                wave = [one for one in todo if one[0].model == model and (one[0].method == "float") == floats]
                failed += _run(pool, wave, found)
    write(found, ROWS, RESULTS, f"python bench/accuracy.py --datasets {datasets} --seeds {seeds}")
    if failed:
        raise SystemExit(f"{failed} runs failed")


if __name__ == "__main__":
    typer.run(main)
