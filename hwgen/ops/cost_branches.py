"""The terms of what forks and joins cost."""

from __future__ import annotations

from collections.abc import Sequence

from hwgen.formats import Blocked
from hwgen.ir import Op, TensorType
from hwgen.ops.cost_fit import Term, Terms
from hwgen.ops.cost_rules import grid_bits, signed_digits
from hwgen.ops.cost_terms import SMALL_PRODUCT, decoding, multipliers, queue, word
from hwgen.ops.join import Add, Concat, Multiply
from hwgen.tools.resources import Family


def fork(count: int) -> Terms:
    """A flag for each reader, and who has taken the beat."""
    return Terms("fork", {"outputs": Term(2, 1).times(count)})


def join(op: Op, inputs: Sequence[TensorType], lanes: int, depths: Sequence[int], family: Family) -> Terms:
    """A queue of so many beats for each input, and what the codes of a beat become."""
    queues = [queue(word(x, lanes) + 2, depth, family) for x, depth in zip(inputs, depths, strict=True)]
    stored = [one.parts["stored"] for one in queues]
    counts = [one.parts["unit"] for one in queues]
    parts = {"stored": sum(stored, start=Term()), "queues": sum(counts, start=Term()), "unit": Term(6, 6)}
    blocks = sum(one.bram for one in queues)
    if isinstance(op, Add):
        dsp = sum(_in_dsp(factor, end, family) for factor, end in zip(op.factors, op.ends, strict=True))
        return Terms("add", {**parts, **_sums(op, lanes, family)}, blocks, dsp * lanes)
    if isinstance(op, Multiply):
        widths = [grid_bits(fmt) + (zero != 0) for fmt, zero in zip(op.formats, op.zero_points, strict=True)]
        small = sum(widths) < SMALL_PRODUCT[family]
        decoded = Term(sum(decoding(fmt, width) for fmt, width in zip(op.formats, widths, strict=True)), sum(widths))
        parts["factors"] = decoded.times(lanes)
        parts["products"] = Term(2 * (min(widths) - 1) * sum(widths) * small, sum(widths)).times(lanes)
        return Terms("multiply", parts, blocks, 0 if small else lanes * multipliers(widths[0], widths[1], family))
    assert isinstance(op, Concat)
    bits = word(inputs[0], lanes)
    turns = sum((x.channels // lanes - 1).bit_length() for x in inputs)
    parts["chosen"] = Term(bits * (len(inputs) - 1), bits)
    parts["turns"] = Term(turns + 2 * len(inputs), turns + (len(inputs) - 1).bit_length())
    return Terms("concat", parts, blocks)


def _in_dsp(factor: int, end: tuple[int, int], family: Family) -> bool:
    """Whether synthesis takes a multiplier block for a product by a constant, of values within `end`."""
    return abs(factor).bit_count() > 1 and _bits(*end) >= SMALL_PRODUCT[family]


def _sums(op: Add, lanes: int, family: Family) -> dict[str, Term]:
    """The summands of a sum, in a register if any of them is multiplied or decoded, and a tree of registered adders."""
    ends = op.ends
    widths = [_bits(*end) for end in ends]
    decoded = products = 0.0
    for fmt, factor, width, end in zip(op.formats, op.factors, widths, ends, strict=True):
        element = fmt.block.element if isinstance(fmt, Blocked) else fmt
        # The scale of a block shifts what its element is worth.
        decoded += decoding(element, grid_bits(element))
        decoded += width * fmt.block.scale.bits / 2 if isinstance(fmt, Blocked) else 0
        adders = len(signed_digits(abs(factor))) - 1 + (factor < 0)
        products += adders * width * (not _in_dsp(factor, end, family))
    registered = products > 0 or any(factor != 1 for factor in op.factors) or decoded > 0
    lut = ff = 0
    while len(ends) > 1:
        pairs = [ends[n : n + 2] for n in range(0, len(ends), 2)]
        ends = [(sum(low for low, _ in pair), sum(high for _, high in pair)) for pair in pairs]
        sums = [_bits(*end) for end in ends]
        lut += sum(bits + 1 for bits, pair in zip(sums, pairs, strict=True) if len(pair) > 1)
        ff += sum(sums)
    return {
        "decoded": Term(decoded).times(lanes),
        "products": Term(products, sum(widths) * registered).times(lanes),
        "adders": Term(lut, ff).times(lanes),
    }


def _bits(low: int, high: int) -> int:
    """Bits of low..high."""
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + (low < 0)
