"""Dynamic fixed point's dot product against a chain of INT32 additions, and K-hot products."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError
from hwgen.formats import DynamicFixed, Int, get, khot, round_shift
from hwgen.golden.dynamic import shift_operand

DFP16 = DynamicFixed(16)


def chained(x: np.ndarray, y: np.ndarray, chain: int) -> int:
    """INT32 sums of `chain` products, spilled into a wide one; an INT32 that wraps would show."""
    wide = 0
    with np.errstate(over="raise"):
        for start in range(0, x.size, chain):
            total = np.int32(0)
            for p, q in zip(x[start : start + chain], y[start : start + chain], strict=True):
                total = np.int32(total + np.int32(np.int32(p) * np.int32(q)))
            wide += int(total)
    return wide


@pytest.mark.parametrize("case", ["random", "least", "greatest"])
def test_the_int32_chain(case: str) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-32768, 32768, 100) for _ in range(2))
    if case != "random":
        x = y = np.full(100, -32768 if case == "least" else 32767)
    expected = chained(round_shift(x, 2, "half_even"), round_shift(y, 2, "half_even"), 31)
    got = golden.dynamic_dot((-5, x), (3, y), DFP16, "int32")
    assert got.integers() == expected
    assert got.exponent == -5 + 3 + 4
    exact = golden.dynamic_dot((-5, x), (3, y), DFP16)
    assert (exact.integers(), exact.exponent) == (int((x.astype(object) * y).sum()), -2)


def test_encoded_tensors_multiply_and_come_down_again() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((4, 50)), rng.standard_normal((50, 3))
    a, b = DFP16.encode(x), DFP16.encode(y)
    sums = golden.dynamic_dot(a, b, DFP16)
    assert np.array_equal(sums.to_float64(), DFP16.decode(*a) @ DFP16.decode(*b))
    assert np.allclose(sums.to_float64(), x @ y, atol=0.01)
    short = golden.dynamic_dot((a[0], a[1][:, :31]), (b[0], b[1][:31]), DFP16, "int32")
    exponent, codes = DFP16.down_convert(short.limbs[0], short.exponent)
    assert np.allclose(DFP16.decode(exponent, codes), x[:, :31] @ y[:31], atol=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: golden.dynamic_dot((0, [1]), (0, [1]), DFP16, "int64"),
            "unknown accumulator 'int64': one of exact",
        ),
        (
            lambda: shift_operand([1], DFP16, 2, 32),
            "32 products of dfp16 shifted right by 2 can leave INT32; at most 31 are safe",
        ),
        (
            lambda: shift_operand([1], DFP16, 0, 2),
            "2 products of dfp16 shifted right by 0 can leave INT32; at most 1 are",
        ),
        (lambda: shift_operand([1], DFP16, 16), r"a pre-shift of 16 and a chain of 31 are none: 0\.\.15 and 1 or more"),
        (lambda: golden.dynamic_dot((0, [1 << 15]), (0, [1]), DFP16), "the codes 32768..32768 leave the range"),
        (lambda: khot.signed_digits([3, 11], 2), "weight 11 is the sum of no fewer than 3 powers of two, not 2"),
        (lambda: khot.signed_digits([1], 0), "K-hot weights have 1 power of two or more, not 0"),
        (lambda: khot.signed_digits([0.5], 1), r"K-hot weights are integers in -2\^16\.\.2\^16"),
        (lambda: khot.nearest([np.nan], 1), r"K-hot weights lie in -2\^16\.\.2\^16"),
    ],
)
def test_refusals(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(HwgenError, match=message):
        call()


def test_digits_add_up_and_are_the_fewest() -> None:
    weights = np.arange(-512, 513)
    fewest = {0: {0}}
    powers = [1 << place for place in range(11)]
    reached = {0}
    for k in range(1, 6):
        reached = reached | {w + s * p for w in reached for p in powers for s in (1, -1)}
        fewest[k] = reached
    least = [min(k for k, known in fewest.items() if w in known) for w in weights.tolist()]
    assert np.array_equal(khot.hot(weights), least)
    signs, shifts = khot.signed_digits(weights, 5)
    assert np.array_equal((signs << shifts).sum(axis=0), weights)
    assert (np.count_nonzero(signs, axis=0) == least).all()


@pytest.mark.parametrize("k", [1, 2, 3])
def test_nearest(k: int) -> None:
    real = np.concatenate([np.linspace(-300, 300, 2401), [65535.9, -65536]])
    found = khot.nearest(real, k)
    assert (khot.hot(found) <= k).all()
    every = np.arange(-65536, 65537)
    every = every[khot.hot(every) <= k]
    distance = np.abs(every - real[:, None])
    assert np.array_equal(np.abs(found - real), distance.min(axis=1))
    tied = distance == distance.min(axis=1)[:, None]
    assert np.array_equal(np.abs(found), np.where(tied, np.abs(every), 1 << 17).min(axis=1))


def test_products_without_a_multiplier() -> None:
    rng = np.random.default_rng(2)
    weights = khot.nearest(rng.integers(-128, 128, (20, 6)), 2)
    x = rng.integers(-128, 128, (5, 20))
    products = khot.shift_add(x[:, :, None], *khot.signed_digits(weights, 2))
    assert np.array_equal(products, x[:, :, None] * weights)
    sums = golden.dot(x, weights, get("int8"), Int(9))
    assert np.array_equal(products.sum(axis=1), sums.limbs[0])
