"""`hwgen import`: a Brevitas module from a Python file, as files that the other commands read."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from torch import nn

    from hwgen import cli, golden, inputs, modules
    from hwgen.errors import HwgenError, UnsupportedError
    from hwgen.passes import freeze
    from hwgen.report import evaluate

RECIPE = """
import numpy as np
from brevitas import nn as qnn
from brevitas.quant import Int8ActPerTensorFloat, TruncTo8bit, Uint8ActPerTensorFloat
from torch import nn

x = np.random.default_rng(0).random((20, 5), dtype=np.float32)

def small():
    first = qnn.QuantIdentity(act_quant=Uint8ActPerTensorFloat, bit_width=4, return_quant_tensor=True)
    module = nn.Sequential(first, qnn.QuantLinear(5, 3, bias=False, weight_bit_width=4))
    module.train()
    module(__import__("torch").from_numpy(x))
    return module, x, np.arange(20) % 3

def image():
    act = {"act_quant": Uint8ActPerTensorFloat, "bit_width": 4, "return_quant_tensor": True}
    layers = [qnn.QuantConv2d(2, 3, 2, bias=False, weight_bit_width=4), nn.BatchNorm2d(3), qnn.QuantReLU(**act)]
    module = nn.Sequential(qnn.QuantIdentity(**act), *layers, qnn.QuantConv2d(3, 2, 2, bias=False, weight_bit_width=4))
    pixels = np.random.default_rng(0).random((6, 2, 5, 4), dtype=np.float32)
    module.train()
    module(__import__("torch").from_numpy(pixels))
    return module, pixels

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        act = {"act_quant": Int8ActPerTensorFloat, "bit_width": 4, "return_quant_tensor": True}
        self.first, self.shared, self.last = (qnn.QuantIdentity(**act) for _ in range(3))
        self.fc = qnn.QuantLinear(5, 5, bias=False, weight_bit_width=4)

    def forward(self, x):
        x = self.first(x)
        return self.last(self.shared(self.fc(x)) + self.shared(x))

def residual():
    module = Residual().train()
    module(__import__("torch").from_numpy(x))
    return module, x

def mean():
    act = {"act_quant": Uint8ActPerTensorFloat, "bit_width": 4, "return_quant_tensor": True}
    pool = qnn.TruncAvgPool2d(2, trunc_quant=TruncTo8bit, bit_width=4, float_to_int_impl_type="FLOOR")
    last = qnn.QuantConv2d(2, 2, 1, bias=False, weight_bit_width=4)
    pixels = np.random.default_rng(0).random((6, 2, 4, 4), dtype=np.float32)
    module = nn.Sequential(qnn.QuantIdentity(**act), pool, last).train()
    module(__import__("torch").from_numpy(pixels))
    return module, pixels

def other():
    return nn.Sequential(nn.Softsign()), x

def ends():
    return None

def bare():
    return nn.Linear(5, 3), "x", 1, 2

def uneven():
    return nn.Linear(5, 3), x, np.arange(7)

def narrow():
    return nn.Linear(4, 3), x

def codes():
    return nn.Linear(5, 3), np.ones((4, 5), dtype=np.int64)

NAME = "no function"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(RECIPE)
    return tmp_path / "nets.py"


def test_the_command_writes_what_the_others_read(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(modules, "write_qonnx", lambda path, module, one: None)  # which has tests of its own
    monkeypatch.setattr(sys, "argv", ["hwgen", "import", "nets.py:small", "-n", "12", "-o", "out"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    shown = capsys.readouterr().out
    assert "network: out/small.graph.json" in shown
    assert "frames: 12 in out/small.npz" in shown
    assert "network in QONNX: out/small.onnx" in shown
    graph, stored = inputs.read_model(Path("out/small.graph.json")), inputs.read_data(None, Path("out/small.onnx"))
    assert stored is not None
    assert stored.y is not None
    assert stored.logits is not None
    assert len(stored.quantized) == 1
    np.testing.assert_allclose(golden.predict(graph, stored.x), stored.logits, 1e-5, 1e-6)


@pytest.mark.parametrize(("name", "codes"), [("image", (40, 36, 12)), ("mean", (32, 8))])
def test_images_are_compared_channel_by_channel(
    recipe: Path, tmp_path: Path, name: str, codes: tuple[int, ...]
) -> None:
    path = modules.write_network(tmp_path, modules.read_source(f"{recipe}:{name}")).graph
    imported, stored = inputs.read_imported(path), inputs.read_data(None, path)
    assert imported is not None
    assert stored is not None
    assert stored.logits is not None
    rows = evaluate.differences(imported, freeze(imported), stored.x, stored.quantized, stored.logits)
    assert [(row["compared"], row["different"]) for row in rows] == [(6 * count, 0) for count in codes]


def test_a_quantizer_of_two_branches_is_compared_at_both(recipe: Path, tmp_path: Path) -> None:
    path = modules.write_network(tmp_path, modules.read_source(f"{recipe}:residual")).graph
    imported, stored = inputs.read_imported(path), inputs.read_data(None, path)
    assert imported is not None
    assert stored is not None
    assert stored.logits is not None
    assert [array.shape for array in stored.quantized] == [(20, 5)] * 4
    rows = evaluate.differences(imported, freeze(imported), stored.x, stored.quantized, stored.logits)
    assert len(rows) >= 3
    assert [row["different"] - row["ties"] for row in rows] == [0] * len(rows)


def test_frames_of_a_file_take_the_place_of_the_modules_own(recipe: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=np.ones((3, 5)))
    source = modules.read_source(f"{recipe}:small", tmp_path / "mine.npz")
    assert (len(source.x), source.y, len(source.example)) == (3, None, 20)
    torch.save(nn.Linear(5, 3), tmp_path / "net.pt")
    source = modules.read_source(str(tmp_path / "net.pt"), tmp_path / "mine.npz")
    assert (source.name, len(source.example)) == ("net", 3)


def test_a_network_of_the_zoo_brings_held_out_images() -> None:
    source = modules.read_source("digits-mlp")
    assert source.x.shape == (360, 64)
    assert source.y is not None
    assert (modules.outputs(source.module, source.x, "digits-mlp").argmax(axis=1) == source.y).mean() > 0.95


def test_what_cannot_be_imported_is_refused(recipe: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "nan.npz", x=np.where(np.arange(15).reshape(3, 5) == 7, np.nan, 0.0))
    np.save(tmp_path / "flat.npy", np.ones(5))
    np.save(tmp_path / "good.npy", np.ones((2, 5)))
    torch.save(nn.Linear(5, 3), tmp_path / "net.pt")
    for place, frames, message in (
        ("none.py:small", None, r"none.py: there is no such file"),
        ("nets.py", None, r"nets.py: name the function that gives the module, as in .*nets.py:FUNCTION"),
        ("nets.py:NAME", None, r"nets.py has no function 'NAME'"),
        ("nets.py:ends", None, r"ends\(\) of .*nets.py gives \(module, x\) or \(module, x, y\), not NoneType"),
        ("nets.py:bare", None, r"not \(Linear, str, int, int\)"),
        ("nets.py:uneven", None, r"uneven\(\) of .*nets.py: x has 20 frames and y has 7"),
        ("nets.py:codes", None, r"frames are real numbers of shape \(frames, \*shape\), not int64 of \(4, 5\)"),
        ("nets.py:narrow", None, r"narrow does not run on frames of shape \(5,\)"),
        ("nets.py:small", "nan.npz", r"frame 1 of .*nan.npz holds NaN or infinity"),
        ("nets.py:small", "flat.npy", r"frames are real numbers of shape \(frames, \*shape\), not float64 of \(5,\)"),
        ("net.pt", None, r"net.pt brings no frames of its own: give real ones with --input"),
        ("nothing", "good.npy", r"nothing is neither one of tfc-w2a2, .* nor the folder of one trained network"),
    ):
        with pytest.raises(HwgenError, match=message):
            modules.import_module(str(tmp_path / place), tmp_path / frames if frames else None, out=tmp_path / "out")
    with pytest.raises(UnsupportedError, match="Softsign"):
        modules.import_module(f"{recipe}:other", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
