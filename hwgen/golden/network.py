"""Whole networks: what an accelerator must compute, bit for bit. Codes in, codes out, integers only.

`run`, `trace` and `predict` execute a frozen graph. Every operation is defined by its own `run` on int64; here the
same numbers are computed faster: integers ride on floating-point BLAS where every partial sum is proven to stay below
2^24 (float32) or 2^53 (float64), and thresholds become one multiply-add and a floor where that is proven equal. Where
a network needs wider integers, int64 carries them, and matrix products ride on BLAS in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Blocked, Codes, Int, Real
from hwgen.golden.carrier import Carrier
from hwgen.golden.plan import Plan, plan
from hwgen.ir import Array, Graph

MAX_HELD = 1 << 19
"""The most numbers of one tensor that `run` has in hand at a time, so that they stay in the cache: of larger batches a
few frames after the other."""


def run(graph: Graph, x: npt.ArrayLike) -> Codes:
    """Output codes of a frozen graph, int64 of shape (frames, *output shape).

    `x`, of shape (frames, *input shape) or one frame without the first axis: input codes if its type is an integer
    one, real numbers (first taken through the host's part and encoded, see `encode`) if it is a floating-point one.
    Raises HwgenError for a wrong shape, a code outside the input's format, NaN or infinity, or a graph not frozen.
    """
    made = plan(graph)
    codes = input_codes(graph, x)
    step = max(1, MAX_HELD // made.largest)
    parts = []
    for start in range(0, max(1, len(codes)), step):
        for name, value in _tensors(graph, made, codes[start : start + step]):
            if name == graph.outputs[0]:
                parts.append(np.asarray(value, dtype=np.int64))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def trace(graph: Graph, x: npt.ArrayLike) -> dict[str, Codes]:
    """The codes of every tensor by its name, the input included; `x` as in `run`."""
    made = plan(graph, every=True)
    tensors = _tensors(graph, made, input_codes(graph, x))
    return {name: np.array(value, dtype=np.int64) for name, value in tensors}


def _tensors(graph: Graph, made: Plan, codes: Codes) -> Iterator[tuple[str, Carrier]]:
    """The name and the codes of the input and of what each step writes, which the next ones may write into."""
    held = {graph.inputs[0].name: codes.astype(made.carrier)}
    yield from held.items()
    for one in made.steps:
        held[one.output] = one.kernel(*(held[name] if kept else held.pop(name) for name, kept in one.inputs))
        yield one.output, held[one.output]


def encode(graph: Graph, x: npt.ArrayLike) -> Codes:
    """Input codes of real numbers `x` (frames, *shape): what the host does before the accelerator (`graph.pre`)."""
    real = np.asarray(x, dtype=np.float64)
    if not np.isfinite(real).all():
        raise HwgenError("the input holds NaN or infinity")
    shape = graph.pre_shape
    if real.shape != shape and real.shape[1:] != shape:
        raise HwgenError(f"the input has shape {real.shape}; the network takes (frames, {_sizes(shape)})")
    real = real.reshape(-1, *shape)
    for op in graph.pre:
        real = op.run(real)
    return graph.input_type.encode(real, graph.input_rounding)


def predict(graph: Graph, x: npt.ArrayLike) -> Real:
    """What the whole network gives: run on codes, decoded, and taken through the host's last part (`graph.post`)."""
    return finish(graph, run(graph, x))


def finish(graph: Graph, codes: npt.ArrayLike) -> Real:
    """Real outputs (frames, *shape) from an accelerator's output codes: decoding and `graph.post`."""
    real: Array = graph.output_type.decode(np.asarray(codes, dtype=np.int64))
    for op in graph.post:
        real = op.run(real)
    return np.asarray(real, dtype=np.float64)


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def input_codes(graph: Graph, x: npt.ArrayLike) -> Codes:
    """What `run` takes, checked, as codes (frames, *input shape)."""
    array = np.asarray(x)
    if array.dtype.kind == "f":
        return encode(graph, array)
    if array.dtype.kind not in "iub":
        raise HwgenError(f"the input is an array of {array.dtype}; codes are integers, real inputs are floats")
    kind = graph.input_type
    if array.shape == kind.shape:
        array = array[None]
    if array.shape[1:] != kind.shape or array.ndim != len(kind.shape) + 1:
        raise HwgenError(f"the input has shape {array.shape}; the network takes (frames, {_sizes(kind.shape)})")
    codes = array.astype(np.int64, copy=False)
    if codes.size:
        low, high = kind.codes_format.code_range
        least, greatest = codes.min(), codes.max()
        if least < low or greatest > high:
            raise HwgenError(
                f"the input's codes {least}..{greatest} leave the range {low}..{high} of {kind.codes_format.name}"
            )
        if not isinstance(kind.codes_format, Int) and not kind.codes_format.is_number(codes).all():
            raise HwgenError(f"the input's codes of {kind.codes_format.name} hold NaN or infinity")
        if isinstance(kind.codes_format, Blocked):
            kind.codes_format.check_shared(codes)
    return codes
