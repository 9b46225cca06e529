"""What training in number formats costs: a training step with quantizers against the same step in plain float32.

    python bench/training.py [--json]

Two networks: a perceptron 784-64-64-10 with batches of 128, and a small CNN (two 3x3 convolutions of 16 and 32
channels with pooling, and a linear layer) on 28x28 images with batches of 32; Adam, one thread. The inputs are random,
since only time counts. A figure is the best of several rounds in which all networks take turns, in processor time of a
step, so that a noisy machine slows all of them alike; only the ratios mean something. The goals are 3 for all formats
and 10 for those that multiply as L-Mul does. Integers and trained points are measured after their statistics are
collected, and integers once more as Brevitas' own code computes the same numbers, for which there is no goal. Other
work on the machine slows the formats more than float32, whose numbers stay in the cache: run it on a quiet one.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import torch
from brevitas.core.quant import ClampedBinaryQuant, RescalingIntQuant
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hwgen.quant import GradientQuant, quantize

ROUNDS = 12
STEPS = 3
WARM_UP = 34
"""More steps than activations, and the points of weights here, are watched for."""
GOAL, APPROXIMATE_GOAL = 3.0, 10.0

Row = tuple[str, str, str, dict[str, Any]]
WATCHED = {"collect_steps": 20}
COLLECTED = {"collect_stats_steps": 20}
OWN_CODE = "Brevitas' own code"
PLAIN, SIGNS = {"tensor_quant": RescalingIntQuant}, {"tensor_quant": ClampedBinaryQuant}
ROWS: tuple[Row, ...] = (
    ("E4M3", "e4m3", "e4m3", {}),
    ("E3M2, per channel, learned", "e3m2", "e3m2", {"weight_options": {"per_channel": True, "scaling": "learned"}}),
    ("E2M1", "e2m1", "e2m1", {}),
    ("QFX-8", "qfx8", "qfx8", {"weight_options": WATCHED}),
    ("QFX-6, 2-hot weights", "khot2", "qfx6", {}),
    ("DFP16", "dfp16", "dfp16", {}),
    ("DFP16, gradients too", "dfp16", "dfp16", {"gradient": "dfp16"}),
    ("MXFP8 E4M3", "mxfp8e4m3", "mxfp8e4m3", {}),
    ("MXFP6 E2M3", "mxfp6e2m3", "mxfp6e2m3", {}),
    ("MXFP4", "mxfp4", "mxfp4", {}),
    ("MXINT8", "mxint8", "mxint8", {}),
    ("NVFP4", "nvfp4", "nvfp4", {}),
    ("NVFP4, gradients too, Hadamard", "nvfp4", "nvfp4", {"gradient": GradientQuant("nvfp4", hadamard=True)}),
    ("NVINT4", "nvint4", "nvint4", {}),
    ("INT8", "int8", "int8", {"activation_options": COLLECTED}),
    ("bipolar", "bipolar", "bipolar", {}),
    (f"INT8, {OWN_CODE}", "int8", "int8", {"weight_options": PLAIN, "activation_options": {**COLLECTED, **PLAIN}}),
    (f"bipolar, {OWN_CODE}", "bipolar", "bipolar", {"weight_options": SIGNS, "activation_options": SIGNS}),
    ("E4M3, L-Mul", "e4m3", "e4m3", {"multiplier": "lmul"}),
    ("E5M2, L-Mul", "e5m2", "e5m2", {"multiplier": "lmul"}),
    ("E3M2, L-Mul", "e3m2", "e3m2", {"multiplier": "lmul"}),
    ("E4M3, Mitchell", "e4m3", "e4m3", {"multiplier": "mitchell"}),
)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def convolutions() -> nn.Module:
    first = (nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    second = (nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(32 * 49, 10))


class Trained:
    """A network with all that a training step takes."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.model, self.x = model.train(), x
        self.y = torch.arange(len(x)) % 10
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        self.best = float("inf")

    def run(self, steps: int) -> None:
        """Train, and keep the time of the fastest step."""
        for _ in range(steps):
            start = time.process_time()
            self.optimizer.zero_grad()
            cross_entropy(self.model(self.x), self.y).backward()
            self.optimizer.step()
            self.best = min(self.best, time.process_time() - start)


def ratios(make: Any, x: Tensor, rounds: int = ROUNDS) -> dict[str, float]:
    """The time of a step in each format over that in float32."""
    torch.manual_seed(0)
    plain = Trained(make(), x)
    rows = {title: Trained(quantize(make(), w, a, **options), x) for title, w, a, options in ROWS}
    for network in (plain, *rows.values()):
        network.run(WARM_UP)
        network.best = float("inf")
    for _ in range(rounds):
        for network in (plain, *rows.values()):
            network.run(STEPS)
    return {title: network.best / plain.best for title, network in rows.items()}


def main() -> None:
    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(1)
    tables = {
        "perceptron": ratios(perceptron, torch.rand(128, 784)),
        "CNN": ratios(convolutions, torch.rand(32, 1, 28, 28)),
    }
    if "--json" in sys.argv:
        print(json.dumps(tables, indent=2))
        return
    print(f"{'a training step, times float32':34}" + "".join(f"{name:>12}" for name in tables) + "  goal")
    for title, _, _, options in ROWS:
        goal = APPROXIMATE_GOAL if "multiplier" in options else GOAL
        figures = [table[title] for table in tables.values()]
        state = f"{goal:g}: {'met' if max(figures) < goal else 'MISSED'}"
        shown = "none" if OWN_CODE in title else state
        print(f"{title:34}" + "".join(f"{figure:12.2f}" for figure in figures) + f"  {shown}")


if __name__ == "__main__":
    main()
