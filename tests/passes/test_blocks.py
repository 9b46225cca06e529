"""Networks of blocks from real numbers to integers: equal to the real-valued network, or as near as is promised."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Blocked, Int, get
from hwgen.ir import Graph, Node, Op, TensorType, Value
from hwgen.ops import Affine, BlockQuantize, Dense, MatVec, Quantize, Relu, Requantize
from hwgen.passes import explain, freeze
from hwgen.passes.block_ties import block_distance
from hwgen.passes.blocks import narrowed, scales_of
from tests.conftest import chain

ELEMENTS = ["mxfp4", "mxint8", "mxfp6e3m2", "mxfp6e2m3"]


def narrow(name: str, low: int, high: int, size: int = 8) -> Blocked:
    return Blocked(replace(get(name), scale=scales_of(low, high), size=size))


def network(name: str, *between: Op) -> Graph:
    """16 inputs, 16 hidden numbers behind the operations `between`, 3 outputs; everything in blocks of 8."""
    rng = np.random.default_rng(3)
    full, emax = Blocked(replace(get(name), size=8)), get(name).emax
    ops: list[tuple[str, Op]] = [
        ("q0", Quantize(narrow(name, -7 - emax, -emax))),
        ("fc0", Dense(full.encode(rng.normal(0, 0.3, (16, 16))), full)),
        *((f"f{index}", op) for index, op in enumerate(between)),
        ("q1", Quantize(narrow(name, -5 - emax, 2 - emax))),
        ("fc1", Dense(full.encode(rng.normal(0, 0.3, (3, 16))), full)),
    ]
    nodes, last = [], "x"
    for node, op in ops:
        nodes.append(Node(node, op, (last,), node))
        last = node
    return Graph("blocks", (Value("x", TensorType((16,))),), tuple(nodes), (last,))


def real(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    tensors = {}
    for node in graph.nodes:
        x = tensors[node.output] = node.op.run(x)
    return tensors


@pytest.mark.parametrize("name", ELEMENTS)
def test_networks_of_powers_of_two_are_exact(name: str) -> None:
    graph = network(name, Relu())
    frozen = freeze(graph)
    assert [type(node.op) for node in frozen.nodes] == [MatVec, Requantize, BlockQuantize, MatVec]
    x = np.random.default_rng(0).normal(0, 0.4, (200, 16))
    x[3] = 0
    np.testing.assert_array_equal(golden.predict(frozen, x), real(graph, x)["fc1"])
    plain = freeze(network(name))
    assert [type(node.op) for node in plain.nodes] == [MatVec, BlockQuantize, MatVec]
    np.testing.assert_array_equal(golden.predict(plain, x), real(network(name), x)["fc1"])


def test_input_codes_of_a_block_share_their_scale() -> None:
    frozen = freeze(network("mxfp4"))
    codes = golden.encode(frozen, np.ones((2, 16)))
    golden.run(frozen, codes)
    codes[1, 9] ^= 1 << 4
    with pytest.raises(HwgenError, match=r"code 9 of a blocked<.*> tensor carries scale \d+, and its block \d+"):
        golden.run(frozen, codes)


@pytest.mark.parametrize("name", ELEMENTS)
def test_factors_and_addends_differ_only_next_to_rounding_boundaries(name: str) -> None:
    rng = np.random.default_rng(1)
    scale = Affine(rng.uniform(-1.5, 1.5, 16), rng.normal(0, 0.2, 16), rng.uniform(0.7, 1.3, 16))
    graph = network(name, scale, Relu())
    frozen = freeze(graph)
    x = rng.normal(0, 0.4, (500, 16))
    tensors = real(graph, x)
    found = explain(graph, frozen, x, golden.trace(frozen, golden.encode(frozen, x)), tensors)
    assert not found.unexplained
    assert len(found.differing) < 15


def test_addends_that_fit_are_exact_and_others_are_rounded_once() -> None:
    fits = freeze(network("mxfp4", Affine(np.ones(1), np.arange(16) / 64.0), Relu()))
    affine = fits.nodes[1].op
    assert isinstance(affine, Requantize)
    assert affine.shift.tolist() == [0]
    third = freeze(network("mxfp4", Affine(np.ones(1), np.full(1, 1 / 3))))
    op, blocks = third.nodes[1].op, third.nodes[2].op
    assert isinstance(op, Requantize)
    assert isinstance(blocks, BlockQuantize)
    assert (
        abs(Fraction(int(op.offset[0])) * Fraction(2) ** blocks.lsb - Fraction(1 / 3)) <= Fraction(2) ** blocks.lsb / 2
    )


def test_sums_that_leave_factors_no_room_lose_low_bits_first() -> None:
    graph = network("mxfp8e4m3", Affine(np.linspace(0.1, 1, 16) * np.array([1.0, -1.0] * 8), np.full(1, 0.3)))
    windows = {"q0": narrow("mxfp8e4m3", -20, -5), "q1": narrow("mxfp8e4m3", -12, -5)}
    nodes = [replace(n, op=Quantize(windows[n.name])) if n.name in windows else n for n in graph.nodes]
    graph = replace(graph, nodes=tuple(nodes))
    frozen = freeze(graph)
    wide, narrowed_, *_ = frozen.nodes
    assert (narrowed_.name, type(narrowed_.op)) == ("q1.narrow", Requantize)
    bits = [frozen.types[node.output].codes_format.bits for node in (wide, narrowed_)]
    assert bits[0] - bits[1] >= 4
    x = np.random.default_rng(0).normal(0, 0.4, (100, 16)) * 2.0 ** np.arange(-4, 4, 0.5)
    x[3] *= 1e4
    tensors = real(graph, x)
    codes = golden.trace(frozen, golden.input_codes(frozen, x))
    assert not explain(graph, frozen, x, codes, tensors).unexplained
    q1 = next(node.op for node in graph.nodes if node.name == "q1")
    assert isinstance(q1, Quantize)
    # Factors of 12 bits turn one code in hundreds.
    assert (q1.format.decode(codes["q1"]) != tensors["q1"]).mean() < 0.01


def test_weights_take_the_narrowest_scales_and_zero_blocks_any() -> None:
    full = Blocked(replace(get("mxfp4"), size=4))
    x = np.array([[1.0, 2, 3, 4, 0, 0, 0, 0], [64, 8, 4, 0, 0.5, 0, 0, 0.25]])
    weight, fmt = narrowed(full.encode(x), full)
    assert fmt.block.scale.bits == 3
    np.testing.assert_array_equal(fmt.decode(weight), full.decode(full.encode(x)))
    zeros, fmt = narrowed(full.encode(0 * x), full)
    assert fmt.block.scale.bits == 1
    assert not fmt.decode(zeros).any()


def test_distances_to_where_codes_change() -> None:
    fmt = narrow("mxfp4", -8, 7, size=2)
    block = [Fraction(7), Fraction(5, 4)]
    # The scale is 1; from 5/4 to the number 2 the boundaries 5/4 and 7/4 are passed.
    code = int(fmt.encode([7.0, 1.25])[1])
    up = int(fmt.encode([7.0, 2.0])[1])
    assert block_distance(block, 1, fmt, "half_even", (code, up)) == Fraction(1, 2)
    other = [int(fmt.encode([8.0, 1.25])[1]), code]
    assert block_distance(block, 1, fmt, "half_even", (other[0], other[1])) == 1


def test_distances_where_scales_have_a_mantissa() -> None:
    fmt = Blocked(replace(get("nvfp4").bare, size=2))
    # The scale is 1; from 5/4 to the element 2 the boundaries 5/4 and 7/4 are passed.
    block = [Fraction(6), Fraction(5, 4)]
    code, up = int(fmt.encode([6.0, 1.25])[1]), int(fmt.encode([6.0, 2.0])[1])
    assert block_distance(block, 1, fmt, "half_even", (code, up)) == Fraction(1, 2)
    # The next scales are 9/8 and 5/4, which begin at 6 * 17/16 and 6 * 19/16.
    further = int(fmt.encode([7.5, 1.25])[1])
    assert block_distance(block, 1, fmt, "half_even", (code, further)) == Fraction(9, 8)


@pytest.mark.parametrize("name", ["mxfp4", "nvfp4"])
def test_an_element_that_rounds_to_zero_in_one_run_only_is_a_tie(name: str) -> None:
    fmt = Blocked(replace(get(name).bare, size=8)) if name == "nvfp4" else narrow(name, -5, 2)
    weight = np.eye(8, 16, dtype=np.int64)
    ops = [("q0", Quantize(Int(8), (0.25,))), ("fc0", Dense(weight, Int(2))), ("q1", Quantize(fmt))]
    graph = chain("tie", TensorType((16,)), *ops)
    frozen = freeze(graph)
    x = np.zeros((1, 16))
    # 1/4 lies between the elements 0 and 1/2 of scale 1, and goes to the even one.
    x[0, :2] = 6.0, 0.25
    codes = golden.trace(frozen, golden.encode(frozen, x))
    near = codes["q1_out"].copy()
    near[0, 1] |= 1
    found = explain(graph, frozen, x, codes, {"q0_out": x, "q1_out": fmt.decode(near)})
    assert [(tie.distance, tie.proven) for tie in found.ties] == [(0.0, True)]


def test_what_cannot_become_blocks_is_refused() -> None:
    clip = [Affine(np.ones(1), -np.arange(16) / 16.0), Relu(), Affine(np.ones(1), np.arange(16) / 16.0)]
    with pytest.raises(
        UnsupportedError, match=r"node 'q1' \(Quantize\): its channels are clipped at different numbers"
    ):
        freeze(network("mxfp4", *clip))
    with pytest.raises(UnsupportedError, match="what it quantizes does not depend on its input"):
        freeze(network("mxfp4", Affine(np.zeros(1), np.ones(1))))
    graph = network("mxfp4")
    nodes = [n if n.name != "q1" else replace(n, op=replace(n.op, zero_point=1)) for n in graph.nodes[:3]]
    with pytest.raises(UnsupportedError, match="blocks have no zero point, not 1"):
        freeze(replace(graph, nodes=tuple(nodes), outputs=("q1",)))
    wide = network("mxfp8e5m2", Affine(np.linspace(0.1, 1, 16), np.zeros(1)))
    with pytest.raises(UnsupportedError, match=r"its scales and addends behind sums up to \d+ need more than 62 bits"):
        freeze(wide)
    large = [n if n.name != "q1" else replace(n, op=Quantize(narrow("mxfp4", -5, 2, 32))) for n in graph.nodes[:3]]
    with pytest.raises(UnsupportedError, match=r"node 'q1' \(Quantize\): blocks of 32 do not divide 16 channels"):
        freeze(replace(graph, nodes=tuple(large), outputs=("q1",)))
