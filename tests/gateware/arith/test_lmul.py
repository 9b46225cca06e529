"""L-Mul gateware against the golden definition, over every pair of codes of every format of 8 bits or fewer."""

import pytest

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Int, get
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import lmul as golden
from hwgen.gateware.arith.lmul import VARIANTS, LMul, has_own_form
from tests.gateware.arith.formats import MINIFLOATS
from tests.gateware.arith.sweep import Dut, pairs, sweep

ZEROED = [fmt for fmt in MINIFLOATS if fmt.has_subnormals]


@pytest.mark.slow
def test_every_pair_of_codes(tmp_path):
    cases = [
        (fmt, variant, family)
        for fmt in ZEROED
        for variant in VARIANTS
        for family in ("", "xcup")
        if not family or has_own_form(fmt, variant, family)
    ]
    assert sum(family == "xcup" for _, _, family in cases) >= 12
    duts = [Dut(LMul(f, f, v, family=family), (("a", f.bits), ("b", f.bits))) for f, v, family in cases]
    for (fmt, variant, family), (got,) in zip(cases, sweep(duts, tmp_path), strict=True):
        a, b = pairs(fmt.bits, fmt.bits)
        wrong = got != golden(a, b, fmt, variant)
        assert not wrong.any(), f"{fmt.name} {variant} {family}: {a[wrong][:3]} x {b[wrong][:3]} gave {got[wrong][:3]}"


@pytest.mark.slow
def test_finite_multipliers_of_every_pair_of_numbers(tmp_path):
    cases = [
        (fmt, variant, family)
        for fmt in ZEROED
        if fmt.special != "none"
        for variant in VARIANTS
        for family in ("", "xcup")
        if not family or has_own_form(fmt, variant, family)
    ]
    duts = [Dut(LMul(f, f, v, family=family, finite=True), (("a", f.bits), ("b", f.bits))) for f, v, family in cases]
    for (fmt, variant, family), (got,) in zip(cases, sweep(duts, tmp_path), strict=True):
        a, b = pairs(fmt.bits, fmt.bits)
        numbers = fmt.is_number(a) & fmt.is_number(b)
        assert (got == golden(a, b, fmt, variant))[numbers].all(), f"{fmt.name} {variant} {family}"


def test_operands_of_two_formats_are_refused():
    with pytest.raises(HwgenError, match="lmul gateware takes operands of one format, not e4m3 and e5m2"):
        LMul(get("e4m3"), get("e5m2"))


def test_unknown_variants_are_refused():
    with pytest.raises(HwgenError, match="no gateware multiplies by 'half': one of lmul, mitchell, lmul_formula_trunc"):
        LMul(get("e4m3"), get("e4m3"), "half")


def test_formats_without_gateware_are_refused():
    with pytest.raises(UnsupportedError, match="lmul gateware takes minifloat codes, not those of int8"):
        LMul(Int(8), Int(8))
    scale = Minifloat(8, 0, 127, "nan", has_sign=False, has_subnormals=False)
    with pytest.raises(HwgenError, match="mitchell gateware needs a format with a zero, which e8m0 has not"):
        LMul(scale, scale, "mitchell")


def test_unknown_families_are_refused():
    with pytest.raises(HwgenError, match="no L-Mul gateware is made for the FPGA family 'versal', only for xcup"):
        LMul(get("e4m3"), get("e4m3"), family="versal")
