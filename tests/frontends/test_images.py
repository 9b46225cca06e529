"""Convolutional networks from Brevitas and QONNX, frozen, against the forward pass."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from brevitas import nn as qnn
    from brevitas.export import export_qonnx
    from brevitas.quant import SignedBinaryActPerTensorConst
    from torch import nn

    from hwgen import golden, quant
    from hwgen.errors import UnsupportedError
    from hwgen.frontends import qonnx
    from hwgen.frontends.brevitas import from_brevitas
    from hwgen.ir import Graph
    from hwgen.ops import Quantize
    from hwgen.passes import explain, freeze

INT4 = {"weight": {"weight_bit_width": 4}, "act": {"bit_width": 4}}
E3M2 = {"weight": {"weight_quant": quant.E3M2Weight}, "act": {"act_quant": quant.E3M2Act}}
MXFP4 = {"weight": {"weight_quant": quant.MXFP4Weight}, "act": {"act_quant": quant.MXFP4Act}}
BIPOLAR = {
    "weight": {"weight_bit_width": 1, "weight_quant_type": "binary", "weight_scaling_impl_type": "const",
               "weight_scaling_init": 0.1},
    "act": {"bit_width": 3},
}  # fmt: skip


def conv(f: Any, *args: Any, **kwargs: Any) -> Any:
    return qnn.QuantConv2d(*args, **{"bias": False, **kwargs, **f["weight"]})


def linear(f: Any, *args: Any) -> Any:
    return qnn.QuantLinear(*args, bias=False, **f["weight"])


def relu(f: Any) -> Any:
    return qnn.QuantReLU(**f["act"])


def pooled(f: Any) -> list[Any]:
    return [
        qnn.QuantIdentity(**f["act"]), conv(f, 3, 6, 3, padding=1), nn.BatchNorm2d(6), relu(f), nn.MaxPool2d(2),
        conv(f, 6, 8, (3, 2), stride=(1, 2)), nn.BatchNorm2d(8), relu(f), nn.Flatten(), linear(f, 8 * 2 * 2, 5),
    ]  # fmt: skip


def averaged(f: Any) -> list[Any]:
    return [
        qnn.QuantIdentity(**f["act"]), conv(f, 3, 6, 3, dilation=2, bias=True), relu(f), nn.AvgPool2d(2),
        qnn.QuantIdentity(**f["act"]), conv(f, 6, 6, 1), nn.BatchNorm2d(6), relu(f), nn.AdaptiveAvgPool2d(1),
        qnn.QuantIdentity(**f["act"]), nn.Flatten(), linear(f, 6, 5),
    ]  # fmt: skip


def pool_first(f: Any) -> list[Any]:
    """The maximum of real numbers, behind batch norms that fall in some channels."""
    return [
        qnn.QuantIdentity(**f["act"]), conv(f, 3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2, padding=1),
        qnn.QuantIdentity(**f["act"]), conv(f, 32, 32, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(3),
        qnn.QuantIdentity(**f["act"]), nn.Flatten(), linear(f, 32, 5),
    ]  # fmt: skip


def grouped(f: Any) -> list[Any]:
    return [
        qnn.QuantIdentity(**f["act"]), conv(f, 3, 6, 3, groups=3, stride=2), nn.BatchNorm2d(6), relu(f),
        conv(f, 6, 4, 1), nn.BatchNorm2d(4), relu(f), nn.Flatten(), linear(f, 4 * 9, 5),
    ]  # fmt: skip


NETWORKS = {
    "int4 pooled": (pooled, INT4),
    "int4 averaged": (averaged, INT4),
    "int4 pool first": (pool_first, INT4),
    "int4 groups": (grouped, INT4),
    "bipolar weights": (pooled, BIPOLAR),
    "e3m2 pooled": (pooled, E3M2),
    "e3m2 pool first": (pool_first, E3M2),
    "mxfp4 pool first": (pool_first, MXFP4),
}


def settled(layers: list[Any], shape: tuple[int, ...]) -> nn.Sequential:
    torch.manual_seed(3)
    module = nn.Sequential(*layers).train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            module(torch.randn(32, *shape))
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.4, 1.5)
            nn.init.uniform_(part.bias, -0.3, 0.3)
            with torch.no_grad():
                part.weight[::3] *= -1
    return module.eval()


def check(module: nn.Sequential, imported: Graph, x: Any) -> Graph:
    seen: dict[str, Any] = {}
    hooks = [
        layer.register_forward_hook(
            lambda _m, _i, out, name=name: seen.update({name: np.asarray(getattr(out, "value", out))})
        )
        for name, layer in module.named_children()
    ]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()
    frozen = freeze(imported)
    codes = golden.trace(frozen, golden.encode(frozen, x.numpy()))
    quantizers = [node for node in imported.nodes if isinstance(node.op, Quantize)]
    layers = [name for name, layer in module.named_children() if hasattr(layer, "act_quant")]
    last = list(seen)[-1]
    logits = seen[last].reshape(len(x), -1)
    oracle = {}
    for node, name in zip(quantizers, layers, strict=True):
        value = seen[name]
        oracle[node.output] = np.moveaxis(value, 1, -1) if value.ndim > 2 else value
    found = explain(imported, frozen, x.numpy(), codes, oracle)
    assert not found.unexplained
    assert len(found.differing) <= len(x) // 8
    same = np.setdiff1d(np.arange(len(x)), found.differing)
    got = golden.predict(frozen, x.numpy()).reshape(len(x), -1)
    np.testing.assert_allclose(got[same], logits[same], 1e-4, 1e-4)
    return frozen


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_equal_the_forward_pass(name: str) -> None:
    make, formats = NETWORKS[name]
    module = settled(make(formats), (3, 8, 8))
    x = torch.randn(40, 3, 8, 8)
    check(module, from_brevitas(module, torch.cat([x, 1.5 * x])), x)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["int4 pooled", "int4 averaged", "int4 groups"])
def test_networks_equal_their_export(name: str, tmp_path: Path) -> None:
    make, formats = NETWORKS[name]
    module = settled(make(formats), (3, 8, 8))
    x = torch.randn(40, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_qonnx(module, x[:1], str(tmp_path / "m.onnx"))
    exported = freeze(qonnx.load(tmp_path / "m.onnx"))
    np.testing.assert_array_equal(
        golden.run(exported, x.numpy()), golden.run(freeze(from_brevitas(module, x)), x.numpy())
    )


def refused(layers: list[Any], message: str, shape: tuple[int, ...] = (3, 8, 8)) -> None:
    module = nn.Sequential(*layers).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UnsupportedError, match=message):
            freeze(from_brevitas(module, torch.rand(2, *shape)))


def test_what_images_cannot_be_is_refused() -> None:
    act = qnn.QuantIdentity(bit_width=4)
    refused([act, conv(INT4, 3, 4, 3, padding="same")], "padding 'same' of mode 'zeros' is not supported")
    refused([act, nn.MaxPool2d(2, ceil_mode=True)], "ceil_mode is not supported")
    refused([act, nn.AvgPool2d(2, padding=1)], "a mean over padded images is not supported")
    hollow = nn.MaxPool2d(2, stride=1, padding=1, dilation=3)
    refused([act, hollow], r"padding \(1, 1, 1, 1\) .* makes windows of 2x2 that hold no pixel", (3, 2, 2))
    refused([act, nn.AdaptiveAvgPool2d(2)], "an output of 2 is not supported; 1 is")
    flat = [act, conv(INT4, 3, 4, 3), nn.Flatten(), qnn.QuantIdentity(bit_width=4)]
    refused(flat, "it gives a flattened image with no weights behind that could take its order")
    sign = qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst)
    refused([sign, conv(INT4, 3, 4, 3, padding=1)], "it pads with zeros, which bipolar codes have none for")
    blocks = [qnn.QuantIdentity(**MXFP4["act"]), conv(MXFP4, 3, 32, 3), nn.Flatten(), linear(MXFP4, 32 * 36, 5)]
    refused(blocks, "it depends on the order of a flattened image, which is streamed pixel by pixel")
