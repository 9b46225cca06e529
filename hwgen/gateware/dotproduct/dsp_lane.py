"""Lanes with one DSP48E2 each: the DSP multiplies magnitudes, and adds or subtracts them to those of other lanes."""

from dataclasses import dataclass

from amaranth.hdl import Const, Module, Value

from hwgen.formats import Format
from hwgen.formats.minifloat import Minifloat
from hwgen.gateware.arith.dsp import dsp48e2
from hwgen.gateware.arith.pack import Packer
from hwgen.gateware.dotproduct.dsp_decode import STEP, Reach, decode, moved_steps, operand_bits, spread
from hwgen.gateware.pipeline import register

# Magnitudes that the operands hold beside their sign, and the sum.
A_BITS, B_BITS, SUM_BITS = 26, 17, 48
# Lanes whose sum the DSPs make by themselves. Each takes its codes a clock later than the one before; longer chains
# than four would need delays that take LUTs.
CHAIN = 4


@dataclass(frozen=True)
class LanePlan:
    """How two formats meet in a DSP: `swap`, whether b's codes go to its wide side; `clip`: steps moved over."""

    swap: bool
    clip: int


def lane_plan(a: Format, b: Format) -> LanePlan | None:
    """None where the operands do not fit."""
    widths = [operand_bits(fmt) for fmt in (a, b)]
    swap = widths[1] > widths[0]
    wide, narrow = sorted(widths, reverse=True)
    if narrow <= B_BITS and wide <= A_BITS:
        return LanePlan(swap, 0)
    both = isinstance(a, Minifloat) and isinstance(b, Minifloat)
    if both and narrow - STEP <= B_BITS and wide + STEP <= A_BITS:
        return LanePlan(swap, 1)
    return None


def chain_sum(
    m: Module, cells: Packer, enable: Value, lanes: list[tuple[Value, Value]], formats: tuple[Format, Format], name: str
) -> tuple[Value, Value]:
    """(sum of CHAIN or fewer products CHAIN + 2 clocks later, whether a code is NaN or infinite, at once)."""
    plan = lane_plan(*formats)
    assert plan is not None
    nan, cascade, total = Const(0, 1), None, None
    for lane, codes in enumerate(lanes):
        place, delay = f"{name}_{lane}", CHAIN - len(lanes) + lane
        # The DSP has two registers for operands, one of which is always taken.
        registers = min(2, 1 + delay)
        held = list(codes)
        for clock in range(delay + 1 - registers):
            held = [register(m, enable, code, f"{place}_code{side}_{clock}") for side, code in enumerate(held)]
        wide, narrow, sign = operands(cells, held, formats, plan, place)
        subtract = None
        if not isinstance(sign, Const):
            subtract = sign
            for clock in range(registers):
                subtract = register(m, enable, subtract, f"{place}_sign_{clock}")
        total, cascade = dsp48e2(
            m, f"{place}_dsp", enable, wide, narrow, cascade=cascade, subtract=subtract, registers=registers
        )
        for code, fmt in zip(codes, formats, strict=True):
            if isinstance(fmt, Minifloat) and fmt.special != "none":
                magnitude = code[: fmt.magnitude_bits]
                nan = nan | (magnitude.all() if fmt.special == "nan" else magnitude[fmt.mantissa_bits :].all())
    assert total is not None
    return total, nan


def operands(
    cells: Packer, codes: list[Value], formats: tuple[Format, Format], plan: LanePlan, name: str
) -> tuple[Value, Value, Value]:
    """(wide operand, narrow operand, whether their product is to be subtracted) of one lane."""
    pairs = [
        (fmt, code, decode(cells, fmt, code, f"{name}_{side}") if isinstance(fmt, Minifloat) else None)
        for fmt, code, side in zip(formats, codes, "ab", strict=True)
    ]
    pairs = pairs[::-1] if plan.swap else pairs
    steps = [[] if decoded is None else decoded.steps for _, _, decoded in pairs]
    reaches = [Reach.of(fmt).steps if isinstance(fmt, Minifloat) else 0 for fmt, _, _ in pairs]
    if plan.clip:
        steps[0], steps[1] = moved_steps(cells, steps[0], steps[1], reaches[1] - 1, f"{name}_steps")
        reaches = [reaches[0] + 1, reaches[1] - 1]
    found, sign = [], Const(0, 1)
    for side, (fmt, code, decoded) in enumerate(pairs):
        if decoded is None:
            found.append(code.as_signed() if fmt.signed else code.as_unsigned())
            continue
        assert isinstance(fmt, Minifloat)
        found.append(spread(cells, Reach.of(fmt), decoded.field, steps[side], reaches[side], f"{name}_{side}"))
        sign = sign ^ decoded.sign if not isinstance(sign, Const) else decoded.sign
    return found[0], found[1], sign
