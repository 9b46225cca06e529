"""Small random QONNX networks, as others export them; one function builds all of them from a table of options."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"


@dataclass
class Builder:
    """Collects nodes and initializers; every method returns the name of the tensor that it writes."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def op(self, kind: str, *inputs: str, domain: str = "", name: str | None = None, **attributes: Any) -> str:
        output = f"t{len(self.nodes)}"
        label = f"{kind}_{len(self.nodes)}" if name is None else name
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=label, domain=domain, **attributes))
        return output

    def quant(
        self,
        x: str,
        scale: Any,
        bits: float,
        signed: int = 1,
        narrow: int = 0,
        zero: Any = 0.0,
        mode: str = "ROUND",
        kind: str = "Quant",
    ) -> str:
        inputs = [x, self.const(scale), self.const(zero), self.const(bits)]
        return self.op(kind, *inputs, domain=DOMAIN, signed=signed, narrow=narrow, rounding_mode=mode)

    def bipolar(self, x: str, scale: Any) -> str:
        return self.op("BipolarQuant", x, self.const(scale), domain=DOMAIN)

    def model(self, output: str, shape: tuple[Any, ...], out_shape: tuple[Any, ...], **options: Any) -> onnx.ModelProto:
        kind = options.pop("output_type", TensorProto.FLOAT)
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, kind, out_shape)],
            self.initializers,
        )
        opsets = [helper.make_opsetid("", options.pop("opset", 13)), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10, **options)


@dataclass(frozen=True)
class Options:
    """What a random perceptron looks like."""

    sizes: tuple[int, ...] = (12, 9, 7, 4)
    weight_bits: int = 4
    act_bits: int = 4
    act_signed: int = 0
    narrow: int = 1
    per_channel: bool = False
    act_zero: int = 0
    weight_zero: int = 0
    weight_signed: int = 1
    mode: str = "ROUND"
    batch_norm: bool = False
    bias: str = "none"  # none, float, quantized
    relu: bool = True
    exact: bool = False  # scales are powers of two: float32 computes without error
    bipolar: bool = False
    gemm: bool = True

    def but(self, **changes: Any) -> Options:
        return replace(self, **changes)


def scale_of(rng: np.random.Generator, options: Options, size: int | None, center: float) -> npt.NDArray[np.float32]:
    shape = () if size is None else (size, 1)
    value = center * rng.uniform(0.6, 1.6, shape)
    return np.float32(2.0 ** np.round(np.log2(value))) if options.exact else np.float32(value)


def mlp(options: Options, frames: int, seed: int = 0) -> onnx.ModelProto:
    """A perceptron: quantizer, then products with optional bias, batch norm and ReLU, each but the last quantized."""
    rng = np.random.default_rng(seed)
    b = Builder()
    tensor = activation(b, rng, options, "x", 1 / 2**options.act_bits * 2)
    step = 2.0 / 2**options.act_bits
    for layer, (inner, out) in enumerate(zip(options.sizes, options.sizes[1:], strict=False)):
        last = layer == len(options.sizes) - 2
        tensor = product(b, rng, options, tensor, inner, out, step)
        if options.batch_norm and not last:
            gamma = rng.uniform(0.4, 1.5, out) * rng.choice([-1, 1], out)
            gamma[0] = 0.0
            parameters = [gamma, rng.normal(0, 0.5, out), rng.normal(0, 0.5, out), rng.uniform(0.3, 2, out)]
            tensor = b.op("BatchNormalization", tensor, *(b.const(p) for p in parameters), epsilon=1e-3)
        if not last:
            tensor = b.op("Relu", tensor) if options.relu else tensor
            tensor = activation(b, rng, options, tensor, step)
    return b.model(tensor, (frames, options.sizes[0]), (frames, options.sizes[-1]))


def activation(b: Builder, rng: np.random.Generator, o: Options, tensor: str, step: float) -> str:
    scale = scale_of(rng, o, None, step)
    if o.bipolar:
        return b.bipolar(tensor, scale)
    return b.quant(tensor, scale, o.act_bits, o.act_signed, o.narrow, float(o.act_zero), o.mode)


def product(b: Builder, rng: np.random.Generator, o: Options, tensor: str, inner: int, out: int, step: float) -> str:
    scale = scale_of(rng, o, out if o.per_channel else None, 1 / np.sqrt(inner) / 2 ** (o.weight_bits - 1) * 2)
    high = 2 ** (o.weight_bits - o.weight_signed)
    worth = rng.uniform(-high if o.weight_signed else 0, high, (out, inner)) - o.weight_zero
    weight = b.const(worth * scale)
    if o.bipolar:
        weight = b.bipolar(weight, scale)
    else:
        weight = b.quant(weight, scale, o.weight_bits, o.weight_signed, o.narrow, float(o.weight_zero))
    bias = []
    if o.bias == "float":
        value = rng.normal(0, 0.3, out)
        bias = [b.const(np.round(value * 64) / 64 if o.exact else value)]
    elif o.bias == "quantized":
        bias = [b.quant(b.const(rng.normal(0, 0.3, out)), np.float32(step) * np.ravel(scale), 24)]
    if o.gemm:
        return b.op("Gemm", tensor, weight, *bias, transB=1)
    tensor = b.op("MatMul", tensor, b.op("Transpose", weight, perm=[1, 0]))
    return b.op("Add", tensor, *bias) if bias else tensor


def frames_of(options: Options, frames: int, seed: int = 1) -> npt.NDArray[np.float32]:
    """Inputs in the quantizer's range and a little outside."""
    rng = np.random.default_rng(seed)
    low = -1.2 if options.act_signed or options.bipolar or options.act_zero else -0.2
    return rng.uniform(low, 2.2, (frames, options.sizes[0])).astype(np.float32)
