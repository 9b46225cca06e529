"""A folder that proves an accelerator anywhere: Verilog, harness, cocotb bench, vectors, Makefile; without hwgen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hwgen import golden
from hwgen.flow import simulator
from hwgen.flow.simulate import Codes, Run, pack_vectors, run_plan
from hwgen.flow.verify import RUNS, expected_streams
from hwgen.ir import Graph
from hwgen.tools.files import atomic_dir, share

if TYPE_CHECKING:
    from hwgen.gateware import Design

STANDALONE = ("Makefile", "README.md", "test_accel.py")


def emit_bench(
    graph: Graph,
    design: Design,
    codes: npt.ArrayLike,
    folder: Path,
    *,
    expected: dict[str, Codes] | None = None,
    runs: Sequence[Run] = RUNS,
) -> None:
    """Write `folder`, in which `make sim` or `pytest` verifies `design` with only cocotb and Verilator installed.

    codes, expected, runs: as in `verify`. The folder is replaced as a whole if this function made it; raises HwgenError
    if it holds anything else, and for vectors that do not fit the design.
    """
    inputs = np.asarray(codes, dtype=np.int64)
    trace = golden.trace(graph, inputs) if expected is None else expected
    vectors = pack_vectors(simulator.watched(design), inputs, expected_streams(graph, design, trace))
    plan = run_plan(design, len(inputs), runs, vectors, strict=True)
    with atomic_dir(folder, "run.json") as path:
        for name in STANDALONE:
            shutil.copyfile(share("sim", "standalone", name), path / name)
        for name in (*simulator.BENCH, "harness.vlt", "stream_bench.py"):
            shutil.copyfile(share("sim", name), path / name)
        (path / "harness.sv").write_text(simulator.harness(design))
        (path / "accel.v").write_text(design.verilog)
        (path / "run.json").write_text(json.dumps(plan, indent=1))
        for name, data in vectors.items():
            (path / name).write_bytes(data)
