"""Random QONNX files of networks on images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper

from hwgen import passes
from hwgen.frontends import qonnx
from hwgen.ir import Graph
from tests.fuzz.numbers import Rng, choice
from tests.oracles.networks import Builder


def weights(b: Builder, rng: Rng, *shape: int) -> str:
    """Quantized weights: a scale for all or one for each output, a power of two."""
    scale = 2.0 ** rng.integers(-4, -1, (shape[0], *(1,) * (len(shape) - 1)) if rng.random() < 0.4 else ())
    if rng.random() < 0.15:
        return b.bipolar(b.const(rng.normal(0, 1, shape)), float(2.0 ** rng.integers(-3, 1)))
    return b.quant(b.const(rng.normal(0, 0.5, shape)), scale, float(rng.integers(2, 6)), narrow=int(rng.integers(2)))


def quantized(b: Builder, rng: Rng, tensor: str) -> str:
    """An activation, if any, and a quantizer whose scale is a power of two."""
    kind = choice(rng, "Relu", "Relu", None, "Sigmoid", "Clip", "LeakyRelu")
    if kind == "Clip":
        tensor = b.op("Clip", tensor, b.const(0.0), b.const(6.0))
    elif kind == "LeakyRelu":
        tensor = b.op(kind, tensor, alpha=0.125)
    elif kind:
        tensor = b.op(kind, tensor)
    scale = float(2.0 ** rng.integers(-4, 0))
    if rng.random() < 0.15 and kind is None:
        return b.bipolar(tensor, scale)
    mode = choice(rng, "ROUND", "ROUND", "FLOOR", "CEIL", "HALF_UP", "HALF_DOWN", "UP", "DOWN")
    return b.quant(tensor, scale, float(rng.integers(2, 7)), int(kind in (None, "LeakyRelu")), mode=mode)


def normed(b: Builder, rng: Rng, tensor: str, size: int) -> str:
    """A batch normalization; factors below zero and of zero now and then."""
    gamma = rng.integers(-3, 4, size) / 2 if rng.random() < 0.5 else rng.uniform(0.5, 2, size)
    values = gamma, rng.integers(-4, 5, size) / 4, rng.integers(-4, 5, size) / 8, rng.uniform(0.3, 3, size)
    return b.op("BatchNormalization", tensor, *(b.const(v) for v in values), epsilon=1e-5)


def windowed(rng: Rng, sizes: tuple[int, int]) -> dict:
    kernel = [int(rng.integers(1, min(n, 3) + 1)) for n in sizes]
    dilations = [1 if 2 * k - 1 > n or rng.random() < 0.7 else 2 for k, n in zip(kernel, sizes, strict=True)]
    pads = [int(n) for n in rng.integers(0, 2, 4)] if rng.random() < 0.5 else [0] * 4
    strides = [int(choice(rng, 1, 1, 2, 3)) for _ in sizes]
    found = {"kernel_shape": kernel, "strides": strides, "dilations": dilations}
    modes = ("SAME_UPPER", "SAME_LOWER") if max(dilations) == 1 else ()
    mode = choice(rng, None, None, None, "VALID", *modes)
    return {**found, "auto_pad": mode} if mode else {**found, "pads": pads}


def out_sizes(sizes: tuple[int, int], slide: dict) -> tuple[int, int]:
    found = []
    for n, size in enumerate(sizes):
        span = (slide["kernel_shape"][n] - 1) * slide["dilations"][n] + 1
        stride, mode = slide["strides"][n], slide.get("auto_pad", "NOTSET")
        if mode.startswith("SAME"):
            found.append(-(-size // stride))
        else:
            pads = slide.get("pads", [0] * 4)
            found.append((size + pads[n] + pads[n + 2] - span) // stride + 1)
    return found[0], found[1]


class Images:
    """A network on images that grows: `tensor` of shape (batch, channels, *sizes)."""

    def __init__(self, rng: Rng):
        self.b, self.rng = Builder(), rng
        self.channels, self.sizes = int(rng.integers(1, 5)), (int(rng.integers(2, 7)), int(rng.integers(2, 7)))
        self.shape = (self.channels, *self.sizes)
        self.tensor = self.b.quant(
            "x", float(2.0 ** rng.integers(-4, 1)), float(rng.integers(2, 7)), int(rng.integers(2))
        )

    def conv(self) -> None:
        rng, slide = self.rng, windowed(self.rng, self.sizes)
        group = int(
            choice(rng, 1, 1, self.channels, *(d for d in range(1, self.channels + 1) if self.channels % d == 0))
        )
        out = group * int(rng.integers(1, 4))
        weight = weights(self.b, rng, out, self.channels // group, *slide["kernel_shape"])
        bias = [self.b.const(rng.integers(-8, 9, out) / 16)] if rng.random() < 0.4 else []
        self.tensor = self.b.op("Conv", self.tensor, weight, *bias, group=group, **slide)
        self.channels, self.sizes = out, out_sizes(self.sizes, slide)
        if rng.random() < 0.4:
            self.tensor = normed(self.b, rng, self.tensor, out)
        self.tensor = quantized(self.b, rng, self.tensor)

    def pool(self) -> None:
        rng, kind = self.rng, choice(self.rng, "MaxPool", "AveragePool")
        slide = windowed(rng, self.sizes)
        if kind == "AveragePool":
            slide["dilations"] = [1, 1]
        kept = {k: v for k, v in slide.items() if kind == "MaxPool" or k != "dilations"}
        more = {"count_include_pad": int(rng.integers(2))} if kind == "AveragePool" else {}
        self.tensor = self.b.op(kind, self.tensor, **kept, **more)
        self.sizes = out_sizes(self.sizes, slide)
        if kind == "AveragePool":
            self.tensor = quantized(self.b, rng, self.tensor)

    def residual(self) -> None:
        """A branch of 1x1 convolution beside the tensor itself."""
        rng = self.rng
        weight = weights(self.b, rng, self.channels, self.channels, 1, 1)
        side = quantized(self.b, rng, self.b.op("Conv", self.tensor, weight, kernel_shape=[1, 1]))
        how = choice(rng, "Add", "Add", "Mul", "Concat")
        pair = [self.tensor, side] if rng.random() < 0.5 else [side, self.tensor]
        if how == "Concat":
            # One scale and format: both through one more quantizer each, of the same parameters.
            scale, bits, signed = float(2.0 ** rng.integers(-4, 0)), float(rng.integers(2, 6)), int(rng.integers(2))
            pair = [self.b.quant(one, scale, bits, signed) for one in pair]
            self.channels *= 2
            self.tensor = self.b.op(how, *pair, axis=1)
        else:
            self.tensor = self.b.op(how, *pair)
        self.tensor = quantized(self.b, rng, self.tensor)

    def grow(self) -> None:
        down, across = int(self.rng.integers(1, 3)), int(self.rng.integers(1, 3))
        scales = self.b.const([1.0, 1.0, down, across])
        self.tensor = self.b.op(
            "Resize",
            self.tensor,
            "",
            scales,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        self.sizes = self.sizes[0] * down, self.sizes[1] * across

    def head(self) -> tuple[str, tuple[int, ...], int]:
        rng, b = self.rng, self.b
        if rng.random() < 0.3:
            self.tensor = quantized(b, rng, b.op("GlobalAveragePool", self.tensor))
            self.sizes = 1, 1
        if rng.random() < 0.3:
            return self.tensor, (1, self.channels, *self.sizes), TensorProto.FLOAT
        tensor = b.op("Flatten", self.tensor)
        out = int(rng.integers(1, 6))
        weight = weights(b, rng, out, self.channels * self.sizes[0] * self.sizes[1])
        tensor = b.op(
            "Gemm", tensor, weight, *([b.const(rng.integers(-8, 9, out) / 16)] if rng.random() < 0.5 else []), transB=1
        )
        kind = choice(rng, "ArgMax", "Softmax", "Quant", None, "TopK")
        if kind == "ArgMax":
            return b.op("ArgMax", tensor, axis=1), (1, 1), TensorProto.INT64
        if kind == "TopK":
            k = int(rng.integers(1, out + 1))
            b.nodes.append(helper.make_node("TopK", [tensor, b.const([k], np.int64)], ["values", "indices"], axis=1))
            return "indices", (1, k), TensorProto.INT64
        if kind == "Softmax":
            tensor = b.op("Softmax", tensor, axis=1)
        elif kind == "Quant":
            tensor = quantized(b, rng, tensor)
        return tensor, (1, out), TensorProto.FLOAT


def model(seed: int) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """A random model on images, and the shape of a frame; all numbers in it are dyadic but those of batch norms."""
    rng = np.random.default_rng(seed)
    net = Images(rng)
    for _ in range(int(rng.integers(1, 4))):
        choice(rng, net.conv, net.conv, net.pool, net.residual, net.grow)()
    output, shape, kind = net.head()
    return net.b.model(output, (1, *net.shape), shape, output_type=kind), net.shape


def load(made: onnx.ModelProto, folder: Path) -> Graph:
    """The frozen graph, by way of a file."""
    path = folder / "net.onnx"
    onnx.save(made, path)
    return passes.freeze(qonnx.load(path))


def told(made: onnx.ModelProto) -> str:
    """The nodes of a model, one a line."""
    rows = []
    for node in made.graph.node:
        attributes = ", ".join(
            f"{a.name}={helper.get_attribute_value(a) if a.type != AttributeProto.GRAPH else 'graph'}"
            for a in node.attribute
        )
        rows.append(f"  {node.name} {node.op_type}({', '.join(node.input)}) -> {', '.join(node.output)} {attributes}")
    return "\n".join(rows)
