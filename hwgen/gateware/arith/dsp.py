"""Several narrow integer products on one DSP, exactly: two INT8 or four INT4 on a DSP48E2, four narrow INT4 on a
MULT18X18D. Behavioural models of the cells, for simulators: `rtl/dsp_xcup.sv`, `rtl/dsp_ecp5.sv`.

`rows` numbers a and `cols` numbers b stand F bits apart in the two operands of the multiplier, so that each of their
products has a field of F bits of its own. A negative product borrows from the field above it. On UltraScale+ the
DSP's own adder prevents that: half of a field's range is added to each, and undone by inverting its top bit. On ECP5,
where a multiplier stands without an adder, the borrow is added back in LUTs.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Format, Int

# Signed operand widths of one DSP, and clocks from its inputs to its output with all registers on.
DEVICES: dict[str, tuple[int, int, int]] = {"xcup": (27, 18, 4), "ecp5": (18, 18, 3)}


def field_bits(a: Int, b: Int) -> tuple[int, bool]:
    """(bits of one product's field, whether it is signed). The least code of a signed field is never a product."""
    corners = [x * y for x in a.integer_range for y in b.integer_range]
    low, high = min(corners), max(corners)
    if low >= 0:
        return max(1, high.bit_length()), False
    return max(high.bit_length(), (-low).bit_length()) + 1, True


def pack(values: Sequence[Value], spacing: int, width: int) -> Value:
    """The sum of values * 2**(spacing * index), `width` bits of it."""
    total: Value = values[0]
    for index, value in enumerate(values[1:], 1):
        total = total + (value << (spacing * index))
    return total[:width].as_signed()


def packed_bits(fmt: Int, count: int, spacing: int) -> int:
    """Bits of `pack`'s sum of codes of `fmt` in two's complement."""
    low, high = (sum(end << (spacing * index) for index in range(count)) for end in fmt.code_range)
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1


def dsp48e2(
    m: Module,
    name: str,
    enable: Value,
    a: Value,
    b: Value,
    *,
    d: Value | None = None,
    c: Value | None = None,
    cascade: Value | None = None,
    subtract: Value | None = None,
    registers: int = 1,
) -> tuple[Signal, Signal]:
    """(P, PCOUT) of one DSP48E2 with all its registers: P = Z + a * b, where Z is `c`, `cascade` or 0.

    d: is added to a before the multiplication; then P comes 4 enabled clocks after a, b and d, else `registers` + 2,
    which are 1 or 2 for a and b. c: without a register, for constants. cascade: PCOUT of another one, one clock old.
    subtract: makes it Z - a * b, and must come `registers` clocks after a and b.
    """
    port_a, port_b, port_d = Signal(signed(30), name=f"{name}_a"), Signal(signed(18), name=f"{name}_b"), Signal(27)
    m.d.comb += [port_a.eq(a), port_b.eq(b)]
    if d is not None:
        m.d.comb += port_d.eq(d)
    # The pre-adder's register delays a and d by one more clock than b, which has two registers instead.
    a_registers, b_registers = (registers, registers) if d is None else (1, 2)
    p, out = Signal(48, name=f"{name}_p"), Signal(48, name=f"{name}_pcout")
    enables = {f"i_CE{port}": enable for port in ("A1", "A2", "AD", "ALUMODE", "B1", "B2", "C", "D", "M", "P")}
    enables |= {f"i_CE{port}": Const(1, 1) for port in ("CARRYIN", "CTRL", "INMODE")}
    ports = ("A", "ALLCARRYIN", "ALUMODE", "B", "C", "CTRL", "D", "INMODE", "M", "P")
    z = 0b011 if c is not None else 0b001 if cascade is not None else 0
    m.submodules[name] = Instance(
        "DSP48E2",
        **{"p_AREG": a_registers, "p_ACASCREG": a_registers, "p_BREG": b_registers, "p_BCASCREG": b_registers},
        **{"p_DREG": 1, "p_ADREG": 1, "p_MREG": 1, "p_PREG": 1, "p_CREG": 0, "p_INMODEREG": 0, "p_OPMODEREG": 0},
        **{"p_ALUMODEREG": 0 if subtract is None else 1, "p_CARRYINREG": 0, "p_CARRYINSELREG": 0},
        **{"p_AMULTSEL": "A" if d is None else "AD", "p_BMULTSEL": "B", "p_USE_MULT": "MULTIPLY"},
        **enables,
        **{f"i_RST{port}": Const(0, 1) for port in ports},
        i_CLK=ClockSignal(),
        i_A=port_a,
        i_B=port_b,
        i_C=Const(0, 48) if c is None else c,
        i_D=port_d,
        i_PCIN=Const(0, 48) if cascade is None else cascade,
        # With D: D + A into the multiplier. P = Z + M.
        i_INMODE=Const(0 if d is None else 0b00100, 5),
        i_OPMODE=Const(z << 4 | 0b0101, 9),
        i_ALUMODE=Const(0, 4) if subtract is None else Cat(subtract, subtract, Const(0, 2)),
        i_CARRYIN=Const(0, 1),
        i_CARRYINSEL=Const(0, 3),
        o_P=p,
        o_PCOUT=out,
    )
    return p, out


class PackedMultiply(wiring.Component):
    """Products of `rows` integers a with `cols` integers b on one DSP.

    Parameters: `a_format`, `b_format`, integers; `rows`, `cols`; `device`: "xcup" (DSP48E2; two rows use its
    pre-adder) or "ecp5" (MULT18X18D).
    Ports: `a`, `b`, arrays of codes; `o`, an array of products: element row * cols + col is a[row] * b[col];
    `enable`, the clock enable of all registers.
    Latency: 4 clocks on xcup, 3 on ecp5. Interval: 1.
    Raises UnsupportedError where the packing does not fit exactly and for formats that are no integers, HwgenError
    for an unknown device.
    """

    def __init__(self, a_format: Format, b_format: Format, rows: int = 2, cols: int = 1, device: str = "xcup"):
        if device not in DEVICES:
            raise HwgenError(f"no DSP of {device!r} is known, only those of {', '.join(DEVICES)}")
        for fmt in (a_format, b_format):
            if not isinstance(fmt, Int):
                raise UnsupportedError(f"products are packed of integers, not of {fmt.name}")
        self.a_format, self.b_format, self.rows, self.cols, self.device = a_format, b_format, rows, cols, device
        self.field, self.signed = field_bits(a_format, b_format)
        a_width, b_width, self.latency = DEVICES[device]
        self.interval = 1
        a_bits = packed_bits(a_format, rows, cols * self.field)
        b_bits = packed_bits(b_format, cols, self.field)
        if a_bits > a_width or b_bits > b_width or (device == "xcup" and rows > 2):
            raise UnsupportedError(
                f"{rows} x {cols} products of {a_format.name} and {b_format.name} need operands of {a_bits} and "
                f"{b_bits} bits; a DSP of {device} multiplies {a_width} by {b_width}"
            )
        product = signed(self.field) if self.signed else unsigned(self.field)
        codes = [signed(fmt.bits) if fmt.signed else unsigned(fmt.bits) for fmt in (a_format, b_format)]
        ports = {
            "a": In(data.ArrayLayout(codes[0], rows)),
            "b": In(data.ArrayLayout(codes[1], cols)),
            "o": Out(data.ArrayLayout(product, rows * cols)),
            "enable": In(1),
        }
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        rows = [self.a[row] for row in range(self.rows)]
        cols = pack([self.b[col] for col in range(self.cols)], self.field, DEVICES[self.device][1])
        multiply = self._dsp48e2 if self.device == "xcup" else self._mult18x18d
        fields = multiply(m, rows, cols)
        for index, product in enumerate(fields):
            m.d.comb += self.o[index].eq(product.as_signed() if self.signed else product)
        return m

    def _dsp48e2(self, m: Module, rows: list[Value], cols: Value) -> list[Value]:
        count, size = self.rows * self.cols, self.field
        lowest, upper, b = Signal(signed(30), name="port_a"), Signal(signed(27), name="port_d"), Signal(signed(18))
        m.d.comb += [lowest.eq(rows[0]), b.eq(cols)]
        if self.rows > 1:
            m.d.comb += upper.eq(rows[1] << (size * self.cols))
        half = sum(1 << (size * index + size - 1) for index in range(count - 1)) if self.signed else 0
        p, _ = dsp48e2(m, "dsp", self.enable, lowest, b, d=upper, c=Const(half, 48))
        fields = []
        for index in range(count):
            field = p[size * index : size * (index + 1)]
            offset = self.signed and index < count - 1
            fields.append(Cat(field[:-1], ~field[-1]) if offset else field)
        return fields

    def _mult18x18d(self, m: Module, rows: list[Value], cols: Value) -> list[Value]:
        size = self.field
        a, b, p = Signal(signed(18), name="port_a"), Signal(signed(18), name="port_b"), Signal(36, name="p")
        m.d.comb += [a.eq(pack(rows, size * self.cols, 18)), b.eq(cols)]
        ports = {f"i_A{bit}": a[bit] for bit in range(18)} | {f"i_B{bit}": b[bit] for bit in range(18)}
        ports |= {f"o_P{bit}": p[bit] for bit in range(36)}
        stages = ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")
        m.submodules.dsp = Instance(
            "MULT18X18D",
            **{f"p_REG_{name}_CLK": "CLK0" for name in stages},
            **ports,
            i_SIGNEDA=Const(1, 1),
            i_SIGNEDB=Const(1, 1),
            i_SOURCEA=Const(0, 1),
            i_SOURCEB=Const(0, 1),
            i_CLK0=ClockSignal(),
            i_CE0=self.enable,
            i_RST0=Const(0, 1),
        )
        fields = []
        for index in range(self.rows * self.cols):
            field = p[size * index : size * (index + 1)]
            if self.signed and index:
                # All that stands below is negative: it has borrowed one.
                field = (field + p[size * index - 1])[:size]
            fields.append(field)
        return fields
