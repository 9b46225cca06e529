"""Quantizers to blocks whose scales have a mantissa: exact, against the definition and against steps in FP32."""

from fractions import Fraction

import numpy as np
import pytest

from hwgen.formats import Blocked, Int, get
from hwgen.formats.definition import encode_scaled_block
from hwgen.ir import TensorType
from hwgen.ops import BlockQuantize, cost_fit, cost_terms
from hwgen.tools.resources import Family

NAMES = ["nvfp4", "nvint4", "fp4ue5m3", "int4ue5m3", "block<e3m2,ue3m1b4,8>"]


def numbers(bits: int, size: int, frames: int = 400) -> np.ndarray:
    rng = np.random.default_rng(11)
    x = rng.integers(-1 << (bits - 1), 1 << (bits - 1), (frames, 2 * size)) >> rng.integers(0, bits, (frames, 1))
    # Multiples of great powers of two, and of the greatest elements: ties of elements and of scales.
    x[::3] &= -1 << max(bits - 6, 0)
    x[1::3] -= x[1::3] % 21
    x[5] = 0
    return x


@pytest.mark.parametrize("rounding", ["half_even", "half_away", "half_zero"])
@pytest.mark.parametrize("name", NAMES)
def test_codes_are_those_of_exact_numbers(name: str, rounding: str) -> None:
    block = get(name).bare
    fmt = Blocked(block)
    for bits, lsb in ((12, -8), (40, -34), (8, 3)):
        op = BlockQuantize(fmt, lsb, rounding)
        assert op.infer(TensorType((2 * block.size,), Int(bits))).format == fmt
        x = numbers(bits, block.size, 12)
        codes = op.run(x)
        for row, got in zip(x.reshape(-1, block.size), codes.reshape(-1, block.size), strict=True):
            scale, elements = encode_scaled_block(block, [Fraction(int(n)) * Fraction(2) ** lsb for n in row], rounding)
            assert set(fmt.scales(got)) == {scale}
            assert np.array_equal(fmt.elements(got), fmt.elements(fmt.join(0, elements)))


@pytest.mark.parametrize("name", NAMES[:4])
@pytest.mark.parametrize("lsb", [-14, -6, 0])
def test_steps_in_fp32_give_the_same_codes(name: str, lsb: int) -> None:
    """What FP32 divides lies no nearer to a boundary than half an ulp, unless it is on it: 24-bit numbers by 6, 7 or a
    significand."""
    fmt = Blocked(get(name).bare)
    x = numbers(24, 16)
    np.testing.assert_array_equal(BlockQuantize(fmt, lsb).run(x), fmt.encode(np.ldexp(x.astype(np.float32), lsb)))


@pytest.mark.parametrize(
    ("family", "name", "bits", "lanes", "luts", "flops"),
    [
        ("ecp5", "nvfp4", 37, 1, 1197, 306),
        ("ecp5", "nvint4", 24, 2, 1207, 347),
        ("ecp5", "nvfp4", 33, 8, 4286, 1083),
        ("xcup", "nvfp4", 29, 4, 1067, 548),
    ],
)
def test_estimates_are_near_what_yosys_made(
    family: Family, name: str, bits: int, lanes: int, luts: int, flops: int
) -> None:
    op = BlockQuantize(Blocked(get(name).bare), 15 - bits)
    found = cost_fit.cost(cost_terms.block_quantize(op, TensorType((32,), Int(bits)), lanes, family), family)
    assert (found.lut, found.ff) == (pytest.approx(luts, rel=0.06), pytest.approx(flops, rel=0.06))
