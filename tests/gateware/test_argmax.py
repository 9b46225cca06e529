import numpy as np
import pytest

from hwgen import formats, ops
from hwgen.gateware.argmax import ArgMax
from hwgen.ir import TensorType
from tests.gateware.bench import check, random_codes


@pytest.mark.parametrize(("channels", "lanes"), [(1, 1), (10, 1), (10, 2), (10, 5), (10, 10), (6, 3), (8, 4)])
@pytest.mark.parametrize("fmt", ["int3", "uint2", "bipolar"])
def test_the_lowest_index_of_the_greatest(channels, lanes, fmt, rng):
    # Few codes, so that there are many ties.
    x = TensorType((channels,), formats.get(fmt))
    codes = random_codes(x.format, (12, channels), rng)
    op = ops.ArgMax()
    check(ArgMax(op, x, lanes), op.run(codes), codes, stalls=((1.0, 1.0), (0.6, 0.5)))


def test_one_index_for_each_position(rng):
    x = TensorType((3, 4), formats.get("int4"))
    codes = random_codes(x.format, (4, 3, 4), rng)
    op = ops.ArgMax()
    want = np.argmax(codes, axis=-1)
    check(ArgMax(op, x, 2), want, codes)
