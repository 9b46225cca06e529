import numpy as np
import pytest

from hwgen import formats, ops
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Int
from hwgen.gateware.decode import decode
from hwgen.gateware.matvec import MatVec
from hwgen.gateware.unrolled import ShiftAdd
from hwgen.ir import Fold, TensorType
from hwgen.ops.cost import products_of
from tests.gateware.bench import check, random_codes, stream

FOLDS = [
    (1, 1, 1, 1),
    (4, 6, 1, 1),
    (4, 6, 2, 3),
    (4, 6, 4, 6),
    (4, 6, 1, 6),
    (4, 6, 4, 2),
    (6, 4, 3, 1),
    (5, 3, 1, 3),
    (3, 5, 3, 1),
    (1, 8, 1, 4),
    (8, 1, 2, 1),
]
FORMATS = [
    ("int4n", "uint4"),
    ("int8", "int8"),
    ("uint3", "int5"),
    ("bipolar", "bipolar"),
    ("bipolar", "uint2"),
    ("int2", "bipolar"),
    ("int3", "uint8"),
]


def unit(op, x, fold):
    """The component that a network has for such a unit."""
    return ShiftAdd(op, x) if products_of(op, x, fold) == "constant" else MatVec(op, x, fold)


def layer(out, inner, weight, x, rng, *, bias=True, positions=()):
    fmt = formats.get(weight)
    biases = rng.integers(-30, 30, out) if bias else np.zeros(1)
    op = ops.MatVec(random_codes(fmt, (out, inner), rng), fmt, biases, input_format=formats.get(x))
    return op, TensorType((*positions, inner), formats.get(x))


@pytest.mark.parametrize(("out", "inner", "pe", "simd"), FOLDS)
def test_every_fold_gives_the_golden_sums(out, inner, pe, simd, rng):
    op, x = layer(out, inner, "int4n", "uint4", rng)
    codes = random_codes(x.format, (5, inner), rng)
    check(unit(op, x, Fold(pe, simd)), op.run(codes), codes)


@pytest.mark.parametrize(("weight", "x"), FORMATS)
@pytest.mark.parametrize("fold", [Fold(2, 3), Fold(4, 6)])
def test_signed_unsigned_and_bipolar_operands(weight, x, fold, rng):
    op, kind = layer(4, 6, weight, x, rng, bias=weight != "int8")
    codes = random_codes(kind.format, (4, 6), rng)
    check(unit(op, kind, fold), op.run(codes), codes, stalls=((1.0, 1.0), (0.6, 0.5)))


def test_positions_share_the_weights_and_one_frame(rng):
    op, x = layer(4, 6, "int4", "uint4", rng, positions=(3,))
    codes = random_codes(x.format, (3, 3, 6), rng)
    check(MatVec(op, x, Fold(2, 2)), op.run(codes), codes)


def test_sums_at_both_ends_of_the_accumulator():
    op = ops.MatVec(np.array([[-8] * 4, [7] * 4]), Int(4), np.array([-100, 100]))
    x = TensorType((4,), Int(4, is_signed=False))
    codes = np.array([[15] * 4, [0] * 4])
    assert op.infer(x).format == Int(11)
    check(MatVec(op, x, Fold(1, 2)), op.run(codes), codes)


@pytest.mark.parametrize("fold", [Fold(1, 1), Fold(2, 4)])
def test_zero_weights_give_the_bias(fold):
    op = ops.MatVec(np.zeros((2, 4), int), Int(4), np.array([3, -5]))
    x = TensorType((4,), Int(4, is_signed=False))
    codes = np.arange(8).reshape(2, 4)
    check(unit(op, x, fold), op.run(codes), codes)


def test_no_clock_is_lost_when_the_source_is_slow_only_while_it_is_not_needed(rng):
    op, x = layer(4, 4, "int4", "uint4", rng)
    codes = random_codes(x.format, (6, 4), rng)
    got = stream(MatVec(op, x, Fold(1, 2)), codes)
    assert np.diff(got.taken[::2]).tolist() == [8] * 5


def test_a_fold_that_does_not_divide_the_layer_is_refused(rng):
    op, x = layer(4, 6, "int4", "uint4", rng)
    with pytest.raises(HwgenError, match=r"folding must divide the layer: PE=3 into 4 outputs, SIMD=1 into 6 inputs"):
        MatVec(op, x, Fold(3, 1))


def test_a_whole_matrix_of_constants_is_no_work_for_it(rng):
    op, x = layer(4, 6, "int4n", "uint4", rng)
    with pytest.raises(HwgenError, match=r"PE=4, SIMD=6 is the whole matrix: hwgen.gateware.unrolled.ShiftAdd"):
        MatVec(op, x, Fold(4, 6))


def test_a_format_without_decoder_is_refused():
    class Other(Int):
        """A format of a family that gateware does not know."""

    with pytest.raises(UnsupportedError, match=r"no gateware decodes uint4 codes, only those of Int, Bipolar"):
        decode(Other(4, is_signed=False), None)
