"""`hwgen quantize`: a float network from a file, quantized without training, as hardware reads it."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from torch import nn

    from hwgen import cli, golden, inputs, posttrain
    from hwgen.errors import HwgenError, UnsupportedError
    from hwgen.quant import data


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.pt, trained for a moment, and digits.npz."""
    folder = tmp_path_factory.mktemp("posttrain")
    digits = data.load("digits")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    x, y = torch.from_numpy(digits.x_train.reshape(len(digits.x_train), -1)), torch.from_numpy(digits.y_train)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    torch.save(net, folder / "net.pt")
    torch.save(net.state_dict(), folder / "state.pt")
    (folder / "broken.pt").write_bytes(b"no pickle")
    np.savez(folder / "digits.npz", x=digits.x_test.reshape(len(digits.x_test), -1), y=digits.y_test)
    np.savez(folder / "other.npz", x=np.ones((4, 7)))
    return folder


@pytest.mark.parametrize(("weight", "method"), [("e3m2", "round"), ("int8", "gptq"), ("mxint8", "round")])
def test_a_quantized_network_is_what_hardware_computes(weight: str, method: str, files: Path, tmp_path: Path) -> None:
    found = posttrain.quantize_file(
        str(files / "net.pt"), weight, weight, files / "digits.npz", tmp_path / "out", method, equalize=True
    )
    assert found["float_accuracy"] > 0.9
    assert found["quantized_accuracy"] > found["float_accuracy"] - 0.03
    graph, stored = inputs.read_model(Path(found["graph"])), inputs.read_data(None, Path(found["graph"]))
    assert stored is not None
    assert stored.logits is not None
    same = golden.predict(graph, stored.x).argmax(1) == stored.logits.argmax(1)
    assert same.all(), same.sum()


def test_the_command(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["hwgen", "quantize", str(files / "net.pt"), "--to", "e3m2", "--calib", str(files / "digits.npz")]
    for more in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", [*words, *more])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        shown = capsys.readouterr().out
        assert json.loads(shown)["weight"] == "e3m2" if more else "network and data: build/net-e3m2" in shown
    assert Path("build/net-e3m2/net-e3m2.npz").is_file()


def test_what_cannot_be_quantized_is_refused(files: Path, tmp_path: Path) -> None:
    calib, net = files / "digits.npz", str(files / "net.pt")
    with pytest.raises(HwgenError, match="unknown method 'guess': one of round, gptq"):
        posttrain.quantize_file(net, "int8", "int8", calib, tmp_path, "guess")
    with pytest.raises(HwgenError, match=r"cannot read .*none.pt: No such file"):
        posttrain.quantize_file(str(files / "none.pt"), "int8", "int8", calib, tmp_path)
    with pytest.raises(HwgenError, match=r"broken.pt holds no module that can be read here"):
        posttrain.quantize_file(str(files / "broken.pt"), "int8", "int8", calib, tmp_path)
    with pytest.raises(HwgenError, match=r"state.pt holds a OrderedDict; a whole module is needed"):
        posttrain.quantize_file(str(files / "state.pt"), "int8", "int8", calib, tmp_path)
    with pytest.raises(HwgenError, match=r"net.pt, on .*other.npz, does not run on frames of shape \(7,\)"):
        posttrain.quantize_file(net, "int8", "int8", files / "other.npz", tmp_path)
    np.savez(tmp_path / "nan.npz", x=np.where(np.arange(192).reshape(3, 64) == 130, np.nan, 0.0))
    with pytest.raises(HwgenError, match=r"frame 2 of .*nan.npz holds NaN or infinity"):
        posttrain.quantize_file(net, "int8", "int8", tmp_path / "nan.npz", tmp_path)
    with pytest.raises(UnsupportedError, match="its weights have 32 bits; at most 16 are supported"):
        posttrain.quantize_file(net, "fp32", "fp32", calib, tmp_path / "empty")
    assert not (tmp_path / "empty").exists()
