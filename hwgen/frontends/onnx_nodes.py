"""What each ONNX operation on the network's tensor becomes: one function each, and the table of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hwgen.frontends import activations, images, onnx_layout
from hwgen.frontends.chain import (
    BATCH,
    Chain,
    Weights,
    append_affine,
    append_batch_norm,
    append_clip,
    append_dense,
)
from hwgen.frontends.constants import Constant, axes_of, quantizer
from hwgen.frontends.onnx_file import OnnxNode
from hwgen.frontends.shapes import append_squeeze, append_transpose
from hwgen.frontends.slices import slice_onnx, split_onnx
from hwgen.frontends.upsamples import upsample_onnx
from hwgen.ops import ArgMax, Quantize, Relu, Reshape, Softmax, TopK


def _alias(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    """Nothing to do: the output is the same tensor."""


def _cast(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    from onnx import TensorProto

    kind = node.attributes["to"]
    if kind not in (TensorProto.FLOAT, TensorProto.DOUBLE) and not (
        chain.nodes and isinstance(chain.nodes[-1].op, ArgMax | TopK)
    ):
        raise node.refused(f"a cast to {TensorProto.DataType.Name(kind)} would round; only float and double do not")
    _alias(chain, node, given)


def _quantize(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    present = _all_constant(node, given[1:], "parameters")
    made = quantizer(node, present)
    scale = chain.per_channel(made.scale, node.refused)
    op = Quantize(made.format, tuple(float(s) for s in scale), made.zero_point, made.rounding)
    chain.append(node.name, op, node.outputs[0])


def _all_constant(node: OnnxNode, given: Sequence[Constant | None], what: str) -> list[Constant]:
    present = [c for c in given if c is not None]
    if not present or len(present) != len(given):
        raise node.refused(f"its {what} must be constants")
    return present


def _arithmetic(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    constant_first = given[0] is not None
    operand = given[0] if constant_first else given[1]
    if operand is None:
        raise node.refused("it reads the tensor and a constant, or several tensors")
    along_last = operand.value.ndim > 0 and operand.value.shape[-1] == operand.value.size == chain.shape[-1]
    if operand.value.size > 1 and operand.value.ndim >= len(chain.shape) > 1 and not along_last:
        images.channels_last(chain, node.refused)
    value = chain.per_channel(operand.value, node.refused)
    if node.op == "Div" and constant_first:
        raise node.refused("a constant divided by the tensor is not affine")
    name, output = node.name, node.outputs[0]
    if node.op == "Mul":
        append_affine(chain, name, output, mul=value)
    elif node.op == "Div":
        if (value == 0).any():
            raise node.refused("it divides by zero")
        append_affine(chain, name, output, div=value)
    elif node.op == "Add":
        append_affine(chain, name, output, add=value)
    else:
        append_affine(chain, name, output, mul=-1 if constant_first else 1, add=value if constant_first else -value)


def _batch_norm(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    if node.attributes.get("training_mode", 0):
        raise node.refused("it is in training mode")
    parameters = [c.value for c in _all_constant(node, [*given, *[None] * 4][1:5], "gamma, beta, mean and variance")]
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    if node.domain == onnx_layout.DOMAIN:
        if chain.layout != "plain":
            raise node.refused("its channels are last, and those of the tensor that it reads are first")
    elif len(chain.shape) > 1:
        images.channels_last(chain, node.refused)
    append_batch_norm(chain, node.name, node.outputs[0], parameters, epsilon, node.refused)


def _clip(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    bounds = [node.attributes.get("min", -math.inf), node.attributes.get("max", math.inf)]
    for i, bound in enumerate(given[1:3]):
        if bound is None and len(node.inputs) > i + 1 and node.inputs[i + 1]:
            raise node.refused("its bounds must be constants")
        if bound is not None:
            if bound.value.size != 1:
                raise node.refused(f"its bounds are one number each, not {bound.value.size}")
            bounds[i] = bound.value.item()
    low, high = map(float, bounds)
    append_clip(chain, node.name, node.outputs[0], low, high, node.refused)


def _relu(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    chain.append(node.name, Relu(), node.outputs[0])


def _activation(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    name, output, options = node.name, node.outputs[0], node.attributes
    if node.op == "HardSigmoid":
        alpha, beta = float(options.get("alpha", 0.2)), float(options.get("beta", 0.5))
        activations.append_hard_sigmoid(chain, name, output, alpha, beta, node.refused)
        return
    slope = float(options.get("alpha", {"LeakyRelu": 0.01, "Elu": 1.0}.get(node.op, 0.0)))
    if node.op == "PRelu":
        slopes = np.unique(_all_constant(node, given[1:], "slopes")[0].value)
        if slopes.size != 1:
            raise node.refused(f"{slopes.size} slopes are not supported; one for all channels is")
        slope = float(slopes[0])
    function = activations.ONNX[node.op]
    if node.op == "Gelu":
        function = activations.gelu_function(str(options.get("approximate", "none")), node.refused)
    activations.append_activation(chain, name, output, function, slope)


def _check_numbers(node: OnnxNode, weight: Constant) -> None:
    if not weight.value.size:
        raise node.refused(f"its weights, of shape {weight.value.shape}, are none")
    if not np.isfinite(weight.value).all():
        raise node.refused("its weights hold NaN or infinity")


def _dense(chain: Chain, node: OnnxNode, weight: Constant, transposed: bool, output: str) -> None:
    """Append a Dense; `weight` has shape (in, out), or (out, in) if `transposed`."""
    _check_numbers(node, weight)
    if weight.value.ndim != 2:
        raise node.refused(f"its weights have shape {weight.value.shape}, not that of a matrix")
    if weight.codes is None or weight.scale is None or weight.format is None:
        raise node.refused("its weights are not quantized: no Quant node stands between them and this node")
    codes, scale = (a if transposed else a.T for a in (weight.codes, weight.scale))
    append_dense(chain, node.name, output, Weights(codes, scale, weight.format, weight.zero_point), node.refused)


def _matmul(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    if chain.layout != "plain" and chain.shape[-1] == 1:
        # One channel, which may as well be no image: see _reshape and _transpose.
        images.append_reshape(chain, f"{node.name}.rows", f"{node.outputs[0]}.rows", chain.framed)
    if given[0] is None:
        assert given[1] is not None
        _dense(chain, node, given[1], transposed=False, output=node.outputs[0])
        return
    if len(chain.shape) != 2 or chain.shape[-1] != 1:
        raise node.refused("a product with the weights on the left needs columns, a tensor of shape (batch, in, 1)")
    chain.append(f"{node.name}.row", Reshape(chain.shape[:1]), f"{node.outputs[0]}.row")
    _dense(chain, node, given[0], transposed=True, output=f"{node.outputs[0]}.product")
    chain.append(f"{node.name}.column", Reshape((*chain.shape, 1)), node.outputs[0])


def _gemm(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    if given[0] is not None:
        raise node.refused("its first operand must be the tensor and its second the weights")
    if node.attributes.get("transA", 0):
        raise node.refused("transA=1 would exchange the batch and the channels")
    alpha, beta = float(node.attributes.get("alpha", 1.0)), float(node.attributes.get("beta", 1.0))
    if given[1] is None:
        raise node.refused("its first operand must be the tensor and its second the weights")
    bias = given[2] if len(given) > 2 else None
    name, output = node.name, node.outputs[0]
    has_bias = bias is not None and beta != 0
    scaled_to = f"{output}.scaled" if has_bias else output
    product_to = f"{output}.product" if has_bias or alpha != 1 else output
    _dense(chain, node, given[1], transposed=bool(node.attributes.get("transB", 0)), output=product_to)
    if alpha != 1:
        append_affine(chain, f"{name}.alpha", scaled_to, mul=alpha)
    if bias is not None and has_bias:
        append_affine(chain, f"{name}.bias", output, add=chain.per_channel(bias.value, node.refused) * beta)


def _slide(chain: Chain, node: OnnxNode, kernel: Sequence[int]) -> images.Geometry:
    rank = len(kernel)
    if rank not in (1, 2):
        raise node.refused(f"windows over {rank} axes are not supported; 1 and 2 are")
    ones, zeros = [1] * rank, [0] * (2 * rank)
    strides, pads, dilations = (
        [int(n) for n in node.attributes.get(name, default)]
        for name, default in (("strides", ones), ("pads", zeros), ("dilations", ones))
    )
    if (len(chain.framed), len(strides), len(pads), len(dilations)) != (rank + 1, rank, 2 * rank, rank):
        raise node.refused(f"windows over {rank} axes do not fit a tensor of shape {chain.frame}")
    mode = str(node.attributes.get("auto_pad", "NOTSET"))
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        sizes = chain.framed[1:]
        # As many windows as strides begin in the image; an odd pixel goes to the end, or to the start.
        needed = [
            max((math.ceil(size / max(stride, 1)) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
            for size, stride, k, dilation in zip(sizes, strides, kernel, dilations, strict=True)
        ]
        less, more = [total // 2 for total in needed], [total - total // 2 for total in needed]
        pads = [*less, *more] if mode == "SAME_UPPER" else [*more, *less]
    elif mode not in ("NOTSET", "VALID"):
        raise node.refused(f"auto_pad={mode} is not known")
    elif mode == "VALID":
        pads = zeros
    return images.geometry(kernel, strides, pads, dilations)


def _conv(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    weight = given[1] if len(given) > 1 else None
    if given[0] is not None or weight is None:
        raise node.refused("its first operand must be the tensor and its second the weights")
    _check_numbers(node, weight)
    if weight.codes is None or weight.scale is None or weight.format is None:
        raise node.refused("its weights are not quantized: no Quant node stands between them and this node")
    bias = given[2] if len(given) > 2 else None
    name, output = node.name, node.outputs[0]
    weights = Weights(weight.codes, weight.scale, weight.format, weight.zero_point)
    if weight.value.ndim == 3:
        weights = replace(weights, codes=weights.codes[:, :, None], scale=weights.scale[:, :, None])
    kernel = weight.value.shape[2:]
    if tuple(node.attributes.get("kernel_shape", kernel)) != kernel:
        raise node.refused(f"kernel_shape={list(node.attributes['kernel_shape'])}, and its weights are {list(kernel)}")
    slide, groups = _slide(chain, node, kernel), int(node.attributes.get("group", 1))
    images.append_conv(chain, name, f"{output}.product" if bias else output, weights, slide, groups, node.refused)
    if bias is not None:
        behind = (1,) * (len(chain.framed) - 1)
        value = chain.per_channel(bias.value.reshape(-1, *behind), node.refused)
        append_affine(chain, f"{name}.bias", output, add=value)


def _pool(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    if node.attributes.get("ceil_mode", 0):
        raise node.refused("ceil_mode=1 is not supported")
    slide = _slide(chain, node, [int(n) for n in node.attributes["kernel_shape"]])
    kind = "max" if node.op == "MaxPool" else "mean"
    images.append_pool(chain, node.name, node.outputs[0], kind, slide, node.refused)


def _global_mean(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    if node.op == "ReduceMean":
        axes = axes_of(node, [c for c in given[1:] if c is not None]) or []
        rank = len(chain.framed) + 1
        taken = sorted(axis % rank for axis in axes)
        if chain.layout == "plain" and rank == 4 and taken == [1, 2]:
            _mean_of_last(chain, node)
            return
        if taken != list(range(2, rank)):
            raise node.refused(f"it takes the mean over the axes {axes}; only over all rows and columns is supported")
    images.append_global_mean(chain, node.name, node.outputs[0], node.refused)
    if node.op == "ReduceMean" and not node.attributes.get("keepdims", 1):
        images.append_reshape(chain, f"{node.name}.vector", f"{node.outputs[0]}.vector", chain.shape[-1:])


def _mean_of_last(chain: Chain, node: OnnxNode) -> None:
    """The mean over all rows and columns of an image with the channels last, as the chain itself has it."""
    chain.layout = "image"
    images.append_global_mean(chain, node.name, node.outputs[0], node.refused)
    chain.layout = "plain"
    if not node.attributes.get("keepdims", 1):
        images.append_reshape(chain, f"{node.name}.vector", f"{node.outputs[0]}.vector", chain.shape[-1:])


def _reshape(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    if given[1] is None:
        raise node.refused("its shape is not constant: dynamic shapes are not supported")
    wanted = [int(n) for n in np.atleast_1d(given[1].value)]
    old = (BATCH, *chain.framed)
    if not node.attributes.get("allowzero", 0):
        wanted = [old[i] if n == 0 and i < len(old) else n for i, n in enumerate(wanted)]
    shape = chain.reshaped(wanted, node.refused)
    if chain.layout == "plain" and len(chain.shape) == 3 and shape == (1, *chain.shape[:-1]) != chain.shape:
        # One channel, from last to first: what converters write for a transpose of such images.
        chain.layout = "image"
        return
    images.append_reshape(chain, node.name, node.outputs[0], shape)


def _flatten(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    axis = int(node.attributes.get("axis", 1))
    if axis not in (1, -len(chain.framed)):
        raise node.refused(f"axis {axis} does not keep the batch apart; only axis 1 is supported")
    images.append_reshape(chain, node.name, node.outputs[0], (math.prod(chain.shape),))


def _squeeze(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    axes = axes_of(node, [c for c in given[1:] if c is not None]) or []
    append_squeeze(chain, node.name, node.outputs[0], axes, node.refused, grows=node.op == "Unsqueeze")


def _transpose(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    order = [int(i) for i in node.attributes.get("perm", range(len(chain.framed) + 1)[::-1])]
    append_transpose(chain, node.name, node.outputs[0], order, node.refused)


def _on_channels(chain: Chain, node: OnnxNode, default: int) -> None:
    axis = int(node.attributes.get("axis", default))
    if axis not in (-1, len(chain.shape)) or chain.layout != "plain":
        raise node.refused(f"axis {axis} is not the last axis")


def _softmax(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    _on_channels(chain, node, -1 if len(chain.shape) == 1 else 1)
    chain.append(node.name, Softmax(), node.outputs[0])


def _argmax(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    _on_channels(chain, node, 0)
    if node.attributes.get("select_last_index", 0):
        raise node.refused("select_last_index=1 is not supported: of equal numbers the first is taken")
    # Without keepdims the file's output lacks the last axis, of size 1, that ours has.
    chain.append(node.name, ArgMax(), node.outputs[0])


def _topk(chain: Chain, node: OnnxNode, given: Sequence[Constant | None]) -> None:
    _on_channels(chain, node, -1)
    k = int(given[1].value.ravel()[0]) if len(given) > 1 and given[1] is not None else int(node.attributes.get("k", 0))
    if not node.attributes.get("largest", 1):
        raise node.refused("the least numbers are not supported; the greatest are")
    # What nothing reads has no name: see hwgen.frontends.onnx_fuse.
    values, indices = (*node.outputs, "", "")[:2]
    if values and indices:
        raise node.refused("both the greatest numbers and their indices are used; one of them is supported")
    if values:
        chain.append(node.name, TopK(k, "codes"), values)
    else:
        chain.append(node.name, ArgMax() if k == 1 else TopK(k), indices)


Importer = Callable[[Chain, OnnxNode, Sequence[Constant | None]], None]

IMPORTERS: dict[str, Importer] = {
    "Add": _arithmetic,
    "ArgMax": _argmax,
    "AveragePool": _pool,
    "BatchNormalization": _batch_norm,
    "BipolarQuant": _quantize,
    "Cast": _cast,
    "Clip": _clip,
    "Conv": _conv,
    "Div": _arithmetic,
    "Dropout": _alias,
    "Flatten": _flatten,
    "FloatQuant": _quantize,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_mean,
    "Identity": _alias,
    "IntQuant": _quantize,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "Mul": _arithmetic,
    "Quant": _quantize,
    "ReduceMean": _global_mean,
    "Relu": _relu,
    "Reshape": _reshape,
    "Resize": upsample_onnx,
    "Slice": slice_onnx,
    "Softmax": _softmax,
    "Split": split_onnx,
    "Squeeze": _squeeze,
    "Sub": _arithmetic,
    "TopK": _topk,
    "Transpose": _transpose,
    "Unsqueeze": _squeeze,
    "Upsample": upsample_onnx,
    **dict.fromkeys((*activations.ONNX, "HardSigmoid"), _activation),
}
"""What each ONNX operation on the network's tensor becomes."""
