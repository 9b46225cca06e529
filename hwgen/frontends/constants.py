"""Fold the constant part of an ONNX graph: weights, biases, shapes.

Values are computed in the types of the file, float32 as a rule, as its other executors do: a weight that lies on a
rounding boundary gets the code that it has there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwgen.formats import QONNX_ROUNDING, Bipolar, Format, Int, Minifloat, round_real
from hwgen.formats.minifloat import Special
from hwgen.frontends.chain import MAX_BITS
from hwgen.frontends.onnx_file import Array, OnnxNode

PARAMETERS = {
    "Quant": ("scale", "zero point", "bit width"),
    "IntQuant": ("scale", "zero point", "bit width"),
    "BipolarQuant": ("scale",),
    "FloatQuant": ("scale", "exponent width", "mantissa width", "exponent bias", "maximum"),
}
"""Inputs of the quantizers behind the tensor."""


@dataclass(frozen=True)
class Constant:
    """A constant tensor, and what it is made of if it has just been quantized.

    value: the numbers. codes, scale: of the same shape, with value = scale * (worth(codes) - zero_point); or None.
    """

    value: Array
    codes: Array | None = None
    scale: Array | None = None
    format: Format | None = None
    zero_point: int = 0

    def moved(self, move: Callable[[Array], Array]) -> Constant:
        """The same with its elements rearranged."""
        if self.codes is None or self.scale is None:
            return Constant(move(self.value))
        return replace(self, value=move(self.value), codes=move(self.codes), scale=move(self.scale))


@dataclass(frozen=True)
class Quantizer:
    """The parameters of a quantizer node; `scale` as the file has it, `rounding` by hwgen's name."""

    format: Format
    scale: Array
    zero_point: int = 0
    rounding: str = "half_even"

    def quantized(self, value: Array) -> Constant:
        """`value` quantized in its own arithmetic (float32)."""
        if isinstance(self.format, Bipolar):
            codes = (value >= 0).astype(np.int64)
            worth = (2 * codes - 1).astype(value.dtype)
        elif isinstance(self.format, Minifloat):
            codes = self.format.encode(value / self.scale.astype(value.dtype), self.rounding)
            worth = self.format.decode(codes).astype(value.dtype)
        else:
            low, high = self.format.code_range
            scaled = value / self.scale.astype(value.dtype) + value.dtype.type(self.zero_point)
            codes = round_real(np.clip(scaled, low, high), self.rounding).astype(np.int64)
            worth = codes.astype(value.dtype) - value.dtype.type(self.zero_point)
        scale = np.broadcast_to(self.scale.astype(np.float64), codes.shape)
        return Constant(worth * self.scale.astype(value.dtype), codes, scale, self.format, self.zero_point)


def quantizer(node: OnnxNode, constants: Sequence[Constant], max_bits: int = MAX_BITS) -> Quantizer:
    """What a node of one of the kinds of PARAMETERS does; `constants` are its inputs after the first."""
    values = [np.asarray(c.value, dtype=np.float64) for c in constants]
    names = PARAMETERS[node.op]
    if len(values) != len(names) or any(value.size == 0 for value in values):
        raise node.refused(f"it needs {len(names)} parameters behind its input ({', '.join(names)})")
    scale = values[0]
    if not np.isfinite(scale).all() or (scale <= 0).any():
        raise node.refused(f"scales must be positive and finite, not {scale.min()}..{scale.max()}")
    if node.op == "BipolarQuant":
        return Quantizer(Bipolar(), scale)
    if node.op == "FloatQuant":
        return Quantizer(_minifloat(node, values), scale, rounding=_rounding(node))
    zero_point = _one_integer(node, "zero point", values[1])
    bits = _one_integer(node, "bit width", values[2])
    signed, narrow = bool(node.attributes.get("signed", 1)), bool(node.attributes.get("narrow", 1))
    rounding = _rounding(node)
    if not 1 <= bits <= max_bits:
        raise node.refused(f"{bits} bits; 1 to {max_bits} are supported")
    if bits == 1 and signed:
        # QONNX: one signed bit is bipolar.
        if zero_point:
            raise node.refused(f"one signed bit is bipolar and has no zero point, not {zero_point}")
        return Quantizer(Bipolar(), scale)
    if bits == 1 and narrow:
        raise node.refused("a narrow range of one unsigned bit has a single code")
    return Quantizer(Int(bits, signed, narrow), scale, zero_point, rounding)


def _rounding(node: OnnxNode) -> str:
    mode = str(node.attributes.get("rounding_mode", "ROUND")).upper()
    if mode not in QONNX_ROUNDING:
        raise node.refused(f"unknown rounding mode {mode!r}: one of {', '.join(QONNX_ROUNDING)}")
    return QONNX_ROUNDING[mode]


def _minifloat(node: OnnxNode, values: Sequence[Array]) -> Minifloat:
    """The format of a FloatQuant node: the one of its widths and bias whose greatest number is the node's."""
    exponent_bits, mantissa_bits, bias = (
        _one_integer(node, name, value) for name, value in zip(PARAMETERS["FloatQuant"][1:4], values[1:4], strict=True)
    )
    if not node.attributes.get("saturation", 1):
        raise node.refused("it does not saturate, and hardware has no infinities or NaN to overflow to")
    if not 1 <= exponent_bits <= 8 or not 0 <= mantissa_bits <= 7 or not -64 <= bias <= 64:
        raise node.refused(f"no minifloat has E{exponent_bits}M{mantissa_bits} with bias {bias} here")
    greatest = float(values[4].ravel()[0])
    kinds: tuple[Special, ...] = ("none", "nan", "ieee")
    made = [Minifloat(exponent_bits, mantissa_bits, bias, special) for special in kinds]
    # The node clamps to the lesser of its maximum and what its widths can hold.
    for fmt in made:
        top = float(fmt.extremes[1])
        if top == greatest or (fmt.special == "none" and greatest > top):
            return fmt
    tops = ", ".join(f"{float(fmt.extremes[1]):g}" for fmt in made)
    raise node.refused(f"its maximum {greatest:g} is none of E{exponent_bits}M{mantissa_bits} with bias {bias}: {tops}")


def _one_integer(node: OnnxNode, what: str, value: Array) -> int:
    (first, *others) = set(value.ravel().tolist())
    if others:
        raise node.refused(f"one {what} for all channels is supported, not {value.min()}..{value.max()}")
    if not np.isfinite(first) or first != int(first):
        raise node.refused(f"the {what} must be an integer, not {first}")
    return int(first)


def annotated_format(datatype: str) -> Format | None:
    """The format that a `finn_datatype` annotation names; None for one that is no integer of 1 to 16 bits."""
    named: dict[str, Format] = {"BIPOLAR": Bipolar(), "BINARY": Int(1, is_signed=False), "TERNARY": Int(2, narrow=True)}
    if datatype in named:
        return named[datatype]
    match = re.fullmatch(r"(U?)INT([0-9]+)", datatype)
    if not match or not (1 if match[1] else 2) <= int(match[2]) <= MAX_BITS:
        return None
    return Int(int(match[2]), is_signed=not match[1])


def annotated(value: Array, fmt: Format) -> Constant | None:
    """`value` as codes of scale 1, or None if it holds anything that `fmt` does not."""
    codes = fmt.encode(value) if np.isfinite(value).all() else None
    if codes is None or (fmt.decode(codes) != value).any():
        return None
    return Constant(value, codes, np.ones(codes.shape), fmt)


def fold(node: OnnxNode, inputs: Sequence[Constant | None]) -> Constant:
    """What a node with constant inputs gives (its first output); raises UnsupportedError for an unknown one."""
    folder = FOLDERS.get(node.op)
    if folder is None:
        raise node.refused("this operation is not supported on constants")
    given = list(inputs)
    while given and given[-1] is None:
        given.pop()
    present = [c for c in given if c is not None]
    if len(present) != len(given):
        raise node.refused("an input in the middle is missing")
    try:
        with np.errstate(all="ignore"):
            return folder(node, present)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise node.refused(f"its constant cannot be computed: {error}") from error


Folder = Callable[[OnnxNode, Sequence[Constant]], Constant]


def axes_of(node: OnnxNode, constants: Sequence[Constant]) -> list[int] | None:
    """Axes of Squeeze and Unsqueeze: an attribute before opset 13, an input since."""
    if "axes" in node.attributes:
        return [int(axis) for axis in node.attributes["axes"]]
    return [int(axis) for axis in np.atleast_1d(constants[0].value)] if constants else None


def _constant(node: OnnxNode, inputs: Sequence[Constant]) -> Constant:
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    for name, kind in kinds.items():
        if name in node.attributes:
            return Constant(np.array(node.attributes[name], dtype=kind))
    return Constant(np.asarray(node.attributes["value"]))


def _quant(node: OnnxNode, inputs: Sequence[Constant]) -> Constant:
    # Biases are quantized to the accumulator's width.
    value = np.asarray(inputs[0].value, dtype=np.float32)
    if not np.isfinite(value).all():
        raise node.refused("it quantizes NaN or infinity")
    return quantizer(node, inputs[1:], max_bits=48).quantized(value)


def _transpose(node: OnnxNode, inputs: Sequence[Constant]) -> Constant:
    permutation = node.attributes.get("perm")
    return inputs[0].moved(lambda a: np.transpose(a, permutation))


def _reshape(node: OnnxNode, inputs: Sequence[Constant]) -> Constant:
    shape = [int(n) for n in inputs[1].value]
    old = inputs[0].value.shape
    if not node.attributes.get("allowzero", 0):
        shape = [n if n or i >= len(old) else old[i] for i, n in enumerate(shape)]
    return inputs[0].moved(lambda a: np.reshape(a, shape))


def _flatten(node: OnnxNode, inputs: Sequence[Constant]) -> Constant:
    axis = node.attributes.get("axis", 1)
    return inputs[0].moved(lambda a: np.reshape(a, (int(np.prod(a.shape[:axis])), -1)))


def _squeeze(node: OnnxNode, inputs: Sequence[Constant]) -> Constant:
    axes = axes_of(node, inputs[1:])
    return inputs[0].moved(lambda a: np.squeeze(a, None if axes is None else tuple(axes)))


def _unsqueeze(node: OnnxNode, inputs: Sequence[Constant]) -> Constant:
    axes = axes_of(node, inputs[1:]) or []
    return inputs[0].moved(lambda a: np.expand_dims(a, tuple(axes)))


def _cast(node: OnnxNode, inputs: Sequence[Constant]) -> Constant:
    from onnx import helper

    kind = helper.tensor_dtype_to_np_dtype(node.attributes["to"])
    if inputs[0].codes is not None and np.issubdtype(kind, np.floating):
        return replace(inputs[0], value=inputs[0].value.astype(kind))
    return Constant(inputs[0].value.astype(kind))


def _scaled(node: OnnxNode, inputs: Sequence[Constant]) -> Constant:
    """Mul and Div: a quantized tensor times positive numbers stays quantized, with another scale."""
    a, b = inputs
    divides = node.op == "Div"
    if b.codes is not None and not divides and a.codes is None:
        a, b = b, a
    value = a.value / b.value if divides else a.value * b.value
    if divides and np.issubdtype(value.dtype, np.floating) and np.issubdtype(a.value.dtype, np.integer):
        value = np.trunc(value).astype(a.value.dtype)
    if a.codes is None or a.scale is None or value.shape != a.codes.shape or not (b.value > 0).all():
        return Constant(value)
    factor = b.value.astype(np.float64)
    return replace(a, value=value, scale=a.scale / factor if divides else a.scale * factor)


def _gather(node: OnnxNode, inputs: Sequence[Constant]) -> Constant:
    index = inputs[1].value.astype(np.int64)
    return inputs[0].moved(lambda a: np.take(a, index, axis=node.attributes.get("axis", 0)))


def _slice(node: OnnxNode, inputs: Sequence[Constant]) -> Constant:
    starts, ends, *rest = ([int(n) for n in np.atleast_1d(c.value)] for c in inputs[1:])
    axes = rest[0] if rest else list(range(len(starts)))
    strides = rest[1] if len(rest) > 1 else [1] * len(starts)
    cut = [slice(None)] * inputs[0].value.ndim
    for axis, start, end, stride in zip(axes, starts, ends, strides, strict=True):
        cut[axis] = slice(start, end, stride)
    return inputs[0].moved(lambda a: a[tuple(cut)])


def _plain(function: Callable[..., Array]) -> Folder:
    return lambda node, inputs: Constant(np.asarray(function(*(c.value for c in inputs))))


def _concat(node: OnnxNode, inputs: Sequence[Constant]) -> Constant:
    return Constant(np.concatenate([np.atleast_1d(c.value) for c in inputs], axis=node.attributes["axis"]))


FOLDERS: dict[str, Folder] = {
    "Abs": _plain(np.abs),
    "Add": _plain(np.add),
    "BipolarQuant": _quant,
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "Div": _scaled,
    "Exp": _plain(np.exp),
    "Flatten": _flatten,
    "FloatQuant": _quant,
    "Gather": _gather,
    "Identity": lambda node, inputs: inputs[0],
    "IntQuant": _quant,
    "Mul": _scaled,
    "Neg": _plain(np.negative),
    "Pow": _plain(lambda a, b: np.power(a, b).astype(a.dtype)),
    "Quant": _quant,
    "Reciprocal": _plain(np.reciprocal),
    "Reshape": _reshape,
    "Slice": _slice,
    "Sqrt": _plain(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""What is folded on constants."""
