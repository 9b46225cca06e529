"""Layers whose sums floating point does not hold: golden against fractions, and what feeds on such sums."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from hwgen import golden, passes
from hwgen.errors import UnsupportedError
from hwgen.formats import Blocked, Format, Int, get, scalar
from hwgen.formats.odd import to_float64, to_integers
from hwgen.ir import Graph, TensorType
from hwgen.ops import BlockQuantize, Dense, MatVec, Quantize, Relu
from hwgen.passes.blocks import scales_of
from tests.conftest import chain


def blocks(name: str, low: int, high: int, size: int = 32) -> Blocked:
    return Blocked(replace(get(name), scale=scales_of(low, high), size=size))


def layer(x: Format, weight: Format, *, behind: Format | None = None, spread: int = 0) -> Graph:
    """64 numbers through 3 sums, quantized to `behind`; weights of exponents that differ by `spread`."""
    rng = np.random.default_rng(0)
    w = rng.normal(0, 0.2, (32, 64)) * 2.0 ** rng.integers(-spread, 1, (32, 2)).repeat(32, axis=1)
    ops = [("q", Quantize(x)), ("fc", Dense(weight.encode(w), weight)), ("relu", Relu())]
    return chain("wide", TensorType((64,)), *ops, *([("out", Quantize(behind))] if behind else []))


LAYERS = {
    "mxfp8e4m3 of 16 scales": (blocks("mxfp8e4m3", -15, 0), blocks("mxfp8e4m3", -20, 20), 8),
    "mxfp8e5m2": (blocks("mxfp8e5m2", -17, -14), blocks("mxfp8e5m2", -40, 20), 0),
    "e5m2 by e5m2": (get("e5m2"), get("e5m2"), 0),
    "e4m3 by mxfp8": (blocks("mxfp8e4m3", -15, 0), get("e5m2"), 0),
}


def inputs(frames: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(size=(frames, 64)) * 2.0 ** rng.integers(-12, 5, (frames, 2)).repeat(32, axis=1)


@pytest.mark.parametrize("name", LAYERS)
def test_sums_equal_fractions(name: str) -> None:
    x, weight, spread = LAYERS[name]
    frozen = passes.freeze(layer(x, weight, spread=spread))
    op = frozen.nodes[0].op
    assert isinstance(op, MatVec)
    assert 50 < frozen.output_type.codes_format.bits <= 62
    codes = golden.encode(frozen, inputs(20))
    worth = [[Fraction(float(v)) for v in row] for row in x.decode(codes)]
    weights = [[Fraction(float(v)) for v in row] for row in op.weight_format.decode(op.weight)]
    unit = Fraction(op.scale[0])
    expected = [[sum(a * b for a, b in zip(f, w, strict=True)) / unit for w in weights] for f in worth]
    assert golden.run(frozen, codes).tolist() == expected
    assert op.run(codes).tolist() == expected


@pytest.mark.parametrize("behind", ["blocks", "int8", "e4m3"])
def test_quantizers_behind_wide_sums_round_once(behind: str) -> None:
    x, weight, spread = LAYERS["mxfp8e4m3 of 16 scales"]
    made = blocks("mxfp8e4m3", -15, 0) if behind == "blocks" else get(behind)
    frozen = passes.freeze(layer(x, weight, behind=made, spread=spread))
    real = 16 * inputs(50)
    codes = golden.trace(frozen, real)
    sums = codes[next(node.output for node in frozen.nodes if isinstance(node.op, MatVec))]
    op = frozen.nodes[0].op
    assert isinstance(op, MatVec)
    assert int(np.abs(sums).max()).bit_length() > 53
    want = made.encode(to_float64(np.maximum(sums, 0), int(np.log2(op.scale[0]))))
    np.testing.assert_array_equal(made.decode(codes[frozen.outputs[0]]), made.decode(want))


def test_wide_sums_leave_too_little_to_a_multiplier() -> None:
    x, weight, spread = LAYERS["mxfp8e4m3 of 16 scales"]
    graph = layer(x, weight, behind=get("int8"), spread=spread)
    uneven = [replace(n, op=replace(n.op, scale=(0.3,))) if n.name == "out" else n for n in graph.nodes]
    with pytest.raises(UnsupportedError, match=r"node 'out' \(Quantize\): sums of \d+ bits leave a multiplier \d bits"):
        passes.freeze(replace(graph, nodes=tuple(uneven)), requantize="dyadic")


def test_blocks_of_wide_numbers_round_once() -> None:
    fmt = blocks("mxint8", 0, 70, size=2)
    op = BlockQuantize(fmt, 0)
    assert op.infer(TensorType((2,), Int(62))).format == fmt
    # Half a step and one unit more, which float64 would drop: the tie would go to the even 64.
    tie = (64 << 53) + (1 << 52)
    got = fmt.elements(op.run(np.array([[tie, 0], [tie + 1, 0], [-tie - 1, 0], [tie - 1, 0]])))
    assert got[:, 0].tolist() == [64, 65, -65, 64]


def test_rounding_to_odd() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-(2**61), 2**61, 2000) >> rng.integers(0, 60, 2000)
    x[:3] = 2**61 - 1, -(2**61) + 1, 2**53 + 1
    for value, real in zip(x.tolist(), to_float64(x, -7).tolist(), strict=True):
        kept = Fraction(real) * 128
        step = Fraction(2) ** max(value.bit_length() - 52, 0)
        assert abs(kept - value) < step
        assert kept == value or (abs(kept) * 2 / step) % 2 == 1 or (abs(kept) / step) % 2 == 1
    s, e = rng.integers(-(2**24), 2**24, 2000), rng.integers(-70, 70, 2000)
    for a, b, got in zip(s.tolist(), e.tolist(), to_integers(s, e, 1000).tolist(), strict=True):
        exact = Fraction(a) * Fraction(2) ** b
        floor = exact.numerator // exact.denominator
        want = floor if exact == floor else floor + (floor % 2 == 0)
        assert got == max(-1000, min(1000, want))


@pytest.mark.parametrize(("x", "weight"), [("fixed<5,2>", "fixed<4,1>"), ("fixed<12,2>", "fixed<48,1>")])
def test_negative_codes_of_fixed_point_are_worth_themselves(x: str, weight: str) -> None:
    fmt, w = scalar(x), scalar(weight)
    rng = np.random.default_rng(3)
    low, high = fmt.code_range
    matrix = rng.integers(*w.code_range, (3, 6), endpoint=True)
    graph = chain("f", TensorType((6,), fmt), ("fc", MatVec(matrix, w, np.array([5, 0, -5]), input_format=fmt)))
    codes = rng.integers(low, high, (50, 6), endpoint=True)
    assert np.array_equal(golden.run(graph, codes), codes @ matrix.T + [5, 0, -5])
