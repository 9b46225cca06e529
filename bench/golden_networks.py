"""Brevitas' own CNV and ResNet18, of random weights: the golden model's speed, and what compiling them costs.

    python bench/golden_networks.py [--rounds N] [--json]

The golden model against the QONNX executor (batch 1) and Brevitas' forward pass (batch 100) on CNV-2W2A, in turns in
one run, in processor time of one thread each: the median of the rounds' ratios, the least and the greatest. Beside it
the network's matrix products alone, which no model that computes them so is quicker than. Compiling is from the QONNX
file (of ResNet18, which Brevitas cannot export, from the module) to Verilog, in a process of its own: processor
seconds, and the most memory that it held.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# One thread for all, which BLAS must know before it is loaded.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np

BATCH = 100
ROUNDS = 11
GOALS = {"CNV-2W2A": 10.0, "ResNet18-4W4A": 60.0}
"""Processor seconds to Verilog."""
MEMORY = 2048
"""MiB that compiling may hold."""

INTERVALS = {"CNV-2W2A": 66_000, "ResNet18-4W4A": 600_000}
"""Clock cycles a frame that they are folded to."""
BOARD = "ultra96"

RATIOS = {
    "golden / QONNX executor, batch 1": ("golden, batch 1", "QONNX executor, batch 1", 50.0),
    "golden / matrix products alone, batch 1": ("golden, batch 1", "matrix products alone, batch 1", None),
    "golden / Brevitas forward, batch 100": ("golden, batch 100", "Brevitas forward, batch 100", 1.0),
}
"""What is compared with what, and how many times as fast it should be."""


def network(name: str) -> Any:
    """A network of bnn_pynq in eval mode, its batch norms as if it had been trained."""
    import torch
    from brevitas.quant import Uint8ActPerTensorFloat
    from brevitas_examples.bnn_pynq.models import model_with_cfg
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(1)
    module, _ = model_with_cfg(name, pretrained=False)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) and part.affine:
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.3, 0.3)
    if name.startswith("resnet"):
        # It does not quantize its images itself.
        from brevitas import nn as qnn

        module = nn.Sequential(qnn.QuantIdentity(act_quant=Uint8ActPerTensorFloat), module)
    module.train()
    module(torch.rand(16, 3, 32, 32))
    return module.eval()


def exported(module: Any, path: Path) -> Path:
    """The module's QONNX file."""
    import torch
    from brevitas.export import export_qonnx

    export_qonnx(module, torch.rand(1, 3, 32, 32), str(path))
    return path


def executor(path: Path) -> Callable[[np.ndarray], object]:
    """The QONNX executor on one frame, made ready ahead of time."""
    import onnx
    from qonnx.core import onnx_exec
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_shapes import InferShapes
    from qonnx.util.basic import qonnx_make_model

    def make_model(graph: onnx.GraphProto, **options: object) -> onnx.ModelProto:
        made = qonnx_make_model(graph, **options)
        made.ir_version = 13
        return made

    # The executor makes a model of every node, with onnx' own newest IR version, which onnxruntime does not read yet.
    onnx_exec.qonnx_make_model = make_model
    model = onnx.load(path)
    model.ir_version = min(model.ir_version, 13)
    wrapper = ModelWrapper(model).transform(InferShapes())
    name = wrapper.graph.input[0].name
    return lambda x: onnx_exec.execute_onnx(wrapper, {name: x})


def seconds(call: Callable[[], object], least: float = 0.1) -> float:
    """Processor seconds of one call, from enough calls to last `least` seconds."""
    count, spent = 0, 0.0
    start = time.process_time()
    while spent < least:
        call()
        count += 1
        spent = time.process_time() - start
    return spent / count


def frames_a_second(calls: dict[str, tuple[int, Callable[[], object]]], rounds: int) -> dict[str, np.ndarray]:
    """Frames a second of processor time of each call, which handles so many frames, by rounds that take turns."""
    for _, call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (frames, call) in calls.items():
            found[name].append(frames / seconds(call))
    return {name: np.array(rates) for name, rates in found.items()}


def bare_products(graph: Any) -> Callable[[], object]:
    """All matrix products of one frame on operands that stand ready, two outputs to a column as the golden model has
    them: half of the multiply-adds."""
    from hwgen.golden.packed import LEAST_INPUTS
    from hwgen.ops import MatVec

    pairs = []
    for node in graph.nodes:
        if isinstance(node.op, MatVec):
            outputs, inputs = node.op.weight.shape
            rows = graph.types[node.inputs[0]].size // inputs
            columns = (outputs + 1) // 2 if inputs >= LEAST_INPUTS else outputs
            pairs.append((np.ones((rows, inputs), np.float32), np.ones((inputs, columns), np.float32)))
    return lambda: [left @ right for left, right in pairs]


def speeds(module: Any, path: Path, rounds: int) -> dict[str, np.ndarray]:
    import torch

    import hwgen

    graph = hwgen.load(path)
    x = np.random.default_rng(2).random((BATCH, 3, 32, 32), dtype=np.float32)
    codes, tensor, run = hwgen.golden.encode(graph, x), torch.from_numpy(x), executor(path)
    with torch.inference_mode():
        return frames_a_second(
            {
                "golden, batch 1": (1, lambda: hwgen.golden.run(graph, codes[:1])),
                "QONNX executor, batch 1": (1, lambda: run(x[:1])),
                "matrix products alone, batch 1": (1, bare_products(graph)),
                "golden, batch 100": (BATCH, lambda: hwgen.golden.run(graph, codes)),
                "Brevitas forward, batch 100": (BATCH, lambda: module(tensor)),
            },
            rounds,
        )


def compile_here(name: str, path: str) -> None:
    """Print the processor seconds and the MiB of compiling the file `path`, or ResNet18 as a module if that is empty.

    Brevitas cannot export its ResNet18: what it adds are no longer quantized tensors then.
    """
    module = None if path else network("resnet18_4w4a")
    start = time.process_time()
    import hwgen

    if path:
        graph = hwgen.load(path)
    else:
        import torch

        graph = hwgen.from_brevitas(module, torch.rand(2, 3, 32, 32))
    hwgen.compile(graph, BOARD, INTERVALS[name]).verilog()
    print("cost", time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def compiled(name: str, path: str) -> tuple[float, float]:
    """(processor seconds, MiB) of a process of its own that makes Verilog, as `compile_here` prints them."""
    command = [sys.executable, __file__, "--compile", name, path]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, mib = out.splitlines()[-1].split()[1:]
    return float(seconds), float(mib)


def main() -> None:
    if "--compile" in sys.argv:
        compile_here(*sys.argv[2:])
        return
    rounds = int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else ROUNDS
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        cnv = network("cnv_2w2a")
        path = exported(cnv, Path(folder) / "cnv.onnx")
        found = speeds(cnv, path, rounds)
        costs = {"CNV-2W2A": compiled("CNV-2W2A", str(path)), "ResNet18-4W4A": compiled("ResNet18-4W4A", "")}
    ratios = {label: found[one] / found[other] for label, (one, other, _) in RATIOS.items()}
    if "--json" in sys.argv:
        rows = {name: {"seconds": seconds, "mib": mib} for name, (seconds, mib) in costs.items()}
        told = {"frames_per_second": spread(found), "ratios": spread(ratios), "compile": rows}
        print(json.dumps(told, indent=2))
        return
    for name, rates in spread(found).items():
        print(f"{name:40} {rates['median']:12,.1f} frames/s of processor time (indicative)")
    for name, ratio in spread(ratios).items():
        goal = RATIOS[name][2]
        verdict = "" if goal is None else f"   goal {goal:g} x: {'met' if ratio['median'] >= goal else 'MISSED'}"
        print(f"{name:40} {ratio['median']:8.2f} x   {ratio['least']:.2f} to {ratio['greatest']:.2f}{verdict}")
    for name, (seconds, mib) in costs.items():
        verdict = "met" if seconds <= GOALS[name] and mib <= MEMORY else "MISSED"
        print(f"{name + ', to Verilog':40} {seconds:8.1f} s {mib:6.0f} MiB   goal {GOALS[name]:g} s: {verdict}")


def spread(rates: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """The median, the least and the greatest of all rounds."""
    return {
        name: {"median": float(np.median(every)), "least": float(every.min()), "greatest": float(every.max())}
        for name, every in rates.items()
    }


if __name__ == "__main__":
    main()
