"""What every named format promises."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hwgen import formats
from hwgen.errors import HwgenError
from hwgen.formats import CATALOG, Format, product_width

LISTABLE = [fmt for fmt in CATALOG.values() if fmt.bits <= 16]


def named(fmt: Format) -> str:
    return fmt.name


@pytest.mark.parametrize("fmt", CATALOG.values(), ids=named)
def test_a_name_leads_back_to_its_format(fmt: Format) -> None:
    assert formats.get(fmt.name) == fmt


@pytest.mark.parametrize("fmt", LISTABLE, ids=named)
def test_every_number_survives_the_round_trip(fmt: Format) -> None:
    codes = fmt.codes()
    numbers = codes[fmt.is_number(codes)]
    assert np.array_equal(fmt.encode(fmt.decode(numbers)), numbers)
    assert fmt.code_range == (codes[0], codes[-1])
    assert codes.size <= 1 << fmt.bits


@pytest.mark.parametrize("fmt", LISTABLE, ids=named)
def test_description_agrees_with_the_codes(fmt: Format) -> None:
    codes = fmt.codes()
    worth = fmt.decode(codes[fmt.is_number(codes)])
    about = fmt.describe()
    assert (about["min"], about["max"]) == (worth.min(), worth.max())
    assert fmt.extremes == (Fraction(worth.min()), Fraction(worth.max()))
    assert about["signed"] == (worth.min() < 0)
    steps = np.ldexp(worth, -fmt.lsb)
    assert np.array_equal(steps, np.rint(steps))
    assert (steps % 2 == 1).any()


# (name, exponent of the least bit, bits of a product, bits of a sum of 32 and of 4096)
WIDTHS = [
    ("e4m3", -18, 37, 42, 49),
    ("e5m2", -32, 65, 70, 77),
    ("e3m2", -8, 19, 24, 31),
    ("e2m3", -6, 13, 18, 25),
    ("e2m1", -2, 9, 14, 21),
    ("int8n", 0, 15, 20, 27),
    ("int8", 0, 16, 21, 28),
    ("uint4", 0, 8, 13, 20),
    ("bipolar", 0, 2, 7, 14),
]


@pytest.mark.parametrize(("name", "lsb", "product", "sum32", "sum4096"), WIDTHS)
def test_widths_of_exact_sums(name: str, lsb: int, product: int, sum32: int, sum4096: int) -> None:
    about = formats.get(name).describe()
    found = [about[key] for key in ("product_lsb", "product_bits", "accumulator_bits_32", "accumulator_bits_4096")]
    assert found == [lsb, product, sum32, sum4096]


@pytest.mark.parametrize(("a", "b"), [("int8", "e2m1"), ("uint4", "int4"), ("e4m3", "e2m1"), ("uint2", "uint3")])
def test_a_mixed_width_is_the_least_that_holds_every_product(a: str, b: str) -> None:
    one, other = formats.get(a), formats.get(b)
    x, y = (f.decode(f.codes()[f.is_number(f.codes())]) for f in (one, other))
    lsb, bits = product_width(one, other)
    steps = np.ldexp(np.outer(x, y), -lsb)
    low, high = int(steps.min()), int(steps.max())
    assert np.array_equal(steps, np.rint(steps))
    assert bits == (high.bit_length() if low >= 0 else max(high, -low - 1).bit_length() + 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: formats.get("imt4"), "unknown format 'imt4'; near: .*int4"),
        (lambda: formats.get("zzz"), "unknown format 'zzz'. `hwgen formats` lists them"),
        (lambda: formats.get("fp32").codes(), "fp32 has too many codes to list: 2\\^32"),
    ],
)
def test_errors(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(HwgenError, match=message):
        call()
