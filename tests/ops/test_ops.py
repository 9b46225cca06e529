"""Each layer against a slow definition of its own, and what it refuses."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwgen.errors import HwgenError
from hwgen.formats import ROUNDING, Bipolar, Int
from hwgen.ir import Fold, TensorType
from hwgen.ops import Affine, ArgMax, Dense, MatVec, Quantize, Relu, Requantize, Reshape, Softmax, Thresholds
from tests.formats.test_rounding import reference

RNG = np.random.default_rng(1)
U4 = Int(4, is_signed=False)


@pytest.mark.parametrize("x", [Int(4), U4, Int(3, narrow=True), Bipolar()], ids=lambda f: f.name)
@pytest.mark.parametrize("weight", [Int(4, narrow=True), Int(2), Bipolar()], ids=lambda f: f.name)
def test_matvec_sums_worths(x, weight) -> None:  # type: ignore[no-untyped-def]
    codes = RNG.choice(x.codes(), (50, 7))
    matrix = RNG.choice(weight.codes(), (3, 7))
    bias = RNG.integers(-9, 9, 3)
    op = MatVec(matrix, weight, bias, input_format=x)
    kind = TensorType((7,), x)
    expected = [
        [
            int(bias[o]) + sum(int(weight.decode(w)) * int(x.decode(c)) for w, c in zip(matrix[o], row, strict=True))
            for o in range(3)
        ]
        for row in codes
    ]
    assert op.run(codes).tolist() == expected
    low, high = op.accumulator_range(kind)
    assert low <= np.min(expected)
    assert np.max(expected) <= high
    out = op.infer(kind).codes_format
    assert isinstance(out, Int)
    assert out.min <= low
    assert high <= out.max


def test_accumulator_bounds_are_reached() -> None:
    op = MatVec([[7, -7, 3]], Int(4), [2])
    low, high = op.accumulator_range(TensorType((3,), U4))
    assert (low, high) == (2 - 7 * 15, 2 + 10 * 15)
    assert op.infer(TensorType((3,), U4)).format == Int(9)


@given(
    table=st.lists(st.integers(-60, 60), min_size=1, max_size=15).map(sorted),
    x=st.lists(st.integers(-60, 59), min_size=1, max_size=9),
    first=st.integers(-8, -8),
)
def test_thresholds_count(table: list[int], x: list[int], first: int) -> None:
    op = Thresholds([table], first, Int(5))
    assert op.run(np.array([x])).tolist() == [[first + sum(v >= t for t in table) for v in x]]


@pytest.mark.parametrize("rounding", ROUNDING)
def test_requantize_is_exact(rounding: str) -> None:
    x = RNG.integers(-3000, 3000, (200, 3))
    m, b, s = np.array([3, 100, 1]), np.array([-5, 0, 8]), np.array([4, 9, 0])
    op = Requantize(m, b, s, rounding, -7, 7, Int(4), zero_point=1)
    expected = [
        [
            min(7, max(-7, 1 + reference(Fraction(int(v) * int(m[c]) + int(b[c]), 1 << int(s[c])), rounding)))
            for c, v in enumerate(row)
        ]
        for row in x
    ]
    assert op.run(x).tolist() == expected


def test_argmax_takes_the_lowest_index() -> None:
    op = ArgMax()
    assert op.run(np.array([[1, 5, 5], [0, 0, 0], [-1, -2, 3]])).tolist() == [[1], [0], [2]]
    assert op.infer(TensorType((10,), Int(8))).format == U4


def test_real_operations() -> None:
    x = np.array([[-1.0, 0.3, 2.0]])
    assert Affine([2.0, 1.0, 0.0], 1.0).run(x).tolist() == [[-1.0, 1.3, 1.0]]
    assert Relu().run(x).tolist() == [[0.0, 0.3, 2.0]]
    assert Quantize(Int(3), (0.5,)).run(x).tolist() == [[-1.0, 0.5, 1.5]]
    assert Dense([[1, -2, 3]], Int(4), (0.5,), 1).run(x).tolist() == [[0 - 0.45 + 2.0]]
    assert Softmax().run(x).sum() == pytest.approx(1.0)
    assert Reshape((3, 1)).run(x).shape == (1, 3, 1)
    assert Softmax().infer(TensorType((3,), Int(4))) == TensorType((3,))


I4 = TensorType((4,), Int(4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MatVec(np.zeros(3), Int(4)), r"a weight matrix has shape \(out, in\), not \(3,\)"),
        (lambda: MatVec([[1, 2]], Int(4)).infer(I4), "weights take 2 inputs, the tensor has 4"),
        (lambda: MatVec([[1] * 4], Int(4), [1 << 61]).infer(I4), "the accumulator needs 63 bits"),
        (
            lambda: MatVec([[1] * 4], Int(4)).infer(TensorType((4,), Bipolar())),
            "it reads integer codes, the tensor has bipolar",
        ),
        (lambda: MatVec([[1] * 4], Int(4)).cycles(I4, Fold(1, 3)), "PE=1 into 1 outputs, SIMD=3 into 4 inputs"),
        (lambda: Thresholds([1, 2], 0, U4), r"thresholds have shape \(channels, steps\), not \(2,\)"),
        (lambda: Thresholds([[1, 2], [3, 2]], 0, U4), "thresholds must not decrease; those of channel 1 do"),
        (
            lambda: Thresholds([[1] * 16], 0, U4),
            "16 steps from code 0 leave uint4, which has 16 numbers from code 0 to 15",
        ),
        (
            lambda: Thresholds([[1]], 0, U4).infer(TensorType((4,), Bipolar())),
            "thresholds compare integers, not bipolar",
        ),
        (lambda: Thresholds([[1], [1]], 0, U4).infer(I4), "2 rows of thresholds for 4 channels"),
        (lambda: Thresholds([[9]], 0, U4).infer(I4), "thresholds must lie in the input's range -8..7 or one above"),
        (lambda: Requantize(1, 0, 63, "down", 0, 15, U4), "a shift is from 0 to 62, not 63..63"),
        (lambda: Requantize(1, 0, 0, "odd", 0, 15, U4), "unknown rounding 'odd'"),
        (lambda: Requantize(1, 0, 0, "down", 0, 16, U4), "the bounds 0..16 must be ordered codes of uint4"),
        (lambda: Requantize([1, 2], 0, 0, "down", 0, 15, U4).infer(I4), "2 values of multiplier for 4 channels"),
        (
            lambda: Requantize(1 << 60, 0, 0, "down", 0, 15, U4).infer(I4),
            "the product needs 65 bits; at most 63 are proven",
        ),
        (lambda: Affine(np.zeros((2, 2)), 0.0), "a factor or addend is one number or one per channel"),
        (lambda: Affine(np.nan, 0.0), "a factor or addend is NaN or infinite"),
        (lambda: Affine([1.0, 2.0], 0.0).infer(I4), "2 factors for 4 channels"),
        (lambda: Quantize(Int(4), rounding="odd"), "unknown rounding 'odd'"),
        (lambda: Dense(np.zeros(3), Int(4)), r"a weight matrix has shape \(out, in\), not \(3,\)"),
        (lambda: Dense(np.zeros((2, 4)), Int(4), (1.0,) * 3), "3 weight scales for 2 outputs"),
        (lambda: Dense(np.zeros((2, 3)), Int(4)).infer(I4), "weights take 3 inputs, the tensor has 4"),
        (lambda: Reshape((3,)).infer(I4), r"4 numbers do not fill the shape \(3,\)"),
        (
            lambda: Reshape((2, 2)).infer(TensorType((4,), Int(4), (1.0, 2.0, 3.0, 4.0))),
            "one scale per channel keeps its channels",
        ),
    ],
)
def test_errors(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(HwgenError, match=message):
        call()
