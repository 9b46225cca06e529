"""Unrolled matrices: plans of adders against the product, components under stalls, placed cells by proof."""

import itertools

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from da4ml.cmvm import solve

from hwgen import ops
from hwgen.compiler import compile as compile_network
from hwgen.formats import Int, get
from hwgen.gateware.pipeline import range_shape
from hwgen.gateware.unrolled import ShiftAdd, plan, share
from hwgen.gateware.unrolled.cells import add
from hwgen.gateware.verilog import to_verilog
from hwgen.ir import TensorType
from hwgen.tools.files import share as own_file
from hwgen.tools.formal import Design, prove_equal
from tests.gateware.bench import check, random_codes
from tests.gateware.networks import mlp

STALLS = ((1.0, 1.0), (0.6, 0.5))


def run(made, x):
    """What a plan computes, on int64 vectors (frames, in); every sum has to lie in its range."""
    values = list(x.T)
    for adder in made.adders:
        total = adder.constant + sum(one.sign * (values[one.value] << one.shift) for one in adder.operands)
        assert total.min() >= adder.low
        assert total.max() <= adder.high
        values.append(total)
    found = [np.full(len(x), one) if isinstance(one, int) else values[one.value] << one.shift for one in made.outputs]
    return np.stack(found, axis=-1)


@pytest.mark.parametrize("most", [10**6, 50], ids=["whole", "in halves"])
@pytest.mark.parametrize("arity", [2, 3])
def test_plans_compute_the_product(arity, most, rng, monkeypatch):
    monkeypatch.setattr(share, "MAX_PAIRS", most)
    for _ in range(20):
        out, inner = (int(n) for n in rng.integers(1, 12, 2))
        weights = rng.integers(-(2 ** rng.integers(1, 9)), 257, (out, inner)) * (
            rng.random((out, inner)) < rng.random()
        )
        bias = rng.integers(-50, 51, out) * rng.integers(0, 2)
        low = int(rng.integers(-9, 1))
        ends = (low, low + int(rng.integers(1, 20)))
        made = plan(weights, bias, [ends] * inner, arity)
        x = np.concatenate([rng.integers(ends[0], ends[1] + 1, (30, inner)), rng.choice(ends, (30, inner))])
        np.testing.assert_array_equal(run(made, x), x @ weights.T + bias)
        for adder in made.adders:
            assert len(adder.operands) + bool(adder.constant) <= arity
            assert sum(one.sign < 0 for one in adder.operands) <= 2


def test_what_two_outputs_add_is_added_once():
    made = plan(np.array([[1, 1, 0], [3, 3, 1], [-5, -5, 0]]), np.zeros(3, int), [(0, 15)] * 3)
    assert sum({one.value for one in adder.operands} == {0, 1} for adder in made.adders) == 1


def test_a_sum_that_is_put_back_does_not_meet_itself():
    """5a at two places that overlap: 5a + 20a = 25a has a term 4a twice."""
    given = share.Shared(1, ({(1, 0): 1, (1, 2): 1},), ({(0, 0): 1, (0, 2): 1},))
    assert share.without(given, 2) == given
    assert share.without(share.Shared(1, ({(1, 0): 1, (1, 1): -1},), given.sums), 2).rows == (
        {(0, 0): 1, (0, 2): 1, (0, 1): -1, (0, 3): -1},
    )


def test_adders_of_three_take_fewer_luts_than_da4ml():
    rng = np.random.default_rng(0)
    for out, inner in ((8, 8), (16, 16), (16, 4), (4, 16)):
        weights = rng.integers(-7, 8, (out, inner))
        theirs = solve(
            weights.T.astype(np.float32), hard_dc=2, qintervals=[(0.0, 63.0, 1.0)] * inner, adder_size=1
        ).cost
        assert plan(weights, np.zeros(out, int), [(0, 63)] * inner, 3).luts < 0.8 * theirs


PAIRS = [
    ("int4", "int4"),
    ("bipolar", "bipolar"),
    ("int3", "bipolar"),
    ("e2m1", "e3m2"),
    ("e4m3", "uint2"),
    ("int8", "e2m1"),
]


@pytest.mark.parametrize(("weight", "x"), PAIRS)
def test_every_pair_of_formats_under_stalls(weight, x, rng):
    weight_format, fmt = get(weight), get(x)
    codes = weight_format.codes()
    drawn = rng.choice(codes[weight_format.is_number(codes)], (3, 5))
    op = ops.MatVec(drawn, weight_format, rng.integers(-30, 31, 3), input_format=fmt)
    numbers = fmt.codes()[fmt.is_number(fmt.codes())]
    frames = rng.choice(numbers, (8, 5))
    kind = TensorType((5,), fmt)
    check(ShiftAdd(op, kind), op.run(frames), frames, stalls=STALLS)


def test_sums_of_powers_of_two_at_all_corners():
    """Weights of two powers of two each (2-hot), inputs at all their ends; outputs that no input reaches."""
    op = ops.MatVec(np.array([[17, -24, 0, 96], [0, 0, 0, 0], [0, 0, 8, 0]]), Int(8), np.array([-3, 7, 0]))
    kind = TensorType((4,), Int(3))
    corners = np.array(list(itertools.product((-4, 3), repeat=4)))
    check(ShiftAdd(op, kind), op.run(corners), corners, stalls=STALLS)


def test_positions_are_beats_of_one_frame(rng):
    op = ops.MatVec(rng.integers(-7, 8, (3, 4)), Int(4))
    kind = TensorType((5, 4), Int(4, is_signed=False))
    frames = random_codes(kind.format, (3, 5, 4), rng)
    check(ShiftAdd(op, kind), op.run(frames).reshape(3, -1), frames.reshape(3, -1), stalls=STALLS)


class Combinational(wiring.Component):
    """A plan without registers, in placed cells; or, with `weights`, the products and their sum as they are."""

    def __init__(self, made, weights=None, bias=None):
        self.made, self.weights, self.bias = made, weights, bias
        ends = [made.bounds(one.value) for one in made.outputs]
        ports = {f"in_{n}": In(range_shape(*one)) for n, one in enumerate(made.ranges)}
        outs = zip(made.outputs, ends, strict=True)
        ports |= {
            f"out_{n}": Out(range_shape(low << one.shift, high << one.shift))
            for n, (one, (low, high)) in enumerate(outs)
        }
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        values = [getattr(self, f"in_{n}") for n in range(len(self.made.ranges))]
        if self.weights is not None:
            for n, (row, bias) in enumerate(zip(self.weights, self.bias, strict=True)):
                products = [int(w) * x for w, x in zip(row, values, strict=True)]
                m.d.comb += getattr(self, f"out_{n}").eq(sum(products, int(bias)))
            return m
        values = [self._named(m, value, f"x_{n}") for n, value in enumerate(values)]
        for number, adder in enumerate(self.made.adders):
            operands = [values[one.value] for one in adder.operands]
            values.append(add(m, adder, operands, f"sum_{number}", placed=True))
        for n, one in enumerate(self.made.outputs):
            m.d.comb += getattr(self, f"out_{n}").eq(values[one.value].shift_left(one.shift))
        return m

    @staticmethod
    def _named(m, value, name):
        signal = Signal(value.shape(), name=name)
        m.d.comb += signal.eq(value)
        return signal


@pytest.mark.slow
def test_placed_cells_are_proven_equal_to_the_product(tmp_path):
    rng = np.random.default_rng(6)
    weights, bias = rng.integers(-7, 8, (4, 5)), np.array([0, 5, 0, -9])
    made = plan(weights, bias, [(-4, 3)] * 3 + [(0, 7)] * 2, 3)
    assert any(len(one.operands) == 3 and sum(o.sign < 0 for o in one.operands) == 2 for one in made.adders)
    assert any(len(one.operands) == 2 and one.constant for one in made.adders)
    designs = {}
    for name, component in (("plain", Combinational(made, weights, bias)), ("placed", Combinational(made))):
        path = tmp_path / f"{name}.v"
        path.write_text(to_verilog(component, name))
        designs[name] = Design([path, *([own_file("rtl", "cells_xcup.sv")] if name == "placed" else [])], name)
    prove_equal(designs["plain"], designs["placed"], timeout=300)


@pytest.mark.slow
def test_an_unrolled_network_of_placed_cells_is_exact(tmp_path):
    network = mlp((6, 5, 4), np.random.default_rng(3))
    accelerator = compile_network(network, "ultra96", {"fc.0": (5, 6), "fc.1": (4, 5)}, tmp_path)
    assert "CARRY8" in accelerator.verilog()
    assert accelerator.design.interval == 1
    accelerator.verify(frames=20)
