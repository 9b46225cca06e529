"""L-Mul and its relatives: multiplication of minifloats by adding their codes (arXiv 2410.00907, arXiv 2412.18948).

With m mantissa bits, l(m) = m for m <= 3, 3 for m = 4, 4 for m > 4, and c = 2**(m - l(m)):

- `lmul`: |x| + |y| + c - (bias << m) on the packed exponent and mantissa bits;
- `mitchell`: the same with c = 0;
- `lmul_formula_trunc`: exponents add and the significand is 2**m + xm + ym + c, normalised and truncated;
- `lmul_formula`: the same significand, exact, which is no code (`lmul_formula`).

An operand whose exponent field is 0 gives +0, so does a sum below the least normal number; a sum above the greatest
is that one. NaN in, NaN out; infinity times zero is NaN, else infinity.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError
from hwgen.formats import Format
from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.arith.fields import Fields, fields, minifloat
from hwgen.gateware.arith.lmul_cells import packed_in_cells, takes_cells
from hwgen.gateware.arith.product import Product
from hwgen.gateware.arith.table import multiply_codes_by_table
from hwgen.gateware.pipeline import register

VARIANTS = ("lmul", "mitchell", "lmul_formula_trunc")
"""The variants whose result is a code of the operands' format."""

FAMILIES = ("", "xcup")


def correction(fmt: Minifloat, variant: str) -> int:
    """c, in units of the mantissa's least bit."""
    m = fmt.mantissa_bits
    return 0 if variant == "mitchell" else 1 << (m - min(m, 3 if m <= 4 else 4))


def check_lmul(a: Format, b: Format, variant: str, variants: tuple[str, ...] = VARIANTS) -> Minifloat:
    """The one format of both operands; raises HwgenError or UnsupportedError where there is no such multiplier."""
    if variant not in variants:
        raise HwgenError(f"no gateware multiplies by {variant!r}: one of {', '.join(variants)}")
    if a != b:
        raise HwgenError(f"{variant} gateware takes operands of one format, not {a.name} and {b.name}")
    fmt = minifloat(a, f"{variant} gateware")
    if not fmt.has_subnormals:
        raise HwgenError(f"{variant} gateware needs a format with a zero, which {fmt.name} has not")
    return fmt


def lmul(
    m: Module, fmt: Minifloat, a: Value, b: Value, variant: str = "lmul", *, finite: bool = False, family: str = ""
) -> Value:
    """The code of the product of the codes `a` and `b`, combinational, by a variant of `VARIANTS`.

    finite: promises that neither operand is NaN or infinity, which saves their detection. family: "xcup" takes cells
    placed by hand, or a table of one LUT a bit, where there is such a form (`has_own_form`).
    """
    check_lmul(fmt, fmt, variant)
    if family == "xcup" and takes_cells(fmt, variant):
        return packed_in_cells(m, fmt, a, b, correction(fmt, variant), finite=finite)
    if family == "xcup" and takes_table(fmt):

        def word(x: int, y: int) -> int:
            return _word(fmt, x, y, correction(fmt, variant), truncated=variant == "lmul_formula_trunc")

        return multiply_codes_by_table(m, fmt, a, b, word, signed_zero=False, family=family)
    x, y = fields(fmt, a), fields(fmt, b)
    add = _truncated if variant == "lmul_formula_trunc" else _packed
    c = correction(fmt, variant)
    total = Signal(range(2 * (1 << fmt.magnitude_bits) - 1 + c), name="total")
    m.d.comb += total.eq(add(fmt, x, y, c))
    return _limited(m, fmt, x, y, total, finite)


def takes_table(fmt: Minifloat) -> bool:
    """Whether one LUT a bit of the result holds all products."""
    return fmt.special == "none" and fmt.has_subnormals and 2 * fmt.magnitude_bits <= 6


def has_own_form(fmt: Minifloat, variant: str, family: str) -> bool:
    """Whether `lmul` makes something else for this family than plain logic."""
    return family == "xcup" and (takes_cells(fmt, variant) or takes_table(fmt))


def _word(fmt: Minifloat, x: int, y: int, c: int, *, truncated: bool) -> int:
    """The product's bits below the sign, of those of both operands; for formats without NaN and infinity."""
    m, one = fmt.mantissa_bits, 1 << fmt.mantissa_bits
    total = x + y + c - (fmt.bias << m)
    if truncated:
        significand = one + x % one + y % one + c
        carry = significand >= 2 * one
        total = (((x >> m) + (y >> m) - fmt.bias + carry) << m) + (significand >> carry) - one
    if min(x, y, total) < one:
        return 0
    return min(total, fmt.max_magnitude)


def lmul_formula(m: Module, fmt: Minifloat, a: Value, b: Value) -> Product:
    """(1 + xm + ym + 2**-l(m)) * 2**(xe + ye), exact and combinational; flushed operands give significand 0."""
    check_lmul(fmt, fmt, "lmul_formula", ("lmul_formula",))
    x, y = fields(fmt, a), fields(fmt, b)
    width = fmt.mantissa_bits + 2
    live = x.normal & y.normal
    total = x.mantissa + y.mantissa + ((1 << fmt.mantissa_bits) + correction(fmt, "lmul_formula"))
    significand = Signal(width, name="significand")
    m.d.comb += significand.eq(total[:width] & live.replicate(width))
    exponent = x.exponent + y.exponent
    # Two normal numbers: neither field is 0, so their sum is at least 2.
    return Product(x.sign ^ y.sign, significand, exponent, -2 * fmt.bias - fmt.mantissa_bits, 2, x.finite & y.finite)


def _packed(fmt: Minifloat, x: Fields, y: Fields, c: int) -> Value:
    """|x| + |y| + c, the bias not yet subtracted."""
    if c == 1:
        # A bit below both that always carries: the 1 costs no adder of its own.
        return (Cat(Const(1, 1), x.magnitude) + Cat(Const(1, 1), y.magnitude))[1:]
    return x.magnitude + y.magnitude + c


def _truncated(fmt: Minifloat, x: Fields, y: Fields, c: int) -> Value:
    """As `_packed`, where the mantissas' carry halves the significand instead of running on."""
    m = fmt.mantissa_bits
    # With c > 1 the sum may be as much as 2**(m+1).
    mantissa = (x.mantissa + y.mantissa + c)[: m + 1 + (c > 1)]
    carry = mantissa[m:].any()
    # With a carry the significand is 2**(m+1) + rest: halved it is 2**m + rest / 2.
    rest = Cat(mantissa[:m], mantissa[m + 1 :])
    kept = Mux(carry, rest >> 1, mantissa[:m])
    return Cat(kept[:m], x.exponent + y.exponent + carry)


def _limited(m: Module, fmt: Minifloat, x: Fields, y: Fields, total: Value, finite: bool) -> Value:
    """The code of a sum from which the bias must still be taken: flushed, saturated, NaN and infinity."""
    mantissa, fraction = fmt.mantissa_bits, (1 << fmt.mantissa_bits) - 1
    offset = fmt.bias << mantissa
    flush = Signal(name="flush")
    m.d.comb += flush.eq(~x.normal | ~y.normal | (total < offset + fraction + 1))
    field = (total[mantissa:] - fmt.bias)[: fmt.exponent_bits]
    code = Mux(total > offset + fmt.max_magnitude, fmt.max_magnitude, Cat(total[:mantissa], field))
    sign = (x.sign ^ y.sign) if fmt.has_sign else None
    magnitude = Mux(flush, 0, code)
    signs = None if sign is None else sign & ~flush
    if not finite and fmt.special != "none":
        magnitude, signs = _special(fmt, x, y, magnitude, signs, sign)
    return Cat(magnitude[: fmt.magnitude_bits], *([] if signs is None else [signs]))


def _special(fmt: Minifloat, x: Fields, y: Fields, magnitude: Value, signs: Value | None, sign: Value | None):
    """Magnitude and sign with NaN and infinity put in."""
    either = ~x.finite | ~y.finite
    if fmt.special == "nan":
        return Mux(either, fmt.nan_code, magnitude), None if signs is None else signs & ~either
    is_nan = either & (~x.normal | ~y.normal)
    for operand in (x, y):
        is_nan = is_nan | (~operand.finite & operand.mantissa.any())
    infinity = fmt.max_magnitude + 1
    # A format of exponent bits alone has an infinity and no NaN.
    quiet = infinity if fmt.nan_code is None else fmt.nan_code
    magnitude = Mux(is_nan, quiet, Mux(either, infinity, magnitude))
    return magnitude, None if signs is None else ~is_nan & Mux(either, sign, signs)


class LMul(wiring.Component):
    """Multiplies two codes of one minifloat by adding them.

    Parameters: `a_format` and `b_format`, which must be equal; `variant` of `VARIANTS`; `finite` and `family` as for
    `lmul`; `registered`: whether the result is held in a register.
    Ports: `a`, `b`, codes; `o`, the product's code; `enable`, only if registered, the register's clock enable.
    Latency: 1 clock if registered, else 0. Interval: 1.
    Raises HwgenError for an unknown variant or family, operands of two formats and formats without a zero, and
    UnsupportedError for formats that are no minifloats.
    """

    def __init__(
        self,
        a_format: Format,
        b_format: Format,
        variant: str = "lmul",
        *,
        finite: bool = False,
        family: str = "",
        registered: bool = False,
    ):
        self.format = check_lmul(a_format, b_format, variant)
        if family not in FAMILIES:
            raise HwgenError(f"no L-Mul gateware is made for the FPGA family {family!r}, only for xcup")
        self.variant, self.finite, self.family = variant, finite, family
        self.latency, self.interval = int(registered), 1
        bits = self.format.bits
        ports = {"a": In(bits), "b": In(bits), "o": Out(bits)}
        super().__init__(ports | ({"enable": In(1)} if registered else {}))

    def elaborate(self, platform):
        m = Module()
        code = lmul(m, self.format, self.a, self.b, self.variant, finite=self.finite, family=self.family)
        if self.latency:
            held = Signal(self.format.bits, name="code")
            m.d.comb += held.eq(code)
            code = register(m, self.enable, held, "held")
        m.d.comb += self.o.eq(code)
        return m
