"""Products with two outputs in each column equal plain ones, at the bounds that they are taken within."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.golden.packed import LEAST_INPUTS, packed_columns, unpacked


@pytest.mark.parametrize("outputs", [2, 5, 64])
@pytest.mark.parametrize("reach", [1, 3, 7])
def test_packed_sums_are_the_sums(outputs: int, reach: int) -> None:
    rng = np.random.default_rng(outputs)
    weight = rng.integers(-1, 2, (outputs, 150))
    weight[:2], weight[-1] = 1, -1
    x = rng.integers(-reach, reach + 1, (40, 150))
    x[0], x[1], x[2], x[3] = reach, -reach, reach * np.sign(weight[0]), reach * np.sign(weight[-1])
    packed = packed_columns(weight, reach, 1 << 24)
    assert packed is not None
    columns, base = packed
    sums = x.astype(np.float32) @ columns.astype(np.float32)
    assert np.array_equal(unpacked(sums, base, outputs), x @ weight.T)


def test_what_does_not_fit_or_pay_stays_plain() -> None:
    ones = np.ones((4, 2048), dtype=np.int64)
    # 2048 + 8192 * 2048 is just beyond 2^24; with 2047 inputs the base is 4096.
    assert packed_columns(ones, 1, 1 << 24) is None
    found = packed_columns(ones[:, :2047], 1, 1 << 24)
    assert found is not None
    assert found[1] == 4096
    assert packed_columns(ones[:1], 1, 1 << 24) is None
    assert packed_columns(ones[:, : LEAST_INPUTS - 1], 1, 1 << 24) is None
