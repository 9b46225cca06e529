"""Activation functions of Brevitas networks: the frozen graph against the module's own forward."""

from __future__ import annotations

import warnings
from typing import Any

import brevitas.nn as qnn
import numpy as np
import pytest
import torch
from brevitas.quant import Int8ActPerTensorFloat
from torch import nn

from hwgen import golden
from hwgen.errors import UnsupportedError
from hwgen.frontends.activations import gelu_function
from hwgen.frontends.brevitas import from_brevitas
from hwgen.passes import freeze

LAYERS = {
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu tanh": nn.GELU("tanh"),
    "leaky relu": nn.LeakyReLU(0.1),
    "prelu": nn.PReLU(),
    "relu6": nn.ReLU6(),
    "elu": nn.ELU(1.5),
    "hardtanh": nn.Hardtanh(),
    "hardsigmoid": nn.Hardsigmoid(),
    "hardswish": nn.Hardswish(),
    "softplus": nn.Softplus(),
    "QuantSigmoid": qnn.QuantSigmoid(bit_width=6),
    "QuantTanh": qnn.QuantTanh(bit_width=6, act_quant=Int8ActPerTensorFloat),
    "QuantHardSwish": qnn.QuantHardSwish(bit_width=8, act_quant=Int8ActPerTensorFloat),
    "QuantHardTanh": qnn.QuantHardTanh(bit_width=4, max_val=1.0, min_val=-1.0),
}


class Net(nn.Module):
    """Two layers with a function between them, behind a quantizer of the first one's sums or right behind them."""

    def __init__(self, function: Any, quantized: bool) -> None:
        super().__init__()
        self.inp = qnn.QuantIdentity(bit_width=8)
        self.fc0 = qnn.QuantLinear(8, 6, bias=True, weight_bit_width=4)
        self.pre = qnn.QuantIdentity(bit_width=8) if quantized else nn.Identity()
        self.function = function
        self.post = nn.Identity() if type(function).__name__.startswith("Quant") else qnn.QuantIdentity(bit_width=8)
        self.fc1 = qnn.QuantLinear(6, 4, bias=False, weight_bit_width=4)

    def forward(self, x: Any) -> Any:
        return self.fc1(self.post(self.function(self.pre(self.fc0(self.inp(x))))))


def compared(function: Any, quantized: bool) -> tuple[list[str], int]:
    """Kinds of the frozen nodes, and in how many of 200 frames an output differs from the module's."""
    torch.manual_seed(0)
    net, x = Net(function, quantized), torch.randn(200, 8) * 3
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        net(x)
        frozen = freeze(from_brevitas(net.eval(), x))
        want = net(x)
    got = golden.predict(frozen, x.numpy().astype(np.float64))
    value = getattr(want, "value", want).numpy()
    step = min(frozen.output_type.scale)
    return [node.op.kind for node in frozen.nodes], int((np.abs(got - value) > step / 2).any(axis=1).sum())


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_functions_equal_the_forward(name: str, quantized: bool) -> None:
    kinds, differing = compared(LAYERS[name], quantized)
    assert kinds[0] == kinds[-1] == "MatVec"
    assert {*kinds} <= {"MatVec", "Thresholds", "Table"}
    # Float ties at most; explain proves those, see tests/passes.
    assert differing <= 1


class Functional(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.inp, self.out = qnn.QuantIdentity(bit_width=6), qnn.QuantIdentity(bit_width=6)
        self.fc = qnn.QuantLinear(8, 4, bias=False, weight_bit_width=4)

    def forward(self, x: Any) -> Any:
        return self.fc(self.out(self.function(self.inp(x))))


FUNCTIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": nn.functional.silu,
    "gelu": lambda x: nn.functional.gelu(x, approximate="tanh"),
    "leaky_relu": lambda x: nn.functional.leaky_relu(x, negative_slope=0.2),
    "hardswish": nn.functional.hardswish,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_and_methods(name: str) -> None:
    torch.manual_seed(0)
    net, x = Functional(FUNCTIONS[name]), torch.randn(100, 8) * 2
    net(x)
    frozen = freeze(from_brevitas(net.eval(), x))
    assert [node.op.kind for node in frozen.nodes] == ["Table", "MatVec"]
    want = net(x).detach()
    got = golden.predict(frozen, x.numpy().astype(np.float64))
    np.testing.assert_allclose(got, getattr(want, "value", want).numpy(), atol=1e-5)


def two_slopes() -> Any:
    layer = nn.PReLU(2)
    layer.weight.data[1] = 0.5
    return layer


def beta() -> Any:
    return nn.Softplus(beta=2.0)


REFUSED = {
    "softplus": (beta(), r"'1' \(1\): softplus with beta=2.0 is not supported; 1 is"),
    "slopes": (two_slopes(), "a PReLU with 2 slopes is not supported; one for all channels is"),
    "options": (
        Functional(lambda x: torch.sigmoid(x, out=None)),
        "its options out are not supported; known: approximate",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_that_are_not_supported(name: str) -> None:
    layer, message = REFUSED[name]
    module = layer if isinstance(layer, Functional) else nn.Sequential(qnn.QuantIdentity(), layer)
    x = torch.rand(4, 8) if isinstance(layer, Functional) else torch.rand(4, 2)
    with pytest.raises(UnsupportedError, match=message):
        from_brevitas(module, x)


def test_an_unknown_approximation_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="GELU approximated by 'fast' is not supported; known: none, tanh"):
        gelu_function("fast", UnsupportedError)
