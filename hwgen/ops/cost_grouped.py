"""The terms of what products in groups cost, depthwise ones among them."""

from __future__ import annotations

from dataclasses import replace

from hwgen.ir import Fold, TensorType
from hwgen.ops.cost_fit import Term, Terms
from hwgen.ops.cost_matvec import FLAGS, matvec, partial_products, stores_codes
from hwgen.ops.cost_memory import memory, rom
from hwgen.ops.cost_rules import grid_bits, products_of, weight_bits
from hwgen.ops.cost_terms import SMALL_PRODUCT, decoding, multipliers, tree
from hwgen.ops.grouped import Grouped
from hwgen.tools.resources import Family


def grouped(op: Grouped, x: TensorType, fold: Fold, family: Family) -> Terms:
    """Products, adders and an accumulator an output lane; sums of outputs that take turns stand in a memory."""
    lanes, terms, kind = op.output_lanes(fold), min(fold.simd, op.channels), products_of(op, x, fold)
    turns, acc, macs = len(op.weight) // lanes, op.infer(x).codes_format.bits, lanes * terms
    sums, most = memory(lanes * acc, turns, family) if turns > 1 else (Term(), 0)
    if kind == "blocks":
        whole = matvec(op, x, fold, family)
        return replace(whole, parts={**whole.parts, "sums": sums}, bram=whole.bram + most)
    bits, size, coded = grid_bits(x.codes_format), weight_bits(op), stores_codes(op, x, kind)
    magnitude = op.magnitudes[1].bit_length()
    weights, blocks = rom(macs * (op.weight_format.bits if coded else magnitude + 1), op.weight.size // macs, family)
    # Partial products of negative weights leave something out, which the biases make up for.
    has_biases = bool(op.bias.any()) or (kind == "lut" and op.extremes[0] < 0)
    biases, more = rom(lanes * acc, turns, family) if has_biases else (Term(), 0)
    steps = (op.weight.size // macs - 1).bit_length() + (turns - 1).bit_length()
    levels = (terms - 1).bit_length() + 2
    parts = {
        "weights": weights,
        "biases": biases,
        "sums": sums,
        "accumulators": Term(2, 1).times(lanes * acc),
        "operands": Term(0, fold.simd * x.codes_format.bits),
        "unit": Term(10 + 4 * steps, 10 + 2 * steps + FLAGS[family] * levels),
    }
    blocks += more + most
    if kind == "lut":
        return Terms("grouped_narrow", {**parts, **partial_products(op, x, lanes, terms)}, blocks)
    parts["tree"] = tree(terms, min(bits + magnitude, acc), 0.5 if coded else 1).times(lanes)
    decoded = fold.simd + macs * coded
    parts["decoding"] = Term(decoded * decoding(x.codes_format, bits), decoded * bits * coded)
    if kind == "codes":
        parts["codes"] = Term(macs * 4 * x.codes_format.bits, macs * x.codes_format.bits)
        return Terms("grouped_wide", parts, blocks)
    small = bits + size < SMALL_PRODUCT[family]
    parts["products"] = Term(0, macs * (bits + size))
    parts["small"] = Term(3 * macs * bits * size * small)
    return Terms("grouped_wide", parts, blocks, 0 if small else macs * multipliers(bits, size, family))
