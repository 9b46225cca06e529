"""Every format of the catalogue through the HLS templates, on the vectors that gateware's arithmetic is proven with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.formats import BLOCKS, CATALOG, Block, Blocked, Format, Int, get, scalar
from hwgen.formats.grid import grid_range, on_grid
from hwgen.formats.multiply import CODE_MULTIPLIERS, lmul_format
from hwgen.ir import Graph, TensorType
from hwgen.ops import MatVec
from hwgen.passes.blocks import scales_of
from tests.backends import hls_bench
from tests.backends.test_templates import block_matrix, blocked
from tests.conftest import chain
from tests.gateware.arith import test_quantize
from tests.gateware.arith.formats import MINIFLOATS
from tests.gateware.arith.test_multiply import FIXED, INTEGERS

Case = tuple[Graph, np.ndarray]

MIXED = [("e4m3", "e2m1"), ("e5m2", "e4m3"), ("e4m3", "e5m2"), ("e2m3", "e3m2"), ("ue5m3", "e2m1"), ("int8", "e2m1")]

NOT_SUMMED = {"e8m0", "bf16", "fp32"}
"""Scalars whose exact products no accumulator of 62 bits holds: matrix units refuse them in every back end."""


def codes_of(fmt: Format) -> np.ndarray:
    """All numbers of up to 8 bits; of wider formats the extremes and some between."""
    if fmt.bits <= 8:
        codes = fmt.codes()
        return codes[fmt.is_number(codes)]
    low, high = fmt.code_range
    some = np.random.default_rng(fmt.bits).integers(low, high, 60, endpoint=True)
    found = np.unique([low, low + 1, -1 if low else 1, 0, high - 1, high, *some])
    return found[fmt.is_number(found)]


def products(weight: Format, x: Format, multiplier: str = "exact") -> list[Case]:
    """Every pair of codes: matrices of one column. Great weights have an accumulator with a coarser unit."""
    reads = None if isinstance(x, Int) else x
    codes = codes_of(weight)
    worth = on_grid(weight, codes) if multiplier == "exact" else np.zeros(len(codes), dtype=np.int64)
    great = np.abs(worth).astype(object) * max(abs(end) for end in grid_range(x)) >= 1 << 60
    shift = min((int(w & -w).bit_length() - 1 for w in worth[great]), default=0)
    ops_ = [MatVec(codes[~great][:, None], weight, input_format=reads, multiplier=multiplier)]
    if great.any():
        ops_.append(MatVec(codes[great][:, None], weight, input_format=reads, shift=shift))
    kind, inputs = TensorType((1, 1), x), codes_of(x)[:, None, None]
    return [(chain("p", kind, ("products", op)), inputs) for op in ops_ if _fits(op, kind)]


def _fits(op: MatVec, kind: TensorType) -> bool:
    """Whether sums have 62 bits at most."""
    try:
        op.infer(kind)
    except HwgenError:
        return False
    return True


def scalar_cases() -> list[Case]:
    named = [fmt for name, fmt in CATALOG.items() if name not in NOT_SUMMED]
    odd = [fmt for fmt in (*FIXED, *INTEGERS) if fmt.name not in CATALOG and fmt.name != "e6m1_nan"]
    mixed = [products(scalar(a), scalar(b)) for a, b in MIXED]
    found = [products(fmt, fmt) for fmt in named] + mixed
    assert all(found)
    signed = [fmt for fmt in MINIFLOATS if fmt.has_sign and fmt.bits <= 6]
    by_code = [products(fmt, fmt, by) for fmt in signed for by in CODE_MULTIPLIERS if _multiplies(fmt, by)]
    assert len(by_code) > 10
    return [case for cases in (*found, *(products(fmt, fmt) for fmt in odd), *by_code) for case in cases]


def _multiplies(fmt: Format, by: str) -> bool:
    try:
        lmul_format(fmt, fmt, by)
    except HwgenError:
        return False
    return True


def quantized(name: str) -> Case:
    """Blocks of 32 numbers of all sizes, with outliers, zeros, extremes and ties, as the gateware's quantizers get."""
    fmt = get(name)
    assert isinstance(fmt, Block)
    x = test_quantize.numbers(40, 16, np.random.default_rng(5))
    return chain("q", TensorType((32,), Int(16)), ("q", ops.BlockQuantize(Blocked(fmt.bare), -9))), x


def run(cases: list[Case], folder: Path) -> None:
    graphs, inputs = map(list, zip(*cases, strict=True))
    for graph, x, got in zip(graphs, inputs, hls_bench.run(graphs, inputs, folder, ["-O0"]), strict=True):
        np.testing.assert_array_equal(got, graph.nodes[0].op.run(x), f"{graph.nodes[0].op}")


@pytest.mark.slow
def test_products_of_every_pair_of_codes_of_every_format(tmp_path: Path) -> None:
    run(scalar_cases(), tmp_path)


@pytest.mark.slow
def test_every_block_format(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    carried = [name for name in BLOCKS if name != "dfp16"]
    # Sums of products of two numbers in these have more than 62 bits.
    wide = ["mxfp8e5m2", "fp4ue5m3", "int4ue5m3"]
    pairs = [(name, name) for name in carried if name not in wide]
    pairs += [pair for name in wide for pair in ((name, "mxfp4"), ("mxfp4", name))]
    run([*map(quantized, (*carried, *test_quantize.NARROW)), *(block_matrix(*pair, rng) for pair in pairs)], tmp_path)


def test_what_no_back_end_carries_is_refused() -> None:
    for name in NOT_SUMMED:
        fmt = CATALOG[name]
        with pytest.raises(HwgenError, match=rf"numbers of {name} take \d+ bits on a common grid"):
            MatVec(np.ones((1, 1), dtype=np.int64), fmt, input_format=fmt).infer(TensorType((1, 1), fmt))
    assert blocked("mxfp4").block.scale == scales_of(-4, 3)
