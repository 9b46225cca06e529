"""Sums and concatenations: types, exact scales, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Blocked, Format, Int, scalar
from hwgen.formats.block import Block
from hwgen.ir import TensorType
from hwgen.ir.op import op_from_json, op_to_json
from hwgen.ops import OPS, Add, Concat
from hwgen.ops.join import aligned, beside
from hwgen.passes.blocks import scales_of

U4 = Int(4, is_signed=False)
MX = Blocked(Block(scalar("e2m1"), scales_of(-3, 3), 32))


def kind(
    fmt: Format, scale: float | tuple[float, ...] = 1.0, zero: int = 0, shape: tuple[int, ...] = (3,)
) -> TensorType:
    return TensorType(shape, fmt, scale if isinstance(scale, tuple) else (scale,), zero)


def moved(fmt: Blocked, low: int, high: int) -> Blocked:
    return Blocked(replace(fmt.block, scale=scales_of(low, high)))


SUMS = {
    "equal": ((kind(U4, 0.375), kind(U4, 0.375)), (1, 1)),
    "powers of two": ((kind(U4, 0.25), kind(Int(5), 2.0)), (1, 8)),
    "thirds": ((kind(U4, 0.75), kind(U4, 0.5), kind(U4, 1.0)), (3, 2, 4)),
    "zero points": ((kind(U4, 0.5, 3), kind(U4, 0.5, 8)), (1, 1)),
    "per channel": ((kind(U4, (0.5, 1.0, 3.0)), kind(U4, (1.0, 2.0, 6.0))), (1, 2)),
    "minifloats": ((kind(scalar("e2m1"), 0.5), kind(Int(6), 0.5)), (1, 2)),
    "blocks": ((kind(MX, shape=(32,)), kind(moved(MX, -19, -12), shape=(32,))), (1 << 16, 1)),
    "blocks and integers": ((kind(MX, shape=(32,)), kind(Int(6), 0.5, shape=(32,))), (1, 8)),
    "bipolar": ((kind(Bipolar(), 0.5), kind(Bipolar(), 0.5)), (1, 1)),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_are_those_of_the_real_numbers(name: str) -> None:
    types, factors = SUMS[name]
    op = aligned(types)
    assert op.factors == factors
    again = op_from_json(op_to_json(op), OPS)
    assert isinstance(again, Add)
    assert (again.factors, again.formats) == (op.factors, op.formats)
    rng = np.random.default_rng(0)
    codes = [rng.choice(x.codes_format.codes(), (50, 3)) for x in types]
    real = sum(x.decode(one) for x, one in zip(types, codes, strict=True))
    total = op.run(*codes)
    y = op.infer(*types)
    np.testing.assert_array_equal(y.decode(total), real)
    low, high = y.codes_format.code_range
    assert low <= total.min()
    assert total.max() <= high


SUMS_REFUSED = [
    ((kind(U4, 0.1), kind(U4, 0.3)), "no whole factors up to 65536 align them: 0.1, 0.3"),
    ((kind(U4, (0.5, 1.0, 2.0)), kind(U4, 1.0)), "do not match, and no whole factors up to 65536 align them: 0.5 and"),
    ((kind(scalar("e4m3"), 1.0, 2), kind(U4)), "e4m3 codes have no zero point, not 2"),
    (
        (kind(moved(MX, 0, 31), shape=(32,)), kind(moved(MX, -40, -33), shape=(32,))),
        "sums of blocked<block<e2m1,ue5m0b0_nosub,32>>, blocked<block<e2m1,ue3m0b40_nosub,32>> take 76 bits; at most",
    ),
    ((TensorType((32,), MX, (1.0,), 1),) * 2, "codes have no zero point, not 1"),
    ((kind(scalar("fp32")), kind(U4)), "numbers of fp32 take 278 bits on a common grid"),
]


@pytest.mark.parametrize(("types", "message"), SUMS_REFUSED)
def test_scales_that_nothing_aligns_are_refused(types: tuple[TensorType, ...], message: str) -> None:
    with pytest.raises(HwgenError, match=re.escape(message)):
        aligned(types)


def test_sums_check_what_they_are_given() -> None:
    two = Add((1, 2), (U4, U4))
    with pytest.raises(HwgenError, match="as many factors as formats, not 2 and 1"):
        Add((1, 2), (U4,))
    for factors in ((0, 1), (1, 65537), (1, 1 << 62)):
        with pytest.raises(HwgenError, match=r"two or more factors of 1 to 65536, or less than 0, not \("):
            Add(factors, (U4, U4))
    with pytest.raises(HwgenError, match=r"the weights of a sum are finite and not 0, not \(1.0, 0.0\)"):
        Add(weights=(1.0, 0.0))
    with pytest.raises(HwgenError, match="a sum of 2 tensors has no 3 weights"):
        Add(weights=(1.0, 1.0, 1.0)).infer(kind(U4), kind(U4))
    with pytest.raises(HwgenError, match="branches meet in twos or more"):
        Add().infer(kind(U4))
    with pytest.raises(HwgenError, match=r"tensors of one shape, not of \(3,\), \(4,\)"):
        Add().infer(kind(U4), kind(U4, shape=(4,)))
    with pytest.raises(HwgenError, match="a sum of uint4, uint4 codes does not take uint4, int5"):
        two.infer(kind(U4), kind(Int(5)))
    with pytest.raises(HwgenError, match=r"factors \(1, 2\) do not bring the scales of a sum to one: 1.0, 1.0"):
        two.infer(kind(U4), kind(U4))


def test_real_sums_stay_real() -> None:
    assert Add().infer(TensorType((3,)), kind(U4)).format is None
    np.testing.assert_array_equal(Add().run(np.ones((2, 3)), np.full((2, 3), 0.5)), np.full((2, 3), 1.5))


BESIDE = {
    "equal": ((kind(U4, 0.5, 1, (2, 2, 3)), kind(U4, 0.5, 1, (2, 2, 1))), None, (), ()),
    "real numbers of one type": ((kind(scalar("e2m1"), 0.5), kind(scalar("e2m1"), 0.25)), None, (), ()),
    "integers": ((kind(U4, 0.5), kind(Int(6), 0.5)), "int6", (1, 1), (0, 0)),
    "zero points": ((kind(U4, 0.5, 3), kind(U4, 0.5, -8)), "uint5", (1, 1), (0, 11)),
    "scales": ((kind(U4, 0.5), kind(U4, 0.75)), "uint6", (2, 3), (0, 0)),
    "odd scales": ((kind(U4, 0.1), kind(U4, 0.3)), "uint4", (1, 1), (0, 0)),
    "blocks": (
        (kind(MX, shape=(32,)), kind(moved(MX, -5, 2), shape=(64,))),
        "blocked<block<e2m1,ue4m0b5_nosub,32>>",
        (1, 1),
        (32, 0),
    ),
}


@pytest.mark.parametrize("name", BESIDE)
def test_tensors_stand_side_by_side(name: str) -> None:
    types, fmt, factors, offsets = BESIDE[name]
    op = op_from_json(op_to_json(beside(types)), OPS)
    assert isinstance(op, Concat)
    assert (op.format.name if op.format else None, op.factors, op.offsets) == (fmt, factors, offsets)
    rng = np.random.default_rng(0)
    reals = [rng.normal(0, 3, (7, *x.shape)) for x in types]
    codes = [x.encode(real) for x, real in zip(types, reals, strict=True)]
    want = np.concatenate([x.decode(one) for x, one in zip(types, codes, strict=True)], axis=-1)
    y = op.infer(*types)
    np.testing.assert_allclose(y.decode(op.run(*codes)), want, rtol=1e-15)
    assert y.codes_format.is_number(op.run(*codes)).all()


def test_what_does_not_stand_side_by_side() -> None:
    x = kind(U4, 0.5, 1, (2, 2, 3))
    assert Concat().infer(TensorType((2, 2, 3)), x).format is None
    # Until it is frozen: then codes are brought to one type.
    assert Concat().infer(x, kind(Int(5), 0.5, 1, (2, 2, 3))).format is None
    with pytest.raises(HwgenError, match=r"are not side by side: only channels may differ"):
        Concat().infer(x, kind(U4, shape=(2, 1, 3)))
    with pytest.raises(HwgenError, match=r"a factor and an offset each, not \(1, 2\) and \(0,\)"):
        Concat(U4, (1, 2), (0,))
    with pytest.raises(HwgenError, match=r"one zero point, not \[1, 2\]"):
        Concat(U4, (1, 2), (0, 0)).infer(x, x)
    with pytest.raises(HwgenError, match=r"blocks of 32 do not divide \[32, 16\] channels"):
        Concat().infer(kind(MX, shape=(32,)), kind(MX, shape=(16,)))
    with pytest.raises(HwgenError, match="or are integers, or blocks of one kind, not uint4, e2m1"):
        beside((kind(U4), kind(scalar("e2m1"))))
