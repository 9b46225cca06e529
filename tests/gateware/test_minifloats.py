"""Matrix units and thresholds on minifloat codes, against the layers' definitions, under stalls."""

import numpy as np
import pytest

from hwgen import ops
from hwgen.formats import get
from hwgen.formats.grid import ladder, on_grid
from hwgen.gateware.decode import decode
from hwgen.gateware.thresholds import Thresholds
from hwgen.ir import Fold, TensorType
from tests.gateware.bench import check
from tests.gateware.test_matvec import unit
from tests.ops.test_minifloats import PAIRS, network, numbers

STALLS = ((1.0, 1.0), (0.6, 0.5))


@pytest.mark.parametrize(("weight", "x", "multiplier"), PAIRS)
@pytest.mark.parametrize("fold", [Fold(2, 4), Fold(6, 8)], ids=str)
def test_matrix_units_take_every_pair(weight, x, multiplier, fold):
    graph = network(weight, x, multiplier)
    op = graph.nodes[0].op
    codes = numbers(get(x), (4, 8), 5)
    check(unit(op, graph.input_type, fold), op.run(codes), codes, stalls=STALLS)


@pytest.mark.parametrize("name", ["e4m3", "e3m2", "e2m1"])
@pytest.mark.parametrize("start", ["least", "zero"])
def test_thresholds_give_minifloat_codes(name, start):
    fmt = get(name)
    rungs = ladder(fmt)
    first = int(rungs[0]) if start == "least" else 0
    steps = len(rungs) - 1 - list(rungs).index(first)
    x = ops.MatVec(np.ones((2, 1), int), get("int2")).infer(TensorType((1,), get("int10")))
    table = np.sort(np.random.default_rng(0).integers(-400, 400, (2, steps)), axis=1)
    op = ops.Thresholds(table, first, fmt)
    codes = np.random.default_rng(1).integers(-512, 512, (40, 2))
    check(Thresholds(op, x, 1), op.run(codes), codes, stalls=STALLS)


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "e3m0", "e1m2"])
def test_decoders_give_every_code_its_place_on_the_grid(name):
    from amaranth.hdl import Module, Signal
    from amaranth.sim import Simulator

    fmt = get(name)
    code = Signal(fmt.bits)
    operand = decode(fmt, code)
    worth = Signal.like(operand.worth)
    other = Signal(operand.worth.shape().width + 2)
    m = Module()
    m.d.comb += [worth.eq(operand.worth), other.eq(operand.bits * operand.step + operand.offset)]
    codes = fmt.codes()
    codes = codes[fmt.is_number(codes)]

    async def run(ctx):
        for one, expected in zip(codes.tolist(), on_grid(fmt, codes).tolist(), strict=True):
            ctx.set(code, one)
            assert ctx.get(worth) == expected
            assert ctx.get(other) == expected % (1 << len(other))

    simulator = Simulator(m)
    simulator.add_testbench(run)
    simulator.run()
