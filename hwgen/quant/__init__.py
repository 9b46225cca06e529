"""Training with Brevitas. Beside the Brevitas frontend the only room that imports torch.

Names are imported when they are first used, so that `import hwgen.quant` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_PLACES = {
    **dict.fromkeys(
        (
            "E2M1Act",
            "E2M1Weight",
            "E2M1WeightPerChannel",
            "E2M3Act",
            "E2M3Weight",
            "E2M3WeightPerChannel",
            "E3M2Act",
            "E3M2Weight",
            "E3M2WeightPerChannel",
            "E4M3Act",
            "E4M3Weight",
            "E4M3WeightPerChannel",
            "E5M2Act",
            "E5M2Weight",
            "E5M2WeightPerChannel",
            "activation",
            "weight",
        ),
        "minifloat",
    ),
    **dict.fromkeys(
        (
            "Khot1Weight",
            "Khot2Weight",
            "QFX4Act",
            "QFX4Weight",
            "QFX6Act",
            "QFX6Weight",
            "QFX8Act",
            "QFX8Weight",
            "fixed_activation",
            "fixed_weight",
            "khot_weight",
        ),
        "fixed",
    ),
    **dict.fromkeys(
        ("DFP16Act", "DFP16DynamicAct", "DFP16Weight", "dynamic_activation", "dynamic_weight"),
        "dynamic",
    ),
    **dict.fromkeys(
        (
            "FP4UE5M3Act",
            "FP4UE5M3Weight",
            "INT4UE5M3Act",
            "INT4UE5M3Weight",
            "MXFP4Act",
            "MXFP4Weight",
            "MXFP6E2M3Act",
            "MXFP6E2M3Weight",
            "MXFP6E3M2Act",
            "MXFP6E3M2Weight",
            "MXFP8E4M3Act",
            "MXFP8E4M3Weight",
            "MXFP8E5M2Act",
            "MXFP8E5M2Weight",
            "MXINT8Act",
            "MXINT8Weight",
            "NVFP4Act",
            "NVFP4Weight",
            "NVINT4Act",
            "NVINT4Weight",
            "block_activation",
            "block_weight",
        ),
        "block",
    ),
    **dict.fromkeys(
        (
            "Int32Bias",
            "Int8ActPerTensorFixedPoint",
            "Int8ActPerTensorFloat",
            "Int8ActPerTensorFloatMinMaxInit",
            "Int8Bias",
            "Int8WeightPerChannelFloat",
            "Int8WeightPerTensorFixedPoint",
            "Int8WeightPerTensorFloat",
            "SignedBinaryActPerTensorConst",
            "SignedBinaryWeightPerTensorConst",
            "Uint8ActPerTensorFixedPoint",
            "Uint8ActPerTensorFloat",
            "binary_activation",
            "binary_weight",
            "integer_activation",
            "integer_weight",
        ),
        "integer",
    ),
    **dict.fromkeys(("Conv1d", "Conv2d", "Linear"), "layers"),
    **dict.fromkeys(("activation_quantizer", "weight_quantizer"), "names"),
    "GradientQuant": "gradient",
    "quantize": "rewrite",
}
"""The module of each public name."""

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'hwgen.quant' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"hwgen.quant.{_PLACES[name]}"), name)
    globals()[name] = value
    return value
