"""Exact multipliers and decoders against the formats' definitions, over every pair of codes."""

import numpy as np
import pytest

from hwgen.errors import UnsupportedError
from hwgen.formats import Bipolar, Int, get
from hwgen.formats.fixed import Fixed
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import product, product_span
from hwgen.gateware.arith.decode import Decode, DecodeFixed, fixed_bits
from hwgen.gateware.arith.lmul import lmul_formula
from hwgen.gateware.arith.multiply import Multiply, MultiplyFixed, product_bits
from tests.gateware.arith.formats import MINIFLOATS
from tests.gateware.arith.sweep import Dut, LMulFormula, pairs, sweep

FIXED = [fmt for fmt in MINIFLOATS if fmt.name != "e8m0"]
INTEGERS = [Int(8), Int(4), Int(5, is_signed=False), Int(4, narrow=True), Fixed(6, 2)]


def exact(significand, exponent, lsb):
    """significand * 2**(exponent - lsb) as Python integers."""
    return np.array([int(s) << int(e - lsb) if s else 0 for s, e in zip(significand, exponent, strict=True)], object)


def as_signed(values, width):
    values = values.astype(object)
    return np.where(values >> (width - 1) == 1, values - (1 << width), values)


def numbers(*operands):
    """Where no operand is NaN or infinity; operands are (format, codes)."""
    return np.logical_and.reduce([fmt.is_number(code) for fmt, code in operands])


def typed(fmt, bits):
    """Bit patterns as the format's codes."""
    return as_signed(bits, fmt.bits).astype(np.int64) if fmt.signed else bits


@pytest.mark.slow
def test_decoders_of_every_code(tmp_path):
    outputs = ("sign", "significand", "exponent", "nan", "infinite")
    duts = [Dut(Decode(fmt), (("code", fmt.bits),), outputs) for fmt in MINIFLOATS]
    duts += [Dut(DecodeFixed(fmt), (("code", fmt.bits),), ("o", "special")) for fmt in FIXED + INTEGERS]
    found = sweep(duts, tmp_path)
    for fmt, (sign, significand, exponent, nan, infinite) in zip(MINIFLOATS, found, strict=False):
        codes = np.arange(1 << fmt.bits)
        worth = fmt.decode(codes)
        np.testing.assert_array_equal(nan == 1, np.isnan(worth))
        np.testing.assert_array_equal(infinite == 1, np.isinf(worth))
        ours = np.where(sign == 1, -1.0, 1.0) * np.ldexp(
            significand.astype(float), (exponent - fmt.bias - fmt.mantissa_bits).astype(np.int32)
        )
        finite = fmt.is_number(codes)
        np.testing.assert_array_equal(ours[finite], worth[finite])
        np.testing.assert_array_equal(np.signbit(ours), (codes >> fmt.magnitude_bits) == 1)
    for fmt, (value, special) in zip(FIXED + INTEGERS, found[len(MINIFLOATS) :], strict=True):
        codes = typed(fmt, np.arange(1 << fmt.bits))
        finite = fmt.is_number(codes)
        np.testing.assert_array_equal(special == 0, finite)
        want = exact(*fmt.significand_exponent(codes), fmt.lsb)
        assert (as_signed(value, fixed_bits(fmt)) == want)[finite].all(), fmt.name


@pytest.mark.slow
def test_exact_products_of_every_pair_of_codes(tmp_path):
    mixed = [("e4m3", "e2m1"), ("e5m2", "e4m3"), ("e4m3", "e5m2"), ("e2m3", "e3m2"), ("ue5m3", "e2m1")]
    cases = [(fmt, fmt) for fmt in FIXED] + [(get(a), get(b)) for a, b in mixed]
    cases += [(Int(8), get("e2m1")), (get("e4m3"), Int(4)), (Int(4), Int(8)), (INTEGERS[2], get("e5m2"))]
    cases += [(Fixed(6, 2), get("e3m2")), (Int(8), Int(8))]
    raw = [(a, b) for a, b in cases if isinstance(a, Minifloat) and isinstance(b, Minifloat)]
    ports = [(("a", a.bits), ("b", b.bits)) for a, b in cases]
    duts = [Dut(MultiplyFixed(a, b), port, ("o", "special")) for (a, b), port in zip(cases, ports, strict=True)]
    outputs = ("sign", "significand", "exponent", "special")
    duts += [Dut(Multiply(a, b), (("a", a.bits), ("b", b.bits)), outputs) for a, b in raw]
    found = sweep(duts, tmp_path)
    for (a, b), (value, special) in zip(cases, found, strict=False):
        assert product_bits(a, b) == product_span(a, b).bits
        x, y = (typed(fmt, code) for fmt, code in zip((a, b), pairs(a.bits, b.bits), strict=True))
        finite = numbers((a, x), (b, y))
        np.testing.assert_array_equal(special == 0, finite)
        want = exact(*product(x[finite], y[finite], a, b), a.lsb + b.lsb)
        assert (as_signed(value[finite], product_bits(a, b)) == want).all(), f"{a.name} x {b.name}"
    for (a, b), (sign, significand, exponent, special) in zip(raw, found[len(cases) :], strict=True):
        x, y = pairs(a.bits, b.bits)
        finite = numbers((a, x), (b, y))
        np.testing.assert_array_equal(special == 0, finite)
        (sa, ea), (sb, eb) = a.significand_exponent(x), b.significand_exponent(y)
        base = a.bias + a.mantissa_bits + b.bias + b.mantissa_bits
        assert (significand == np.abs(sa * sb))[finite].all()
        assert (exponent - base == ea + eb)[finite].all()
        assert (sign == ((x >> a.magnitude_bits) & a.has_sign) ^ ((y >> b.magnitude_bits) & b.has_sign)).all()


@pytest.mark.slow
def test_the_exact_form_of_l_mul_over_every_pair_of_codes(tmp_path):
    formats = [fmt for fmt in FIXED if fmt.has_subnormals]
    duts = [Dut(LMulFormula(fmt, lmul_formula), (("a", fmt.bits), ("b", fmt.bits)), ("o", "bad")) for fmt in formats]
    for fmt, dut, (value, bad) in zip(formats, duts, sweep(duts, tmp_path), strict=True):
        x, y = pairs(fmt.bits, fmt.bits)
        finite = numbers((fmt, x), (fmt, y))
        np.testing.assert_array_equal(bad == 0, finite)
        want = exact(*product(x[finite], y[finite], fmt, fmt, "lmul_formula"), dut.component.lsb)
        assert (as_signed(value[finite], dut.component.width) == want).all(), fmt.name


def test_what_has_no_exact_product_is_refused():
    with pytest.raises(UnsupportedError, match="bf16 in fixed point needs 262 bits; gateware takes at most 128"):
        MultiplyFixed(get("bf16"), get("e4m3"))
    with pytest.raises(UnsupportedError, match="an exact product of e6m3 and e6m3 needs 133 bits; gateware takes"):
        MultiplyFixed(Minifloat(6, 3, 31), Minifloat(6, 3, 31))
    with pytest.raises(UnsupportedError, match="no arithmetic gateware decodes bipolar codes"):
        MultiplyFixed(Bipolar(), Int(4))
    with pytest.raises(UnsupportedError, match="the multiplier takes minifloat codes, not those of int4"):
        Multiply(get("e4m3"), Int(4))
    with pytest.raises(UnsupportedError, match="the decoder takes minifloat codes, not those of int8"):
        Decode(Int(8))
