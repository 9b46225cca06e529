"""Formats, random codes, definitions by fractions, and networks held against theirs: what the golden tests share."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from hwgen import golden
from hwgen.formats import Format, get
from hwgen.formats.minifloat import Minifloat
from hwgen.ir import Graph

ELEMENTS = [get(name) for name in ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "int8", "uint4", "bipolar")]
SMALL = [fmt for fmt in ELEMENTS if isinstance(fmt, Minifloat)]


def numbers(fmt: Format) -> np.ndarray:
    """All finite codes; for integers of more than 16 bits their ends and some between."""
    if isinstance(fmt, Minifloat):
        return fmt.codes()[fmt.is_number(fmt.codes())]
    return fmt.codes()


def draw(fmt: Format, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.choice(numbers(fmt), shape)


def fractions(fmt: Format, codes: np.ndarray) -> np.ndarray:
    """What finite codes are worth, an object array of Fractions."""
    significand, exponent = fmt.significand_exponent(codes)
    return np.frompyfunc(lambda s, e: Fraction(int(s)) * Fraction(2) ** int(e), 2, 1)(significand, exponent)


def by_definition(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    values = {graph.inputs[0].name: x}
    for node in graph.nodes:
        values[node.output] = node.op.run(*(values[name] for name in node.inputs))
    return values


def inputs(graph: Graph, frames: int, seed: int = 0) -> np.ndarray:
    low, high = graph.input_type.codes_format.code_range
    return np.random.default_rng(seed).integers(low, high, (frames, *graph.input_type.shape), endpoint=True)


def agrees(graph: Graph, frames: int = 300, x: np.ndarray | None = None) -> None:
    """Every tensor of a trace and the output of a run are what the layers' own definitions give."""
    x = inputs(graph, frames) if x is None else x
    expected = by_definition(graph, x)
    traced = golden.trace(graph, x)
    assert traced.keys() == expected.keys()
    for name, codes in expected.items():
        assert np.array_equal(traced[name], codes), name
    assert np.array_equal(golden.run(graph, x), expected[graph.outputs[0]])
    assert np.array_equal(golden.run(graph, x[0]), expected[graph.outputs[0]][:1])
