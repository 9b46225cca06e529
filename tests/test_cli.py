"""The command line: help, figures as JSON, and one message for an error."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hwgen import cli, golden, inputs
from hwgen.formats import Int
from hwgen.ir import Graph
from hwgen.passes import freeze
from hwgen.tools.files import write_atomic
from tests.conftest import random_mlp
from tests.passes.test_fp32 import network

COMMANDS = (
    "train",
    "import",
    "fold",
    "compile",
    "build",
    "verify",
    "run",
    "report",
    "bitstream",
    "flash",
    "boards",
    "formats",
)


class Ended:
    """What a command printed and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def hwgen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):  # type: ignore[no-untyped-def]
    """Run the command line in a temporary folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["hwgen", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        streams = capsys.readouterr()
        return Ended(int(ended.value.code or 0), streams.out, streams.err)

    return run


@pytest.fixture
def model(tmp_path: Path) -> Graph:
    """A graph.json in the current folder."""
    graph = random_mlp((8, 6, 4))
    write_atomic(tmp_path / "graph.json", json.dumps(graph.to_json()))
    return graph


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(hwgen, command: str) -> None:  # type: ignore[no-untyped-def]
    shown = hwgen(command, "--help")
    assert shown.code == 0
    assert "Usage" in shown.out
    top = hwgen("--help")
    assert command in top.out


def test_version(hwgen) -> None:  # type: ignore[no-untyped-def]
    assert hwgen("--version").out.startswith("hwgen 0.")


def test_formats(hwgen) -> None:  # type: ignore[no-untyped-def]
    assert "uint4" in hwgen("formats").out
    assert json.loads(hwgen("formats", "--json").out)[0]["name"] == "bipolar"
    shown = json.loads(hwgen("formats", "show", "int3", "--json").out)
    assert [row["value"] for row in shown["codes"]] == [-4, -3, -2, -1, 0, 1, 2, 3]
    assert "100" in hwgen("formats", "show", "int3").out


def test_boards(hwgen) -> None:  # type: ignore[no-untyped-def]
    listed = hwgen("boards").out
    assert all(name in listed for name in ("ulx3s", "icebreaker", "ultra96"))
    (board,) = json.loads(hwgen("boards", "ulx3s", "--json").out)
    assert board["device"] == "85k"


def test_run_adds_in_fp32(hwgen, model: Graph, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    graph = network("mxfp4")
    inputs.write_graph(tmp_path / "net.graph.json", graph)
    x = np.random.default_rng(0).normal(size=(5, 16))
    np.save(tmp_path / "x.npy", x)
    assert hwgen("run", "net.graph.json", "x.npy", "-o", "y.npy", "--accumulator", "fp32", "--real").code == 0
    frozen = freeze(graph, accumulator="fp32")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), golden.predict(frozen, x))
    for words, message in {
        ("net.graph.json", "fp64"): "unknown accumulator 'fp64': one of exact, fp32",
        ("graph.json", "fp32"): "is frozen already, with exact sums: accumulator 'fp32' comes too late",
    }.items():
        shown = hwgen("run", words[0], "x.npy", "-o", "y.npy", "--accumulator", words[1])
        assert shown.code
        assert message in " ".join(shown.err.split())


def test_run_writes_codes(hwgen, model: Graph, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    x = np.random.default_rng(0).integers(0, 16, (5, 8))
    np.save(tmp_path / "x.npy", x)
    done = hwgen("run", "graph.json", "x.npy", "-o", "y.npy")
    assert done.code == 0
    assert "5 frames written to y.npy" in done.out
    assert np.array_equal(inputs.read_array(tmp_path / "y.npy"), golden.run(model, x))
    hwgen("run", "graph.json", "x.npy", "-o", "r.npy", "--real")
    assert inputs.read_array(tmp_path / "r.npy").dtype == np.float64


def test_compile_writes_a_whole_folder(hwgen, model: Graph, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = hwgen("compile", "graph.json", "-o", "out", "--interval", "16", "--json")
    assert done.code == 0, done.err
    manifest = json.loads(done.out)
    assert manifest["hash"] == model.hash
    assert manifest["interval"] <= 16
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"accel.v", "graph.json", "manifest.json", "bench"}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    assert inputs.read_model(tmp_path / "out").hash == model.hash
    assert "module accel" in (tmp_path / "out" / "accel.v").read_text()


def test_a_fold_by_hand(hwgen, model: Graph, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "fold.json").write_text('{"fc0": [2, 4], "fc1": [4, 2]}')
    manifest = json.loads(hwgen("compile", "graph.json", "-o", "out", "--fold", "fold.json", "--json").out)
    assert manifest["folding"] == {"fc0": {"pe": 2, "simd": 4}, "fc1": {"pe": 4, "simd": 2}}


def test_a_chosen_folding_is_shown_written_and_drawn(hwgen, model: Graph, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    words = ("--board", "ultra96", "--clock", "100", "--fps", "1e7")
    shown = hwgen("fold", "graph.json", *words, "-o", "fold.json", "--plot", "fold.svg")
    assert shown.code == 0, shown.err
    assert "frames/s at 100 MHz" in shown.out
    assert "proven to be the best" in shown.out
    assert "of ultra96" in shown.out
    data = json.loads(hwgen("fold", "graph.json", *words, "--json").out)
    assert data["interval"] <= 10
    assert data["optimal"] is True
    assert [layer["shape"] for layer in data["layers"]] == [[6, 8], None, [4, 6]]
    assert "of interval" in shown.out
    folds = inputs.read_fold(tmp_path / "fold.json")
    assert {name: {"pe": one.pe, "simd": one.simd} for name, one in folds.items()} == data["folding"]
    assert "as given" in hwgen("fold", "graph.json", "--fold", "fold.json").out
    made = json.loads(hwgen("compile", "graph.json", "-o", "out", *words, "--json").out)
    assert made["folding"] == data["folding"]
    drawn = (tmp_path / "fold.svg").read_text()
    assert drawn.startswith("<svg")
    assert all(text in drawn for text in ("fc0", "fc1", "cycles a frame", "LUT"))


def test_no_plot_without_matplotlib(hwgen, model: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = hwgen("fold", "graph.json", "--plot", "fold.svg", "-o", "fold.json")
    assert ended.code == 5
    assert "a plot needs matplotlib: pip install 'hwgen[report]'" in " ".join(ended.err.split())
    assert {path.name for path in tmp_path.iterdir()} == {"graph.json"}


def test_a_report_before_anything_ran_knows_only_estimates(hwgen, model: Graph) -> None:  # type: ignore[no-untyped-def]
    data = json.loads(hwgen("report", "graph.json", "--json").out)
    assert data["bit_exactness"] is None
    assert data["timing"]["fmax"]["value"] is None
    assert data["timing"]["interval"]["source"] == "estimate"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("compile", "none.onnx", "-o", "out"), 1, "none.onnx"),
        (("compile", "graph.json", "-o", "out", "--board", "ulx4s"), 1, "unknown board 'ulx4s'; did you mean ulx3s?"),
        (("compile", "graph.json", "-o", "out", "--fold", "f", "--interval", "3"), 1, "--fold and --interval both"),
        (
            ("compile", "graph.json", "-o", "out", "--fps", "1", "--interval", "3"),
            1,
            "--interval and --fps both choose",
        ),
        (("fold", "graph.json", "--fold", "f", "--budget", "0.5"), 1, "--fold and --budget both choose the folding"),
        (("fold", "graph.json", "--fps", "1e9"), 1, "are out of reach at 50 MHz"),
        (("fold", "graph.json", "--budget", "1e-4"), 1, "no folding is estimated to fit 0.0001 of ulx3s"),
        (("compile", "graph.json", "-o", "out", "--fold", "bad.json"), 1, "node 'fc0': folding must divide the layer"),
        (
            ("compile", "graph.json", "-o", "out", "--fold", "zero.json"),
            1,
            "zero.json: the fold of 'fc0': PE and SIMD are",
        ),
        (("compile", "graph.json", "-o", "out", "--fold", "none.json"), 1, "cannot read none.json"),
        (("compile", "graph.json", "-o", "x.npy"), 1, "x.npy is a file; a folder is to be written there"),
        (("compile", "graph.json", "-o", "mine"), 1, "mine holds other files, which would be lost"),
        (("formats", "show", "imt4"), 1, "unknown format 'imt4'"),
        (("flash", "graph.json"), 1, "holds no bitstream for ulx3s: run hwgen bitstream first"),
        (("run", "graph.json", "none.npy", "-o", "y.npy"), 1, "cannot read none.npy"),
        (("run", "graph.json", "x.npy", "-o", "y.npy"), 1, "the network takes (frames, 8)"),
        (("run", "graph.json", "x.npy", "-o", "y.npy", "--on", "usb:1"), 1, "the network takes (frames, 8)"),
        (("verify", "graph.json", "--input", "x.npy"), 1, "the network takes (frames, 8)"),
        (("verify", "graph.json", "--board", "ultra96", "--uart", "1"), 1, "ultra96 has no UART: only boards with one"),
        (("train", "none.py"), 1, "none.py: there is no such file"),
    ],
)
def test_errors_are_one_message(hwgen, model: Graph, tmp_path: Path, words, code: int, message: str) -> None:  # type: ignore[no-untyped-def]
    np.save(tmp_path / "x.npy", np.zeros((2, 7), int))
    (tmp_path / "bad.json").write_text('{"fc0": [4, 3], "fc1": [1, 1]}')
    (tmp_path / "zero.json").write_text('{"fc0": [0, 1], "fc1": [1, 1]}')
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("")
    before = set(tmp_path.rglob("*"))
    ended = hwgen(*words)
    assert ended.code == code
    shown = " ".join(ended.err.split())
    assert shown.count("error: ") == 1
    assert message in shown.split("error: ")[1]
    assert "Traceback" not in ended.err + ended.out
    assert set(tmp_path.rglob("*")) == before


def test_codes_of_another_range(hwgen, tmp_path: Path, model: Graph) -> None:  # type: ignore[no-untyped-def]
    np.save(tmp_path / "x.npy", np.full((2, 8), Int(4, is_signed=False).max + 1))
    ended = hwgen("run", "graph.json", "x.npy", "-o", "y.npy")
    assert ended.code == 1
    assert "codes 16..16 leave the range 0..15 of uint4" in ended.err
    assert not (tmp_path / "y.npy").exists()


def test_interrupts_end_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    from hwgen import console

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        console.guarded(interrupted)
    assert ended.value.code == 130


def test_the_command_line_imports_little() -> None:
    """`hwgen --help` must not pull in arrays, graphs or torch."""
    import subprocess

    heavy = ("numpy", "onnx", "torch", "amaranth", "pydantic")
    code = f"import sys, hwgen.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_compiling_a_qonnx_file_needs_no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor an executor of ONNX, nor matplotlib."""
    import subprocess

    from tests.test_docs import tiny_qonnx

    monkeypatch.chdir(tmp_path)
    tiny_qonnx()
    heavy = ("torch", "brevitas", "onnxruntime", "qonnx", "matplotlib", "sklearn")
    code = f"""
import sys
sys.argv = ["hwgen", "compile", "model.onnx", "-o", "out"]
from hwgen import cli
try:
    cli.main()
except SystemExit as end:
    assert not end.code, end.code
print([m for m in {heavy} if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
