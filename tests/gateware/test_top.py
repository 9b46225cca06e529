import re
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from hwgen import formats, gateware, ops
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Blocked, Int
from hwgen.gateware import top
from hwgen.ir import Fold, Graph, Node, Op, TensorType, Value
from hwgen.passes.blocks import scales_of
from tests.gateware.bench import STALLS, Bench, check, random_codes, stream
from tests.gateware.networks import chain, golden, mlp

NETWORKS = {
    "folded": ({"sizes": (16, 8, 8, 4)}, [(2, 4), (2, 2), (1, 2)]),
    "one lane": ({"sizes": (4, 3, 2)}, [(1, 1), (1, 1)]),
    "unrolled": ({"sizes": (6, 4, 3)}, [(4, 6), (3, 4)]),
    "unrolled, then folded": ({"sizes": (6, 8, 3)}, [(8, 6), (1, 2)]),
    "folded, then unrolled": ({"sizes": (6, 8, 3)}, [(1, 2), (3, 8)]),
    "lanes that do not divide each other": ({"sizes": (6, 6, 4)}, [(2, 2), (2, 3)]),
    "more lanes, then fewer": ({"sizes": (6, 12, 4)}, [(4, 6), (2, 6)]),
    "burst to a slow unit": ({"sizes": (2, 12, 4)}, [(3, 2), (1, 3)]),
    "slow to a fast unit": ({"sizes": (12, 4, 4)}, [(1, 3), (4, 2)]),
    "neurons after neurons": ({"sizes": (4, 8, 2)}, [(1, 4), (2, 1)]),
    "requantize": ({"sizes": (8, 6, 4), "requantize": True, "act": "int4"}, [(2, 4), (2, 3)]),
    "bipolar": ({"sizes": (8, 6, 4), "weight": "bipolar", "act": "bipolar", "x": "bipolar"}, [(3, 4), (2, 3)]),
    "eight bits": ({"sizes": (6, 4, 3), "weight": "int8", "act": "uint5", "x": "int8"}, [(2, 2), (1, 2)]),
    "no argmax": ({"sizes": (6, 4, 4), "argmax": False}, [(2, 3), (2, 2)]),
    "positions": ({"sizes": (4, 6, 4), "positions": (3,)}, [(2, 2), (2, 3)]),
    "one number": ({"sizes": (1, 1, 1)}, [(1, 1), (1, 1)]),
}


def folding_of(folds):
    return {f"fc.{n}": Fold(*fold) for n, fold in enumerate(folds)}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_the_golden_codes_at_the_promised_times(name, rng):
    kwargs, folds = NETWORKS[name]
    graph = mlp(**kwargs, rng=rng)
    codes = random_codes(graph.input_type.format, (7, *graph.input_type.shape), rng)
    want = golden(graph, codes)
    accelerator, stages = gateware.accelerator_of(graph, folding_of(folds))
    bench = Bench(accelerator)
    fast = bench.stream(codes)
    np.testing.assert_array_equal(fast.codes, want)
    ends = fast.given[accelerator.output.beats - 1 :: accelerator.output.beats]
    assert ends[0] - fast.taken[0] == accelerator.latency
    assert accelerator.interval == max(stage.interval for stage in stages)
    # The first frames settle how far each unit runs behind the one before it.
    assert set(np.diff(ends)[-2:]) == {accelerator.interval}
    for seed, (valid, ready) in enumerate([(0.5, 0.6), (1.0, 0.3)]):
        got = bench.stream(codes, valid=valid, ready=ready, seed=seed)
        np.testing.assert_array_equal(got.codes, want)


def random_network(seed):
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.choice([2, 3, 4, 6, 8, 12], 4)]
    divisors = [[d for d in range(1, n + 1) if n % d == 0] for n in sizes]
    folds = [(int(rng.choice(divisors[n + 1])), int(rng.choice(divisors[n]))) for n in range(3)]
    return sizes, folds, rng


@pytest.mark.parametrize("seed", range(15))
def test_random_shapes_and_folds(seed):
    sizes, folds, rng = random_network(seed)
    graph = mlp(sizes, rng, act="uint2", x="uint2", weight="int3")
    codes = random_codes(graph.input_type.format, (8, sizes[0]), rng)
    accelerator, _ = gateware.accelerator_of(graph, folding_of(folds))
    got = stream(accelerator, codes)
    np.testing.assert_array_equal(got.codes, golden(graph, codes))
    ends = got.given[accelerator.output.beats - 1 :: accelerator.output.beats]
    assert ends[0] - got.taken[0] == accelerator.latency, (sizes, folds)
    assert np.diff(ends)[-1] == accelerator.interval, (sizes, folds)


def test_thresholds_alone_are_an_accelerator(rng):
    x = TensorType((4,), Int(6))
    op = ops.Thresholds(np.sort(rng.integers(-30, 30, (4, 3)), axis=1), 0, Int(2, is_signed=False))
    graph = Graph("alone", (Value("x", x),), (Node("act", op, ("x",), "y"),), ("y",))
    codes = random_codes(x.format, (5, 4), rng)
    check(gateware.accelerator_of(graph, {})[0], op.run(codes), codes)


def test_a_design_describes_its_verilog(rng):
    graph = mlp((8, 4, 3), rng)
    design = gateware.build(graph, folding_of([(2, 2), (1, 4)]))
    kinds = [(stage.kind, stage.node) for stage in design.stages if stage.node]
    assert kinds == [("matvec", "fc.0"), ("thresholds", "act.0"), ("matvec", "fc.1"), ("argmax", "argmax")]
    top_module = re.search(r"^module accel\((.*?)\);.*?^endmodule", design.verilog, re.DOTALL | re.MULTILINE)
    ports = ["clk", "rst", "i__payload", "i__valid", "i__ready", "o__payload", "o__valid", "o__ready"]
    assert sorted(top_module[1].split(", ")) == sorted(ports)
    for stage in design.stages:
        assert re.search(rf"^  \\accel\.{stage.name}  {stage.name} \($", top_module[0], re.MULTILINE)
        module = re.search(rf"^module \\accel\.{stage.name} \((.*?)\);", design.verilog, re.MULTILINE)
        assert {"o__payload", "o__valid", "o__ready"} <= set(module[1].split(", "))
        assert f"output [{stage.output.payload_bits - 1}:0] o__payload" in design.verilog
    assert design.input == design.stages[0].input
    assert design.output == design.stages[-1].output
    assert design.interval == 8
    starts, ends = zip(*design.spans, strict=True)
    assert (starts[0], ends[-1]) == (0, design.latency)
    assert list(starts) == sorted(starts)
    assert list(ends) == sorted(ends)


def test_the_same_graph_gives_the_same_verilog():
    texts = {
        gateware.build(mlp((8, 4, 3), np.random.default_rng(1)), folding_of([(2, 2), (1, 4)])).verilog for _ in "ab"
    }
    assert len(texts) == 1


@dataclass(frozen=True, eq=False)
class Strange(Op):
    frozen: ClassVar[bool] = True

    def infer(self, *inputs):
        return inputs[0]

    def run(self, *values):
        return values[0]


def chain_of(*named, outputs=None):
    x = TensorType((4,), Int(4))
    nodes = tuple(Node(name, op, inputs, output) for name, op, inputs, output in named)
    return Graph("net", (Value("x", x),), nodes, outputs or (nodes[-1].output,) if nodes else ("x",))


REFUSED = [
    (chain_of(("relu", ops.Relu(), ("x",), "y")), {}, HwgenError, "graph 'net' is not frozen"),
    (chain_of(("odd", Strange(), ("x",), "y")), {}, UnsupportedError, "node 'odd': no gateware computes Strange"),
    (chain_of(), {}, UnsupportedError, "graph 'net' computes nothing: its codes come out as they went in"),
    (
        chain_of(("a", ops.ArgMax(), ("x",), "y"), ("b", ops.ArgMax(), ("x",), "z")),
        {},
        UnsupportedError,
        "tensor 'y' is read by no node: all that is computed must be used",
    ),
    (
        chain_of(("fc", ops.MatVec(np.ones((2, 4), int), Int(2)), ("x",), "y")),
        {"fc": Fold(1, 3)},
        HwgenError,
        "node 'fc': folding must divide the layer: PE=1 into 2 outputs, SIMD=3 into 4 inputs",
    ),
    (
        chain_of(("fc", ops.MatVec(np.ones((2, 4), int), Int(2)), ("x",), "y")),
        {},
        HwgenError,
        "node 'fc' is a matrix unit and has no fold",
    ),
]


@pytest.mark.parametrize(("graph", "folding", "error", "message"), REFUSED)
def test_what_cannot_be_built_is_refused_by_name(graph, folding, error, message):
    with pytest.raises(error, match=re.escape(message)):
        gateware.build(graph, folding)


def test_a_format_that_gateware_does_not_know_is_refused_by_node(monkeypatch, rng):
    monkeypatch.setattr("hwgen.gateware.decode.DECODERS", {})
    with pytest.raises(UnsupportedError, match=r"node 'fc\.0': no gateware decodes uint4 codes"):
        top.check(mlp((4, 2), rng), folding_of([(1, 1)]))


def test_an_input_that_is_reshaped_before_two_read_it(rng):
    """Lanes that divide the vector that both read, and not the channels that come in."""
    x = TensorType((3, 2), Int(3))
    units = [
        Node(name, ops.MatVec(rng.integers(-3, 4, (2, 6)), Int(3)), ("flat",), f"{name}.out") for name in ("a", "b")
    ]
    nodes = (
        Node("flatten", ops.Reshape((6,)), ("x",), "flat"),
        *units,
        Node("cat", ops.Concat(), ("a.out", "b.out"), "y"),
    )
    same = replace(units[1].op, weight=units[0].op.weight)
    nodes = (*nodes[:2], replace(units[1], op=same), nodes[3])
    graph = Graph("net", (Value("x", x),), nodes, ("y",))
    codes = random_codes(x.format, (4, 3, 2), rng)
    want = np.tile(units[0].op.run(codes.reshape(4, 6)), 2)
    folding = {"a": Fold(1, 6), "b": Fold(2, 2)}
    check(gateware.accelerator_of(graph, folding)[0], want, codes.reshape(4, 6), STALLS[:2])


def test_blocks_are_quantized_on_lanes_that_divide_them(rng):
    """Behind a matrix unit whose lanes do not."""
    fmt = Blocked(replace(formats.get("mxfp4"), scale=scales_of(0, 3), size=2))
    graph = chain(TensorType((2,), Int(4)), ops.MatVec(rng.integers(-7, 8, (6, 2)), Int(4)), ops.BlockQuantize(fmt, 0))
    codes = random_codes(Int(4), (4, 2), rng)
    accelerator = gateware.accelerator_of(graph, {"matvec0": Fold(6, 1)})[0]
    assert accelerator.output.lanes == 1
    check(gateware.accelerator_of(graph, {"matvec0": Fold(6, 1)})[0], golden(graph, codes), codes, STALLS[:2])


def test_what_a_component_refuses_is_told_with_the_node(rng):
    graph = mlp((4, 6, 4), rng, weight="int2")
    with pytest.raises(UnsupportedError, match=r"^node 'fc\.0': the fold asks for DSPs, which two outputs share"):
        gateware.build(graph, {"fc.0": Fold(1, 2, dsp=True), "fc.1": Fold(1, 1)}, "xcup")
