"""Sums and concatenations: types, exact scales, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Blocked, Format, Int, scalar
from hwgen.formats.block import Block
from hwgen.ir import TensorType
from hwgen.ir.op import op_from_json, op_to_json
from hwgen.ops import OPS, Add, Concat
from hwgen.ops.join import aligned
from hwgen.passes.blocks import scales_of

U4 = Int(4, is_signed=False)
MX = Blocked(Block(scalar("e2m1"), scales_of(-3, 3), 32))


def kind(
    fmt: Format, scale: float | tuple[float, ...] = 1.0, zero: int = 0, shape: tuple[int, ...] = (3,)
) -> TensorType:
    return TensorType(shape, fmt, scale if isinstance(scale, tuple) else (scale,), zero)


SUMS = {
    "equal": ((kind(U4, 0.375), kind(U4, 0.375)), (1, 1)),
    "powers of two": ((kind(U4, 0.25), kind(Int(5), 2.0)), (1, 8)),
    "thirds": ((kind(U4, 0.75), kind(U4, 0.5), kind(U4, 1.0)), (3, 2, 4)),
    "zero points": ((kind(U4, 0.5, 3), kind(U4, 0.5, 8)), (1, 1)),
    "per channel": ((kind(U4, (0.5, 1.0, 3.0)), kind(U4, (1.0, 2.0, 6.0))), (1, 2)),
    "minifloats": ((kind(scalar("e2m1"), 0.5), kind(Int(6), 0.5)), (1, 2)),
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
    ((kind(MX, shape=(32,)),) * 2, "codes is not supported: their blocks"),
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
    with pytest.raises(HwgenError, match=r"two or more factors of 1 to 65536, not \(0, 1\)"):
        Add((0, 1), (U4, U4))
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


def test_tensors_stand_side_by_side() -> None:
    x, y = kind(U4, 0.5, 1, (2, 2, 3)), kind(U4, 0.5, 1, (2, 2, 1))
    assert Concat().infer(x, y) == kind(U4, 0.5, 1, (2, 2, 4))
    assert Concat().infer(TensorType((2, 2, 3)), y).format is None
    with pytest.raises(HwgenError, match=r"are not side by side: only channels may differ"):
        Concat().infer(x, kind(U4, shape=(2, 1, 3)))
    with pytest.raises(
        HwgenError, match=r"one format and one scale, not uint4 of scale 0\.5, zero point 1; uint4 of scale 1"
    ):
        Concat().infer(x, kind(U4, 1.0, 1, (2, 2, 3)))
    blocks = kind(MX, shape=(32,))
    assert Concat().infer(blocks, blocks).channels == 64
    with pytest.raises(HwgenError, match=r"blocks of 32 do not divide \[32, 16\] channels"):
        Concat().infer(blocks, kind(MX, shape=(16,)))
