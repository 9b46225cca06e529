import numpy as np
import pytest

from hwgen import formats, ops
from hwgen.formats import Int
from hwgen.gateware.thresholds import Thresholds
from hwgen.ir import TensorType
from tests.gateware.bench import check, random_codes


def run(op, x, lanes, codes, **kwargs):
    check(Thresholds(op, x, lanes), op.run(codes), codes, **kwargs)


@pytest.mark.parametrize("rows", [1, 6])
@pytest.mark.parametrize("lanes", [1, 2, 3, 6])
@pytest.mark.parametrize("steps", [1, 2, 3, 6, 15])
def test_codes_equal_the_golden_ones(rows, lanes, steps, rng):
    x = TensorType((6,), Int(7))
    table = np.sort(rng.integers(-64, 65, (rows, steps)), axis=1)
    op = ops.Thresholds(table, 0, Int(4, is_signed=False))
    run(op, x, lanes, random_codes(x.format, (4, 6), rng), stalls=((1.0, 1.0), (0.6, 0.5)))


def test_every_input_at_every_threshold_that_always_or_never_counts():
    x = TensorType((1,), Int(4))
    table = np.array([[-8, -8, -3, 0, 0, 7, 8]])
    op = ops.Thresholds(table, -4, Int(3))
    codes = np.arange(-8, 8).reshape(-1, 1)
    assert op.run(codes).min() == -2
    assert op.run(codes).max() == 2
    run(op, x, 1, codes)


@pytest.mark.parametrize("fill", [-8, 8])
def test_only_thresholds_outside_the_range(fill):
    x = TensorType((2,), Int(4))
    op = ops.Thresholds(np.full((2, 3), fill), 0, Int(2, is_signed=False))
    run(op, x, 1, np.arange(-8, 8).reshape(-1, 2))


def test_eight_bit_codes_with_a_negative_first(rng):
    x = TensorType((4,), Int(12))
    op = ops.Thresholds(np.sort(rng.integers(-2048, 2048, (4, 254)), axis=1), -127, Int(8))
    run(op, x, 2, random_codes(x.format, (5, 4), rng), stalls=((1.0, 1.0), (0.6, 0.5)))


def test_bipolar_output(rng):
    x = TensorType((4,), Int(6))
    op = ops.Thresholds(rng.integers(-30, 30, (4, 1)), 0, formats.get("bipolar"))
    run(op, x, 2, random_codes(x.format, (5, 4), rng))


def test_unsigned_input_and_several_positions(rng):
    x = TensorType((2, 4), Int(5, is_signed=False))
    op = ops.Thresholds(np.sort(rng.integers(0, 33, (4, 3)), axis=1), 1, Int(3, is_signed=False))
    codes = random_codes(x.format, (3, 2, 4), rng)
    run(op, x, 2, codes)
