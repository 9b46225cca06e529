"""The terms of what a matrix unit costs, by how it multiplies."""

from __future__ import annotations

import math

from hwgen.formats import Blocked, Minifloat
from hwgen.formats.base import product_width
from hwgen.ir import Fold, TensorType
from hwgen.ops import cost_unrolled
from hwgen.ops.cost_fit import Term, Terms
from hwgen.ops.cost_memory import blocks_of, kept_operands, rom
from hwgen.ops.cost_placed import placed
from hwgen.ops.cost_rules import Products, grid_bits, is_placed, products_of, wants_block_ram, weight_bits
from hwgen.ops.cost_terms import FP32_ADD_LUTS, SMALL_PRODUCT, decoding, multipliers, sums, tree
from hwgen.ops.matvec import MatVec
from hwgen.tools.resources import Family

FLAGS: dict[Family, int] = {"ecp5": 5, "ice40": 5, "xcup": 1}
"""Flip-flops beside each level of a pipeline; on UltraScale+ all but one are in shift registers."""


def matvec(op: MatVec, x: TensorType, fold: Fold, family: Family) -> Terms:
    """A matrix unit that reads `x`."""
    kind = products_of(op, x, fold)
    if kind == "blocks":
        return _blocks(op, x, fold, family)
    if kind == "constant":
        bits = grid_bits(x.codes_format)
        parts = {"adders": cost_unrolled.adders(op, bits, family), "unit": Term(3, 10)}
        if bits > x.codes_format.bits:
            parts["decoding"] = Term(decoding(x.codes_format, bits), bits).times(op.weight.shape[1])
        return Terms("matvec_unrolled", parts)
    if family == "xcup" and is_placed(op, x, fold):
        return placed(op, x, fold, family)
    shared, blocks = _shared(op, x, fold, kind, family)
    if kind == "lut":
        formula = "matvec_signs" if op.magnitudes[1] == 1 else "matvec_narrow"
        return Terms(formula, {**shared, **partial_products(op, x, fold.pe, fold.simd)}, blocks)
    bits, macs = grid_bits(x.codes_format), fold.pe * fold.simd
    codes = stores_codes(op, x, kind)
    summed = min(bits + op.magnitudes[1].bit_length() + 1, op.infer(x).codes_format.bits)
    parts = {
        **shared,
        "tree": tree(fold.simd, summed, 0.5 if codes else 1).times(fold.pe),
        "decoding": Term((fold.simd + macs) * decoding(x.codes_format, bits), (fold.simd + macs) * bits * codes),
    }
    if kind == "codes":
        parts["products"] = Term(macs * 4 * x.codes_format.bits, macs * x.codes_format.bits)
        return Terms("matvec_codes", parts, blocks)
    dsp, size = 0, weight_bits(op)
    width = bits + size
    parts["products"] = Term(0, macs * width)
    if width < SMALL_PRODUCT[family]:
        parts["small"] = Term(3 * macs * bits * size)
    else:
        dsp = macs * multipliers(bits, size, family)
        parts["beside"] = Term(4.5 * macs * width * (max(bits, size) % 18 == 1 and family != "xcup"))
    return Terms("matvec_floats" if codes else "matvec_wide", parts, blocks, dsp)


def stores_codes(op: MatVec, x: TensorType, kind: Products) -> bool:
    """Whether weights are stored as codes of their format and decoded behind the ROM."""
    return kind == "codes" or (kind != "lut" and grid_bits(x.codes_format) > x.codes_format.bits)


def _shared(op: MatVec, x: TensorType, fold: Fold, kind: Products, family: Family) -> tuple[dict[str, Term], int]:
    """(what all folded matrix units but those of placed cells have, blocks)."""
    out, inner = op.weight.shape
    neuron_folds, synapse_folds = out // fold.pe, inner // fold.simd
    depth, acc, macs = neuron_folds * synapse_folds, op.infer(x).codes_format.bits, fold.pe * fold.simd
    low, high = op.magnitudes
    stored = op.weight_format.bits if stores_codes(op, x, kind) else 1 if low == high else high.bit_length() + 1
    weights, blocks = rom(macs * stored, depth, family)
    biases, more = rom(fold.pe * acc, neuron_folds, family)
    kept, most = kept_operands(x.codes_format.bits * fold.simd, neuron_folds, synapse_folds, family)
    steps = (depth - 1).bit_length()
    # Products take about a level for each doubling of what is added up, decoded ones one more.
    levels = (fold.simd - 1).bit_length() + (high.bit_length() - 1).bit_length() if kind == "lut" else 2
    parts = {
        "weights": weights,
        "biases": biases,
        "accumulators": Term(fold.pe * acc * (2 if synapse_folds > 1 else 1), fold.pe * acc),
        "kept": kept,
        "unit": Term(20 + 3 * steps, 15 + 2 * steps),
        "stages": Term(0, FLAGS[family] * (levels + 1 + (neuron_folds > 1 and synapse_folds > 1))),
    }
    if wants_block_ram(macs * stored, depth):
        # What chooses between blocks on top of each other is made anew in every partial product that reads a bit.
        often = 5 if kind == "lut" else 1.5
        parts["words"] = Term(often * macs * stored * (blocks_of(macs * stored, depth)[1] - 1))
    return parts, blocks + more + most


def partial_products(op: MatVec, x: TensorType, lanes: int, terms: int) -> dict[str, Term]:
    """A row of partial products for each bit of a weight's magnitude, and trees of adders that synthesis places, for
    `lanes` sums of `terms` products."""
    bits, macs = grid_bits(x.codes_format), lanes * terms
    low, high = op.magnitudes
    magnitude, greatest = high.bit_length(), (1 << bits) - 1
    partial = magnitude
    if low == high:
        # One bit by one bit is an XNOR, which the first adders take in.
        partial = 0 if bits == 1 else 1
    product = sums([(greatest, place) for place in range(magnitude)])
    if terms == magnitude == 1:
        product = Term(0, bits)
    return {
        "products": Term(macs * partial * bits),
        "adders": product.times(macs),
        "tree": sums([(greatest * high, 0)] * terms).times(lanes),
    }


def _blocks(op: MatVec, x: TensorType, fold: Fold, family: Family) -> Terms:
    """A matrix unit whose input is in blocks."""
    assert isinstance(x.format, Blocked)
    element, fmt = x.format.block.element, op.weight_format
    weight = fmt.block.element if isinstance(fmt, Blocked) else fmt
    rows, macs = op.weight.size // (fold.pe * fold.simd), fold.pe * fold.simd
    acc = op.infer(x).codes_format.bits
    scales = [f.block.scale for f in (x.format, fmt) if isinstance(f, Blocked)]
    shift = sum(scale.exponent_bits for scale in scales)
    weights, blocks = rom(macs * weight.bits, rows, family)
    width = product_width(element, weight)[1]
    # Significands are multiplied, and products shifted by what the exponents of both elements add up to.
    steps = sum(one.exponent_bits for one in (element, weight) if isinstance(one, Minifloat))
    moved = Term(acc * (shift + 2), 3 * acc)
    if op.accumulator == "fp32":
        bits = product_width(element, weight, x.format.block.size)[1]
        moved = Term(max(bits, 27) * (max(bits, 27).bit_length() + 3) + FP32_ADD_LUTS, bits + 90)
    # Significands of scales with a mantissa are multiplied in LUTs, their product and the sum in a multiplier block.
    factors = [scale.significand_bits for scale in scales if scale.mantissa_bits]
    dsps = fold.pe * multipliers(width + fold.simd.bit_length(), sum(factors), family) if factors else 0
    scaled = Term(math.prod(factors) + 8, 4 * sum(factors))
    if factors and isinstance(fmt, Blocked):
        stored, more = rom(fold.pe * fmt.block.scale.bits, rows, family)
        weights, blocks = weights + stored, blocks + more
    parts = {
        "weights": weights,
        **({"scaled": scaled.times(fold.pe)} if factors else {}),
        "products": Term(1.5 * element.significand_bits * weight.significand_bits, width / 2).times(macs),
        "aligned": Term(width * steps / 2).times(macs),
        "tree": tree(fold.simd, width).times(fold.pe),
        "moved": moved.times(fold.pe),
        "unit": Term(45, 50 + 3 * element.bits * fold.simd),
    }
    return Terms("matvec_fp32" if op.accumulator == "fp32" else "matvec_blocks", parts, blocks, dsps)
