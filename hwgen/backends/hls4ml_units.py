"""Matrix units as HLS layers: integers on vectors are hls4ml's own dense layer, the rest `hwgen::matvec` and others."""

from __future__ import annotations

import math

import numpy as np

from hwgen.backends.hls4ml_cpp import Layer, Table, plain, positions, table, word
from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Blocked, Fixed, Format, Int, Minifloat
from hwgen.formats.multiply import lmul_correction, lmul_offset, product_span
from hwgen.ir import Fold, TensorType
from hwgen.ops import Grouped, MatVec

MAX_FLOAT = 1 << 53
"""hls4ml writes its own layers' tables by way of float64, which holds integers below this."""


def matvec(name: str, op: MatVec, x: TensorType, y: TensorType, fold: Fold | None) -> Layer:
    """hls4ml's dense layer where that can be; else a chunk of PE x SIMD products in every clock cycle."""
    block = _block(op, x)
    chosen = fold or Fold(1, block)
    op.cycles(x, chosen)  # raises where the fold does not divide
    if block % chosen.simd:
        raise HwgenError(f"SIMD must divide the blocks: SIMD={chosen.simd}, blocks of {block}")
    integers = isinstance(x.codes_format, Int | Bipolar | Fixed) and not is_float(op.weight_format)
    if integers and len(x.shape) == 1 and 1 << y.codes_format.bits <= MAX_FLOAT:
        return _dense(name, op, x, y, chosen)
    n_out, n_in = op.weight.shape
    sizes = {"positions": positions(x), "n_in": int(n_in), "n_out": int(n_out), "pe": chosen.pe, "simd": chosen.simd}
    weights, types, reach = _products(op, x)
    if op.accumulator == "fp32":
        constants = {**sizes, "block": block, "exponent": op.weight_format.lsb + x.codes_format.lsb}
        types["block_t"] = f"ap_int<{(reach * block).bit_length() + 1}>"
        return Layer(name, "matvec_fp32", "hwgen_fp32.h", y.shape, plain(y.codes_format), constants, types, (weights,))
    shift = _shift(op, x)
    # Whatever wraps on the way is right in the end, since the accumulator's width holds every sum.
    result = plain(y.codes_format)
    types["block_t"] = f"ap_int<{(reach * chosen.simd).bit_length() + 1}>"
    types["accum_t"] = f"ap_int<{result.width + shift}>"
    tables = (weights, table("biases", "bias_t", op.bias))
    return Layer(name, "matvec", "hwgen_matvec.h", y.shape, result, {**sizes, "shift": shift}, types, tables)


def grouped(name: str, op: Grouped, x: TensorType, y: TensorType, fold: Fold | None) -> Layer:
    """As matvec, within a group or of whole groups side by side."""
    sizes = [fmt.block.size for fmt in (x.codes_format, op.weight_format) if isinstance(fmt, Blocked)]
    block = math.gcd(op.channels, *sizes)
    chosen = fold or Fold(1, block)
    op.cycles(x, chosen)  # raises where the fold does not divide
    result, shift, terms = plain(y.codes_format), _shift(op, x), op.terms(chosen)
    if block % terms:
        raise HwgenError(f"SIMD must divide the blocks: SIMD={chosen.simd}, blocks of {block}")
    weights, types, reach = _products(op, x)
    types["block_t"] = f"ap_int<{(reach * terms).bit_length() + 1}>"
    types["accum_t"] = f"ap_int<{result.width + shift}>"
    constants = {
        "positions": x.size // int(op.groups * op.weight.shape[1]),
        **{size: getattr(op, size) for size in ("groups", "taps", "channels", "rows")},
        **{"beside": op.side_by_side(chosen), "pe": chosen.pe, "simd": terms, "shift": shift},
    }
    tables = (weights, table("biases", "bias_t", op.bias))
    return Layer(name, "grouped", "hwgen_matvec.h", y.shape, result, constants, types, tables)


def _shift(op: MatVec, x: TensorType) -> int:
    """The accumulator's unit may be coarser than the least product; integer weights are in that unit already."""
    least = product_span(op.weight_format, x.codes_format, op.multiplier).exponent
    return op.unit(x) - least if is_float(op.weight_format) else 0


def _products(op: MatVec, x: TensorType) -> tuple[Table, dict[str, str], int]:
    """The weights, the C++ types of operands and products, and the greatest magnitude of a product of elements."""
    weights, w_format = op.weight, op.weight_format
    if not is_float(w_format):
        weights = op.worth
        w_format = Int.holding(min(-1, int(weights.min())), int(weights.max()))
    x_trait, w_trait = trait(x.codes_format), trait(w_format)
    elements = [f.block.element if isinstance(f, Blocked) else f for f in (w_format, x.codes_format)]
    span = product_span(elements[0], elements[1], op.multiplier)
    kind = _product(op.multiplier, elements[1], x_trait, w_trait, span.bits)
    types = {"x_format": x_trait, "w_format": w_trait, "product": kind}
    return table("weights", "weight_t", weights, plain(w_format)), types, span.reach


def _block(op: MatVec, x: TensorType) -> int:
    """Inputs that share a scale, and whose weights do: all, where neither side comes in blocks."""
    block = x.codes_format.block.size if isinstance(x.codes_format, Blocked) else op.weight.shape[1]
    if isinstance(op.weight_format, Blocked):
        op.weight_format.check_shared(op.weight)
        block = int(np.gcd(block, op.weight_format.block.size))
    return int(block)


def is_float(fmt: Format) -> bool:
    return isinstance(fmt, Minifloat | Blocked)


def _dense(name: str, op: MatVec, x: TensorType, y: TensorType, fold: Fold) -> Layer:
    """hls4ml's own dense layer, every type stated; bipolar codes enter as they are, with doubled weights."""
    weights, bias = op.worth, op.bias
    if isinstance(x.codes_format, Bipolar):
        weights, bias = 2 * weights, bias - weights.sum(axis=1)
    low, high = int(weights.min()), int(weights.max())
    width = Int.holding(min(low, -1), high).width
    # hls4ml takes 2-bit weights for ternary ones and would read -2 as 1.
    fmt = Int(max(width, 3) if low < -1 else width)
    n_out, n_in = weights.shape
    tables = (table("weight", "weight_t", weights.T, fmt), table("bias", "bias_t", bias))
    reuse = (n_in // fold.simd) * (n_out // fold.pe)
    return Layer(name, "dense", "", y.shape, plain(y.codes_format), tables=tables, reuse=reuse)


def trait(fmt: Format) -> str:
    """The C++ type that tells what codes of `fmt` are worth."""
    if isinstance(fmt, Bipolar):
        return "hwgen::bipolar"
    if isinstance(fmt, Int | Fixed):
        return f"hwgen::integer<{fmt.bits}, {word(fmt.signed)}>"
    if isinstance(fmt, Minifloat):
        flags = f"{word(fmt.has_sign)}, {word(fmt.has_subnormals)}"
        return f"hwgen::minifloat<{fmt.exponent_bits}, {fmt.mantissa_bits}, {flags}>"
    if isinstance(fmt, Blocked):
        return f"hwgen::blocked<{trait(fmt.block.element)}, {trait(fmt.block.scale)}>"
    raise HwgenError(f"the hls4ml backend has no template for {fmt.name}")


def _product(multiplier: str, fmt: Format, x_trait: str, w_trait: str, bits: int) -> str:
    if multiplier == "exact":
        return f"hwgen::exact_product<{x_trait}, {w_trait}, {bits}>"
    assert isinstance(fmt, Minifloat)
    if not fmt.has_sign:
        raise HwgenError(f"L-Mul templates take formats with a sign; {fmt.name} has none")
    if multiplier == "lmul_formula_trunc":
        numbers = f"{lmul_correction(fmt.mantissa_bits)}, {fmt.bias}, {fmt.max_magnitude}, {bits}"
        return f"hwgen::truncated_formula<{x_trait}, {numbers}>"
    return f"hwgen::added_codes<{x_trait}, {lmul_offset(fmt, multiplier)}, {fmt.max_magnitude}, {bits}>"
