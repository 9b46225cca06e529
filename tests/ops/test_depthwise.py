"""Depthwise products: their definition against matrices with zeros, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Block, Blocked, Int, get
from hwgen.ir import TensorType
from hwgen.ops import Affine, Dense, Depthwise, DepthwiseDense, MatVec, Quantize
from hwgen.passes import explain, freeze
from hwgen.passes.blocks import scales_of
from tests.conftest import chain

RNG = np.random.default_rng(5)
WEIGHT = RNG.integers(-7, 8, (3, 4))
MX = Blocked(Block(get("e2m1"), scales_of(-3, 3), 4))


def test_the_matrix_of_the_same_function() -> None:
    own = DepthwiseDense(WEIGHT, Int(4), (0.5, 0.25, 1.0), 2)
    x = RNG.normal(size=(5, 2, 12))
    whole = own.expanded()
    assert type(whole) is Dense
    assert whole.weight.shape == (3, 12)
    np.testing.assert_allclose(own.run(x), whole.run(x), atol=1e-12)
    assert own.infer(TensorType((2, 12))).shape == whole.infer(TensorType((2, 12))).shape == (2, 3)


@pytest.mark.parametrize("name", ["uint4", "bipolar", "e2m1", "e4m3", "int16"])
def test_networks_equal_those_of_the_matrix(name: str) -> None:
    fmt = get(name)
    steps = [
        Quantize(fmt, (0.5,), 3 if name == "uint4" else 0),
        Affine(np.array([2.0]), RNG.integers(-3, 4, 12) / 2),
        DepthwiseDense(WEIGHT, Int(4), (0.5, 0.25, 1.0)),
        Quantize(Int(6), (1.0,)),
    ]
    graphs = [
        chain("net", TensorType((12,)), *((f"n{n}", one) for n, one in enumerate([*steps[:2], dense, steps[3]])))
        for dense in (steps[2], steps[2].expanded())
    ]
    own, whole = map(freeze, graphs)
    assert isinstance(own.nodes[0].op, Depthwise)
    assert type(whole.nodes[0].op) is MatVec
    x = RNG.normal(size=(40, 12)) * 3
    codes = golden.trace(own, x)
    np.testing.assert_array_equal(codes["n3_out"], golden.run(whole, x))
    np.testing.assert_array_equal(own.nodes[0].op.run(codes["n0_out"]), codes[own.nodes[0].output])
    oracle, real = {}, x
    for node in graphs[0].nodes:
        real = oracle[node.output] = node.op.run(real)
    assert not explain(graphs[0], own, x, codes, oracle).differing


@pytest.mark.parametrize(("name", "multiplier"), [("mxfp4", "exact"), ("e4m3", "lmul")])
def test_blocks_and_products_of_codes_take_the_matrix(name: str, multiplier: str) -> None:
    fmt = MX if name == "mxfp4" else get(name)
    weight = DepthwiseDense(get("e4m3").encode(WEIGHT), get("e4m3"), (1.0,), 0, multiplier)
    frozen = freeze(chain("net", TensorType((12,)), ("q", Quantize(fmt)), ("d", weight)))
    assert type(frozen.nodes[0].op) is MatVec


REFUSED = {
    "real inputs": (
        lambda: DepthwiseDense(WEIGHT, Int(4)).infer(TensorType((9,))),
        "weights of 4 taps for 3 channels take 12 inputs, the tensor has 9",
    ),
    "inputs": (
        lambda: Depthwise(WEIGHT, Int(4)).infer(TensorType((9,), Int(4))),
        "weights of 4 taps for 3 channels take 12 inputs, the tensor has 9",
    ),
    "blocks": (
        lambda: Depthwise(WEIGHT, Int(4), input_format=MX).infer(TensorType((12,), MX)),
        "depthwise products are of scalar codes, not of",
    ),
    "products": (
        lambda: Depthwise(get("e4m3").encode(WEIGHT), get("e4m3"), input_format=get("e4m3"), multiplier="lmul"),
        "depthwise products and their sums are exact",
    ),
    "bipolar": (
        lambda: DepthwiseDense(np.ones((2, 2)), Bipolar()).expanded(),
        "bipolar weights of each channel's own are no matrix: bipolar codes have no zero",
    ),
    "real products": (
        lambda: DepthwiseDense(WEIGHT, Int(4), multiplier="lmul").run(np.zeros((1, 12))),
        "products by lmul are of codes: freeze the network first",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(HwgenError, match=message):
        make()
