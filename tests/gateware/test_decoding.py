"""Codes as integers, against their definition: formats, lanes, stalls."""

import numpy as np
import pytest

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.formats import Blocked, get
from hwgen.gateware.decoding import Decode
from hwgen.ir import TensorType
from tests.gateware.bench import check, random_codes
from tests.gateware.test_blocks import blocked, numbers

STALLS = ((1.0, 1.0), (0.6, 0.5))


@pytest.mark.parametrize("name", ["e4m3", "e2m1", "bipolar", "int5"])
def test_codes_are_what_they_are_worth(name, rng):
    x = TensorType((6,), get(name), (0.5,))
    codes = random_codes(x.format, (8, 6), rng)
    codes = np.where(x.format.is_number(codes), codes, 0)
    op = ops.Decode(x.format)
    np.testing.assert_array_equal(op.infer(x).decode(op.run(codes)), x.decode(codes))
    check(Decode(op, x, 3), op.run(codes), codes, STALLS)


@pytest.mark.parametrize(
    "fmt", [blocked("mxint8"), blocked("mxfp8e5m2"), Blocked(get("fp4ue5m3")), Blocked(get("int4ue5m3"))], ids=str
)
def test_blocks_are_what_they_are_worth(fmt, rng):
    x = TensorType((16,), fmt)
    codes = x.encode(numbers((6, 16), rng))
    op = ops.Decode(x.format)
    np.testing.assert_array_equal(op.infer(x).decode(op.run(codes)), x.decode(codes))
    check(Decode(op, x, 4), op.run(codes), codes, STALLS)


def test_other_codes_are_refused():
    with pytest.raises(HwgenError, match="it decodes e4m3 codes, the tensor has int4"):
        ops.Decode(get("e4m3")).infer(TensorType((4,), get("int4")))
