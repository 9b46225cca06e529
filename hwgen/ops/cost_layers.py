"""What each layer costs in hardware: resources, estimated, of an FPGA family (hwgen.ops.cost tells how well)."""

from __future__ import annotations

import math

import numpy as np

from hwgen.ir import Fold, Node, TensorType
from hwgen.ops import cost_terms
from hwgen.ops.argmax import ArgMax
from hwgen.ops.block_quantize import BlockQuantize
from hwgen.ops.cost_fit import Term, Terms, add_up, amount, cost
from hwgen.ops.cost_grouped import grouped
from hwgen.ops.cost_matvec import matvec
from hwgen.ops.cost_memory import image_rows, rom
from hwgen.ops.cost_rules import (
    BLOCK_LUTS,
    LUT_PRODUCT,
    Products,
    grid_bits,
    lanes_behind,
    magnitude_bits,
    narrow_products,
    products_of,
    queue_depth,
    signed_digits,
    wants_block_ram,
)
from hwgen.ops.cost_window import row_buffer
from hwgen.ops.decode import Decode
from hwgen.ops.fix import Fix
from hwgen.ops.grouped import Grouped
from hwgen.ops.matvec import MatVec
from hwgen.ops.requantize import Requantize
from hwgen.ops.slice import Slice
from hwgen.ops.table import Table
from hwgen.ops.thresholds import Thresholds
from hwgen.ops.topk import TopK
from hwgen.ops.upsample import Upsample
from hwgen.ops.window import Pool, Window
from hwgen.tools.resources import Family, Resources

__all__ = [
    "BLOCK_LUTS",
    "LUT_PRODUCT",
    "Products",
    "add_up",
    "amount",
    "bridge",
    "converter",
    "estimate_node",
    "grid_bits",
    "lanes_behind",
    "magnitude_bits",
    "narrow_products",
    "products_of",
    "queue_depth",
    "signed_digits",
    "terms_of",
    "wants_block_ram",
]


def estimate_node(
    node: Node, x: TensorType, lanes: int, fold: Fold | None = None, family: Family = "ecp5"
) -> Resources:
    """Resources of one layer that reads `x`: of a matrix unit by its fold, of others by the lanes of their stream.

    All are None for an operation without gateware. Block RAMs count 18 kbit each.
    """
    terms = terms_of(node, x, lanes, fold, family)
    return Resources(None, None, None, None, None) if terms is None else cost(terms, family)


def terms_of(node: Node, x: TensorType, lanes: int, fold: Fold | None, family: Family) -> Terms | None:
    """The terms of one layer, as `estimate_node`; None for an operation without gateware."""
    op = node.op
    if isinstance(op, Grouped) and fold:
        return grouped(op, x, fold, family)
    if isinstance(op, MatVec) and fold:
        return matvec(op, x, fold, family)
    if isinstance(op, Thresholds):
        return cost_terms.thresholds(op, x, lanes, family)
    if isinstance(op, Table):
        return _table(op, x, lanes, family)
    if isinstance(op, Requantize):
        return cost_terms.requantize(op, x, lanes, family)
    if isinstance(op, BlockQuantize):
        return cost_terms.block_quantize(op, x, lanes, family)
    if isinstance(op, Fix):
        return cost_terms.fix(op, lanes)
    if isinstance(op, Decode):
        width = op.infer(x).codes_format.bits
        shifter = Term(width * (max(width - op.format.bits, 1).bit_length() + 1), 2 * width).times(lanes)
        return Terms("decode", {"shifter": shifter, "unit": Term(8, 8)})
    if isinstance(op, ArgMax):
        return cost_terms.argmax(x, lanes)
    if isinstance(op, TopK):
        return _topk(op, x)
    if isinstance(op, Window):
        return cost_terms.window(op, x, lanes, family)
    if isinstance(op, Upsample):
        return _upsample(op, x, lanes, family)
    if isinstance(op, Pool):
        return cost_terms.pool(op, x, lanes, family)
    if isinstance(op, Slice):
        counts = (x.channels // lanes, x.size // x.channels)
        steps = sum((count - 1).bit_length() for count in counts)
        return Terms("slice", {"unit": Term(8 + 2 * steps, cost_terms.word(x, lanes) + 4 + steps)})
    return None


def _table(op: Table, x: TensorType, lanes: int, family: Family) -> Terms:
    """A ROM a lane; bits that no entry changes are not stored."""
    entries = op.table.shape[1]
    folds = 1 if (op.table == op.table[0]).all() else x.channels // lanes
    differ = int(np.bitwise_or.reduce(op.table ^ op.table[0, 0], axis=None)) & ((1 << op.format.bits) - 1)
    stored = differ.bit_count()
    table, blocks = rom(stored, entries * folds, family)
    return Terms("table", {"table": table.times(lanes), "unit": Term(4, 4 + (folds > 1) * 8)}, blocks * lanes)


def _topk(op: TopK, x: TensorType) -> Terms:
    """A comparison and a choice a cell, and what it holds."""
    width, index = x.codes_format.bits, max(1, (x.channels - 1).bit_length())
    held = width + (index if op.give == "indices" else 0)
    parts = {
        "comparisons": Term(op.k * (width + 2)),
        "cells": Term((op.k - 1) * held, op.k * (held + 1)),
        "unit": Term(1.5 * index + 6, index + 4),
    }
    return Terms("topk", parts)


def _upsample(op: Upsample, x: TensorType, lanes: int, family: Family) -> Terms:
    """The buffer of rows, and the counters that walk through it."""
    buffer = row_buffer(op, x, lanes)
    counts = (*op.factors, *x.shape[:2], x.channels // lanes)
    steps, place = sum((count - 1).bit_length() for count in counts), max(1, (buffer.depth - 1).bit_length())
    rows, blocks = image_rows(cost_terms.word(x, lanes), buffer.depth, family)
    return Terms("upsample", {"rows": rows, "unit": Term(5 + 6 * steps, 4 + 2 * steps + 3.3 * place)}, blocks)


def converter(x: TensorType, lanes: int, to: int, family: Family = "ecp5") -> Resources:
    """A width converter."""
    return cost(cost_terms.converter(x.codes_format.bits, lanes, to), family)


def bridge(x: TensorType, lanes: int, simd: int, *, windows: bool, family: Family = "ecp5") -> Resources:
    """What stands before a matrix unit: converters and a queue. `lanes` is 0 at the graph's input."""
    if lanes == 0:
        # The accelerator's input is as wide as its first unit wants; the shell around it pays for it.
        return amount(lut=x.codes_format.bits * simd / 2)
    wide = math.lcm(lanes, simd)
    bits = cost_terms.word(x, wide) + 2
    queue = cost(cost_terms.queue(bits, queue_depth(x, lanes, wide, windows=windows), family), family)
    return add_up([converter(x, lanes, wide, family), queue, converter(x, wide, simd, family)])
