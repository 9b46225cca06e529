"""The HLS templates, compiled with every warning an error and run under the sanitizers, against the definitions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from hwgen import ops
from hwgen.formats import BLOCKS, ROUNDING, Block, Blocked, Int, get, scalar
from hwgen.formats.grid import ladder
from hwgen.ir import Graph, Node, TensorType, Value
from hwgen.ops import MatVec, Thresholds
from hwgen.passes.blocks import scales_of
from tests.backends import hls_bench
from tests.conftest import chain
from tests.ops.test_minifloats import numbers

PAIRS = [
    ("e4m3", "e4m3", "exact"),
    ("e2m1", "e2m1", "exact"),
    ("e3m2", "e3m2", "exact"),
    ("e5m2", "e2m3", "exact"),
    ("int8", "e2m1", "exact"),
    ("e3m2", "int4", "exact"),
    ("e2m3", "bipolar", "exact"),
    ("fixed<6,2>", "uint5", "exact"),
    ("int4", "ue5m3", "exact"),
    ("e3m0", "e3m0", "exact"),
    ("bipolar", "bipolar", "exact"),
    *((name, name, by) for name in ("e4m3", "e2m1") for by in ("lmul", "mitchell", "lmul_formula_trunc")),
    ("e3m2", "e3m2", "lmul"),
]


SUMS = [("mxfp4", "mxfp4", -110), ("mxfp8e4m3", "mxint8", -90), ("mxfp6e2m3", "mxfp6e3m2", 0), ("int8", "mxfp4", 0)]
SUMS += [("nvfp4", "nvint4", -20), ("int8", "fp4ue5m3", 0)]
"""Formats of weights and inputs whose blocks are added in FP32; the step of fixed point behind, or none."""


def blocked(element: str, low: int = -4, high: int = 3, size: int = 8) -> Blocked:
    fmt = get(element)
    assert isinstance(fmt, Block)
    return Blocked(replace(fmt.bare, scale=scales_of(low, high) if fmt.power_scale else fmt.bare.scale, size=size))


def in_blocks(fmt: Blocked, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Codes of blocks; where scales have a mantissa, of all of them."""
    block = fmt.block
    if not block.power_scale:
        scales = rng.integers(0, block.scale.max_magnitude, (*shape[:-1], shape[-1] // block.size), endpoint=True)
        elements = rng.integers(*block.element.code_range, shape, endpoint=True)
        return fmt.join(scales.repeat(block.size, axis=-1), elements)
    return fmt.encode(rng.normal(size=shape) * 2.0 ** rng.integers(-5, 4, (*shape[:-1], 1)))


def far_apart(fmt: Blocked, shape: tuple[int, int], low: int, high: int, rng: np.random.Generator) -> np.ndarray:
    """Codes of blocks of 8, each about a power of two of its own; of all scales where they have a mantissa."""
    if not fmt.block.power_scale:
        return in_blocks(fmt, shape, rng)
    size = 2.0 ** rng.integers(low, high, (shape[0], shape[1] // 8)).repeat(8, axis=1)
    return fmt.encode(rng.normal(size=shape) * size)


def matrix(weight: str, x: str, multiplier: str) -> tuple[Graph, np.ndarray]:
    wf, xf = scalar(weight), scalar(x)
    reads = None if isinstance(xf, Int) else xf
    op = MatVec(numbers(wf, (6, 8)), wf, np.arange(-3, 3), input_format=reads, multiplier=multiplier)
    return chain("m", TensorType((2, 8), xf), ("a", op)), numbers(xf, (40, 2, 8), 3)


def block_matrix(weight: str, x: str, rng: np.random.Generator) -> tuple[Graph, np.ndarray]:
    xf, wf = blocked(x), blocked(weight, -3, 2)
    op = MatVec(in_blocks(wf, (6, 16), rng), wf, rng.integers(-99, 99, 6), input_format=xf)
    return chain("b", TensorType((16,), xf), ("a", op)), in_blocks(xf, (40, 16), rng)


def coarser_unit(rng: np.random.Generator) -> tuple[Graph, np.ndarray]:
    """An accumulator in units of 2**shift: no weight has a bit below."""
    fmt = blocked("mxfp8e4m3", -3, 2)
    weights = fmt.encode(2.0 + 0.5 * rng.integers(0, 4, (6, 16)))
    op = MatVec(weights, fmt, rng.integers(-99, 99, 6), input_format=fmt, shift=11)
    return chain("u", TensorType((16,), fmt), ("a", op)), in_blocks(fmt, (40, 16), rng)


def to_blocks(name: str, window: tuple[int, int], rounding: str, rng: np.random.Generator) -> tuple[Graph, np.ndarray]:
    op = ops.BlockQuantize(blocked(name, *window), -6, rounding)
    codes = rng.integers(-2048, 2048, (60, 24)) >> rng.integers(0, 12, (60, 1))
    codes[2], codes[3, :8] = 0, -2048
    return chain("q", TensorType((24,), Int(12)), ("q", op)), codes


def to_minifloats(name: str) -> tuple[Graph, np.ndarray]:
    fmt = scalar(name)
    rungs = ladder(fmt)
    table = np.sort(np.random.default_rng(0).integers(-400, 400, (2, len(rungs) - 1)), axis=1)
    op = Thresholds(table, int(rungs[0]), fmt)
    return chain("t", TensorType((3, 2), Int(10)), ("t", op)), np.random.default_rng(1).integers(-512, 512, (60, 3, 2))


def requantized(rounding: str, rng: np.random.Generator) -> tuple[Graph, np.ndarray]:
    shift = np.array([0, 3, 5, 9])
    op = ops.Requantize(rng.integers(1, 9, 4), rng.integers(-9, 9, 4), shift, rounding, -100, 119, Int(8), (1.0,), 3)
    return chain("r", TensorType((4,), Int(8)), ("r", op)), rng.integers(-128, 128, (300, 4))


def fp32_sums(weight: str, x: str, lsb: int, rng: np.random.Generator) -> tuple[Graph, np.ndarray]:
    """Sums over blocks far apart in scale, some of them nothing but subnormals; and fixed point of them."""
    xf = blocked(x, -70, -20)
    wf = blocked(weight, -76, -45) if weight in BLOCKS else scalar(weight)
    codes = far_apart(wf, (6, 32), -78, -42, rng) if isinstance(wf, Blocked) else numbers(wf, (6, 32))
    op = MatVec(codes, wf, input_format=xf, accumulator="fp32")
    ops_: list[tuple[str, object]] = [("a", op)]
    if lsb:
        ops_.append(("f", ops.Fix(lsb, Int(20))))
    return chain("s", TensorType((32,), xf), *ops_), far_apart(xf, (60, 32), -72, -15, rng)


def grouped(
    weight: str, x: str, channels: int, rng: np.random.Generator, multiplier: str = "exact"
) -> tuple[Graph, np.ndarray]:
    wf, xf = scalar(weight), scalar(x)
    reads = None if isinstance(xf, Int) else xf
    size = 9 * channels
    op = ops.Grouped(numbers(wf, (8, size)), wf, rng.integers(-9, 9, 8), (1.0,), reads, multiplier, groups=4, taps=9)
    return chain("d", TensorType((3, 4 * size), xf), ("a", op)), numbers(xf, (40, 3, 4 * size), 3)


def grouped_blocks(weight: str, channels: int, rng: np.random.Generator) -> tuple[Graph, np.ndarray]:
    """Groups of whole blocks, or of a part of one each."""
    wf, xf = blocked(weight), blocked("mxint8")
    codes = in_blocks(wf, (16, channels), rng).reshape(8, -1)
    op = ops.Grouped(codes, wf, rng.integers(-99, 99, 8), (1.0,), xf, groups=4, taps=2)
    return chain("d", TensorType((2, 8 * channels), xf), ("a", op)), in_blocks(xf, (40, 2, 8 * channels), rng)


def to_scaled_blocks(
    name: str, rounding: str, bits: int, lsb: int, rng: np.random.Generator
) -> tuple[Graph, np.ndarray]:
    op = ops.BlockQuantize(blocked(name), lsb, rounding)
    codes = rng.integers(-1 << (bits - 1), 1 << (bits - 1), (60, 24)) >> rng.integers(0, bits, (60, 1))
    codes[2], codes[3, :8] = 0, -1 << (bits - 1)
    # Ties of elements and of scales.
    codes[4::2] -= codes[4::2] % 21
    return chain("q", TensorType((24,), Int(bits)), ("q", op)), codes


def summed_blocks(x: str, rng: np.random.Generator) -> tuple[Graph, np.ndarray]:
    """Blocks added to themselves, as numbers on their format's grid."""
    fmt = blocked(x)
    node = Node("s", ops.Add((3, -1), (fmt, fmt), (3.0, -1.0)), ("x", "x"), "y")
    return Graph("s", (Value("x", TensorType((16,), fmt)),), (node,), ("y",)), in_blocks(fmt, (40, 16), rng)


def looked_up(x: str, to: str, rows: int) -> tuple[Graph, np.ndarray]:
    xf, yf = scalar(x), scalar(to)
    op = ops.Table(numbers(yf, (rows, 1 << xf.bits), 6), yf)
    return chain("l", TensorType((3, 4), xf), ("l", op)), numbers(xf, (60, 3, 4), 5)


def image(fmt: str, reduce: Literal["max", "sum"], rng: np.random.Generator) -> tuple[Graph, np.ndarray]:
    kind = scalar(fmt)
    reads = None if isinstance(kind, Int) else kind
    window = ops.Window((2, 3), (1, 2), (1, 0, 1, 2), (2, 1), "zero", 0)
    graph = chain("i", TensorType((5, 6, 3), kind), ("w", window), ("p", ops.Pool(reduce, 6, reads)))
    return graph, numbers(kind, (40, 5, 6, 3), 4)


def all_cases() -> list[tuple[Graph, np.ndarray]]:
    rng = np.random.default_rng(7)
    blocks = [("mxfp4", "mxfp4"), ("mxint8", "mxint8"), ("mxfp6e3m2", "mxfp8e4m3"), ("mxint8", "mxfp4")]
    blocks += [("nvfp4", "nvint4"), ("nvint4", "mxfp4")]
    scaled = [("nvfp4", "half_even", 24, -10), ("nvint4", "half_away", 20, -14), ("fp4ue5m3", "half_zero", 60, -50)]
    # Numbers that are all below the least scale, and all far above the greatest.
    scaled += [("nvfp4", "half_even", 8, -20), ("int4ue5m3", "half_even", 8, 30)]
    windows = [("mxfp4", (-6, 1)), ("mxint8", (-20, 12)), ("mxint8", (-6, -5)), ("mxfp8e4m3", (-9, -4))]
    return [
        *(matrix(*pair) for pair in PAIRS),
        *(block_matrix(*pair, rng) for pair in blocks),
        coarser_unit(rng),
        *(to_blocks(name, window, "half_even", rng) for name, window in windows),
        *(to_blocks("mxfp4", (-9, 3), rounding, rng) for rounding in ("half_up", "down", "away")),
        *(to_scaled_blocks(*case, rng) for case in scaled),
        *(to_minifloats(name) for name in ("e4m3", "e2m1")),
        *(requantized(rounding, rng) for rounding in ROUNDING),
        *(fp32_sums(*pair, rng) for pair in SUMS),
        *(grouped(*pair, rng) for pair in (("int4", "uint4", 1), ("e2m1", "e4m3", 2), ("int3", "bipolar", 1))),
        grouped("e4m3", "e4m3", 1, rng, "lmul"),
        grouped_blocks("nvfp4", 8, rng),
        grouped_blocks("mxfp4", 2, rng),
        *(summed_blocks(name, rng) for name in ("mxfp4", "nvfp4")),
        looked_up("int5", "uint8", 1),
        looked_up("uint4", "e4m3", 4),
        looked_up("e2m3", "int3", 1),
        looked_up("bipolar", "int4", 4),
        (chain("u", TensorType((3, 2, 4), Int(3)), ("u", ops.Upsample((2, 3)))), rng.integers(-4, 4, (20, 3, 2, 4))),
        image("int4", "max", rng),
        image("uint4", "sum", rng),
        image("e2m1", "max", rng),
        (chain("g", TensorType((9,), Int(3)), ("g", ops.ArgMax())), rng.integers(-4, 4, (200, 9))),
    ]


@pytest.mark.slow
def test_every_template_gives_the_defined_codes_and_no_undefined_behaviour(tmp_path: Path) -> None:
    graphs, inputs = map(list, zip(*all_cases(), strict=True))
    flags = ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    for graph, x, got in zip(graphs, inputs, hls_bench.run(graphs, inputs, tmp_path, flags), strict=True):
        want = x
        for node in graph.nodes:
            want = node.op.run(*[want] * len(node.inputs))
        np.testing.assert_array_equal(got, want, f"{graph.nodes[0].op}")
