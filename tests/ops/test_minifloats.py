"""Matrix units and thresholds on minifloat codes, against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Format, Int, get
from hwgen.formats.grid import grid_range, ladder, on_grid
from hwgen.formats.multiply import lmul
from hwgen.ir import Graph, TensorType
from hwgen.ops import MatVec, Thresholds
from tests.conftest import chain

PAIRS = [
    ("e4m3", "e4m3", "exact"),
    ("e2m1", "e4m3", "exact"),
    ("int8", "e2m1", "exact"),
    ("e3m2", "int4", "exact"),
    ("e2m3", "bipolar", "exact"),
    ("e4m3", "e4m3", "lmul"),
    ("e3m2", "e3m2", "mitchell"),
    ("e2m3", "e2m3", "lmul_formula_trunc"),
]


def numbers(fmt: Format, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random codes of finite numbers."""
    codes = fmt.codes()
    return np.random.default_rng(seed).choice(codes[fmt.is_number(codes)], shape)


def worth(fmt: Format, code: int) -> Fraction:
    return Fraction(float(fmt.decode([code])[0]))


def network(weight: str, x: str, multiplier: str) -> Graph:
    """A matrix unit, thresholds to the weights' format, another matrix unit."""
    wf, xf = get(weight), get(x)
    reads = None if isinstance(xf, Int) else xf
    first = MatVec(numbers(wf, (6, 8)), wf, np.arange(6), input_format=reads, multiplier=multiplier)
    kind = TensorType((8,), xf)
    low, high = first.infer(kind).codes_format.code_range
    steps = len(ladder(wf)) - 1
    table = np.sort(np.random.default_rng(1).integers(low // 16, high // 16, (6, steps)), axis=1)
    middle = Thresholds(table, int(ladder(wf)[0]), wf)
    second = MatVec(numbers(wf, (4, 6), 2), wf, input_format=None if isinstance(wf, Int) else wf)
    return chain("m", kind, ("a", first), ("t", middle), ("b", second))


@pytest.mark.parametrize(("weight", "x", "multiplier"), PAIRS)
def test_sums_are_those_of_fractions(weight: str, x: str, multiplier: str) -> None:
    graph = network(weight, x, multiplier)
    op = graph.nodes[0].op
    assert isinstance(op, MatVec)
    wf, xf = get(weight), get(x)
    codes = numbers(xf, (5, 8), 3)
    unit = Fraction(2) ** op.unit(graph.input_type)

    def product(w: int, c: int) -> Fraction:
        if multiplier == "exact":
            return worth(wf, w) * worth(xf, c)
        return worth(wf, int(lmul(w, c, wf, multiplier)))

    sums = op.run(codes)
    for frame, row in enumerate(codes):
        for out in range(6):
            exact = sum((product(int(w), int(c)) for w, c in zip(op.weight[out], row, strict=True)), Fraction(0))
            assert sums[frame, out] == exact / unit + int(op.bias[out])
    low, high = op.accumulator_range(graph.input_type)
    assert low <= sums.min()
    assert sums.max() <= high


@pytest.mark.parametrize(("weight", "x", "multiplier"), PAIRS)
def test_the_golden_model_follows_the_definitions(weight: str, x: str, multiplier: str) -> None:
    graph = network(weight, x, multiplier)
    value = codes = numbers(get(x), (200, 8), 4)
    traced = golden.trace(graph, codes)
    for node in graph.nodes:
        value = node.op.run(value)
        assert np.array_equal(traced[node.output], value), node.name


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "int4", "uint3", "bipolar"])
def test_a_ladder_has_every_number_once(name: str) -> None:
    fmt = get(name)
    rungs = ladder(fmt)
    values = fmt.decode(rungs)
    assert (np.diff(values) > 0).all()
    codes = fmt.codes()
    assert set(values) == set(fmt.decode(codes[fmt.is_number(codes)]))
    grid = on_grid(fmt, rungs)
    assert np.array_equal(np.ldexp(grid.astype(float), fmt.lsb), values)
    assert grid_range(fmt) == (grid[0], grid[-1])


def test_thresholds_climb_through_zero() -> None:
    fmt = get("e2m1")
    op = Thresholds([list(range(-7, 7))], int(ladder(fmt)[0]), fmt)
    assert fmt.decode(op.run(np.arange(-8, 8)[:, None]))[:, 0].tolist() == [
        *sorted({*fmt.decode(fmt.codes())} | {6.0}),
        6.0,
    ]


E4M3 = get("e4m3")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MatVec([[0x7F]], E4M3), "weights in e4m3 are finite numbers; these hold NaN or infinity"),
        (
            lambda: MatVec([[1]], E4M3, multiplier="booth"),
            "unknown multiplier 'booth' of a matrix unit: one of exact, lmul",
        ),
        (
            lambda: MatVec([[1]], get("bf16")),
            "numbers of bf16 take [0-9]+ bits on a common grid; at most 62 are carried",
        ),
        (
            lambda: MatVec([[0x7B] * 4], get("e5m2"), input_format=get("e5m2")).infer(TensorType((4,), get("e5m2"))),
            "the accumulator needs 65 bits; the golden model proves sums up to 62",
        ),
        (
            lambda: MatVec([[2**38 - 1] * 8], Int(40)).infer(TensorType((8,), Int(22))),
            "the accumulator needs 63 bits; the golden model proves sums up to 62",
        ),
        (
            lambda: MatVec([[1]], E4M3, multiplier="lmul", shift=1),
            r"a unit of 2\*\*1 least products goes with exact products, and is no fraction",
        ),
        (
            lambda: MatVec([[2, 3]], get("int3"), shift=1).worth,
            r"weights that are no multiples of 2\*\*1 on their grid",
        ),
        (lambda: Thresholds([[1, 2]], 0x7E, E4M3), "2 steps from code 126 leave e4m3, which has 253 numbers"),
        (lambda: Thresholds([[1]], 0x80, E4M3), "1 steps from code 128 leave e4m3"),
        (
            lambda: golden.run(
                chain("n", TensorType((1,), E4M3), ("a", MatVec([[1]], Bipolar(), input_format=E4M3))), [[0x7F]]
            ),
            "the input's codes of e4m3 hold NaN or infinity",
        ),
    ],
)
def test_errors(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(HwgenError, match=message):
        call()
