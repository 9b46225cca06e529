"""Tensors of blocks whose codes hold an element and the scale of its block."""

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.formats import Blocked, get, scalar
from hwgen.formats.definition import encode_block
from hwgen.formats.grid import grid_range, on_grid

NAMES = [
    "mxfp4",
    "mxint8",
    "mxfp8e5m2",
    "block<e2m1,ue4m0b9_nosub,8>",
    "block<int4n,ue3m0b4_nosub,4>",
    "block<e2m1,ue2m0b-3_nosub,4>",
]


@pytest.mark.parametrize("name", NAMES)
def test_codes_are_those_of_the_block_format(name: str) -> None:
    rng = np.random.default_rng(7)
    block = get(name)
    fmt = scalar(f"blocked<{name}>")
    assert isinstance(fmt, Blocked)
    assert scalar(fmt.name) == fmt
    # Three blocks a row, the last one cut short; of all sizes, one of zeros.
    x = rng.normal(size=(6, 3 * block.size - 2)) * 2.0 ** rng.integers(-9, 9, (6, 1))
    x[2] = 0
    codes = fmt.encode(x)
    for row, got in zip(x, codes, strict=True):
        for start in range(0, len(row), block.size):
            numbers = list(row[start : start + block.size])
            scale, elements = encode_block(block, numbers)
            np.testing.assert_array_equal(fmt.scales(got)[start : start + block.size], scale)
            np.testing.assert_array_equal(fmt.elements(got)[start : start + block.size], elements)
    np.testing.assert_array_equal(fmt.join(fmt.scales(codes), fmt.elements(codes)), codes)
    worth = block.element.decode(fmt.elements(codes)) * block.scale.decode(fmt.scales(codes))
    np.testing.assert_array_equal(fmt.decode(codes), worth)
    np.testing.assert_array_equal(fmt.encode(worth), codes)
    fmt.check_shared(codes)
    low, high = fmt.code_range
    assert low <= codes.min() <= codes.max() <= high


@pytest.mark.parametrize("name", [*NAMES[3:], get("nvfp4").bare.name, get("nvint4").bare.name])
def test_every_number_lies_on_the_grid(name: str) -> None:
    fmt = scalar(f"blocked<{name}>")
    codes = fmt.codes()
    numbers = codes[fmt.is_number(codes)]
    grid = on_grid(fmt, numbers)
    np.testing.assert_array_equal(grid * 2.0**fmt.lsb, fmt.decode(numbers))
    assert (grid.min(), grid.max()) == grid_range(fmt)


def test_what_is_no_number() -> None:
    fmt = scalar("blocked<mxint8>")
    assert fmt.is_number([0x7F00, 0x7F81, 0x7F80, 0xFF01]).tolist() == [True, True, False, False]


def test_what_blocks_cannot_be_is_refused() -> None:
    with pytest.raises(
        HwgenError, match="carry scales without a sign, and none of the whole tensor; nvfp4 wants block<e2"
    ):
        scalar("blocked<nvfp4>")
    with pytest.raises(HwgenError, match=r"block<e2m1,e4m3,8> wants block<e2m1,ue4m3_nan,8>"):
        scalar("blocked<block<e2m1,e4m3,8>>")
    with pytest.raises(HwgenError, match="blocked<int8> needs a block format, and int8 is none"):
        get("blocked<int8>")
    fmt = scalar("blocked<mxfp4>")
    with pytest.raises(HwgenError, match="elements of mxfp4 saturate; overflow 'ieee' is not for them"):
        fmt.encode(np.zeros(32), overflow="ieee")
    with pytest.raises(HwgenError, match="takes blocks along the last axis, not a single number"):
        fmt.encode(1.0)
    with pytest.raises(HwgenError, match=r"has 2\^18 codes: too many to list"):
        scalar("blocked<block<int10n,e8m0,32>>").codes()
    with pytest.raises(HwgenError, match=r"code 33 of a blocked<mxfp4> tensor carries scale 3, and its block 2"):
        scalar("blocked<mxfp4>").check_shared(np.array([16] * 32 + [32, 48] + [32] * 30))
