"""The terms of what matrix units of placed cells cost, on UltraScale+."""

from __future__ import annotations

from functools import lru_cache

from hwgen.ir import Fold, TensorType
from hwgen.ops import cost_tree
from hwgen.ops.cost_fit import Term, Terms
from hwgen.ops.cost_memory import blocks_of, kept_operands, memory_luts, rom
from hwgen.ops.cost_rules import DSP_CHAIN, dsp_fields, wants_block_ram, weight_bits
from hwgen.ops.matvec import MatVec
from hwgen.tools.resources import Family


def placed(op: MatVec, x: TensorType, fold: Fold, family: Family) -> Terms:
    """Cells that are placed by hand: rows of partial products, adders of three; or fields of DSPs."""
    out, inner = op.weight.shape
    neuron_folds, synapse_folds, acc = out // fold.pe, inner // fold.simd, op.infer(x).codes_format.bits
    size, ternary, operand = weight_bits(op), op.magnitudes[1] == 1, x.codes_format.bits
    count, field = dsp_fields(op, x, fold)
    on_dsp = fold.pe - (fold.pe % count == 1) if fold.dsp and count > 1 else 0
    lanes, groups = fold.pe - on_dsp, -(-on_dsp // max(count, 1))
    packed = on_dsp * (size + 1) - groups
    stored = fold.simd * (lanes * (1 + (op.magnitudes[0] == 0) if ternary else size + (size == 4)) + packed)
    depth = neuron_folds * synapse_folds
    weights, blocks = rom(stored, depth, family)
    rows = cost_tree.row_terms(size, ternary, operand)
    chains = [((1 << field) - 1, 0)] * -(-fold.simd // DSP_CHAIN)
    in_luts, in_luts_left, levels = _tree(tuple(rows * fold.simd), bool(on_dsp))
    in_dsps, in_dsps_left, _ = _tree(tuple(chains), False)
    # Columns with a bit of both terms have no input left for the choice between a start and what has been added up.
    full = [cost_tree.column_bits(left, acc).count(2) for left in (in_luts_left, in_dsps_left)]
    choices = [-(-one // 2) * (neuron_folds > 1 and synapse_folds > 1) for one in full]
    starts, more = _starts(acc, fold.pe, neuron_folds, family)
    kept, most = _kept(operand * fold.simd, neuron_folds, synapse_folds, family)
    steps = (depth - 1).bit_length()
    levels += (DSP_CHAIN + 1) * bool(on_dsp)
    parts = {
        "weights": weights,
        "words": Term(stored * -(-(blocks_of(stored, depth)[1] - 1) // 3) * (blocks > 0)),
        "rows": Term(lanes * fold.simd * -(-sum(high.bit_length() for high, _ in rows) // 2)),
        "adders": in_luts.times(lanes) + in_dsps.times(on_dsp),
        "accumulators": Term(acc, acc).times(fold.pe) + Term(lanes * choices[0] + on_dsp * choices[1]),
        "starts": starts,
        "kept": kept,
        "delays": _waits(fold.simd, packed, groups * operand, blocks > 0),
        "unit": Term(12 + 2 * steps, 12 + levels + 3 * steps),
    }
    return Terms("matvec_placed", parts, blocks + more + most, groups * fold.simd)


@lru_cache(maxsize=256)
def _tree(terms: tuple[cost_tree.Term, ...], waits: bool) -> tuple[Term, list[cost_tree.Term], int]:
    """(a tree, the terms that it leaves, its levels, one at least); waits: for DSPs, in shift registers of LUTs."""
    levels = max(cost_tree.tree_levels(terms), 1)
    luts, flops, left = cost_tree.tree(terms, levels)
    bits = sum(high.bit_length() for high, _ in left)
    return (Term(luts + bits, flops - bits) if waits else Term(luts, flops)), left, levels


def _waits(simd: int, words: int, operands: int, in_blocks: bool) -> Term:
    """What comes late to chains of DSPs: to the third a clock, and to the fourth two, which, with the register that is
    there anyway unless it is a block RAM's, make a shift register."""
    wholes, last = divmod(simd, DSP_CHAIN)
    third, fourth = wholes + (last > 2), wholes
    shifted = operands + words * (not in_blocks)
    return Term(fourth * shifted, third * (words + operands) + fourth * (2 * words * in_blocks - shifted))


def _starts(acc: int, pe: int, neuron_folds: int, family: Family) -> tuple[Term, int]:
    """(what accumulators start from, by the vector's outputs; blocks): two bits in a LUT as far as five inputs go, and
    few different bits where the folds are few."""
    if neuron_folds == 1:
        return Term(), 0
    if neuron_folds > 32:
        return rom(pe * acc, neuron_folds, family)
    bits = pe * min(acc, 2 ** min(neuron_folds, 8) - 2)
    return Term(bits / 2, bits), 0


def _kept(word: int, neuron_folds: int, synapse_folds: int, family: Family) -> tuple[Term, int]:
    """The same for placed cells, which read from the memory of LUTs at once where it is no larger than a block."""
    if neuron_folds == 1 or synapse_folds == 1 or wants_block_ram(word, synapse_folds):
        return kept_operands(word, neuron_folds, synapse_folds, family)
    return Term(memory_luts(word, synapse_folds, family), word), 0
