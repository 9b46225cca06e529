"""Two 3x3 convolutions with maximum pooling and a linear layer for scikit-learn's handwritten digits, of 4 bits.

The images are those of digits_mlp.py, 8x8 pixels each. Run it as
`hwgen train examples/digits_cnn.py -o build/digits-cnn`.
"""

import numpy as np
from brevitas import nn as qnn
from brevitas.quant import Int8WeightPerTensorFloat, Int32Bias, Uint8ActPerTensorFloat
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from hwgen.quant.train import Data

NAME = "digits-cnn"
EPOCHS = 40
BATCH = 32
LEARNING_RATE = 0.01
CHANNELS = (8, 16)
BITS = 4


def data() -> Data:
    """Pixels scaled to 0..1, as images of one channel; the split is that of digits_mlp.py."""
    digits = load_digits()
    x = (digits.images[:, None] / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x, digits.target, test_size=0.2, stratify=digits.target, random_state=0
    )
    return Data(x_train, y_train, x_test, y_test)


def model() -> nn.Module:
    weight = {"weight_quant": Int8WeightPerTensorFloat, "weight_bit_width": BITS}
    act = {"act_quant": Uint8ActPerTensorFloat, "bit_width": BITS, "return_quant_tensor": True}
    layers: list[nn.Module] = [qnn.QuantIdentity(**act)]
    inner = 1
    for outer in CHANNELS:
        layers += [
            qnn.QuantConv2d(inner, outer, 3, padding=1, bias=False, **weight),
            nn.BatchNorm2d(outer),
            qnn.QuantReLU(**act),
            nn.MaxPool2d(2),
        ]
        inner = outer
    head = qnn.QuantLinear(4 * inner, 10, bias=True, bias_quant=Int32Bias, **weight)
    return nn.Sequential(*layers, nn.Flatten(), head)
