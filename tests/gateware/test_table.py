"""Tables against their definition, read and written by codes of every scalar family, with stalls."""

import numpy as np
import pytest

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.formats import get
from hwgen.gateware.table import Table
from hwgen.ir import TensorType
from tests.gateware.bench import check, random_codes

STALLS = ((1.0, 1.0), (0.6, 0.5))


def run(x, fmt, rows, lanes, rng, stalls=STALLS):
    op = ops.Table(rng.choice(fmt.codes(), (rows, 1 << x.format.bits)), fmt)
    codes = random_codes(x.format, (3, *x.shape), rng)
    check(Table(op, x, lanes), op.run(codes), codes.reshape(3, -1), stalls)


@pytest.mark.parametrize("lanes", [1, 2, 6])
@pytest.mark.parametrize("rows", [1, 6])
@pytest.mark.parametrize("shape", [(6,), (3, 6)])
def test_codes_equal_the_golden_ones(shape, rows, lanes, rng):
    run(TensorType(shape, get("int4")), get("uint4"), rows, lanes, rng)


@pytest.mark.parametrize(
    ("read", "written"),
    [
        ("int8", "int8"),
        ("uint1", "bipolar"),
        ("bipolar", "e4m3"),
        ("e2m1", "int3"),
        ("int10", "uint10"),
        ("int2", "e5m2"),
    ],
)
def test_formats(read, written, rng):
    run(TensorType((2,), get(read)), get(written), 2, 1, rng)


def test_a_table_of_one_code_and_long_stalls(rng):
    x = TensorType((4,), get("int3"))
    op = ops.Table(np.full((1, 8), -3), get("int3"))
    codes = random_codes(x.format, (3, 4), rng)
    check(Table(op, x, 2), op.run(codes), codes, ((1.0, 0.1), (0.1, 1.0)))


def test_lanes_must_divide_the_channels():
    with pytest.raises(HwgenError, match="lanes must divide the channels: 4 lanes, 6 channels"):
        Table(ops.Table(np.zeros((1, 8), int), get("int3")), TensorType((6,), get("int3")), 4)
