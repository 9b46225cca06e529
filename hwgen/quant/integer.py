"""Integers as Brevitas has them, by their names there, and by bits."""

from __future__ import annotations

from typing import Any

from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8ActPerTensorFloat,
    Int8ActPerTensorFloatMinMaxInit,
    Int8Bias,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFixedPoint,
    Int8WeightPerTensorFloat,
    Int32Bias,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    Uint8ActPerTensorFixedPoint,
    Uint8ActPerTensorFloat,
)

from hwgen.quant.fused import FusedBinaryQuant, FusedIntQuant
from hwgen.quant.proxies import Injector

__all__ = [
    "Int8ActPerTensorFixedPoint",
    "Int8ActPerTensorFloat",
    "Int8ActPerTensorFloatMinMaxInit",
    "Int8Bias",
    "Int8WeightPerChannelFloat",
    "Int8WeightPerTensorFixedPoint",
    "Int8WeightPerTensorFloat",
    "Int32Bias",
    "SignedBinaryActPerTensorConst",
    "SignedBinaryWeightPerTensorConst",
    "Uint8ActPerTensorFixedPoint",
    "Uint8ActPerTensorFloat",
    "binary_activation",
    "binary_weight",
    "integer_activation",
    "integer_weight",
]


def integer_weight(bits: int, per_channel: bool = False, **options: Any) -> Injector:
    """Brevitas' narrow integers for weights, with a float scale from the greatest magnitude."""
    base = Int8WeightPerChannelFloat if per_channel else Int8WeightPerTensorFloat
    return base.let(bit_width=bits, **{"tensor_quant": FusedIntQuant, **options})


def integer_activation(bits: int, unsigned: bool = False, **options: Any) -> Injector:
    """Brevitas' integers for activations, with a learned float scale."""
    base = Uint8ActPerTensorFloat if unsigned else Int8ActPerTensorFloat
    return base.let(bit_width=bits, **{"tensor_quant": FusedIntQuant, **options})


def binary_weight(**options: Any) -> Injector:
    """Brevitas' binary weights, of the magnitude 0.1."""
    fixed = {"scaling_const": 0.1, "tensor_quant": FusedBinaryQuant}
    return SignedBinaryWeightPerTensorConst.let(**{**fixed, **options})


def binary_activation(**options: Any) -> Injector:
    """Brevitas' binary activations, -1 and 1."""
    fixed = {"min_val": -1.0, "max_val": 1.0, "tensor_quant": FusedBinaryQuant}
    return SignedBinaryActPerTensorConst.let(**{**fixed, **options})
