"""Networks of blocks whose sums over blocks are FP32: the operation, the golden model, and what feeds on the sums."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Literal

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Blocked, Int, get
from hwgen.formats.definition import encode_minifloat
from hwgen.ir import Graph, Op, TensorType
from hwgen.ops import Activation, Affine, ArgMax, Dense, Fix, MatVec, Pool, Quantize, Relu, Window
from hwgen.ops.block_sums import FP32
from hwgen.passes import explain, freeze
from hwgen.passes.blocks import narrowed, scales_of
from tests.conftest import chain

NAMES = ["mxfp4", "mxint8", "mxfp8e4m3", "mxfp8e5m2"]


def blocks(name: str, low: int, high: int, size: int = 8) -> Blocked:
    block = get(name)
    return Blocked(
        replace(block.bare, scale=scales_of(low, high) if block.power_scale else block.bare.scale, size=size)
    )


def matvec(name: str, weight: str, scale: float = 1.0) -> MatVec:
    rng = np.random.default_rng(7)
    fmt = blocks(weight, -30, 30) if weight.startswith(("mx", "nv")) else get(weight)
    codes = fmt.encode(scale * rng.normal(size=(5, 40)) * 2.0 ** rng.integers(-6, 7, (5, 5)).repeat(8, axis=1))
    if isinstance(fmt, Blocked):
        codes, fmt = narrowed(codes, fmt)
    return MatVec(codes, fmt, input_format=blocks(name, -16, -1), accumulator="fp32")


def inputs(frames: int, size: int = 40) -> np.ndarray:
    rng = np.random.default_rng(8)
    return rng.normal(size=(frames, size)) * 2.0 ** rng.integers(-9, 4, (frames, size // 8)).repeat(8, axis=1)


def network(name: str, *between: Op, behind: Op | None = None) -> Graph:
    """16 inputs, 16 hidden numbers behind the operations `between`, 3 outputs; everything in blocks of 8."""
    rng = np.random.default_rng(3)
    full, emax = Blocked(replace(get(name), size=8)), get(name).emax
    ops: list[tuple[str, object]] = [
        ("q0", Quantize(blocks(name, -7 - emax, -emax))),
        ("fc0", Dense(full.encode(rng.normal(0, 0.3, (16, 16))), full)),
        *((f"f{index}", op) for index, op in enumerate(between)),
        ("q1", behind or Quantize(blocks(name, -5 - emax, 2 - emax))),
    ]
    if behind is None:
        ops.append(("fc1", Dense(full.encode(rng.normal(0, 0.3, (3, 16))), full, (0.5, 3.0, 0.7))))
    return chain("fp32", TensorType((16,)), *ops)


def test_functions_of_fp32_sums_are_refused() -> None:
    graph = network("mxfp4", Activation("tanh"))
    with pytest.raises(UnsupportedError, match=r"'f0' \(Activation\): FP32 sums of 'fc0' reach it; add exactly, or"):
        freeze(graph, accumulator="fp32")


def float32_sums(op: MatVec, codes: np.ndarray) -> np.ndarray:
    """Blocks summed in fractions, rounded by the format's definition, added by float32."""
    fmt = op.input_format
    assert isinstance(fmt, Blocked)
    x, w = fmt.decode(codes), op.weight_format.decode(op.weight)
    total = np.zeros((len(x), len(w)), dtype=np.float32)
    for block in range(0, x.shape[1], 8):
        for frame, out in np.ndindex(*total.shape):
            pairs = zip(x[frame, block : block + 8], w[out, block : block + 8], strict=True)
            exact = sum((Fraction(float(a)) * Fraction(float(b)) for a, b in pairs), Fraction(0))
            term = np.array([encode_minifloat(FP32, exact, "half_even")], dtype=np.uint32).view(np.float32)[0]
            total[frame, out] += term
    return total.view(np.uint32).astype(np.int64)


@pytest.mark.parametrize(
    ("name", "weight"),
    [*((name, name) for name in NAMES), ("mxint8", "mxfp4"), ("mxfp8e4m3", "int8"), ("mxfp4", "e4m3")],
)
def test_sums_are_those_of_float32_and_of_block_dots(name: str, weight: str) -> None:
    op = matvec(name, weight, 30.0 if weight == "int8" else 1.0)
    kind = TensorType((40,), op.input_format)
    codes = kind.encode(inputs(20))
    codes[3] = kind.encode(np.zeros((1, 40)))
    got = op.run(codes)
    graph = chain("one", kind, ("fc", op))
    np.testing.assert_array_equal(golden.run(graph, codes), got)
    np.testing.assert_array_equal(got, float32_sums(op, codes))
    sides = []
    for fmt, array in ((op.input_format, codes), (op.weight_format, op.weight)):
        cut = array.reshape(len(array), -1, 8)
        sides.append((fmt.scales(cut[..., 0]), fmt.elements(cut)) if isinstance(fmt, Blocked) else cut)
    formats = [fmt.block if isinstance(fmt, Blocked) else fmt for fmt in (op.input_format, op.weight_format)]
    reference = golden.block_dot(*sides, *formats, accumulator="fp32")
    np.testing.assert_array_equal(got, reference.view(np.uint32).astype(np.int64))
    assert op.infer(kind) == TensorType((5,), FP32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("between", [(), (Relu(),)], ids=["plain", "relu"])
def test_quantizers_see_the_sums_as_they_are(name: str, between: tuple[Op, ...]) -> None:
    graph = network(name, *between)
    frozen = freeze(graph, accumulator="fp32")
    assert [type(node.op) for node in frozen.nodes][:2] == [MatVec, Fix]
    codes = golden.encode(frozen, inputs(300, 16))
    tensors = golden.trace(frozen, codes)
    first, last = (n.op for n in frozen.nodes if isinstance(n.op, MatVec))
    sums = FP32.decode(first.run(codes))
    want = graph.types["q1_out"].codes_format.encode(np.maximum(sums, 0) if between else sums)
    fmt = graph.types["q1_out"].codes_format
    np.testing.assert_array_equal(fmt.decode(tensors["q1_out"]), fmt.decode(want))
    assert frozen.output_type == TensorType((3,), FP32, (0.5, 3.0, 0.7))
    expected = FP32.decode(last.run(tensors["q1_out"])) * np.array([0.5, 3.0, 0.7])
    np.testing.assert_array_equal(golden.predict(frozen, inputs(300, 16)), expected)


@pytest.mark.parametrize("fmt", ["int8", "uint4", "e4m3", "bipolar", "int14"])
@pytest.mark.parametrize("scale", [0.125, 0.37])
def test_scalar_quantizers_behind_fp32(fmt: str, scale: float) -> None:
    frozen = freeze(network("mxfp6e3m2", behind=Quantize(get(fmt), (scale,))), accumulator="fp32")
    codes = golden.encode(frozen, inputs(300, 16))
    matrix = frozen.nodes[0].op
    want = get(fmt).encode(FP32.decode(matrix.run(codes)) / scale)
    got = golden.run(frozen, codes)
    kind = get(fmt)
    if scale == 0.125:
        np.testing.assert_array_equal(kind.decode(got), kind.decode(want))
    else:
        assert (kind.decode(got) != kind.decode(want)).mean() < 0.002


def test_falling_channels_are_negated_ahead_of_the_sums() -> None:
    affine = Affine(np.where(np.arange(16) % 2, -1.0, 1.0), np.zeros(1))
    graph = network("mxfp4", affine)
    frozen = freeze(graph, accumulator="fp32")
    straight = freeze(network("mxfp4"), accumulator="fp32")
    x = golden.encode(frozen, inputs(50, 16))
    fix = next(node.output for node in frozen.nodes if isinstance(node.op, Fix))
    sign = np.where(np.arange(16) % 2, -1, 1)
    np.testing.assert_array_equal(golden.trace(frozen, x)[fix], sign * golden.trace(straight, x)[fix])


@pytest.mark.parametrize("reduce", ["max", "sum"])
def test_pools_take_fixed_point(reduce: Literal["max", "sum"]) -> None:
    rng = np.random.default_rng(4)
    x, full = blocks("mxfp4", -9, -2), blocks("mxfp4", -20, 20)
    padding = (1, 1, 1, 1) if reduce == "max" else (0, 0, 0, 0)
    ops: list[tuple[str, Op]] = [
        ("q", Quantize(x)),
        ("w", Window(kernel=(3, 3), padding=(1, 1, 1, 1))),
        ("fc", Dense(full.encode(rng.normal(0, 0.3, (8, 72))), full)),
        ("windows", Window(kernel=(2, 2), stride=(2, 2), fill="low", padding=padding)),
        ("pool", Pool(reduce, 4)),
        ("mean", Affine(np.array([1.0 if reduce == "max" else 0.25]), np.zeros(1))),
        ("q1", Quantize(x)),
    ]
    frozen = freeze(chain("pools", TensorType((4, 4, 8)), *ops), accumulator="fp32")
    kinds = [node.op.kind for node in frozen.nodes]
    assert kinds == ["Window", "MatVec", "Fix", "Window", "Pool", "BlockQuantize"]
    value = codes = golden.encode(frozen, rng.normal(size=(10, 4, 4, 8)))
    for node in frozen.nodes:
        value = node.op.run(value)
    np.testing.assert_array_equal(golden.run(frozen, codes), value)
    sums = FP32.decode(golden.trace(frozen, codes)["fc_out"])
    pool = next(node.op for node in frozen.nodes if isinstance(node.op, Pool))
    windows = replace(next(node.op for node in frozen.nodes[2:] if isinstance(node.op, Window)), pad=None)
    if reduce == "sum":
        want = x.encode(pool.run(windows.run(sums)) / 4)
        assert (x.decode(value) != x.decode(want)).mean() < 0.002


def test_argmax_stays_on_the_host() -> None:
    graph = network("mxfp4")
    with_argmax = chain("a", TensorType((16,)), *((n.name, n.op) for n in graph.nodes), ("top", ArgMax()))
    frozen = freeze(with_argmax, accumulator="fp32")
    assert isinstance(frozen.post[-1], ArgMax)
    real = inputs(30, 16)
    logits = golden.predict(freeze(graph, accumulator="fp32"), real)
    np.testing.assert_array_equal(golden.predict(frozen, real)[:, 0], logits.argmax(axis=-1))


def test_what_cannot_add_in_fp32_is_refused() -> None:
    x = blocks("mxfp4", -8, 0)
    weight = np.zeros((2, 16), dtype=int)
    plain = chain("p", TensorType((4,)), ("q", Quantize(Int(8))), ("fc", Dense(np.ones((2, 4), int), Int(2))))
    with pytest.raises(
        UnsupportedError, match=r"node 'fc' \(Dense\): accumulator 'fp32' adds up .* it reads int8, and"
    ):
        freeze(plain, accumulator="fp32")
    with pytest.raises(HwgenError, match="unknown accumulator 'fp64': one of exact, fp32"):
        freeze(plain, accumulator="fp64")
    with pytest.raises(HwgenError, match="unknown accumulator 'fp64' of a matrix unit: one of exact, fp32"):
        MatVec(weight, x, accumulator="fp64")
    with pytest.raises(HwgenError, match="FP32 adds up block after block, and integers come in no blocks"):
        MatVec(weight, x, accumulator="fp32")
    with pytest.raises(HwgenError, match="FP32 adds up exact products in units of 1, and no bias"):
        MatVec(weight, x, [1, 0], input_format=x, accumulator="fp32")
    with pytest.raises(UnsupportedError, match="accumulator 'fp32' adds up exact products, not those of lmul"):
        freeze(network("mxfp4"), multiplier="lmul", accumulator="fp32")
    other = MatVec(weight, blocks("mxfp4", 0, 1, 16), input_format=x, accumulator="fp32")
    with pytest.raises(HwgenError, match="weights in blocks of 16 do not meet inputs in blocks of 8"):
        other.infer(TensorType((16,), x))
    short = MatVec(weight[:, :12], Int(2), input_format=x, accumulator="fp32")
    with pytest.raises(HwgenError, match="blocks of 8 do not divide 12 inputs"):
        short.infer(TensorType((12,), x))
    e5m2 = blocks("mxfp8e5m2", -8, 0)
    full = MatVec(np.array([[1] + [0x7B] * 7]), get("e5m2"), input_format=e5m2, accumulator="fp32")
    with pytest.raises(HwgenError, match="the exact sum of a block needs 68 bits; at most 62 are proven"):
        full.infer(TensorType((8,), e5m2))
    far = blocks("mxfp4", 100, 127)
    with pytest.raises(HwgenError, match=r"sums up to \S+ may overflow FP32"):
        MatVec(np.ones((1, 8), int), Int(2), input_format=far, accumulator="fp32").infer(TensorType((8,), far))
    graph = network("mxfp4")
    frozen = freeze(graph, accumulator="fp32")
    with pytest.raises(
        HwgenError, match="node 'fc0' adds in FP32: differences from a float run are explained of exact"
    ):
        explain(graph, frozen, inputs(2, 16), {}, {})


def test_what_cannot_become_fixed_point_is_refused() -> None:
    with pytest.raises(HwgenError, match="fixed point behind FP32 is signed and of 62 bits at most, not uint8"):
        Fix(0, Int(8, is_signed=False))
    with pytest.raises(HwgenError, match=r"a step of fixed point is from 2\*\*-300 to 2\*\*300, not 2\*\*400"):
        Fix(400, Int(8))
    with pytest.raises(HwgenError, match="fixed point is made of fp32, not of int8"):
        Fix(0, Int(8)).infer(TensorType((2,), Int(8)))
    with pytest.raises(UnsupportedError, match=r"node 'q1' \(Quantize\): what it quantizes does not depend on its"):
        freeze(network("mxfp4", Affine(np.zeros(1), np.ones(1))), accumulator="fp32")
    uneven = Affine(2.0 ** np.linspace(-20, 20, 16), np.zeros(1))
    with pytest.raises(
        UnsupportedError, match=r"FP32 sums ahead of it need \d+ bits of fixed point; at most 53 are had"
    ):
        freeze(network("mxfp8e5m2", uneven), accumulator="fp32")
