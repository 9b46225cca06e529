"""The whole path on real images: train, import, freeze, compile, verify, simulate the board, make bitstreams, report.

One network is trained once for all of these tests, by the command that users type.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hwgen
from hwgen import inputs, passes, report, runtime
from hwgen.errors import ToolMissingError
from hwgen.frontends import qonnx
from hwgen.passes.ties import explain
from hwgen.quant.train import load_recipe
from tests.oracles.qonnx_executor import execute

pytestmark = pytest.mark.slow
RECIPE = Path(__file__).parents[2] / "examples" / "digits_mlp.py"


def command(*words: str | Path) -> str:
    """What `hwgen WORDS` prints; it must succeed."""
    done = subprocess.run([sys.executable, "-m", "hwgen.cli", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("digits")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    trained = json.loads(command("train", RECIPE, "-o", folder / "net", "--json"))
    assert trained["total"] == 360
    assert trained["accuracy"] >= 0.95
    return folder / "net" / "digits.onnx"


@pytest.fixture(scope="module")
def accelerator(model: Path, folder: Path) -> hwgen.Accelerator:
    return hwgen.compile(hwgen.load(model), board="ulx3s", root=folder / "build")


def test_the_hls4ml_project_gives_the_golden_codes_on_every_image(model: Path, folder: Path) -> None:
    checked = json.loads(command("verify", model, "--backend", "hls4ml", "--build", folder / "build", "--json"))
    assert (checked["exact"], checked["frames"]) == (True, 360)


def test_the_float_network_and_the_executor_agree_on_every_image(model: Path) -> None:
    imported, data = qonnx.load(model), inputs.read_data(None, model)
    frozen = passes.freeze(imported)
    assert data is not None
    assert data.logits is not None
    codes = hwgen.golden.trace(frozen, data.x)
    found = explain(imported, frozen, data.x, codes, execute(model, data.x))
    assert not found.unexplained
    assert len(found.differing) == len({tie.frame for tie in found.ties})
    real = hwgen.golden.predict(frozen, data.x)
    same = [frame for frame in range(len(real)) if frame not in found.differing]
    assert np.allclose(real[same], data.logits[same], atol=1e-4)
    assert (real.argmax(axis=1) == data.y).mean() >= 0.95


def test_training_again_gives_the_same_network(model: Path, folder: Path) -> None:
    command("train", RECIPE, "-o", folder / "again", "--epochs", "2")
    command("train", RECIPE, "-o", folder / "twice", "--epochs", "2")
    assert hwgen.load(folder / "again" / "digits.onnx").hash == hwgen.load(folder / "twice" / "digits.onnx").hash


def test_the_module_itself_gives_the_same_accelerator(model: Path, folder: Path) -> None:
    import torch

    recipe = load_recipe(RECIPE)
    torch.manual_seed(3)
    module = recipe.model().eval()
    data = recipe.data()
    graph = hwgen.from_brevitas(module, torch.from_numpy(data.x_test[:1]))
    with torch.no_grad():
        logits = module(torch.from_numpy(data.x_test)).numpy()
    assert np.allclose(hwgen.golden.predict(graph, data.x_test), logits, atol=1e-4)


def test_verify_proves_all_held_out_images(model: Path, folder: Path) -> None:
    checked = json.loads(command("verify", model, "--build", folder / "build", "--uart", "5", "--json"))
    proof = checked["verify"]
    assert proof["bit_exact"]
    assert proof["frames"] == 360
    assert any(run["stall_in"] and run["stall_out"] for run in proof["runs"])
    assert len(proof["beats"]) == 5
    assert checked["board"]["frames"] == 5
    rows = {row["name"]: row["correct"] for row in checked["accuracy"]}
    assert rows["golden"] == rows["simulated RTL"] >= 342
    assert all(row["different"] == row["ties"] for row in checked["differences"])


def test_simulate_and_the_simulated_board_give_golden_codes(accelerator: hwgen.Accelerator) -> None:
    codes = accelerator.inputs(frames=20, seed=9)
    want = hwgen.golden.run(accelerator.graph, codes)
    assert np.array_equal(accelerator.simulate(codes), want)
    with runtime.connect(f"sim:{accelerator.board_simulation()}") as device:
        assert np.array_equal(device.run(codes), want)


def test_an_emitted_bench_runs_alone(model: Path, folder: Path) -> None:
    command("compile", model, "-o", folder / "out", "--frames", "8")
    path = {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(
        ["make", "-C", folder / "out" / "bench", "sim"],
        capture_output=True,
        text=True,
        env={**path, "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_open_board_gets_a_bitstream_and_a_report(
    accelerator: hwgen.Accelerator, model: Path, folder: Path
) -> None:
    built = json.loads(command("bitstream", model, "--build", folder / "build", "--json"))
    assert built["timing_met"]
    assert built["resources"]["lut"]["source"] == "route"
    bitstream = accelerator.bitstream_file()
    assert bitstream.stat().st_size > 10_000
    again = json.loads(command("bitstream", model, "--build", folder / "build", "--json"))
    assert set(again["reused"]) == {"synthesis", "route", "bitstream"}
    shown = json.loads(command("report", model, "--build", folder / "build", "--json"))
    assert shown["timing"]["fmax"]["source"] == "route"
    assert shown["timing"]["latency"]["source"] == "simulation"
    assert report.Report.read(accelerator.folder).bit_exactness.text() == "bit-exact: 360/360 frames"  # type: ignore[union-attr]
    page = (accelerator.folder / "report.html").read_text()
    assert "bit-exact: 360/360 frames" in page
    assert "<svg" in page


def test_ultra96_ends_with_one_message_that_names_the_next_command(model: Path, folder: Path) -> None:
    accelerator = hwgen.compile(hwgen.load(model), board="ultra96", root=folder / "build")
    with pytest.raises(ToolMissingError, match=r"(?s)vivado.*-mode batch"):
        accelerator.build()
    assert any(accelerator.folder.rglob("build.tcl"))
    known = json.loads(command("report", model, "--board", "ultra96", "--build", folder / "build", "--json"))
    assert known["timing"]["fmax"]["value"] is None
    assert {row["used"]["source"] for row in known["resources"]} == {"synthesis"}
