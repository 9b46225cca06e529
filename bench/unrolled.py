"""LUTs of unrolled matrices and networks against those of da4ml's Verilog, of the same weights, by the same tool.

    python bench/unrolled.py [case ...] [--all] [--write]

Both compute the same function, which is checked on random vectors; both take a vector a clock, and are synthesised flat
by the same Yosys (`synth_xilinx -family xcup -flatten -noiopad -noclkbuf -nodsp`). da4ml 0.6.0 runs with its better
setting, `hard_dc=2`, and a register behind at most five adders. Networks have their requantizers: ReLU, a shift that
rounds half up, six bits that saturate. Large cases take Yosys many minutes: without names, the small ones are measured.
Results are kept by content in build/arith_sizes. With --write they go into docs/results/unrolled.md.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from da4ml.codegen import RTLModel
from da4ml.trace import FixedVariableArray, HWConfig, comb_trace
from measure.results import table
from measure.xcup import Size, measure, measure_verilog

from hwgen import gateware, golden, ops
from hwgen.formats import Int
from hwgen.ir import Fold, Graph, Node, TensorType, Value
from hwgen.tools.files import write_atomic

BITS = 6
"""Of inputs and of what is between two layers."""

CUTOFF = 5
"""Adders between two registers, in da4ml's count."""


@dataclass(frozen=True)
class Case:
    """A network of these sizes; weights of 4 bits, "uniform" over -7..7 or "gaussian", as many sigmas wide as fit."""

    sizes: tuple[int, ...]
    spread: str

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.sizes))} {self.spread}"

    def weights(self) -> list[npt.NDArray[np.int64]]:
        rng = np.random.default_rng(0)
        found = []
        for inner, out in pairwise(self.sizes):
            drawn = rng.integers(-7, 8, (out, inner)).astype(np.int64)
            if self.spread == "gaussian":
                drawn = np.clip(np.rint(rng.normal(0, 2.8, (out, inner))), -7, 7).astype(np.int64)
            found.append(drawn)
        return found


SMALL = [Case(sizes, spread) for sizes in ((16, 16), (16, 32, 5)) for spread in ("uniform", "gaussian")]
LARGE = [Case(sizes, spread) for sizes in ((64, 64), (16, 64, 32, 32, 5)) for spread in ("uniform", "gaussian")]


def shift_behind(inner: int) -> int:
    """Bits that the requantizer behind a layer of so many inputs drops: sums then use most of the range."""
    return 3 + int(np.ceil(np.log2(inner) / 2))


def graph(weights: Sequence[npt.NDArray[np.int64]]) -> Graph:
    """The network as a frozen graph."""
    codes = Int(BITS, is_signed=False)
    kind, tensor = TensorType((weights[0].shape[1],), codes), "x"
    value, nodes = Value(tensor, kind), list[Node]()
    for number, weight in enumerate(weights):
        layer = ops.MatVec(weight, Int(4), input_format=kind.format)
        steps: list[ops.MatVec | ops.Requantize] = [layer]
        if number + 1 < len(weights):
            one, shift = np.ones(1, np.int64), np.full(1, shift_behind(weight.shape[1]))
            steps.append(ops.Requantize(one, 0 * one, shift, "half_up", 0, codes.max, codes))
        for op in steps:
            name = f"{'fc' if op is layer else 'act'}{number}"
            nodes.append(Node(name, op, (tensor,), f"{name}_out"))
            kind, tensor = op.infer(kind), f"{name}_out"
    return Graph("network", (value,), tuple(nodes), (tensor,))


def ours(case: Case) -> Size:
    """The size of the accelerator."""
    network = graph(case.weights())
    folding = {node.name: Fold(*node.op.weight.shape) for node in network.nodes if isinstance(node.op, ops.MatVec)}
    accelerator, _ = gateware.accelerator_of(network, folding, "xcup")
    return measure(accelerator)


def theirs(case: Case) -> Size:
    """The size of da4ml's Verilog, which computes the same."""
    weights = case.weights()
    config = HWConfig(1, -1, CUTOFF)
    count = case.sizes[0]
    none = np.zeros(count, int)
    inputs = FixedVariableArray.from_kif(none, none + BITS, none, hwconf=config, solver_options={"hard_dc": 2})
    x = inputs
    for number, weight in enumerate(weights):
        x = x @ weight.T.astype(float)
        if number + 1 < len(weights):
            x = (x * 2.0 ** -shift_behind(weight.shape[1])).relu()
            none = np.zeros(len(weight), int)
            x = x.quantize(none, none + BITS, none, overflow_mode="SAT", round_mode="RND")
    logic = comb_trace(inputs, x)
    codes = np.random.default_rng(1).integers(0, 1 << BITS, (100, count))
    assert np.array_equal(logic.predict(codes.astype(float)), golden.run(graph(weights), codes)), (
        "not the same function"
    )
    with tempfile.TemporaryDirectory() as folder:
        RTLModel(logic, "unit", folder, latency_cutoff=CUTOFF, print_latency=False).write()
        files = sorted(Path(folder, "src").rglob("*.v"))
        # Not needed, and not to be read without a file of its own.
        text = "".join(file.read_text() for file in files if file.stem not in ("lookup_table", "unit_wrapper"))
    return measure_verilog(text)


def row(case: Case) -> list[str]:
    one, other = ours(case), theirs(case)
    cells = (f"{getattr(one, kind)} / {getattr(other, kind)}" for kind in ("lut", "ff", "depth"))
    found = [case.name, *cells, f"{one.lut / other.lut:.2f}"]
    print(
        f"{case.name}: LUT, FF, depth (ours / da4ml's): {', '.join(found[1:4])}; LUTs {found[4]} of theirs", flush=True
    )
    return found


HEAD = """# Unrolled networks

Written by `python bench/unrolled.py --all --write`. Weights of 4 bits, inputs and activations of 6, from a fixed seed;
networks with their requantizers (ReLU, a shift that rounds half up, saturation). A vector a clock. Each cell: ours /
da4ml 0.6.0 (`hard_dc=2`, a register behind five adders at most), the same weights, in one run, both synthesised flat by
the same Yosys (`synth_xilinx -family xcup -flatten -noiopad -noclkbuf -nodsp`). LUT: with inverters; a LUT6_2 is one.
Depth: LUTs and carry cells on the longest path between registers. No vendor tool was run.
"""


def main() -> None:
    names = [word for word in sys.argv[1:] if not word.startswith("--")]
    every = [*SMALL, *LARGE]
    cases = [case for case in every if case.name in names] if names else every if "--all" in sys.argv else SMALL
    rows = [row(case) for case in cases]
    if "--write" in sys.argv:
        columns = ["network", "LUT", "FF", "depth", "LUTs of theirs"]
        write_atomic(Path("docs/results/unrolled.md"), HEAD + table(columns, rows))


if __name__ == "__main__":
    main()
