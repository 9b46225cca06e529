"""Integer formats over the whole catalogue."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen import formats
from hwgen.errors import HwgenError
from hwgen.formats import CATALOG, Bipolar, Format, Int

INTEGERS = [fmt for fmt in CATALOG.values() if isinstance(fmt, Int | Bipolar)]


@pytest.mark.parametrize("fmt", INTEGERS, ids=lambda fmt: fmt.name)
def test_integer_range(fmt: Format) -> None:
    worth = fmt.decode(fmt.codes())
    assert fmt.integer_range == (worth.min(), worth.max())


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("int4", -8, 7),
        ("int4n", -7, 7),
        ("uint4", 0, 15),
        ("uint1", 0, 1),
        ("int2n", -1, 1),
        ("int32", -(2**31), 2**31 - 1),
    ],
)
def test_ranges(name: str, low: int, high: int) -> None:
    assert formats.get(name).code_range == (low, high)


def test_encode_rounds_and_saturates() -> None:
    assert Int(4).encode([2.5, 3.5, -2.5, 99, -99, np.inf, -np.inf]).tolist() == [2, 4, -2, 7, -8, 7, -8]
    assert Int(4).encode([2.5, -2.5], rounding="half_away").tolist() == [3, -3]


def test_wrap_is_modulo() -> None:
    x = np.arange(-100, 100)
    assert np.array_equal(Int(4).encode(x, overflow="wrap"), (x + 8) % 16 - 8)
    assert np.array_equal(Int(4, is_signed=False).encode(x, overflow="wrap"), x % 16)


def test_holding_is_the_narrowest() -> None:
    for low in range(-40, 1):
        for high in range(41):
            fmt = Int.holding(low, high)
            assert fmt.min <= low
            assert high <= fmt.max
            least = 2 if fmt.is_signed else 1
            if fmt.width > least:
                tight = Int(fmt.width - 1, fmt.is_signed)
                assert low < tight.min or high > tight.max


def test_bipolar() -> None:
    assert Bipolar().encode([-0.1, -0.0, 0.0, 3]).tolist() == [0, 1, 1, 1]
    assert Bipolar().decode([0, 1]).tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Int(1), "a signed integer has 2 to 63 bits, not 1"),
        (lambda: Int(0, is_signed=False), "an unsigned integer has 1 to 63 bits, not 0"),
        (lambda: Int(64), "a signed integer has 2 to 63 bits, not 64"),
        (lambda: Int(17).codes(), "int17 has too many codes to list"),
        (lambda: Int(4).encode([np.nan]), "NaN has no code in int4"),
        (lambda: Bipolar().encode([np.nan]), "NaN has no code in bipolar"),
        (
            lambda: Int(4).encode([1], overflow="clamp"),
            "unknown overflow 'clamp': one of saturate, saturate_zero, saturate_symmetric, wrap, wrap_sign_magnitude",
        ),
        (lambda: Int(4, narrow=True).encode([1], overflow="wrap"), "int4n cannot wrap"),
        (lambda: Int(4).encode([1e30], overflow="wrap"), "int4 wraps numbers below 2\\^62 steps only"),
    ],
)
def test_errors(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(HwgenError, match=message):
        call()
