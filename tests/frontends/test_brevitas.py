"""The Brevitas importer against the module's own forward pass, and against its QONNX export."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Bipolar
from hwgen.frontends.brevitas import from_brevitas
from hwgen.frontends.qonnx import load
from hwgen.ir import Graph, Node, Value
from hwgen.ops import MatVec
from hwgen.passes import explain, freeze

torch = pytest.importorskip("torch")
qnn = pytest.importorskip("brevitas.nn")
pytestmark = pytest.mark.slow

from brevitas import quant as bq  # noqa: E402
from brevitas.inject.enum import FloatToIntImplType  # noqa: E402
from brevitas.proxy.runtime_quant import DynamicActQuantProxyFromInjector  # noqa: E402
from brevitas.quant.mx_quant_ocp import MXInt8Weight  # noqa: E402
from torch import nn  # noqa: E402


def settled(module: Any, shape: tuple[int, ...] = (12,), seed: int = 0) -> Any:
    """The module with random statistics and scales, in eval mode."""
    torch.manual_seed(seed)
    module.train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            module(torch.rand(64, *shape) * 2 - 0.5)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d) and part.affine:
            nn.init.uniform_(part.weight, -1.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    return module.eval()


def canonical(graph: Graph) -> Graph:
    """The graph with every name replaced by a number."""
    names = {graph.inputs[0].name: "t"}
    nodes = []
    for i, node in enumerate(graph.nodes):
        names[node.output] = f"t{i}"
        nodes.append(Node(f"n{i}", node.op, tuple(names[t] for t in node.inputs), f"t{i}"))
    inputs = (Value("t", graph.inputs[0].type),)
    return replace(graph, name="g", inputs=inputs, nodes=tuple(nodes), outputs=(names[graph.outputs[0]],))


def activations(module: Any, x: Any) -> tuple[dict[str, Any], Any]:
    """What every activation quantizer gives, by the names that the importer uses, and the output."""
    seen: dict[str, Any] = {}

    def hook(name: str) -> Any:
        def keep(proxy: Any, inputs: Any, output: Any) -> None:
            seen[name] = getattr(output, "value", output).detach().numpy()

        return keep

    hooks = []
    for name, part in module.named_modules():
        if hasattr(part, "act_quant"):
            hooks.append(part.act_quant.register_forward_hook(hook(name)))
        for side in ("input", "output"):
            if isinstance(part, qnn.QuantLinear):
                hooks.append(getattr(part, f"{side}_quant").register_forward_hook(hook(f"{name}.{side}")))
    with torch.no_grad():
        output = module(x)
    for handle in hooks:
        handle.remove()
    return seen, getattr(output, "value", output).numpy()


def check(module: Any, shape: tuple[int, ...] = (12,), frames: int = 300) -> Graph:
    """Import, freeze, run: equal codes or proven ties at every activation, and equal outputs elsewhere."""
    imported = from_brevitas(module, torch.rand(2, *shape))
    frozen = freeze(imported)
    x = torch.rand(frames, *shape) * 2.4 - 0.7
    seen, output = activations(module, x)
    comparison = explain(imported, frozen, x.numpy(), golden.trace(frozen, golden.encode(frozen, x.numpy())), seen)
    assert not comparison.unexplained
    assert len(comparison.differing) < frames / 10
    same = np.setdiff1d(np.arange(frames), comparison.differing)
    mine = golden.predict(frozen, x.numpy())
    np.testing.assert_allclose(mine[same].reshape(len(same), -1), output[same].reshape(len(same), -1), 1e-4, 1e-4)
    return frozen


def exported(module: Any, path: Path, shape: tuple[int, ...] = (12,)) -> Graph:
    from brevitas.export import export_qonnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_qonnx(module, torch.rand(1, *shape), export_path=str(path / "net.onnx"))
    return load(path / "net.onnx")


def mlp(bits: int = 4, bias: Any = None, norm: bool = False, per_channel: bool = False, **quant: Any) -> Any:
    act = {"act_quant": quant.get("act", bq.Uint8ActPerTensorFloat), "bit_width": bits, "return_quant_tensor": True}
    weight = {"weight_quant": quant.get("weight", bq.Int8WeightPerTensorFloat)}
    if quant.get("weight_bits", bits) > 1:
        weight["weight_bit_width"] = quant.get("weight_bits", bits)
    if per_channel:
        weight["weight_scaling_per_output_channel"] = True
    layers: list[Any] = [qnn.QuantIdentity(**act)]
    for inner, out in ((12, 10), (10, 8)):
        layers.append(qnn.QuantLinear(inner, out, bias=True, bias_quant=bias, **weight))
        layers += [nn.BatchNorm1d(out)] if norm else []
        layers.append(quant.get("layer", qnn.QuantReLU)(**act))
    return nn.Sequential(*layers, qnn.QuantLinear(8, 5, bias=True, bias_quant=bias, **weight))


MODELS: dict[str, dict[str, Any]] = {
    "2 bits": {"bits": 2},
    "4 bits, quantized bias": {"bias": bq.Int32Bias},
    "8 bits, internal bias scale": {"bits": 8, "bias": bq.Int8BiasPerTensorFloatInternalScaling},
    "batch norm": {"norm": True},
    "per channel": {"per_channel": True, "norm": True},
    "signed": {"act": bq.Int8ActPerTensorFloat, "layer": qnn.QuantIdentity},
    "power of two": {"act": bq.Uint8ActPerTensorFixedPoint, "weight": bq.Int8WeightPerTensorFixedPoint},
    "zero points": {
        "act": bq.ShiftedUint8ActPerTensorFloat,
        "weight": bq.ShiftedUint8WeightPerTensorFloat,
        "layer": qnn.QuantIdentity,
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_perceptrons_equal_forward_and_export(name: str, tmp_path: Path) -> None:
    module = settled(mlp(**MODELS[name]))
    frozen = check(module)
    assert canonical(frozen).hash == canonical(freeze(exported(module, tmp_path))).hash


def test_binary_networks(tmp_path: Path) -> None:
    act = {"act_quant": bq.SignedBinaryActPerTensorConst}
    weight = {"weight_quant": bq.SignedBinaryWeightPerTensorConst, "bias": False}
    module = settled(
        nn.Sequential(
            qnn.QuantIdentity(**act),
            qnn.QuantLinear(12, 9, **weight),
            nn.BatchNorm1d(9),
            qnn.QuantIdentity(**act),
            qnn.QuantLinear(9, 4, **weight),
        )
    )
    frozen = check(module)
    assert isinstance(frozen.nodes[0].op, MatVec)
    assert (frozen.input_type.format, frozen.nodes[0].op.weight_format) == (Bipolar(), Bipolar())
    assert canonical(frozen).hash == canonical(freeze(exported(module, tmp_path))).hash


class Users(nn.Module):  # type: ignore[misc]
    """A forward as people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.inp = qnn.QuantIdentity(bit_width=5, return_quant_tensor=True)
        self.fc1 = qnn.QuantLinear(12, 8, bias=True, weight_bit_width=4, output_quant=bq.Int8ActPerTensorFloat)
        self.act = qnn.QuantHardTanh(bit_width=4, min_val=-1.0, max_val=1.0, return_quant_tensor=True)
        self.drop = nn.Dropout(0.5)
        self.fc2 = qnn.QuantLinear(8, 5, bias=False, weight_bit_width=3)
        self.register_buffer("shift", torch.tensor([0.25]))

    def forward(self, x: Any) -> Any:
        x = 2.0 * x.view(x.shape[0], -1) - torch.tensor([1.0])
        x = (x + self.shift) / 1.5
        x = self.inp(x.reshape(x.size(0), 12))
        x = self.drop(self.act(self.fc1(x)))
        return torch.softmax(self.fc2(x), dim=1)


def test_a_forward_as_people_write_them(tmp_path: Path) -> None:
    module = settled(Users(), (3, 4))
    frozen = check(module, (3, 4))
    assert [op.kind for op in frozen.post] == ["Softmax"]
    assert [node.name for node in frozen.nodes] == ["fc1", "fc1.output", "act", "fc2"]
    assert frozen.host_shape == (3, 4)
    assert canonical(frozen).hash == canonical(freeze(exported(module, tmp_path, (3, 4)))).hash


def test_functions_and_methods() -> None:
    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inp = qnn.QuantIdentity(bit_width=4, return_quant_tensor=False)
            self.fc = qnn.QuantLinear(12, 5, bias=True)
            self.out = qnn.QuantIdentity(bit_width=4)
            self.flat = nn.Sequential(nn.Flatten(), nn.Identity())

        def forward(self, x: Any) -> Any:
            x = nn.functional.dropout(self.flat(x), 0.5, self.training)
            x = torch.flatten(self.inp(x).contiguous(), start_dim=1)
            x = torch.relu(self.fc(x)).mul(0.5).sub(0.25).add(torch.ones(5)).div(2.0)
            return self.out(nn.functional.relu(1.0 - x)).argmax(dim=1)

    frozen = check(settled(Net(), (3, 4)), (3, 4))
    assert [node.op.kind for node in frozen.nodes] == ["MatVec", "Thresholds", "ArgMax"]


def test_ternary_networks_round_as_integers_do() -> None:
    act = {"act_quant": bq.SignedTernaryActPerTensorConst, "return_quant_tensor": True}
    linear = qnn.QuantLinear(12, 6, bias=True, weight_quant=bq.SignedTernaryWeightPerTensorConst)
    frozen = check(settled(nn.Sequential(qnn.QuantIdentity(**act), linear, qnn.QuantIdentity(**act))))
    assert frozen.nodes[0].op.weight_format.name == "int2n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["ROUND", "FLOOR", "CEIL", "ROUND_TO_ZERO"])
def test_rounding_modes(mode: str) -> None:
    act = {"bit_width": 3, "float_to_int_impl_type": FloatToIntImplType[mode], "return_quant_tensor": True}
    layers = (qnn.QuantIdentity(**act), qnn.QuantLinear(12, 6, bias=True), qnn.QuantIdentity(**act))
    check(settled(nn.Sequential(*layers)))


def test_the_modules_mode_is_left_alone() -> None:
    module = settled(mlp()).train()
    module[0].eval()
    from_brevitas(module, np.zeros((1, 12)))
    assert module.training
    assert not module[0].training


def layer(*layers: Any) -> Any:
    return nn.Sequential(qnn.QuantIdentity(), *layers)


class Branch(nn.Module):  # type: ignore[misc]
    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.inp, self.run = qnn.QuantIdentity(), forward

    def forward(self, x: Any) -> Any:
        return self.run(self.inp(x))


class Two(nn.Module):  # type: ignore[misc]
    def forward(self, x: Any, y: Any = None) -> Any:
        return x


def refused_operations() -> dict[str, tuple[Any, str]]:
    softsign = qnn.QuantIdentity()
    softsign.act_quant.fused_activation_quant_proxy.activation_impl = nn.Softsign()
    return {
        "no statistics": (layer(nn.BatchNorm1d(12, track_running_stats=False)), "it has no running statistics"),
        "flatten": (nn.Sequential(nn.Flatten(0)), "it flattens axes 0 to -1; only all axes behind the batch are"),
        "softmax": (layer(nn.Softmax(dim=0)), "axis 0 is not the last axis"),
        "function": (Branch(torch.sin), r"\(sin\): this operation is not supported; known: add, "),
        "products": (Branch(lambda x: x * x.view(-1, 1, 12)), "it multiplies tensors of different shapes"),
        "shapes": (Branch(lambda x: x + x.view(-1, 1, 12)), "it adds tensors of different shapes"),
        "batches": (Branch(lambda x: torch.cat([x, x])), "axis 0 is not that of the channels"),
        "quotient": (Branch(lambda x: torch.div(x, torch.relu(x) + 1.0)), r"\(div\): it reads several tensors"),
        "inverse": (
            Branch(lambda x: 1.0 / x),
            "a constant divided by the tensor, or a division by zero, is not affine",
        ),
        "options": (Branch(lambda x: torch.add(x, 1.0, alpha=2)), "it needs two operands and no options"),
        "shape": (Branch(lambda x: x.view(2, -1)), r"it reshapes frames of \[12\] to \[2, -1\], across the batch axis"),
        "dynamic": (
            qnn.QuantIdentity(proxy_class=DynamicActQuantProxyFromInjector),
            r"its scale depends on the input \(dynamic quantization\)",
        ),
        "zero points": (
            layer(qnn.QuantLinear(12, 4, bias=False, weight_quant=bq.ShiftedUint8WeightPerChannelFloat)),
            "one whole zero point for all channels is supported, not",
        ),
        "rounding": (
            qnn.QuantIdentity(float_to_int_impl_type=FloatToIntImplType.DPU),
            "unknown rounding mode 'DPU': one of ROUND",
        ),
        "activation": (softsign, "its activation function Softsign is not supported; known: ELU, GELU, Hards"),
        "computed constant": (
            Branch(lambda x: x * (x.size(1) ** 2)),
            r"\(pow\): it works on constants in a way that is not supported",
        ),
        "options of reshape": (Branch(lambda x: x.reshape(shape=(3, 12))), "its shape is not constant: dynamic shapes"),
        "attribute": (Branch(lambda x: x.T), "the attribute 'T' is not supported; known: value"),
        "second input": (Two(), r"node 'y' \(y\): a second input is not supported"),
        "tuple": (Branch(lambda x: (x, x)), "the module must return one tensor that depends on its input"),
    }


def refused_modules() -> dict[str, tuple[Any, str]]:
    nan = qnn.QuantLinear(12, 4, bias=False, weight_scaling_impl_type="const", weight_scaling_init=1.0)
    nan.weight.data[0, 0] = float("nan")
    return {
        "conv": (
            nn.Sequential(nn.Unflatten(1, (3, 4))),
            r"node '0' \(0\): layers of class Unflatten are not supported",
        ),
        "float": (
            layer(nn.Linear(12, 4)),
            r"node '1' \(1\): its weights are not quantized: use brevitas.nn.QuantLinear",
        ),
        "no weight quantizer": (
            layer(qnn.QuantLinear(12, 4, bias=False, weight_quant=None)),
            "weights are not quantized",
        ),
        "integers in blocks": (
            layer(qnn.QuantLinear(12, 4, bias=False, weight_quant=MXInt8Weight, weight_group_size=4)),
            "Brevitas' group-wise integers are not MXINT8 as OCP defines it",
        ),
        "NaN": (layer(nan), "its weights hold NaN or infinity"),
        "sigmoid": (
            layer(nn.Softsign()),
            "layers of class Softsign are not supported; known: AdaptiveAvgPool2d",
        ),
        "ternary": (
            qnn.QuantIdentity(act_quant=bq.SignedTernaryActPerTensorConst, quant_type="ternary", threshold=0.3),
            "its quantizer TernaryQuant is not one that rounds evenly spaced numbers",
        ),
        "one signed bit": (qnn.QuantIdentity(bit_width=1), "one bit is unsigned and not narrow, or binary"),
        "20 bits": (qnn.QuantIdentity(bit_width=20), "20 bits; 1 to 16 are supported"),
        **refused_operations(),
    }


def test_what_cannot_be_carried_is_refused_by_name() -> None:
    for name, (module, reason) in refused_modules().items():
        message = ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from_brevitas(module.eval(), torch.rand(3, 12))
        except UnsupportedError as error:
            message = str(error)
        assert re.search(reason, message), (name, message)


def test_modules_that_do_not_run_or_trace() -> None:
    with pytest.raises(HwgenError, match=r"Sequential does not run on an input of shape \(1, 7\): "):
        from_brevitas(settled(mlp()), torch.rand(1, 7))
    with pytest.raises(HwgenError, match=r"the example input needs a batch axis and one more, not shape \(12,\)"):
        from_brevitas(settled(mlp()), torch.rand(12))
    with pytest.raises(HwgenError, match="Branch cannot be traced: "):
        from_brevitas(Branch(lambda x: x if x.sum() > 0 else -x).eval(), torch.rand(1, 12))
