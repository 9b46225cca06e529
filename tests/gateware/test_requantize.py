import numpy as np
import pytest

from hwgen import ops
from hwgen.formats import ROUNDING, Int
from hwgen.gateware.requantize import Requantize
from hwgen.ir import TensorType
from tests.gateware.bench import check, random_codes

SOME = ((1.0, 1.0), (0.6, 0.5))


def run(op, x, lanes, codes, **kwargs):
    check(Requantize(op, x, lanes), op.run(codes), codes, **kwargs)


@pytest.mark.parametrize("rounding", ROUNDING)
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_every_rounding_of_every_code(rounding, shift):
    x = TensorType((4,), Int(6))
    op = ops.Requantize([1], [0], [shift], rounding, -8, 7, Int(4))
    run(op, x, 4, np.arange(-32, 32).reshape(-1, 4), stalls=((1.0, 1.0),))


@pytest.mark.parametrize("rounding", ROUNDING)
def test_multipliers_offsets_and_shifts_of_each_channel(rounding, rng):
    x = TensorType((6,), Int(8))
    multiplier, offset, shift = rng.integers(0, 100, 6), rng.integers(-300, 300, 6), rng.integers(0, 9, 6)
    op = ops.Requantize(multiplier, offset, shift, rounding, 0, 15, Int(4, is_signed=False), zero_point=3)
    run(op, x, 2, random_codes(x.format, (12, 6), rng), stalls=SOME)


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_dyadic_scale_of_31_bits(lanes, rng):
    x = TensorType((3,), Int(12))
    op = ops.Requantize([1518500249], [1 << 33], [38], "half_even", -127, 127, Int(8), zero_point=-5)
    run(op, x, lanes, random_codes(x.format, (8, 3), rng), stalls=SOME)


def test_a_shift_beyond_the_value(rng):
    x = TensorType((2,), Int(5))
    op = ops.Requantize([1, 1], [0, 1], [9, 62], "away", -8, 7, Int(4))
    run(op, x, 1, random_codes(x.format, (8, 2), rng), stalls=SOME)


def test_a_relu_clips_at_the_zero_point(rng):
    x = TensorType((2, 2), Int(8))
    op = ops.Requantize([3, 5], [0], [4, 4], "half_up", 2, 7, Int(4), zero_point=2)
    codes = random_codes(x.format, (6, 2, 2), rng)
    run(op, x, 1, codes, stalls=SOME)


def test_stages_that_do_nothing_are_left_out():
    x = TensorType((4,), Int(6))
    plain = Requantize(ops.Requantize([1], [0], [2], "down", -8, 7, Int(4)), x, 2)
    full = Requantize(ops.Requantize([3, 1, 1, 1], [1], [2], "down", -8, 7, Int(4)), x, 2)
    assert (plain.depth, full.depth) == (3, 6)


@pytest.mark.parametrize("lanes", [1, 2])
def test_negative_multipliers_and_signs(lanes, rng):
    x = TensorType((4,), Int(5))
    codes = random_codes(x.format, (8, 4), rng)
    signs = ops.Requantize([-1, 1, 1, -1], [0], [0], "down", -16, 16, Int(6))
    run(signs, x, lanes, codes, stalls=SOME)
    assert Requantize(signs, x, lanes).depth == 3
    run(ops.Requantize([-5, 3, 0, -31], [2, -9, 7, 0], [3, 1, 2, 4], "half_even", -16, 15, Int(5)), x, lanes, codes)


def test_zero_multiplier(rng):
    x = TensorType((2,), Int(5))
    op = ops.Requantize([0], [5], [1], "half_even", -8, 7, Int(4))
    run(op, x, 2, random_codes(x.format, (3, 2), rng), stalls=SOME)
