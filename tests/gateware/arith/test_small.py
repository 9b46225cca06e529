"""Tables, K-hot products, adder trees and packed DSP products."""

import numpy as np
import pytest
from amaranth.hdl import Shape, signed, unsigned

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Bipolar, Int, get
from hwgen.formats.fixed import Fixed
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.multiply import product
from hwgen.gateware.arith.dsp import PackedMultiply
from hwgen.gateware.arith.khot import KHotMultiply
from hwgen.gateware.arith.multiply import product_bits
from hwgen.gateware.arith.table import MultiplyByTable, RoundByTable
from hwgen.gateware.arith.tree import AdderTree, bounds, levels
from hwgen.gateware.verilog import to_verilog
from hwgen.tools.yosys import synthesise
from tests.gateware.arith.sweep import Dut, clocked, from_bits, pairs, sweep, to_bits


def two(values, width):
    return np.where(values >> (width - 1) == 1, values - (1 << width), values)


@pytest.mark.slow
def test_table_multipliers_of_every_pair_of_codes(tmp_path):
    small = [get("e2m1"), Minifloat(1, 2, 0), Minifloat(3, 0, 3), Minifloat(2, 1, 1, "ieee"), Int(4), Fixed(3, 1)]
    small += [Int(3, is_signed=False), Minifloat(2, 2, 1, "nan", has_sign=False)]
    cases = [(a, b, family) for a in small for b in small for family in ("", "xcup")]
    duts = [Dut(MultiplyByTable(a, b, family=f), (("a", a.bits), ("b", b.bits))) for a, b, f in cases]
    for (a, b, family), (got,) in zip(cases, sweep(duts, tmp_path), strict=True):
        codes = pairs(a.bits, b.bits)
        x, y = (two(code, fmt.bits) if fmt.signed else code for fmt, code in zip((a, b), codes, strict=True))
        finite = a.is_number(x) & b.is_number(y)
        significand, exponent = product(x[finite], y[finite], a, b)
        want = np.zeros_like(got)
        want[finite] = significand << (exponent - a.lsb - b.lsb)
        both = np.where(finite, two(got, product_bits(a, b)), 0)
        np.testing.assert_array_equal(both, want, err_msg=f"{a.name} x {b.name} {family}")


@pytest.mark.slow
def test_tables_of_rounded_products(tmp_path):
    formats = [get("e2m1"), Minifloat(1, 2, 0), Minifloat(3, 0, 3), Minifloat(3, 2, 3), Minifloat(2, 1, -2)]
    cases = [(fmt, family) for fmt in formats for family in ("", "xcup")]
    duts = [Dut(RoundByTable(fmt, family=family), (("a", fmt.bits), ("b", fmt.bits))) for fmt, family in cases]
    for (fmt, family), (got,) in zip(cases, sweep(duts, tmp_path), strict=True):
        x, y = (fmt.decode(code) for code in pairs(fmt.bits, fmt.bits))
        np.testing.assert_array_equal(got, fmt.encode(x * y), err_msg=f"{fmt.name} {family}")


def test_tables_of_rounded_products_need_numbers():
    with pytest.raises(UnsupportedError, match="no table of rounded products is made for e2m1_nan, which has codes"):
        RoundByTable(Minifloat(2, 1, 1, "nan"))


def test_large_tables_are_refused():
    message = "a table of products of e4m3 and e4m3 has 14 inputs; at most 10 are looked up"
    with pytest.raises(UnsupportedError, match=message):
        MultiplyByTable(get("e4m3"), get("e4m3"))
    with pytest.raises(UnsupportedError, match="no table multiplies bipolar codes"):
        MultiplyByTable(Bipolar(), Int(4))


@pytest.mark.slow
def test_k_hot_products(tmp_path):
    cases = [(Int(5), 2, 4), (Int(4, is_signed=False), 3, 4), (Fixed(6, 3), 1, 8), (Int(8), 1, 7)]
    duts = []
    for fmt, terms, shifts in cases:
        component = KHotMultiply(fmt, terms, shifts)
        width = len(component.weight.as_value())
        duts.append(Dut(component, (("x", fmt.bits), ("weight", width))))
    for (fmt, terms, shifts), dut, (got,) in zip(cases, duts, sweep(duts, tmp_path), strict=True):
        n = np.arange(len(got))
        x = n & ((1 << fmt.bits) - 1)
        x = two(x, fmt.bits) if fmt.signed else x
        bits = (shifts - 1).bit_length()
        weight, rest, valid = np.zeros_like(n), n >> fmt.bits, np.full(n.shape, True)
        for _ in range(terms):
            shift, negative, active = rest & ((1 << bits) - 1), (rest >> bits) & 1, (rest >> (bits + 1)) & 1
            weight += np.where(negative == 1, -1, 1) * active << shift
            valid &= shift < shifts
            rest >>= bits + 2
        np.testing.assert_array_equal(two(got, dut.component.width)[valid], (x * weight)[valid])


def test_k_hot_parameters_are_checked():
    with pytest.raises(UnsupportedError, match="shift-add products take integers or fixed point, not e4m3"):
        KHotMultiply(get("e4m3"), 1, 4)
    with pytest.raises(HwgenError, match="a K-hot weight has 1 term or more and 1 to 32 shifts, not 0 and 4"):
        KHotMultiply(Int(8), 0, 4)


TREES = [(signed(6), 9, 3), (unsigned(5), 10, 3), (signed(13), 32, 3), (signed(7), 11, 2), (unsigned(4), 2, 3)]


@pytest.mark.slow
def test_adder_trees(tmp_path, rng):
    duts, values, bits = [], [], []
    for shape, lanes, arity in TREES:
        dut = AdderTree(shape, lanes, arity=arity, pipelined=True)
        assert dut.latency == levels(lanes, arity)
        low, high = bounds(shape)
        x = rng.integers(low, high + 1, (3000, lanes))
        x[:3] = [[low] * lanes, [high] * lanes, [low, high] * (lanes // 2) + [0] * (lanes % 2)]
        duts.append(Dut(dut, (("i", shape.width * lanes), ("enable", 1))))
        values.append(x)
        bits.append(np.concatenate([to_bits(x, shape.width), np.ones((len(x), 1), np.uint8)], axis=1))
    for dut, x, out in zip(duts, values, clocked(duts, bits, tmp_path), strict=True):
        shape, latency = Shape.cast(dut.component.shape), dut.component.latency
        got = from_bits(out, shape.width, is_signed=shape.signed)[:, 0]
        np.testing.assert_array_equal(got[latency:], x.sum(axis=1)[: len(x) - latency])


def test_tree_parameters_are_checked():
    with pytest.raises(HwgenError, match="adders of a tree have 2 or 3 operands, not 4"):
        AdderTree(signed(4), 8, arity=4)
    with pytest.raises(HwgenError, match="an adder tree has 1 lane or more, not 0"):
        AdderTree(signed(4), 0)


PACKINGS = [
    (Int(8), Int(8), 2, 1, "xcup"),
    (Int(8, is_signed=False), Int(8), 2, 1, "xcup"),
    (Int(4), Int(4), 2, 2, "xcup"),
    (Int(4, is_signed=False), Int(4, is_signed=False), 2, 2, "xcup"),
    (Int(4, narrow=True), Int(4, narrow=True), 2, 2, "ecp5"),
    (Int(4), Int(8), 2, 1, "ecp5"),
    (Int(3), Int(3, is_signed=False), 2, 2, "ecp5"),
    (Int(16), Int(16), 1, 1, "ecp5"),
]


def often_extreme(fmt, shape, rng):
    """Random codes with the extreme ones drawn often."""
    return np.where(rng.random(shape) < 0.3, rng.choice(fmt.code_range, shape), rng.choice(fmt.codes(), shape))


@pytest.mark.slow
def test_packed_products(tmp_path, rng):
    clocks = 20000
    enable = (rng.random(clocks) < 0.7).astype(np.uint8)
    duts, want, bits = [], [], []
    for a, b, rows, cols, device in PACKINGS:
        x, y = often_extreme(a, (clocks, rows), rng), often_extreme(b, (clocks, cols), rng)
        ports = (("a", a.bits * rows), ("b", b.bits * cols), ("enable", 1))
        duts.append(Dut(PackedMultiply(a, b, rows, cols, device), ports))
        bits.append(np.concatenate([to_bits(x, a.bits), to_bits(y, b.bits), enable[:, None]], axis=1))
        want.append((x[:, :, None] * y[:, None, :]).reshape(clocks, -1)[enable == 1])
    for packing, dut, products, out in zip(PACKINGS, duts, want, clocked(duts, bits, tmp_path), strict=True):
        unit = dut.component
        got = from_bits(out, unit.field, is_signed=unit.signed)[enable == 1][unit.latency :]
        np.testing.assert_array_equal(got, products[: len(got)], err_msg=str(packing))


def test_packings_that_do_not_fit_are_refused():
    with pytest.raises(
        UnsupportedError, match="2 x 1 products of int8 and int8 need operands of 25 and 8 bits; a DSP of"
    ):
        PackedMultiply(Int(8), Int(8), 2, 1, "ecp5")
    with pytest.raises(UnsupportedError, match="4 x 1 products of int4 and int4 need operands"):
        PackedMultiply(Int(4), Int(4), 4, 1, "xcup")
    with pytest.raises(UnsupportedError, match="products are packed of integers, not of e4m3"):
        PackedMultiply(get("e4m3"), Int(8))
    with pytest.raises(HwgenError, match="no DSP of 'ice40' is known, only those of xcup, ecp5"):
        PackedMultiply(Int(8), Int(8), device="ice40")


@pytest.mark.slow
@pytest.mark.parametrize(("device", "lut"), [("xcup", 8), ("ecp5", 50)])
def test_synthesis_keeps_one_dsp(device, lut, tmp_path):
    fmt = Int(4, narrow=True)
    (tmp_path / "packed.v").write_text(to_verilog(PackedMultiply(fmt, fmt, 2, 2, device), "packed"))
    found = synthesise([tmp_path / "packed.v"], "packed", device, tmp_path / "synthesis").statistics.total
    assert found.dsp == 1
    assert found.lut <= lut, found
