"""The hand-written accelerator of tests/cocotb/accel.sv as a design, with the graph that it computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwgen.formats import Codes, Int
from hwgen.gateware import Design, Stage
from hwgen.ir import Beats, Graph, Node, TensorType, Value
from hwgen.ops import MatVec

VERILOG = (Path(__file__).parent.parent / "cocotb" / "accel.sv").read_text()

INPUT = Beats(lanes=2, bits=4, signed=True, beats=2)
MIDDLE = Beats(lanes=2, bits=6, signed=True, beats=2)
OUTPUT = Beats(lanes=1, bits=8, signed=True, beats=1)

DESIGN = Design(
    verilog=VERILOG,
    input=INPUT,
    output=OUTPUT,
    stages=(
        Stage("scale_0", "scale", "scale", INPUT, MIDDLE, 2, 2),
        Stage("total_0", "total", "total", MIDDLE, OUTPUT, 2, 2),
    ),
    latency=3,
    interval=2,
    spans=((0, 2), (1, 3)),
)

GRAPH = Graph(
    name="toy",
    inputs=(Value("x", TensorType((4,), Int(4))),),
    nodes=(
        Node("scale", MatVec(3 * np.eye(4, dtype=np.int64), Int(4), np.ones(4, dtype=np.int64)), ("x",), "scaled"),
        Node("total", MatVec(np.ones((1, 4), dtype=np.int64), Int(2)), ("scaled",), "sum"),
    ),
    outputs=("sum",),
)


def frames(count: int, seed: int = 0) -> Codes:
    """Random input frames, shape (count, 4), codes -8..7."""
    return np.random.default_rng(seed).integers(-8, 8, (count, 4))
