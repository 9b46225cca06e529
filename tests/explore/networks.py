"""Networks to fold: small ones, whose every folding can be tried, and one as large as ResNet18."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwgen import ops
from hwgen.formats import Blocked, Int, get
from hwgen.ir import Graph, TensorType
from hwgen.passes.blocks import scales_of
from tests.gateware import networks

RNG = np.random.default_rng(7)


def window(size: int, stride: int = 1, padding: int = 0) -> ops.Window:
    return ops.Window((size, size), (stride, stride), (padding,) * 4, pad=0)


def images(shape: tuple[int, int, int], *layers: object) -> Graph:
    return networks.cnn(TensorType(shape, Int(2, is_signed=False)), layers, RNG)


def blocks() -> Graph:
    """Two matrix units, the second one on blocks of four."""
    block = Blocked(replace(get("mxfp4"), scale=scales_of(-4, 3), size=4))
    first = ops.MatVec(RNG.integers(-3, 4, (8, 6)), Int(3))
    second = ops.MatVec(RNG.integers(-3, 4, (3, 8)), Int(3), input_format=block)
    return networks.chain(TensorType((6,), Int(4)), first, ops.BlockQuantize(block, 0), second)


SMALL = {
    "vectors": networks.mlp((4, 6, 4, 3), RNG),
    "blocks": blocks(),
    "wide weights": networks.mlp((6, 4, 2), RNG, weight="int8n", requantize=True),
    "a pool between": images((6, 5, 2), (4, window(3, 1, 1)), window(2, 2), (3, window(2))),
    "more beats out than in": images((8, 8, 4), (8, window(3)), window(3, 1), (4, window(2))),
    "a pool first": images((4, 6, 4), window(2, 2), (3, window(2))),
}


def resnet18() -> Graph:
    """The 21 matrix units of ResNet18 (K. He et al., 2015, table 1) in a chain, with 4-bit weights and activations."""
    kind, steps = TensorType((224, 224, 3), Int(8, is_signed=False)), []

    def add(*found: ops.Op) -> None:
        nonlocal kind
        for op in found:
            steps.append(op)
            kind = op.infer(kind)

    def convolution(out: int, *sizes: int) -> None:
        add(window(*sizes))
        add(ops.MatVec(RNG.integers(-7, 8, (out, kind.channels)), Int(4)))
        low, high = ops.integer_range(kind)
        add(ops.Thresholds(np.sort(RNG.integers(low // 4, high // 4, (out, 15))), 0, Int(4, is_signed=False)))

    convolution(64, 7, 2, 3)
    add(window(3, 2, 1), ops.Pool("max", 9))
    for channels, stride in [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]:
        convolution(channels, 3, stride, 1)
        convolution(channels, 3, 1, 1)
        if stride == 2:
            convolution(channels, 1, 1, 0)
    add(window(7, 7), ops.Pool("sum", 49), ops.MatVec(RNG.integers(-7, 8, (1000, 512)), Int(4)))
    return networks.chain(TensorType((224, 224, 3), Int(8, is_signed=False)), *steps)
