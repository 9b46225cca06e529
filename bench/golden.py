"""The golden model's speed against the QONNX executor, Brevitas' forward pass and plain PyTorch, in one run.

    python bench/golden.py [build/digits/digits.onnx]

Needs the trained network (`make train`). Each figure is the best of several rounds that take turns, so that a noisy
machine slows all of them alike; only the ratios mean something.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from qonnx.core import onnx_exec
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.util.basic import qonnx_make_model
from torch import nn

import hwgen
from hwgen.quant.train import load_recipe

ROUNDS = 7
MAX_IR_VERSION = 13
BATCH = 1000
THREADS = (1, 2)


def seconds(call: Callable[[], object], least: float = 0.05) -> float:
    """Seconds of one call, from enough calls to last `least` seconds."""
    count, spent = 0, 0.0
    start = time.perf_counter()
    while spent < least:
        call()
        count += 1
        spent = time.perf_counter() - start
    return spent / count


def rates(calls: dict[str, tuple[int, Callable[[], object]]]) -> dict[str, float]:
    """Samples a second of each call, which handles so many samples; the best of ROUNDS rounds, taken in turn."""
    best: dict[str, float] = {}
    for name, (_, call) in calls.items():
        call()
        best[name] = 0.0
    for _ in range(ROUNDS):
        for name, (samples, call) in calls.items():
            best[name] = max(best[name], samples / seconds(call))
    return best


def executor(path: Path, batch: int) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The QONNX executor on the same file, its input and output widened to `batch`."""
    model = onnx.load(path)
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)

    def make_model(graph: onnx.GraphProto, **options: object) -> onnx.ModelProto:
        made = qonnx_make_model(graph, **options)
        made.ir_version = MAX_IR_VERSION
        return made

    # The executor makes a model of every node, with onnx' own newest IR version, which onnxruntime does not read yet.
    onnx_exec.qonnx_make_model = make_model
    del model.graph.value_info[:]
    wrapper = ModelWrapper(model)
    name = wrapper.graph.input[0].name
    shape = wrapper.get_tensor_shape(name)
    wrapper.set_tensor_shape(name, [batch, *shape[1:]])
    out = wrapper.graph.output[0].name
    wrapper.set_tensor_shape(out, [batch, *wrapper.get_tensor_shape(out)[1:]])
    wrapper = wrapper.transform(InferShapes())
    return lambda x: onnx_exec.execute_onnx(wrapper, {name: x})


def threaded(module: nn.Module, x: torch.Tensor, count: int) -> Callable[[], object]:
    """A forward pass on so many threads. Small layers are often quicker on one, so each module is taken at its best."""

    def call() -> object:
        torch.set_num_threads(count)
        return module(x)

    return call


class Clamped(nn.Module):
    """What a float network of this shape does at least: scale, floor and clamp between plain linear layers."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = torch.clamp(torch.floor(layer(x)), 0, 15)
        return self.layers[-1](x)


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "build/digits/digits.onnx")
    graph = hwgen.load(path)
    data = np.load(path.with_suffix(".npz"))["x"].astype(np.float32)
    x = data[np.arange(BATCH) % len(data)]
    codes = hwgen.golden.encode(graph, x)
    recipe = load_recipe(Path(__file__).parent.parent / "examples" / "digits_mlp.py")
    brevitas, plain = recipe.model().eval(), Clamped((64, 32, 32, 10)).eval()
    tensor = torch.from_numpy(x)
    run_one, run_many = executor(path, 1), executor(path, BATCH)
    with torch.inference_mode():
        found = rates(
            {
                "golden, batch 1": (1, lambda: hwgen.golden.run(graph, codes[:1])),
                "QONNX executor, batch 1": (1, lambda: run_one(x[:1])),
                "golden": (BATCH, lambda: hwgen.golden.run(graph, codes)),
                "QONNX executor": (BATCH, lambda: run_many(x)),
                **{
                    f"{name}, {count} thread{'s' * (count > 1)}": (BATCH, threaded(module, tensor, count))
                    for name, module in (("Brevitas forward", brevitas), ("plain PyTorch", plain))
                    for count in THREADS
                },
            }
        )
    for name in ("Brevitas forward", "plain PyTorch"):
        found[name] = max(rate for label, rate in found.items() if label.startswith(f"{name}, "))
    ratios = {
        "golden / QONNX executor, batch 1": (found["golden, batch 1"] / found["QONNX executor, batch 1"], 100),
        "golden / QONNX executor, batch 1000": (found["golden"] / found["QONNX executor"], 5),
        "golden / Brevitas forward, batch 1000": (found["golden"] / found["Brevitas forward"], 3),
        "golden / plain PyTorch, batch 1000": (found["golden"] / found["plain PyTorch"], 0.5),
    }
    if "--json" in sys.argv:
        print(json.dumps({"samples_per_second": found, "ratios": {k: v for k, (v, _) in ratios.items()}}, indent=2))
        return
    for name, rate in found.items():
        print(f"{name:40} {rate:12,.0f} samples/s (indicative)")
    for name, (ratio, goal) in ratios.items():
        print(f"{name:40} {ratio:8.2f} x   goal {goal:g} x: {'met' if ratio >= goal else 'MISSED'}")


if __name__ == "__main__":
    main()
