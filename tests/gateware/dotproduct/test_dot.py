import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import get
from hwgen.gateware.dotproduct.dot import DotProduct
from tests.gateware.dotproduct.bench import Units, pack, simulate
from tests.gateware.dotproduct.cases import operands

LANES = 1_000_000
ROWS = LANES // 10

# What takes time is to compile the units: where few lanes show as much, they are few, and get more rows.
UNITS = [
    ("e4m3", "e4m3", 32, "exact", "auto"),
    ("e5m2", "e5m2", 12, "exact", 4),
    ("e3m2", "e3m2", 16, "exact", 0),
    ("e2m3", "e2m3", 16, "exact", 3),
    ("e2m1", "e2m1", 32, "exact", "auto"),
    ("fixed<8,2>n", "fixed<8,2>n", 32, "exact", "auto"),
    ("int8", "int8", 13, "exact", 2),
    ("e4m3", "e2m1", 11, "exact", 2),
    ("int8", "e2m1", 10, "exact", 3),
    ("e5m2", "int4", 10, "exact", "auto"),
    ("e4m3", "e4m3", 16, "lmul", 4),
    ("e4m3", "e4m3", 10, "mitchell", 0),
    ("e5m2", "e5m2", 11, "lmul_formula_trunc", 1),
    ("e4m3", "e4m3", 12, "lmul_formula", 3),
    ("e2m3", "e2m3", 13, "lmul", 2),
]
SMALL = [
    ("uint4", "int5", 5, "exact", 1),
    ("bipolar", "int3", 7, "exact", 2),
    ("uint8", "uint8", 9, "exact", 1),
    ("uint2", "e3m2", 3, "exact", 0),
    ("ue5m3", "ue5m3", 4, "exact", 2),
    ("e4m3", "e4m3", 1, "exact", 2),
    ("int8", "int8", 1, "exact", 1),
    ("e2m1", "e2m1", 1, "exact", 0),
    ("e4m3", "e5m2", 6, "exact", 5),
    ("e3m4", "e3m4", 3, "lmul", 1),
    ("e1m2", "e2m1", 11, "exact", 1),
    ("ue5m3", "e4m3full", 2, "exact", 1),
    ("bipolar", "bipolar", 32, "exact", 1),
]
# In cells placed by hand.
PLACED = [
    ("e4m3", "e4m3", 32, "exact", "auto"),
    ("e5m2", "e5m2", 10, "exact", 2),
    ("e3m2", "e3m2", 11, "exact", 0),
    ("e2m3", "e2m3", 12, "exact", 3),
    ("e2m1", "e2m1", 32, "exact", 1),
    ("e4m3", "e4m3", 10, "lmul", 1),
]
SMALL_PLACED = [
    ("e4m3", "e2m1", 7, "exact", 2),
    ("int8", "e2m1", 5, "exact", 1),
    ("ue5m3", "ue5m3", 4, "exact", 2),
    ("e4m3", "e5m2", 6, "exact", 3),
    ("e1m2", "e2m1", 3, "exact", 1),
    ("e4m3", "e4m3", 1, "lmul_formula", 0),
]


def check(cases, rows, folder, *, placed=()):
    units = [DotProduct(get(a), get(b), lanes, kind, pipeline) for a, b, lanes, kind, pipeline in cases]
    units += [DotProduct(get(a), get(b), lanes, kind, p, placed=True) for a, b, lanes, kind, p in placed]
    cases = [*cases, *((*case, "placed") for case in placed)]
    together = Units(units, ("a", "b"), ("sum", "nan", "valid_out"))
    codes = [operands(u.a_format, u.b_format, u.lanes, rows, seed) for seed, u in enumerate(units)]
    words = [
        {"a": pack(a, u.a_format.bits), "b": pack(b, u.b_format.bits)} for u, (a, b) in zip(units, codes, strict=True)
    ]
    for unit, case, (a, b), got in zip(units, cases, codes, simulate(together, words, folder), strict=True):
        want = golden.dot(a[:, None, :], b[:, :, None], unit.a_format, unit.b_format, unit.multiplier)
        nan = want.nan[:, 0, 0]
        np.testing.assert_array_equal(got["valid_out"].astype(bool), True, err_msg=str(case))
        np.testing.assert_array_equal(got["nan"].astype(bool), nan, err_msg=str(case))
        sums = want.integers()[:, 0, 0] << (want.exponent - unit.lsb)
        np.testing.assert_array_equal(got["sum"][~nan], sums[~nan], err_msg=str(case))


@pytest.mark.slow
def test_a_million_lanes_of_each_pair_and_multiplier(tmp_path):
    check(UNITS, ROWS, tmp_path)


@pytest.mark.slow
def test_odd_numbers_of_lanes_and_odd_formats(tmp_path):
    check(SMALL, 4000, tmp_path, placed=SMALL_PLACED)


@pytest.mark.slow
def test_a_million_lanes_in_placed_cells(tmp_path):
    check([], ROWS, tmp_path, placed=PLACED)


def test_placed_cells_take_a_family_and_formats_that_have_them():
    with pytest.raises(HwgenError, match=r"cells are placed by hand on xcup only, not on ecp5"):
        DotProduct(get("e4m3"), get("e4m3"), 4, family="ecp5", placed=True)
    with pytest.raises(UnsupportedError, match=r"no cells are placed by hand for int8 times int4: one must be a minif"):
        DotProduct(get("int8"), get("int4"), 4, placed=True)


def test_no_lanes_are_refused():
    with pytest.raises(HwgenError, match=r"a dot product has 1 lane or more, not 0"):
        DotProduct(get("e4m3"), get("e4m3"), 0)


def test_an_impossible_pipeline_is_refused():
    with pytest.raises(HwgenError, match=r"pipeline has 0 to 6 registers here, .* or is \"auto\"; not 9"):
        DotProduct(get("e2m1"), get("e2m1"), 16, pipeline=9)
    with pytest.raises(HwgenError, match=r"pipeline is a number of registers or \"auto\", not 'fast'"):
        DotProduct(get("e2m1"), get("e2m1"), 16, pipeline="fast")
    with pytest.raises(HwgenError, match=r"no pipeline reaches 5000 MHz on xcup: a register behind each part gives"):
        DotProduct(get("e2m1"), get("e2m1"), 16, megahertz=5000)


def test_formats_without_dot_products_are_refused():
    with pytest.raises(UnsupportedError, match=r"dot products take minifloats, integers, fixed point .*, not dfp16"):
        DotProduct(get("dfp16"), get("e4m3"), 4)


def test_products_too_wide_to_sum_exactly_are_refused():
    with pytest.raises(HwgenError, match=r"at most 128 are summed exactly"):
        DotProduct(get("bf16"), get("bf16"), 4)


def test_more_registers_make_a_faster_estimate():
    slow, fast = (DotProduct(get("e4m3"), get("e4m3"), 32, megahertz=f) for f in (100, 300))
    assert slow.latency < fast.latency
