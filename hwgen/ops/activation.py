"""Activation functions of real numbers that are no chain of factors, addends and ReLUs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hwgen.errors import HwgenError
from hwgen.ir import Array, Op, TensorType

GELU_CUBIC = 0.044715
"""Factor of the cube in "gelu_tanh" (D. Hendrycks, K. Gimpel, arXiv 1606.08415, section 2)."""


def _sigmoid(x: Array) -> Array:
    # Of -|x|, so that nothing overflows.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def _erf(x: Array) -> Array:
    return np.array([math.erf(value) for value in x.ravel()]).reshape(x.shape)


REAL_FUNCTIONS: dict[str, Callable[[Array, float], Array]] = {
    "sigmoid": lambda x, _: _sigmoid(x),
    "tanh": lambda x, _: np.tanh(x),
    "silu": lambda x, _: x * _sigmoid(x),
    "gelu": lambda x, _: x * (1.0 + _erf(x / math.sqrt(2.0))) / 2.0,
    "gelu_tanh": lambda x, _: x * _sigmoid(2.0 * math.sqrt(2.0 / math.pi) * (x + GELU_CUBIC * x**3)),
    "leaky_relu": lambda x, slope: np.where(x >= 0, x, slope * x),
    "elu": lambda x, slope: np.where(x >= 0, x, slope * np.expm1(np.minimum(x, 0.0))),
    "softplus": lambda x, _: np.logaddexp(0.0, x),
    "hard_swish": lambda x, _: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0,
}
"""In float64, of an array and the slope."""

RISING = ("sigmoid", "tanh", "softplus")
"""Functions that rise everywhere, so that they change no order."""


@dataclass(frozen=True, eq=False)
class Activation(Op):
    """y = function(x) of each number.

    function: "sigmoid", "tanh", "silu" (x sigmoid(x)), "gelu" (x Phi(x), by the error function), "gelu_tanh" (its
    approximation by tanh, with sqrt(2/pi) as a real number), "leaky_relu", "elu", "softplus" (ln(1 + exp x)),
    "hard_swish" (x clip(x + 3, 0, 6) / 6).
    slope: of leaky_relu below zero; of elu the factor of exp(x) - 1 there, not negative; others have none.
    """

    function: str
    slope: float = 0.0

    def __post_init__(self) -> None:
        if self.function not in REAL_FUNCTIONS:
            raise HwgenError(f"unknown activation function {self.function!r}: one of {', '.join(REAL_FUNCTIONS)}")
        if not math.isfinite(self.slope) or (self.function == "elu" and self.slope < 0):
            raise HwgenError(f"the slope of {self.function} is a finite number, of elu not negative, not {self.slope}")

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType(inputs[0].shape)

    def run(self, *values: Array) -> Array:
        (x,) = values
        return np.asarray(REAL_FUNCTIONS[self.function](np.asarray(x, dtype=np.float64), self.slope))
