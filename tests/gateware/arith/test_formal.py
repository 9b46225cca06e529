"""Yosys' SAT solver proves gateware equal to references in plain SystemVerilog, and refutes broken ones."""

import pytest

from hwgen.errors import MismatchError
from hwgen.formats import get
from hwgen.gateware.arith.encode import Encode
from hwgen.gateware.arith.lmul import VARIANTS, LMul
from hwgen.gateware.arith.multiply import MultiplyFixed, product_bits
from hwgen.gateware.verilog import to_verilog
from hwgen.tools.formal import Design, prove_equal
from tests.gateware.arith.sweep import CELLS, RTL

SPECIAL = {"none": 0, "nan": 1, "ieee": 2}
pytestmark = pytest.mark.slow


def gateware(component, folder) -> Design:
    path = folder / "gateware.v"
    path.write_text(to_verilog(component, "gateware"))
    return Design([path, CELLS], "gateware")


def lmul_reference(fmt, variant) -> Design:
    values = {
        "E": fmt.exponent_bits,
        "M": fmt.mantissa_bits,
        "BIAS": fmt.bias,
        "SPECIAL": SPECIAL[fmt.special],
        "SIGNED": int(fmt.has_sign),
        "VARIANT": VARIANTS.index(variant),
    }
    return Design([RTL / "ref_lmul.sv"], "ref_lmul", values)


def multiply_reference(a, b) -> Design:
    values = {"WIDTH": product_bits(a, b)}
    for name, fmt in (("A", a), ("B", b)):
        fields = {"E": fmt.exponent_bits, "M": fmt.mantissa_bits, "S": int(fmt.has_sign)}
        values |= {f"{name}{key}": value for key, value in fields.items()}
        values[f"{name}SPECIAL"] = SPECIAL[fmt.special]
    return Design([RTL / "ref_multiply.sv"], "ref_multiply", values)


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "ue5m3"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_l_mul(name, variant, tmp_path):
    fmt = get(name)
    prove_equal(lmul_reference(fmt, variant), gateware(LMul(fmt, fmt, variant), tmp_path), timeout=100)


@pytest.mark.parametrize("name", ["e4m3", "e4m3full", "e3m2", "e2m3", "e2m1"])
@pytest.mark.parametrize("variant", ["lmul", "mitchell"])
def test_l_mul_in_placed_cells(name, variant, tmp_path):
    fmt = get(name)
    prove_equal(lmul_reference(fmt, variant), gateware(LMul(fmt, fmt, variant, family="xcup"), tmp_path), timeout=100)


@pytest.mark.parametrize(
    ("a", "b"),
    [("e4m3", "e4m3"), ("e5m2", "e5m2"), ("e3m2", "e3m2"), ("e2m3", "e2m3"), ("e2m1", "e2m1"), ("e4m3", "e2m1")],
)
def test_exact_products(a, b, tmp_path):
    a, b = get(a), get(b)
    prove_equal(multiply_reference(a, b), gateware(MultiplyFixed(a, b), tmp_path), timeout=100)


ENCODERS = [
    ("e4m3", 16, -8),
    ("e5m2", 14, -18),
    ("e3m2", 16, -8),
    ("e2m3", 16, -6),
    ("e2m1", 16, -4),
    ("ue5m3", 10, -18),
]


@pytest.mark.parametrize(("name", "width", "lsb"), ENCODERS)
def test_encoders(name, width, lsb, tmp_path):
    fmt = get(name)
    half = min(fmt.lsb - 1, lsb)
    greatest = max(int(fmt.extremes[1]).bit_length() - half + 1, width + 1 + lsb - half)
    values = lmul_reference(fmt, "lmul").parameters | {"WIDTH": width, "GRID": greatest}
    values |= {"LIFT": lsb - half, "FRACTION": -half}
    values.pop("VARIANT")
    reference = Design([RTL / "ref_encode.sv"], "ref_encode", values)
    prove_equal(reference, gateware(Encode(fmt, width, lsb), tmp_path), timeout=100)


def test_a_broken_reference_is_refuted(tmp_path):
    fmt = get("e4m3")
    text = (RTL / "ref_lmul.sv").read_text().replace("if (sum > Greatest)", "if (sum > Greatest + 1)")
    broken = tmp_path / "broken.sv"
    broken.write_text(text)
    design = gateware(LMul(fmt, fmt), tmp_path)
    reference = lmul_reference(fmt, "lmul")
    with pytest.raises(MismatchError, match=r"gateware differs from ref_lmul at a = \d+, b = \d+"):
        prove_equal(Design([broken], "ref_lmul", reference.parameters), design)
