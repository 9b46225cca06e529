"""Activation functions as torch and ONNX have them: one function or table entry for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hwgen.frontends.chain import Chain, Refuse, append_affine, append_clip
from hwgen.ops import Activation, Relu

LayerActivation = Callable[[Chain, str, Any, Refuse], None]


def append_activation(chain: Chain, name: str, output: str, function: str, slope: float = 0.0) -> None:
    """One function of each number; `slope` as in Activation."""
    chain.append(name, Activation(function, slope), output)


def append_hard_sigmoid(chain: Chain, name: str, output: str, alpha: float, beta: float, refuse: Refuse) -> None:
    """min(max(alpha * x + beta, 0), 1)."""
    append_affine(chain, f"{name}.line", f"{output}.line", mul=alpha, add=beta)
    append_clip(chain, name, output, 0.0, 1.0, refuse)


def _plain(function: str) -> LayerActivation:
    return lambda chain, name, layer, refuse: append_activation(chain, name, name, function)


def _gelu(chain: Chain, name: str, layer: Any, refuse: Refuse) -> None:
    append_activation(chain, name, name, gelu_function(str(layer.approximate), refuse))


def gelu_function(approximate: str, refuse: Refuse) -> str:
    """The function that torch's and ONNX's GELU with this option is."""
    functions = {"none": "gelu", "tanh": "gelu_tanh"}
    if approximate not in functions:
        raise refuse(f"GELU approximated by {approximate!r} is not supported; known: {', '.join(functions)}")
    return functions[approximate]


def _leaky(chain: Chain, name: str, layer: Any, refuse: Refuse) -> None:
    # Computed in float32 by torch.
    append_activation(chain, name, name, "leaky_relu", float(np.float32(layer.negative_slope)))


def _elu(chain: Chain, name: str, layer: Any, refuse: Refuse) -> None:
    append_activation(chain, name, name, "elu", float(np.float32(layer.alpha)))


def _softplus(chain: Chain, name: str, layer: Any, refuse: Refuse) -> None:
    if layer.beta != 1:
        raise refuse(f"softplus with beta={layer.beta} is not supported; 1 is")
    append_activation(chain, name, name, "softplus")


def _prelu(chain: Chain, name: str, layer: Any, refuse: Refuse) -> None:
    slopes = np.unique(layer.weight.detach().cpu().numpy())
    if slopes.size != 1:
        raise refuse(f"a PReLU with {slopes.size} slopes is not supported; one for all channels is")
    append_activation(chain, name, name, "leaky_relu", float(slopes[0]))


def _hard_sigmoid(chain: Chain, name: str, layer: Any, refuse: Refuse) -> None:
    append_affine(chain, f"{name}.line", f"{name}.line", add=0.5, div=6.0)
    append_clip(chain, name, name, 0.0, 1.0, refuse)


def _clip(chain: Chain, name: str, layer: Any, refuse: Refuse) -> None:
    append_clip(chain, name, name, float(layer.min_val), float(layer.max_val), refuse)


LAYERS: dict[str, LayerActivation] = {
    "ELU": _elu,
    "GELU": _gelu,
    "Hardsigmoid": _hard_sigmoid,
    "Hardswish": _plain("hard_swish"),
    "Hardtanh": _clip,
    "LeakyReLU": _leaky,
    "PReLU": _prelu,
    "ReLU": lambda chain, name, layer, refuse: chain.append(name, Relu(), name),
    "ReLU6": _clip,
    "SiLU": _plain("silu"),
    "Sigmoid": _plain("sigmoid"),
    "Softplus": _softplus,
    "Tanh": _plain("tanh"),
}
"""torch modules, by class name."""

FUNCTIONS: dict[str, str] = {
    "gelu": "gelu",
    "hardswish": "hard_swish",
    "leaky_relu": "leaky_relu",
    "relu": "relu",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "tanh": "tanh",
}
"""torch functions and tensor methods, by name."""

ONNX = {
    "Elu": "elu",
    "Gelu": "gelu",
    "HardSwish": "hard_swish",
    "LeakyRelu": "leaky_relu",
    "PRelu": "leaky_relu",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Softplus": "softplus",
    "Tanh": "tanh",
}
"""ONNX operations; Silu is what x * Sigmoid(x) is read as (hwgen.frontends.onnx_fuse)."""

OPTIONS = ("approximate", "inplace", "negative_slope")


def append_function(chain: Chain, name: str, function: str, options: Mapping[str, Any], refuse: Refuse) -> None:
    """A torch function; options by keyword."""
    if unknown := sorted(set(options) - set(OPTIONS)):
        raise refuse(f"its options {', '.join(unknown)} are not supported; known: {', '.join(OPTIONS)}")
    kind = FUNCTIONS[function]
    if kind == "relu":
        chain.append(name, Relu(), name)
    elif kind == "gelu":
        append_activation(chain, name, name, gelu_function(str(options.get("approximate", "none")), refuse))
    else:
        slope = float(np.float32(options.get("negative_slope", 0.01))) if kind == "leaky_relu" else 0.0
        append_activation(chain, name, name, kind, slope)
