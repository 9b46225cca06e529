"""Activation functions: tables and thresholds against mpmath, entry by entry."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Bipolar, Block, Blocked, Format, Int, Minifloat, get
from hwgen.formats.definition import encode_minifloat
from hwgen.ir import Graph, Op, TensorType
from hwgen.ops import Activation, Affine, Dense, Quantize, Table, Thresholds
from hwgen.ops.activation import REAL_FUNCTIONS
from hwgen.passes import explain, freeze
from hwgen.passes.curve import TURNING, enclosure, reaches
from tests.conftest import chain

DIGITS = 80


def exact(op: Activation, x: Fraction) -> Any:
    """The function by mpmath, at 80 digits."""
    with mp.workdps(DIGITS):
        v, slope = mp.mpf(x.numerator) / x.denominator, mp.mpf(op.slope)
        c = mp.sqrt(2 / mp.pi)
        return {
            "sigmoid": lambda: 1 / (1 + mp.exp(-v)),
            "tanh": lambda: mp.tanh(v),
            "silu": lambda: v / (1 + mp.exp(-v)),
            "gelu": lambda: v * mp.erfc(-v / mp.sqrt(2)) / 2,
            "gelu_tanh": lambda: v / (1 + mp.exp(-2 * c * (v + mp.mpf(44715) / 10**6 * v**3))),
            "leaky_relu": lambda: v if v >= 0 else slope * v,
            "elu": lambda: v if v >= 0 else slope * mp.expm1(v),
            "softplus": lambda: mp.log1p(mp.exp(v)),
            "hard_swish": lambda: v * min(max(v + 3, 0), 6) / 6,
        }[op.function]()


def as_fraction(value: Any) -> Fraction:
    sign, man, exponent, _ = value._mpf_
    return Fraction((-1) ** sign * int(man)) * Fraction(2) ** int(exponent)


def code(u: Fraction, fmt: Format, rounding: str) -> int:
    if isinstance(fmt, Bipolar):
        return int(u >= 0)
    if isinstance(fmt, Minifloat):
        return encode_minifloat(fmt, u)
    assert isinstance(fmt, Int)
    whole = {"half_even": round(u), "down": u.__floor__(), "up": u.__ceil__()}[rounding]
    return min(max(whole, fmt.min), fmt.max)


def wanted(op: Activation, reals: list[Fraction], quantize: Quantize) -> list[int]:
    scale = Fraction(quantize.scale[0])
    with mp.workdps(DIGITS):
        numbers = [as_fraction(exact(op, x)) / scale + quantize.zero_point for x in reals]
    return [code(u, quantize.format, quantize.rounding) for u in numbers]


def reals(fmt: Format, scale: float) -> tuple[np.ndarray, list[Fraction]]:
    codes = fmt.codes()[fmt.is_number(fmt.codes())]
    return codes, [Fraction(float(worth)) * Fraction(scale) for worth in fmt.decode(codes)]


FUNCTIONS = [Activation(name, {"leaky_relu": 0.1, "elu": 1.25}.get(name, 0.0)) for name in REAL_FUNCTIONS]
READ = {"int6": 0.2, "e3m2": 0.3, "bipolar": 0.7}
WRITTEN = [
    Quantize(Int(8), (0.01,)),
    Quantize(Int(4, is_signed=False), (1 / 15,), 3),
    Quantize(Int(6), (0.04,), 0, "down"),
    Quantize(Int(6), (0.125,), 0, "up"),
    Quantize(get("e4m3"), (0.03,)),
    Quantize(Bipolar()),
]


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("op", FUNCTIONS, ids=lambda op: op.function)
def test_tables_are_the_correctly_rounded_function(op: Activation, name: str) -> None:
    codes, numbers = reals(get(name), READ[name])
    for quantize in WRITTEN:
        frozen = freeze(
            chain("net", TensorType((1,)), ("q", Quantize(get(name), (READ[name],))), ("f", op), ("y", quantize))
        )
        (node,) = frozen.nodes
        assert isinstance(node.op, Table)
        assert (node.name, node.op.entries) == ("y", 1 << get(name).bits)
        got = golden.run(frozen, codes.reshape(-1, 1)).ravel().tolist()
        want = wanted(op, numbers, quantize)
        if isinstance(quantize.format, Minifloat):
            # Zeros have one sign in hardware.
            got, want = (list(map(float, quantize.format.decode(np.array(c)))) for c in (got, want))
        assert got == want


def wide(op: Op, quantize: Quantize, *, weights: tuple[int, ...] = (1, -2, 3), between: tuple[Op, ...] = ()) -> Graph:
    """Sums of one input of 11 bits: its product with each weight, scaled by 0.0123 and more per channel."""
    scales = tuple(0.0123 * (1 + 0.3 * n) for n in range(len(weights)))
    steps = [Quantize(Int(11)), Dense(np.array(weights).reshape(-1, 1), Int(4), scales), op, *between, quantize]
    return chain("net", TensorType((1,)), *((f"n{n}", step) for n, step in enumerate(steps)))


CODES = np.arange(-1024, 1024, 17).reshape(-1, 1)


@pytest.mark.parametrize("quantize", [WRITTEN[2]], ids=["down"])
@pytest.mark.parametrize("op", FUNCTIONS, ids=lambda op: op.function)
def test_thresholds_of_sums_are_the_correctly_rounded_function(op: Activation, quantize: Quantize) -> None:
    graph = wide(op, quantize)
    frozen = freeze(graph)
    kinds = [node.op.kind for node in frozen.nodes]
    assert kinds == ["MatVec", "Thresholds", *(["Table"] if op.function in TURNING else [])]
    dense = graph.nodes[1].op
    assert isinstance(dense, Dense)
    got = golden.run(frozen, CODES)
    for channel, (weight, scale) in enumerate(zip(dense.weight[:, 0], dense.scale, strict=True)):
        numbers = [Fraction(int(c) * int(weight)) * Fraction(scale) for c in CODES.ravel()]
        assert got[:, channel].tolist() == wanted(op, numbers, quantize), channel


def test_ties_and_asymptotes_are_decided() -> None:
    sigmoid, gelu = Activation("sigmoid"), Activation("gelu")
    frozen = freeze(wide(sigmoid, Quantize(Int(8), (1 / 3,)), weights=(7,)))
    assert golden.run(frozen, [[0], [1]]).ravel().tolist() == [round(Fraction(1, 2) / Fraction(1 / 3)), 2]
    # 1/2 is one and a half steps of 1/3, but for the rounding of 1/3.
    half = Quantize(Int(4), (0.2,), 0, "half_even")
    assert Fraction(1, 2) / Fraction(0.2) < Fraction(5, 2)
    assert golden.run(freeze(wide(sigmoid, half)), [[0]]).tolist() == [[2, 2, 2]]
    exact_half = Quantize(Int(4), (1.0,))
    assert golden.run(freeze(wide(sigmoid, exact_half)), [[-1], [0], [1]])[:, 0].tolist() == [0, 0, 1]
    # Far away a function is on the near side of its asymptote.
    far = wide(sigmoid, Quantize(Int(3), (1.0,), 0, "down"), weights=(7,), between=())
    assert golden.run(freeze(far), [[-1024], [1023]]).ravel().tolist() == [0, 0]
    assert golden.run(freeze(wide(sigmoid, Quantize(Int(3), (1.0,), 0, "up"))), [[-1024]])[0, 0] == 1
    steep = chain(
        "n", TensorType((1,)), ("q", Quantize(Int(8), (4.0,))), ("f", gelu), ("y", Quantize(Int(9), (4.0,), 0, "down"))
    )
    assert golden.run(freeze(steep), [[-128], [-1], [0], [1], [127]]).ravel().tolist() == [-1, -1, 0, 0, 126]


def test_a_falling_function_of_sums_is_looked_up() -> None:
    flip = Affine(np.array([-1.0]), np.array([1.0]))
    graph = wide(Activation("sigmoid"), Quantize(Int(5, is_signed=False), (1 / 31,)), between=(flip,))
    frozen = freeze(graph)
    assert [node.op.kind for node in frozen.nodes] == ["MatVec", "Thresholds", "Table"]
    x = CODES.astype(float)
    got = golden.predict(frozen, x)
    real = x
    for node in graph.nodes:
        real = node.op.run(real)
    np.testing.assert_allclose(got, real, atol=1e-12)


def test_channels_of_their_own_behind_the_function() -> None:
    scale = Affine(np.array([1.0, -0.5, 0.0]), np.array([0.0, 0.25, 0.3]))
    for op in (Activation("tanh"), Activation("silu"), Activation("leaky_relu", -0.25)):
        graph = wide(op, Quantize(Int(4), (0.1,)), between=(scale,))
        real = CODES.astype(float)
        for node in graph.nodes:
            real = node.op.run(real)
        np.testing.assert_allclose(golden.predict(freeze(graph), CODES.astype(float)), real, atol=1e-12)


def test_float_runs_differ_at_proven_ties_only() -> None:
    graph = wide(Activation("silu"), Quantize(Int(8), (0.011,)))
    frozen = freeze(graph)
    x = CODES.astype(np.float64)
    oracle, real = {}, x
    for node in graph.nodes:
        real = node.op.run(real).astype(np.float32).astype(np.float64)
        oracle[node.output] = real
    oracle["n3_out"][5] += 0.011
    found = explain(graph, frozen, x, golden.trace(frozen, x), oracle)
    assert 5 in found.differing
    assert {tie.frame for tie in found.unexplained} == {5}


def test_turning_points_are_minima() -> None:
    for name, place in TURNING.items():
        op, step = Activation(name), Fraction(1, 10**20)
        least = enclosure(op, place, 160)[1]
        assert all(enclosure(op, place + side, 160)[0] > least for side in (step, -step))


def test_enclosures_hold_the_function() -> None:
    rng = np.random.default_rng(0)
    places = [*rng.normal(0, 6, 20), 1e-18, -1e-18, 39.9, -39.9, 60.0, -60.0, 1500.0, -1500.0]
    for op, place, digits in itertools.product(FUNCTIONS, places, (40, 80)):
        low, high = enclosure(op, Fraction(float(place)), digits)
        with mp.workdps(700):
            value = exact(op, Fraction(float(place)))
        assert low <= high
        with mp.workdps(DIGITS):
            slack = mp.mpf(10) ** -70 * (1 + abs(value))
            assert mp.mpf(low.numerator) / low.denominator <= value + slack
            assert mp.mpf(high.numerator) / high.denominator >= value - slack
        assert high - low <= Fraction(1, 10**30) * (1 + abs(Fraction(float(place))))


MX = Blocked(Block(get("e2m1"), get("mxfp4").scale, 2))

REFUSED = {
    "two functions": (
        wide(Activation("tanh"), WRITTEN[0], between=(Activation("sigmoid"),)),
        r"'n3' \(Activation\): put a quantizer between it and 'n2': one function is tabulated",
    ),
    "blocks behind": (
        wide(Activation("tanh"), Quantize(MX), weights=(1, 2)),
        r"'n2' \(Activation\): 'n3' behind it quantizes to .*; put a quantizer of scalars between",
    ),
    "blocks ahead": (
        chain("n", TensorType((2,)), ("q", Quantize(MX)), ("f", Activation("tanh")), ("y", WRITTEN[0])),
        r"'f' \(Activation\): its input 'q_out' is no row of integers: numbers of .* take 259 bits on a common grid",
    ),
    "wide minifloats": (
        chain("n", TensorType((2,)), ("q", Quantize(get("bf16"))), ("f", Activation("tanh")), ("y", WRITTEN[0])),
        r"'f' \(Activation\): its input 'q_out' is no row of integers: numbers of bf16 take 262 bits on a common grid",
    ),
    "many codes": (
        wide(Activation("silu"), Quantize(Int(12), (0.01,)), weights=(1,)),
        r"'n2' \(Activation\): it changes its code \d+ times; put a quantizer ahead of it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_by_name(name: str) -> None:
    graph, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        freeze(graph)


def test_what_no_digits_decide_is_refused() -> None:
    op = Activation("sigmoid")
    near = enclosure(op, Fraction(1), 60)
    with pytest.raises(UnsupportedError, match=r"sigmoid\(1.0\) is too close to 0.731\d* to tell which is greater"):
        reaches(op, Fraction(1), sum(near) / 2, inclusive=True, most=40)


def test_parameters_are_checked() -> None:
    with pytest.raises(HwgenError, match=r"unknown activation function 'step': one of sigmoid, tanh, silu"):
        Activation("step")
    with pytest.raises(HwgenError, match=r"the slope of elu is a finite number, of elu not negative, not -1\.0"):
        Activation("elu", -1.0)


BAD_TABLES = {
    "a table has shape": (
        lambda: Table(np.zeros((1, 5)), Int(4)),
        r"\(channels, 2\*\*bits\), of 1 to 10 bits, not \(1, 5\)",
    ),
    "entries": (lambda: Table(np.full((1, 4), 9), Int(4)), r"entries 9..9 of a table are not codes of int4 \(-8..7\)"),
    "holds": (lambda: Table(np.zeros((1, 4)), MX), "a table holds integer, bipolar or minifloat codes, not"),
    "read by": (
        lambda: Table(np.zeros((1, 4)), Int(4)).infer(TensorType((2,), MX)),
        "a table is read by integer, bipolar or minifloat codes, not by those of",
    ),
    "size": (
        lambda: Table(np.zeros((1, 4)), Int(4)).infer(TensorType((2,), Int(3))),
        "a table of 4 entries is not read by codes of 3 bits",
    ),
    "channels": (lambda: Table(np.zeros((3, 4)), Int(4)).infer(TensorType((2,), Int(2))), "3 tables for 2 channels"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_tables_are_checked(name: str) -> None:
    make, message = BAD_TABLES[name]
    with pytest.raises(HwgenError, match=message):
        make()


def test_thresholds_stay_thresholds_where_codes_are_wide() -> None:
    frozen = freeze(wide(Activation("sigmoid"), Quantize(Int(4, is_signed=False), (1 / 15,))))
    op = frozen.nodes[1].op
    assert isinstance(op, Thresholds)
    assert op.thresholds.shape == (3, 15)


def test_a_function_that_always_gives_the_greatest_code_is_one_step_that_all_take() -> None:
    graph = wide(Activation("softplus"), Quantize(Bipolar()))
    frozen = freeze(graph)
    op = frozen.nodes[1].op
    assert isinstance(op, Thresholds)
    assert op.first == 0
    assert (op.run(np.arange(-5, 5).repeat(3).reshape(-1, 3)) == 1).all()
