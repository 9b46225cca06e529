"""Networks in the formats of this package as QONNX files: what is read back is what was trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from torch import nn

import hwgen.quant as quant
from hwgen import golden, passes
from hwgen.frontends import brevitas, qonnx
from hwgen.quant.qonnx import write_qonnx


def layer(inputs: int, outputs: int, weight: str, **options: object) -> qnn.QuantLinear:
    return qnn.QuantLinear(inputs, outputs, bias=True, weight_quant=quant.weight_quantizer(weight, **options))


def act(name: str, unsigned: bool = False) -> dict[str, object]:
    return {"act_quant": quant.activation_quantizer(name, unsigned=unsigned)}


@pytest.mark.slow
def test_what_is_read_back_is_the_module(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        qnn.QuantIdentity(**act("e4m3")),
        layer(12, 10, "e3m2", per_channel=True, scaling="learned", power_of_two=False),
        nn.BatchNorm1d(10),
        qnn.QuantReLU(**act("e5m2")),
        layer(10, 8, "e2m1"),
        qnn.QuantReLU(**act("qfx8", unsigned=True)),
        layer(8, 8, "khot2"),
        qnn.QuantIdentity(**act("fixed<8,4>")),
        layer(8, 8, "qfx4"),
        qnn.QuantIdentity(**act("int4")),
        layer(8, 8, "bipolar"),
        qnn.QuantIdentity(**act("dfp16")),
        layer(8, 5, "int8"),
    )
    x = torch.randn(64, 12)
    for _ in range(35):
        model(x)
    model.eval()
    assert write_qonnx(tmp_path / "m.onnx", model, x[:1]) is None
    graphs = [passes.freeze(g) for g in (qonnx.load(tmp_path / "m.onnx"), brevitas.from_brevitas(model, x))]
    codes = [golden.run(graph, x.numpy()) for graph in graphs]
    assert np.array_equal(*codes)
    assert np.unique(codes[0]).size > 20
    with torch.no_grad():
        assert np.allclose(golden.predict(graphs[0], x.numpy()), model(x).numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("weight", "activation", "options", "reason"),
    [
        ("mxfp4", "mxfp4", {}, r"quantizer '0.input_quant' has the format mxfp4"),
        ("e3m0", "e3m2", {}, r"quantizer '0.weight_quant' has the format e3m0"),
        (
            "dfp16",
            "dfp16",
            {"activation_options": {"exponent": "dynamic"}},
            r"quantizer '0.input_quant' has the format",
        ),
        ("e4m3", "e4m3", {"multiplier": "lmul"}, r"layer '0' multiplies by lmul"),
        (None, None, {}, r"its layers are not quantized"),
    ],
)
def test_what_qonnx_has_no_word_for(
    weight: str, activation: str, options: dict[str, object], reason: str, tmp_path: Path
) -> None:
    model = quant.quantize(nn.Sequential(nn.Linear(4, 3)), weight, activation, **options)
    model(torch.rand(2, 4))
    path = tmp_path / "m.onnx"
    path.write_bytes(b"of an earlier run")
    found = write_qonnx(path, model.eval(), torch.rand(1, 4))
    assert found is not None
    assert found.startswith(reason)
    assert not path.exists()


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act = qnn.QuantIdentity(act_quant=quant.Int8ActPerTensorFloat)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(x) if float(x.sum()) > 0 else x


@pytest.mark.slow
def test_what_the_export_stumbles_over_is_the_reason(tmp_path: Path) -> None:
    model = Odd()
    model(torch.rand(2, 4))
    found = write_qonnx(tmp_path / "m.onnx", model.eval(), torch.rand(1, 4))
    assert found is None or found.startswith("Brevitas does not export it: ")
