"""A 64-32-32-10 perceptron for scikit-learn's handwritten digits, with 4-bit weights and activations.

The data are 1,797 real images of 8x8 pixels that ship with scikit-learn; a fifth of them is held out. Run it as
`hwgen train examples/digits_mlp.py -o build/digits`, or directly: `python examples/digits_mlp.py`.
"""

from pathlib import Path

import numpy as np
from brevitas import nn as qnn
from brevitas.quant import Int8WeightPerTensorFloat, Int32Bias, Uint8ActPerTensorFloat
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from hwgen.quant.train import Data, load_recipe, train

NAME = "digits"
EPOCHS = 60
BATCH = 32
LEARNING_RATE = 0.01
HIDDEN = (32, 32)
BITS = 4


def data() -> Data:
    """Pixels scaled to 0..1; the split is stratified and fixed, so that every seed is tested on the same images."""
    digits = load_digits()
    x = (digits.data / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x, digits.target, test_size=0.2, stratify=digits.target, random_state=0
    )
    return Data(x_train, y_train, x_test, y_test)


def model() -> nn.Module:
    layers: list[nn.Module] = [qnn.QuantIdentity(act_quant=Uint8ActPerTensorFloat, bit_width=BITS)]
    size = 64
    for hidden in HIDDEN:
        layers += [
            qnn.QuantLinear(size, hidden, bias=False, weight_quant=Int8WeightPerTensorFloat, weight_bit_width=BITS),
            nn.BatchNorm1d(hidden),
            qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=BITS, return_quant_tensor=True),
        ]
        size = hidden
    # A bias in units of the accumulator, so that the logits are exact integers times one scale.
    head = qnn.QuantLinear(
        size, 10, bias=True, weight_quant=Int8WeightPerTensorFloat, weight_bit_width=BITS, bias_quant=Int32Bias
    )
    return nn.Sequential(*layers, head)


if __name__ == "__main__":
    result = train(load_recipe(Path(__file__)), Path("build/digits"))
    print(f"{result.name}: {result.correct}/{result.total} held-out images ({100 * result.accuracy:.1f} %)")
