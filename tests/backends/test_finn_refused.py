"""What the FINN backend refuses, and what it says where FINN or Vivado is missing or fails."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hwgen import ops
from hwgen.backends import finn, finn_onnx
from hwgen.errors import HwgenError, ToolFailedError, ToolMissingError, UnsupportedError
from hwgen.flow.boards import load_board
from hwgen.formats import Int, scalar
from hwgen.ir import Fold, Graph, Node, Op, TensorType, Value
from hwgen.ops import MatVec
from tests.backends.test_finn import BOARD, SIZES, folds
from tests.conftest import chain, random_mlp


@pytest.fixture
def project(tmp_path: Path) -> Path:
    graph = random_mlp(SIZES)
    return finn.write(graph, folds(graph), tmp_path / "prj", BOARD)


@pytest.mark.parametrize(
    ("ops_", "kind", "message"),
    [
        ([("g", ops.ArgMax())], Int(4), r"node 'g' \(ArgMax\): FINN has no RTL for this operation"),
        (
            [("r", ops.Requantize(-1, 0, 0, "down", -8, 7, Int(4)))],
            Int(3),
            r"node 'r' \(Requantize\): FINN's thresholds rise, and behind a multiplier below 0 codes fall",
        ),
        (
            [("fc", MatVec(np.array([[1, 2]]), scalar("e2m1")))],
            Int(4),
            r"node 'fc' \(MatVec\): FINN carries integer weights, not e2m1, which it would drop without a word",
        ),
        (
            [("fc", MatVec(np.array([[1, 2]]), Int(4), input_format=scalar("e2m1")))],
            scalar("e2m1"),
            r"node 'fc' \(MatVec\): FINN carries integers, not e2m1",
        ),
        (
            [("fc", MatVec(np.array([[1, -2]]), Int(4)))],
            Int(1, is_signed=False),
            r"node 'fc' \(MatVec\): FINN's RTL matrix unit takes activations of 2 bits or more",
        ),
        (
            [("fc", MatVec(np.array([[1, 0]]), Int(4)))],
            Int(4),
            r"node 'fc' \(MatVec\): FINN's RTL matrix unit takes signed weights, and those from 0 to 1 are none",
        ),
        (
            [("fc", MatVec(np.array([[-1, 0], [0, 1]]), Int(2))), ("f2", MatVec(np.array([[1, -1]]), Int(2)))],
            Int(4, is_signed=False),
            r"node 'fc' \(MatVec\): FINN makes the accumulator 5 bits wide, and its RTL wants the 6 bits of any",
        ),
        (
            [("fc", MatVec(np.array([[1 << 24, -(1 << 24)]]), Int(26)))],
            Int(4),
            r"node 'fc' \(MatVec\): FINN holds numbers as float32, and 16777216 has more than 24 bits",
        ),
        (
            [("r", ops.Requantize([1], [0], [0], "down", -512, 511, Int(10)))],
            Int(12),
            r"node 'r' \(Requantize\): FINN's thresholds make up to 255 steps, and this makes 1023",
        ),
        (
            [("t", ops.Thresholds(np.arange(-200, 100)[None], -150, Int(10)))],
            Int(10),
            r"node 't' \(Thresholds\): FINN's thresholds make up to 255 steps, and these make 300",
        ),
    ],
)
def test_what_finn_does_not_carry_is_refused_by_name(
    ops_: list[tuple[str, Op]], kind: Int, message: str, tmp_path: Path
) -> None:
    graph = chain("bad", TensorType((2,), kind), *ops_)
    with pytest.raises(UnsupportedError, match=message):
        finn.write(graph, folds(graph, 1, 1), tmp_path / "prj", BOARD)
    assert not (tmp_path / "prj").exists()


def test_images_that_finn_does_not_carry() -> None:
    kind = TensorType((4, 4, 2), Int(4))
    with pytest.raises(UnsupportedError, match=r"node 'w' \(Window\): FINN pads images with code 0, not with 3"):
        finn_onnx.to_onnx(chain("w", kind, ("w", ops.Window((3, 3), padding=(1, 1, 1, 1), pad=3))))
    unit = ("fc", MatVec(-np.ones((2, 2), dtype=np.int64) * 3, Int(4), np.array([1, 2])))
    with pytest.raises(UnsupportedError, match=r"node 'w' \(Window\): FINN's matrix unit has no bias"):
        finn_onnx.to_onnx(chain("w", kind, unit, ("w", ops.Window((2, 2)))))
    with pytest.raises(UnsupportedError, match=r"node 'f2' \(MatVec\): FINN's matrix unit has no bias"):
        finn_onnx.to_onnx(chain("w", kind, unit, ("f2", MatVec(np.array([[1, -1], [1, 1]]), Int(4)))))
    window = ops.Window((2, 2))
    with pytest.raises(UnsupportedError, match=r"node 's' \(Reshape\): FINN flattens images.*not \(9, 2, 4\)"):
        finn_onnx.to_onnx(chain("w", kind, ("w", ops.Window((2, 2))), ("s", ops.Reshape((9, 2, 4))), ("v", window)))
    with pytest.raises(UnsupportedError, match=r"node 'p' \(Pool\): FINN gets no sums over windows, only maxima"):
        finn_onnx.to_onnx(chain("w", kind, ("w", ops.Window((2, 2))), ("p", ops.Pool("sum", 4))))
    for rule, size, steps, padding in (
        ("FINN pools windows that leave out no pixel, not of (1, 1) by steps of (2, 2)", (1, 1), (2, 2), (0, 0, 0, 0)),
        ("FINN pads images for pools evenly, not by (1, 1, 0, 0)", (2, 2), (2, 2), (1, 1, 0, 0)),
    ):
        taken = ops.Window(size, steps, padding, fill="low", pad=0)
        with pytest.raises(UnsupportedError, match=rf"node 'w' \(Window\): {re.escape(rule)}"):
            finn_onnx.to_onnx(chain("w", kind, ("w", taken), ("p", ops.Pool("max", taken.taps))))

    by_channel = ops.Grouped(np.ones((2, 4), dtype=np.int64), Int(4), groups=2, taps=4)
    with pytest.raises(UnsupportedError, match=r"node 'd' \(Grouped\): FINN has no RTL for products in groups"):
        finn_onnx.to_onnx(chain("w", kind, ("w", ops.Window((2, 2))), ("d", by_channel)))
    model = finn_onnx.to_onnx(chain("w", TensorType((32,), Int(4)), ("s", ops.Reshape((4, 4, 2))), unit))
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 4, 4, 2]


def test_graphs_that_are_no_frozen_chain(tmp_path: Path) -> None:
    real = Graph("real", (Value("x", TensorType((4,))),), (Node("r", ops.Relu(), ("x",), "y"),), ("y",))
    with pytest.raises(HwgenError, match="graph 'real' is not frozen: FINN gets integers only"):
        finn_onnx.to_onnx(real)
    with pytest.raises(HwgenError, match="graph 'none' has no layers to give to FINN"):
        finn_onnx.to_onnx(Graph("none", (Value("x", TensorType((4,), Int(4))),), (), ("x",)))
    unit = MatVec(-np.ones((4, 4), dtype=np.int64) * 7, Int(4))
    nodes = (Node("a", unit, ("x",), "y"), Node("b", unit, ("x",), "z"))
    two = Graph("two", (Value("x", TensorType((4,), Int(4))),), nodes, ("y", "z"))
    with pytest.raises(UnsupportedError, match=r"node 'b' reads \('x',\), not 'y': only chains go to FINN"):
        finn_onnx.to_onnx(two)
    graph = random_mlp(SIZES)
    with pytest.raises(HwgenError, match=r"makes projects for AMD parts; ulx3s has LFE5U"):
        finn.write(graph, folds(graph), tmp_path / "prj", load_board("ulx3s"))
    with pytest.raises(HwgenError, match="matrix unit 'fc1' has no fold"):
        finn.write(graph, {"fc0": Fold(1, 1)}, tmp_path / "prj", BOARD)
    with pytest.raises(HwgenError, match="node 'fc0': folding must divide the layer: PE=5 into 8 outputs"):
        finn.write(graph, {"fc0": Fold(5, 1)}, tmp_path / "prj", BOARD)


def test_a_missing_environment_keeps_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWGEN_FINN_ENV", str(tmp_path / "none"))
    graph = random_mlp(SIZES)
    message = (
        r"FINN's environment is not there \(no .*none\): make it with: make finn-env; the project in .* is written"
    )
    with pytest.raises(ToolMissingError, match=message):
        finn.emit(graph, folds(graph), tmp_path / "prj", BOARD)
    assert (tmp_path / "prj" / "model.onnx").is_file()


def environment(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment whose Python is a shell script."""
    (folder / "env" / "bin").mkdir(parents=True)
    (folder / "env" / ".installed").touch()
    (folder / "env" / "bin" / "python").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "env" / "bin" / "python").chmod(0o755)
    monkeypatch.setenv("HWGEN_FINN_ENV", str(folder / "env"))


def test_a_crash_inside_finn_shows_its_last_lines(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(tmp_path, "echo 'finn: 8/11 apply_folding_config'; echo 'PE does not divide'; exit 1", monkeypatch)
    seen: list[str] = []
    message = (
        r"FINN stopped at step 8/11 apply_folding_config: python failed with exit code 1 \(log: .*finn\.log\)"
        r"\n  finn: 8/11 apply_folding_config\n  PE does not divide"
    )
    with pytest.raises(ToolFailedError, match=message):
        finn.generate(project, seen.append)
    assert seen[-1] == "PE does not divide"
    assert (project / "model.onnx").is_file()
    with pytest.raises(HwgenError, match=r"holds no RTL of FINN: .*nodes\.json cannot be read"):
        finn.simulate(project, [[0] * 12])
    with pytest.raises(HwgenError, match=r"holds no RTL of FINN: .*accel\.sv is missing"):
        finn.synthesis(project)
    with pytest.raises(HwgenError, match="has no estimates of FINN in"):
        finn.estimates(project)
    with pytest.raises(HwgenError, match="is no FINN project that hwgen wrote"):
        finn.generate(tmp_path)


def test_a_folding_that_finn_refuses_is_named(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "finn.util.exception.FINNUserError: MVAU_rtl_1: MH (6) must be divisable by PE (currently 4), not MVAU_rtl_9."
    )
    environment(tmp_path, f"echo 'finn: 8/11 apply_folding_config'; echo '{text}'; exit 1", monkeypatch)
    message = (
        r"FINN refuses the project in .*prj at step 8/11 apply_folding_config: MVAU_rtl_1 \(node 'fc1'\): MH \(6\) "
        r"must be divisable by PE \(currently 4\), not MVAU_rtl_9\. \(log: .*finn\.log\)"
    )
    with pytest.raises(HwgenError, match=message):
        finn.generate(project)


def test_a_crash_at_the_start(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(tmp_path, "exit 1", monkeypatch)
    with pytest.raises(ToolFailedError, match="FINN stopped at its start"):
        finn.generate(project)


def test_no_vivado_and_no_shell(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="vivado is not installed or not on the PATH: the FINN project in"):
        finn.build(project)
    (tmp_path / "vivado").write_text("")
    (tmp_path / "vivado").chmod(0o755)
    environment(tmp_path, 'echo "$3 $4"', monkeypatch)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert finn.build(project) == project / "finn-build"
    assert (project / "finn-build.log").read_text().split() == ["build", str(project)]
    graph = random_mlp(SIZES)
    other = BOARD.model_copy(update={"part": "xcku5p-ffvb676-2-e"})
    folder = finn.write(graph, folds(graph), tmp_path / "other", other)
    with pytest.raises(HwgenError, match=r"FINN has no shell for the part of .*, only for Ultra96, "):
        finn.build(folder)
