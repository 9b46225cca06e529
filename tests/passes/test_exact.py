"""Lines, boundaries and thresholds against a direct evaluation of the rounding that they stand for."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hwgen.errors import UnsupportedError
from hwgen.formats import ROUNDING, Bipolar, Int, round_real
from hwgen.ir import Node, TensorType
from hwgen.ops import Affine, Quantize, Relu, Softmax
from hwgen.passes.exact import Line, boundary, lines, rounded, steps, thresholds

FORMATS = (Int(3), Int(3, narrow=True), Int(2, is_signed=False), Int(4, is_signed=False, narrow=True))


@pytest.mark.parametrize("rounding", ROUNDING)
def test_boundary_is_where_the_rounded_number_reaches_k(rounding: str) -> None:
    for eighths in range(-40, 41):
        result = int(round_real(eighths / 8, rounding))
        for k in range(-4, 5):
            bound, inclusive = boundary(k, rounding)
            reached = Fraction(eighths, 4) > bound or (inclusive and Fraction(eighths, 4) == bound)
            assert reached == (result >= k), (eighths / 8, k)


@pytest.mark.parametrize("rounding", ROUNDING)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_rounded_is_the_formats_encoding(fmt: Int, rounding: str) -> None:
    for eighths in range(-90, 91):
        assert rounded(Fraction(eighths, 8), fmt, rounding) == fmt.encode(eighths / 8, rounding)


def test_rounded_to_bipolar_is_the_sign() -> None:
    assert [rounded(Fraction(x), Bipolar(), "half_even") for x in (-1, 0, 1)] == [0, 1, 1]


@pytest.mark.parametrize("rounding", ROUNDING)
@pytest.mark.parametrize("fmt", [*FORMATS, Bipolar()], ids=lambda f: f.name)
def test_thresholds_count_what_the_quantizer_gives(fmt: Int | Bipolar, rounding: str) -> None:
    rng = np.random.default_rng(3)
    low, high = -40, 41
    first, bounds = steps(fmt, rounding)
    for trial in range(14):
        slope = Fraction(int(rng.integers(0, 9)), int(rng.choice([1, 2, 3, 8])))
        ends = sorted(Fraction(int(n), 4) for n in rng.integers(-12, 13, 2))
        line = Line(
            slope * (trial % 7 != 0),
            Fraction(int(rng.integers(-20, 21)), int(rng.choice([1, 2, 5]))),
            ends[0] if trial % 2 else None,
            ends[1] if trial % 3 == 0 else None,
        )
        row = thresholds(line, bounds, low, high)
        assert all(low <= t <= high + 1 for t in row)
        assert row == sorted(row)
        for code in range(low, high + 1):
            assert first + sum(code >= t for t in row) == rounded(line.at(code), fmt, rounding)


def node(name: str, op: object) -> Node:
    return Node(name, op, ("x",), f"{name}_out")  # type: ignore[arg-type]


def test_lines_follow_the_operations_exactly() -> None:
    rng = np.random.default_rng(5)
    x = TensorType((3,), Int(6), (0.5,), zero_point=3)
    between = [
        node("a", Affine(np.array([2.0, -0.5, 0.0]), np.array([0.25]), np.array([3.0]))),
        node("r", Relu()),
        node("b", Affine(np.array([-1.0]), rng.integers(0, 9, 3) / 4.0)),
        node("s", Relu()),
    ]
    quantizer = node("q", Quantize(Int(4), (0.5, 0.25, 1.0), 1))
    exact = lines(x, between, quantizer)
    for code in (-32, -5, 0, 2, 3, 4, 17, 31):
        real = np.full((1, 3), x.decode(code))
        for step in between:
            real = step.op.run(real)
        expected = real / np.array([0.5, 0.25, 1.0]) + 1
        assert np.allclose([float(line.at(code)) for line in exact], expected[0], rtol=1e-12, atol=1e-12)


def test_a_flipped_line_is_the_function_of_the_negated_code() -> None:
    line = Line(Fraction(-3, 2), Fraction(1), Fraction(0), Fraction(5))
    assert all(line.flipped().at(-code) == line.at(code) for code in range(-9, 10))


def test_what_is_not_known_to_be_monotonic_is_refused() -> None:
    x = TensorType((2,), Int(6))
    with pytest.raises(UnsupportedError, match=r"node 'soft' \(Softmax\): it stands ahead of the quantizer 'q' and is"):
        lines(x, [node("soft", Softmax())], node("q", Quantize(Int(4))))
