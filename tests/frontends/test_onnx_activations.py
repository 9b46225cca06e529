"""Activation functions in QONNX files, in one node or several, against the QONNX executor."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from hwgen import golden
from hwgen.errors import UnsupportedError
from hwgen.frontends import qonnx
from hwgen.passes import explain, freeze
from tests.oracles.networks import Builder
from tests.oracles.qonnx_executor import execute

Function = Callable[[Builder, str], str]


def silu(b: Builder, x: str) -> str:
    return b.op("Mul", b.op("Sigmoid", x), x)


def gelu_by_halves(b: Builder, x: str) -> str:
    erf = b.op("Erf", b.op("Div", x, b.const(math.sqrt(2))))
    return b.op("Mul", b.op("Mul", x, b.const(0.5)), b.op("Add", erf, b.const(1.0)))


def gelu_at_last(b: Builder, x: str) -> str:
    erf = b.op("Erf", b.op("Mul", b.const(math.sqrt(0.5)), x))
    return b.op("Mul", b.op("Mul", x, b.op("Add", b.const(1.0), erf)), b.const(0.5))


def softplus(b: Builder, x: str) -> str:
    return b.op("Where", b.op("Greater", x, b.const(20.0)), x, b.op("Softplus", x))


FUNCTIONS: dict[str, tuple[Function, set[str]]] = {
    "Sigmoid": (lambda b, x: b.op("Sigmoid", x), {"sigmoid"}),
    "Tanh": (lambda b, x: b.op("Tanh", x), {"tanh"}),
    "LeakyRelu": (lambda b, x: b.op("LeakyRelu", x, alpha=0.2), {"leaky_relu"}),
    "PRelu": (lambda b, x: b.op("PRelu", x, b.const([0.25])), {"leaky_relu"}),
    "Elu": (lambda b, x: b.op("Elu", x), {"elu"}),
    "HardSwish": (lambda b, x: b.op("HardSwish", x), {"hard_swish"}),
    "HardSigmoid": (lambda b, x: b.op("HardSigmoid", x, alpha=0.3), set()),
    "Clip": (lambda b, x: b.op("Clip", x, b.const(-1.0), b.const(6.0)), set()),
    "silu": (silu, {"silu"}),
    "gelu by halves": (gelu_by_halves, {"gelu"}),
    "gelu at last": (gelu_at_last, {"gelu"}),
    "softplus": (softplus, {"softplus"}),
}


def write(path: Path, function: Function, *, quantized: bool = True) -> Path:
    b, rng = Builder(), np.random.default_rng(2)
    x = b.quant("x", 1 / 16, 8)
    x = b.op("MatMul", x, b.quant(b.const(rng.normal(0, 0.5, (6, 5))), 0.11, 4))
    x = function(b, b.quant(x, 0.047, 8) if quantized else x)
    x = b.quant(x, 0.03, 8)
    x = b.op("MatMul", x, b.quant(b.const(rng.normal(0, 0.5, (5, 3))), 0.1, 4))
    onnx.save(b.model(x, (50, 6), (50, 3), opset=14), path)
    return path


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_codes_are_those_of_the_executor(name: str, quantized: bool, tmp_path: Path) -> None:
    function, wanted = FUNCTIONS[name]
    path = write(tmp_path / "m.onnx", function, quantized=quantized)
    imported = qonnx.load(path)
    assert {node.op.function for node in imported.nodes if hasattr(node.op, "function")} == wanted
    frozen = freeze(imported)
    x = np.random.default_rng(0).normal(0, 3, (50, 6)).astype(np.float32)
    found = explain(imported, frozen, x, golden.trace(frozen, x), execute(path, x))
    assert not found.unexplained


def nearly(b: Builder, x: str) -> str:
    """Almost a GELU: another factor."""
    erf = b.op("Erf", b.op("Div", x, b.const(1.5)))
    return b.op("Mul", b.op("Mul", x, b.const(0.5)), b.op("Add", erf, b.const(1.0)))


def third(b: Builder, x: str) -> str:
    erf = b.op("Erf", b.op("Div", x, b.const(math.sqrt(2))))
    return b.op("Mul", b.op("Mul", x, b.const(0.3)), b.op("Add", erf, b.const(1.0)))


REFUSED: dict[str, tuple[Function, str]] = {
    "another factor": (nearly, r"\(Erf\): this operation is not supported"),
    "no half": (third, r"\(Erf\): this operation is not supported"),
    "threshold": (
        lambda b, x: b.op("Where", b.op("Greater", x, b.const(2.0)), x, b.op("Softplus", x)),
        r"\(Greater\): this operation is not supported",
    ),
    "slopes": (
        lambda b, x: b.op("PRelu", x, b.const([0.1, 0.2, 0.3, 0.4, 0.5])),
        r"\(PRelu\): 5 slopes are not supported; one for all channels is",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_function_is_refused(name: str, tmp_path: Path) -> None:
    function, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        qonnx.load(write(tmp_path / "m.onnx", function))
