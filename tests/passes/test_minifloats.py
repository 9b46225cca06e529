"""Requantizers to minifloats, found on exact fractions, against the formats' definition at every accumulator value."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hwgen import passes
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import get
from hwgen.formats.definition import encode_minifloat
from hwgen.ir import Graph, TensorType
from hwgen.ops import Affine, Dense, Quantize, Relu
from tests.conftest import chain

MODES = ["half_even", "half_away", "half_zero", "half_up", "down", "up", "zero", "away"]


def imported(name: str, rounding: str, *, relu: bool, scale: float = 0.37) -> Graph:
    fmt = get(name)
    ops: list[tuple[str, object]] = [
        ("q", Quantize(get("int6"), (0.5,))),
        ("fc", Dense(np.array([[1], [-3], [0]]), get("int4"), (0.25,))),
        ("bn", Affine(np.array([1.7, -0.3, 2.0]), np.array([0.1, -0.2, 0.75]))),
    ]
    if relu:
        ops.append(("relu", Relu()))
    return chain("m", TensorType((1,)), *ops, ("out", Quantize(fmt, (scale,), rounding=rounding)))


@pytest.mark.parametrize("rounding", MODES)
@pytest.mark.parametrize("name", ["e4m3", "e3m2", "e2m1"])
@pytest.mark.parametrize("relu", [True, False])
def test_every_input_rounds_as_the_definition_says(name: str, rounding: str, relu: bool) -> None:
    graph = imported(name, rounding, relu=relu)
    frozen = passes.freeze(graph)
    fmt = get(name)
    codes = np.arange(-32, 32)[:, None]
    value = codes
    for node in frozen.nodes:
        value = node.op.run(value)
    for row, code in enumerate(codes[:, 0]):
        for channel, (w, mul, add) in enumerate(zip((1, -3, 0), (1.7, -0.3, 2.0), (0.1, -0.2, 0.75), strict=True)):
            exact = Fraction(int(code)) / 2 * w / 4 * Fraction(mul) + Fraction(add)
            exact = max(exact, Fraction(0)) if relu else exact
            expected = encode_minifloat(fmt, exact / Fraction(0.37), rounding)
            assert fmt.decode(value[row, channel]) == fmt.decode(expected), (code, channel)


def test_a_power_of_two_scale_keeps_ties_to_even() -> None:
    fmt = get("e3m2")
    graph = chain(
        "t",
        TensorType((1,)),
        ("q", Quantize(get("int9"), (0.03125,))),
        ("fc", Dense(np.array([[1]]), get("int2"))),
        ("out", Quantize(fmt, (1.0,))),
    )
    frozen = passes.freeze(graph)
    codes = np.arange(-256, 256)[:, None]
    value = codes
    for node in frozen.nodes:
        value = node.op.run(value)
    assert np.array_equal(fmt.decode(value), fmt.decode(fmt.encode(codes / 32)) + 0.0)


@pytest.mark.parametrize("multiplier", ["lmul", "mitchell"])
def test_another_multiplier_takes_minifloats_of_one_format_only(multiplier: str) -> None:
    with pytest.raises(
        UnsupportedError, match=f"node 'fc' .*: {multiplier} multiplies minifloats of one format, not int4"
    ):
        passes.freeze(imported("e4m3", "half_even", relu=True), multiplier=multiplier)


def test_an_unknown_multiplier_is_named() -> None:
    fmt = get("e4m3")
    graph = chain("u", TensorType((1,)), ("q", Quantize(fmt)), ("fc", Dense(np.array([[1]]), fmt)))
    with pytest.raises(HwgenError, match="unknown multiplier 'booth' of a matrix unit: one of exact, lmul"):
        passes.freeze(graph, multiplier="booth")


def test_zero_points_belong_to_integers() -> None:
    fmt = get("e4m3")
    weights = chain("w", TensorType((1,)), ("q", Quantize(fmt)), ("fc", Dense(np.array([[1]]), fmt, (1.0,), 2)))
    with pytest.raises(UnsupportedError, match="weights of e4m3 have no zero point, not 2"):
        passes.freeze(weights)
    inputs = chain("i", TensorType((1,)), ("q", Quantize(fmt, (1.0,), 3)), ("fc", Dense(np.array([[1]]), fmt)))
    with pytest.raises(UnsupportedError, match="an input of e4m3 has no zero point, not 3"):
        passes.freeze(inputs)


def test_wide_sums_leave_fewer_bits_to_a_dyadic_multiplier() -> None:
    wide = chain(
        "w",
        TensorType((8,)),
        ("q", Quantize(get("int16"), (2.0**-12,))),
        ("fc", Dense(np.full((2, 8), 32767), get("int16"), (2.0**-12,))),
        ("bn", Affine(np.array([0.3, 0.7]), np.array([0.1, -0.2]))),
        ("out", Quantize(get("int16"), (2.0**-9,))),
    )
    frozen = passes.freeze(wide)
    op = frozen.nodes[-1].op
    assert op.kind == "Requantize"
    codes = np.random.default_rng(0).integers(-32768, 32768, (500, 8))
    sums = frozen.nodes[0].op.run(codes)
    for frame in range(len(codes)):
        for channel in range(2):
            exact = (
                Fraction(int(sums[frame, channel])) * Fraction(2) ** -24 * Fraction(0.3 if channel == 0 else 0.7)
                + Fraction(0.1 if channel == 0 else -0.2)
            ) * 512
            near = max(-32768, min(32767, round(exact)))
            assert abs(int(op.run(sums[frame])[channel]) - near) <= int(abs(exact - near) > Fraction(49, 100))
