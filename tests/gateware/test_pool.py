"""Pooling against its definition, in every format whose maximum or sum exists, with stalls."""

import pytest

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.formats import Int, get
from hwgen.gateware.pool import Pool
from hwgen.ir import TensorType
from tests.gateware.bench import check, random_codes

STALLS = ((1.0, 1.0), (0.6, 0.5))


def run(op, x, lanes, rng, stalls=STALLS):
    codes = random_codes(x.format, (4, *x.shape), rng)
    check(Pool(op, x, lanes), op.run(codes), codes.reshape(4, -1), stalls)


@pytest.mark.parametrize(
    ("taps", "channels", "lanes"), [(4, 6, 1), (4, 6, 3), (4, 6, 6), (9, 1, 1), (1, 4, 2), (2, 2, 1)]
)
@pytest.mark.parametrize("reduce", ["max", "sum"])
def test_pools(reduce, taps, channels, lanes, rng):
    run(ops.Pool(reduce, taps), TensorType((2, 3, taps * channels), Int(4)), lanes, rng)


@pytest.mark.parametrize("name", ["uint2", "int8", "bipolar", "e4m3", "e2m1", "ue5m3"])
def test_the_maximum_is_that_of_the_worth(name, rng):
    fmt = get(name)
    minifloat = fmt if "e" in name.replace("bipolar", "") else None
    run(ops.Pool("max", 4, minifloat), TensorType((5, 8), fmt), 2, rng)


@pytest.mark.parametrize("name", ["uint1", "uint4", "int8"])
def test_sums_are_exact(name, rng):
    run(ops.Pool("sum", 9), TensorType((2, 18), get(name)), 2, rng)


def test_long_stalls(rng):
    run(ops.Pool("max", 4), TensorType((3, 8), Int(4)), 1, rng, ((1.0, 0.1), (0.1, 1.0)))


def test_what_cannot_be_pooled_is_refused():
    with pytest.raises(HwgenError, match="lanes must divide the channels: 4 lanes, 6 channels"):
        Pool(ops.Pool("max", 2), TensorType((12,), Int(4)), 4)
    with pytest.raises(HwgenError, match="a maximum of e2m1 codes needs that input_format if they are minifloats"):
        Pool(ops.Pool("max", 2), TensorType((12,), get("e2m1")), 2)
