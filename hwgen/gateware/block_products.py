"""Sums of products of block-scaled elements: a dot product of elements, times the significands of the two scales where
they have a mantissa, moved by their exponents, or added in FP32."""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Const, Mux, Shape, Signal, Value

from hwgen import ops
from hwgen.formats import Blocked, Format, Minifloat
from hwgen.gateware.arith.fields import fields, significand, true_exponent
from hwgen.gateware.dotproduct.accumulate import Fp32Accumulator
from hwgen.gateware.dotproduct.dot import DotProduct
from hwgen.gateware.pipeline import counter, register, rom

MEGAHERTZ, FAMILY = 100.0, "ecp5"
"""What the dot product of the elements is pipelined for: the open boards' pace."""


@dataclass(frozen=True)
class BlockWeights:
    """Weights by (row of the ROM, PE lane, SIMD lane): element codes, and by (row, PE lane) the scales' codes.

    scale: the format of the scales; None where weights are no blocks.
    """

    element: Format
    elements: np.ndarray
    scales: np.ndarray
    scale: Minifloat | None


def block_weights(op: ops.MatVec, codes: np.ndarray) -> BlockWeights:
    """The weights `codes` (row, PE lane, SIMD lane) of `op`; those that are no blocks have scale code 0."""
    fmt = op.weight_format
    if not isinstance(fmt, Blocked):
        return BlockWeights(fmt, codes, np.zeros(codes.shape[:2], dtype=np.int64), None)
    return BlockWeights(fmt.block.element, fmt.elements(codes), fmt.scales(codes)[:, :, 0], fmt.block.scale)


def sum_levels(op: ops.MatVec, dot: DotProduct) -> int:
    """Register levels from the operands to a sum of products that has the scales' significands multiplied in."""
    return dot.latency + any(scale.mantissa_bits for scale in _scales(op))


def _scales(op: ops.MatVec) -> list[Minifloat]:
    """The formats of the scales on both sides."""
    return [fmt.block.scale for fmt in (op.input_format, op.weight_format) if isinstance(fmt, Blocked)]


def element_dot(op: ops.MatVec, simd: int) -> DotProduct:
    """The unit that multiplies SIMD elements of the input and of the weights and adds up the products."""
    assert isinstance(op.input_format, Blocked)
    fmt = op.weight_format
    weight = fmt.block.element if isinstance(fmt, Blocked) else fmt
    element = op.input_format.block.element

    def unit(pipeline: int | str) -> DotProduct:
        return DotProduct(element, weight, simd, op.multiplier, pipeline, MEGAHERTZ, FAMILY)

    made = unit("auto")
    return made if made.latency else unit(1)


def block_totals(m, enable, row, operands, scale, op: ops.MatVec, weights: BlockWeights, dots: list[DotProduct], width):
    """Totals of the PE lanes, in units of the accumulator, modulo 2**width; a clock behind the scaled sums.

    `operands`: the packed element codes that each PE lane multiplies, `scale` the code of their scale; both a clock
    after `row`.
    """
    totals, shift = [], op.shift
    for pe, (scaled, amount) in enumerate(_dots(m, enable, row, operands, scale, op, weights, dots)):
        total = Signal(width, name=f"moved_{pe}")
        # Bits below the accumulator's unit are zeros in all sums.
        m.d.comb += total.eq((_sign_extended(scaled, width + shift) << amount)[shift : width + shift])
        totals.append(register(m, enable, total, f"total_{pe}").as_signed())
    return totals


@dataclass(frozen=True)
class BlockBeats:
    """Beats of a dot product of blocks where they are added up, each a clock after the other.

    valid: whether there is one; count: how many a block has. In the clock after: whether it was there (`given`), and
    the last of its vector (`ends`).
    """

    valid: Value
    count: int
    given: Value
    ends: Value


def block_singles(m, enable, row, operands, scale, op: ops.MatVec, weights: BlockWeights, dots, beats: BlockBeats):
    """FP32 totals of the PE lanes, three clocks behind the scaled sums: the beats of each block are added up exactly,
    and the blocks' sums in FP32, in order."""
    _, start, end = counter(m, enable & beats.valid, beats.count, "block_beat")
    whole = register(m, enable, end, "block_ends")
    # The exponent of the least product under the least scales.
    base = dots[0].lsb + sum(one.lsb for one in _scales(op))
    totals = []
    for pe, (scaled, amount) in enumerate(_dots(m, enable, row, operands, scale, op, weights, dots)):
        width = len(scaled) + (beats.count - 1).bit_length()
        block = Signal(Shape(width, scaled.shape().signed), name=f"block_{pe}", reset_less=True)
        with m.If(enable & beats.valid):
            m.d.sync += block.eq(Mux(start, 0, block) + scaled)
        exponent = register(m, enable, amount + base, f"exponent_{pe}")
        m.submodules[f"singles_{pe}"] = singles = Fp32Accumulator(block.shape(), exponent.shape())
        m.d.comb += [
            singles.enable.eq(enable),
            singles.sum.eq(block),
            singles.exponent.eq(exponent),
            singles.nan.eq(0),
            singles.valid.eq(beats.given & whole),
            singles.last.eq(beats.ends),
        ]
        totals.append(singles.total)
    return totals


def _dots(m, enable, row, operands, scale, op: ops.MatVec, weights: BlockWeights, dots) -> list[tuple[Value, Value]]:
    """For each PE lane the sum of its unit, with the significands of both scales multiplied in, and how far that is to
    be moved: what both exponents are above their formats' least."""
    shape = weights.elements.shape
    columns = rom(m, enable, row, weights.elements.reshape(shape[0], -1), "weights")
    bits = weights.element.bits
    codes = [_widened(column, bits) for column in columns]
    scales = rom(m, enable, row, weights.scales, "weight_scales")
    found = []
    for pe, unit in enumerate(dots):
        m.submodules[f"dot_{pe}"] = unit
        m.d.comb += [
            unit.enable.eq(enable),
            unit.valid.eq(1),
            Value.cast(unit.a).eq(operands[pe]),
            Value.cast(unit.b).eq(Cat(codes[pe * shape[2] : (pe + 1) * shape[2]])),
        ]
        parts = [_parts(op.input_format.block.scale, scale)]
        if weights.scale is not None:
            parts.append(_parts(weights.scale, _widened(scales[pe], weights.scale.bits)))
        amount, factor = _combined(parts)
        for clock in range(unit.latency):
            amount = register(m, enable, amount, f"amount_{pe}_{clock}")
            factor = factor if factor is None else register(m, enable, factor, f"factor_{pe}_{clock}")
        scaled = unit.sum
        if factor is not None:
            scaled = register(m, enable, unit.sum * factor, f"scaled_{pe}")
            amount = register(m, enable, amount, f"amount_{pe}")
        found.append((scaled, amount))
    return found


def _parts(fmt: Minifloat, code: Value) -> tuple[Value, Value | None]:
    """(how far a scale's exponent is above the least, its significand or None where that is always 1)."""
    if not fmt.mantissa_bits:
        return code, None
    parts = fields(fmt, code)
    exponent = true_exponent(fmt, parts)
    return (exponent - int(fmt.has_subnormals))[: len(exponent)], significand(fmt, parts)


def _combined(parts: list[tuple[Value, Value | None]]) -> tuple[Value, Value | None]:
    """The sum of the exponents, and the product of the significands."""
    amount, factor = parts[0]
    for more, other in parts[1:]:
        amount = amount + more
        factor = other if factor is None else factor if other is None else factor * other
    return amount, factor


def _widened(column: Value, bits: int) -> Value:
    """A code of `bits` bits from what the ROM holds of it: bits that no weight has are not stored."""
    if len(column) >= bits:
        return column[:bits]
    fill = column[-1] if column.shape().signed else Const(0, 1)
    return Cat(column, fill.replicate(bits - len(column)))


def _sign_extended(value: Value, width: int) -> Value:
    fill = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value, fill.replicate(max(0, width - len(value))))
