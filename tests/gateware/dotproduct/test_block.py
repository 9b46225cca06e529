import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Block, get
from hwgen.gateware.dotproduct.block import BlockDot, element_of
from tests.gateware.dotproduct.bench import Units, pack, simulate
from tests.gateware.dotproduct.cases import operands

LANES = 1_000_000
UNITS = [
    ("mxfp8e4m3", "mxfp4", "exact", "auto"),
    ("mxint8", "mxint8", "exact", 1),
    ("mxfp6e3m2", "mxint8", "exact", 2),
    ("nvfp4", "nvfp4", "exact", 2),
    ("nvint4", "fp4ue5m3", "exact", 0),
    ("mxfp8e5m2", "e2m1", "exact", 1),
    ("mxfp8e4m3", "mxfp8e4m3", "lmul", "auto"),
]


def scales(fmt, rows, rng):
    """Scale codes (rows,): any, of which one in eight is special, zero or one of the ends."""
    codes = fmt.scale.codes()
    ends = np.array([codes[0], codes[-1], codes[-2], 1])
    drawn = np.where(rng.random(rows) < 0.1, rng.choice(ends, rows), rng.choice(codes, rows))
    return np.where(fmt.scale.is_number(drawn) | (rng.random(rows) < 0.3), drawn, codes[len(codes) // 3])


def codes_for(unit, rows, seed):
    """Named port values of a unit, integers: elements (rows, lanes), scales (rows, 1)."""
    rng = np.random.default_rng(seed)
    a, b = operands(element_of(unit.a_format), element_of(unit.b_format), unit.lanes, rows, seed)
    given = {"a": a, "b": b}
    for name, fmt in (("a", unit.a_format), ("b", unit.b_format)):
        given[f"{name}_scale"] = scales(fmt, rows, rng)[:, None] if isinstance(fmt, Block) else None
    return given


@pytest.mark.slow
def test_a_million_lanes_of_each_pair(tmp_path):
    units = [BlockDot(get(a), get(b), kind, pipeline) for a, b, kind, pipeline in UNITS]
    together = Units(units, ("a", "b", "a_scale", "b_scale"), ("sum", "exponent", "nan", "valid_out"))
    given = [codes_for(unit, LANES // 16, seed) for seed, unit in enumerate(units)]
    words = [
        {
            name: pack(codes, {"a": element_of(u.a_format), "b": element_of(u.b_format)}[name].bits)
            if len(name) == 1
            else pack(codes, getattr(u, name).shape().width)
            for name, codes in one.items()
            if codes is not None
        }
        for u, one in zip(units, given, strict=True)
    ]
    for unit, one, got in zip(units, given, simulate(together, words, tmp_path), strict=True):
        sides = [
            (one[f"{n}_scale"], one[n][:, None, :]) if isinstance(fmt, Block) else one[n][:, None, :]
            for n, fmt in (("a", unit.a_format), ("b", unit.b_format))
        ]
        check_rows(unit, sides, got)


def check_rows(unit, sides, got):
    """Row by row: sum times 2**exponent is the golden element sum times both scales."""
    name = f"{unit.a_format.name} x {unit.b_format.name}"
    elements = [side[1] if isinstance(side, tuple) else side for side in sides]
    formats = [element_of(fmt) for fmt in (unit.a_format, unit.b_format)]
    want = golden.dot(elements[0], elements[1].transpose(0, 2, 1), *formats, unit.multiplier)
    whole, nan = want.integers()[:, 0, 0], want.nan[:, 0, 0]
    exponent = np.full(len(whole), want.exponent)
    for fmt, side in zip((unit.a_format, unit.b_format), sides, strict=True):
        if isinstance(side, tuple):
            codes = side[0][:, 0]
            nan = nan | ~fmt.scale.is_number(codes)
            significand, power = fmt.scale.significand_exponent(codes)
            if fmt.scale.mantissa_bits:
                whole = whole * significand
            exponent = exponent + power
    np.testing.assert_array_equal(got["valid_out"].astype(bool), True, err_msg=name)
    np.testing.assert_array_equal(got["nan"].astype(bool), nan, err_msg=name)
    np.testing.assert_array_equal(got["sum"][~nan], whole[~nan], err_msg=name)
    np.testing.assert_array_equal(got["exponent"][~nan].astype(int), exponent[~nan], err_msg=name)


def test_blocks_of_different_sizes_are_refused():
    with pytest.raises(HwgenError, match=r"blocks of 32 \(mxfp4\) do not meet blocks of 16 \(nvfp4\)"):
        BlockDot(get("mxfp4"), get("nvfp4"))


def test_formats_without_blocks_are_refused():
    with pytest.raises(HwgenError, match=r"neither e4m3 nor e2m1 is a block format: use a plain dot product"):
        BlockDot(get("e4m3"), get("e2m1"))
    with pytest.raises(UnsupportedError, match=r"dot products take minifloats, integers.*, not dfp16"):
        BlockDot(get("mxfp4"), get("dfp16"))
