"""The digits perceptron in other number formats: `FORMAT` in the environment chooses one.

    FORMAT=e4m3 hwgen train examples/digits_formats.py -o build/digits-e4m3

e4m3, e5m2, e3m2, e2m3, e2m1: weights and activations in the OCP minifloat, per-tensor float scales (Brevitas).
e5m2 trains, but its sums need more bits than a matrix unit carries, so that compiling it is refused.
mxfp4, mxfp6e3m2, mxfp6e2m3, mxint8: OCP MX, blocks of 32 numbers that share a scale (`hwgen.quant`).
nvfp4, nvint4, fp4ue5m3, int4ue5m3: blocks of 16 numbers that share a scale with a mantissa.
dfp16: 16-bit codes with one power of two for each tensor, dynamic fixed point with static exponents.
"""

import os
from pathlib import Path

from brevitas import nn as qnn
from brevitas.quant import Int8ActPerTensorFixedPoint, Int8WeightPerTensorFixedPoint, float_base
from brevitas.quant import float_quant_ocp as ocp
from torch import nn

from hwgen.errors import HwgenError
from hwgen.quant import block_activation, block_weight
from hwgen.quant.train import load_recipe, train

FORMAT = os.environ.get("FORMAT", "e4m3")
NAME = f"digits-{FORMAT}"
EPOCHS = 20
BATCH = 32
LEARNING_RATE = 0.01
HIDDEN = (32, 32)

MINIFLOATS = {
    "e4m3": float_base.Fp8e4m3Mixin,
    "e5m2": float_base.Fp8e5m2Mixin,
    "e3m2": float_base.Fp6e3m2Mixin,
    "e2m3": float_base.Fp6e2m3Mixin,
    "e2m1": float_base.Fp4e2m1Mixin,
}

BLOCKS = ("mxfp4", "mxfp6e3m2", "mxfp6e2m3", "mxint8", "nvfp4", "nvint4", "fp4ue5m3", "int4ue5m3")

data = load_recipe(Path(__file__).with_name("digits_mlp.py")).data


def quantizers() -> tuple[dict[str, object], dict[str, object]]:
    """Keyword arguments of Brevitas layers: for weights and for activations."""
    if FORMAT == "dfp16":
        weight = {"weight_quant": Int8WeightPerTensorFixedPoint, "weight_bit_width": 16}
        return weight, {"act_quant": Int8ActPerTensorFixedPoint, "bit_width": 16}
    if FORMAT in BLOCKS:
        return {"weight_quant": block_weight(FORMAT)}, {"act_quant": block_activation(FORMAT)}
    if FORMAT not in MINIFLOATS:
        raise HwgenError(f"FORMAT={FORMAT} is none of {', '.join((*MINIFLOATS, *BLOCKS, 'dfp16'))}")
    widths = MINIFLOATS[FORMAT]
    weight = {"weight_quant": type("Weight", (ocp.FpOCPWeightPerTensorFloat, widths), {})}
    return weight, {"act_quant": type("Act", (ocp.FpOCPActPerTensorFloat, widths), {})}


def model() -> nn.Module:
    weight, act = quantizers()
    layers: list[nn.Module] = [qnn.QuantIdentity(**act)]
    size = 64
    for hidden in HIDDEN:
        layers += [qnn.QuantLinear(size, hidden, bias=False, **weight), nn.BatchNorm1d(hidden), qnn.QuantReLU(**act)]
        size = hidden
    return nn.Sequential(*layers, qnn.QuantLinear(size, 10, bias=False, **weight))


if __name__ == "__main__":
    result = train(load_recipe(Path(__file__)), Path(f"build/{NAME}"))
    print(f"{result.name}: {result.correct}/{result.total} held-out images ({100 * result.accuracy:.1f} %)")
