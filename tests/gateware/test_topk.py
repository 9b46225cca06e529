"""The greatest codes against their definition, with many ties and with stalls; at the end of a network."""

import numpy as np
import pytest

from hwgen import formats, gateware, ops
from hwgen.errors import HwgenError
from hwgen.gateware.topk import TopK
from hwgen.ir import Fold, TensorType
from hwgen.ops import cost
from tests.gateware.bench import Bench, check, random_codes
from tests.gateware.networks import chain, golden

STALLS = ((1.0, 1.0), (0.6, 0.5))


@pytest.mark.parametrize("give", ["indices", "codes"])
@pytest.mark.parametrize(("shape", "k"), [((10,), 3), ((5,), 5), ((1,), 1), ((3, 4), 2)])
@pytest.mark.parametrize("fmt", ["int3", "bipolar"])
def test_the_greatest_come_first_and_equal_ones_in_order(shape, k, give, fmt, rng):
    x = TensorType(shape, formats.get(fmt))
    codes = random_codes(x.format, (6, *shape), rng)
    op = ops.TopK(k, give)
    check(TopK(op, x), op.run(codes), codes.reshape(6, -1), STALLS)


def test_the_definition():
    codes = np.array([[3, 7, 7, -1, 3]])
    assert ops.TopK(4).run(codes).tolist() == [[1, 2, 0, 4]]
    assert ops.TopK(4, "codes").run(codes).tolist() == [[7, 7, 3, 3]]


def test_networks_end_in_the_greatest(rng):
    unit = ops.MatVec(rng.integers(-3, 4, (6, 4)), formats.get("int3"))
    graph = chain(TensorType((4,), formats.get("uint3")), unit, ops.TopK(3))
    codes = random_codes(graph.input_type.format, (6, 4), rng)
    accelerator, _ = gateware.accelerator_of(graph, {"matvec0": Fold(6, 2)})
    assert (accelerator.output.lanes, accelerator.output.beats) == (3, 1)
    bench = Bench(accelerator)
    for valid, ready in STALLS:
        got = bench.stream(codes, valid=valid, ready=ready)
        np.testing.assert_array_equal(got.codes, golden(graph, codes))
        if ready == 1.0:
            assert got.given[0] - got.taken[0] == accelerator.latency
            assert set(np.diff(got.given)[-2:]) == {accelerator.interval}
    assert cost.parts(graph, {"matvec0": Fold(6, 2)})[-1].resources.lut


REFUSED = {
    "k": (lambda: ops.TopK(0), "the greatest are 1 or more, not 0"),
    "give": (lambda: ops.TopK(1, "both"), "the greatest give their indices or codes, not 'both'"),
    "too many": (lambda: ops.TopK(5).infer(TensorType((4,), formats.get("int3"))), "there are no 5 greatest of 4"),
    "scales": (
        lambda: ops.TopK(1).infer(TensorType((2,), formats.get("int3"), (1.0, 2.0))),
        "the greatest are compared by codes, which needs one scale for all channels",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(HwgenError, match=message):
        make()
