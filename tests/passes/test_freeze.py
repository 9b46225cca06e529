"""Each pass on small chains: what it makes, that the function stays the same, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hwgen import golden
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Bipolar, Int
from hwgen.ir import Node, graph_from_json
from hwgen.ops import (
    OPS,
    Activation,
    Dense,
    MatVec,
    Quantize,
    Relu,
    Requantize,
    Reshape,
    Softmax,
    Thresholds,
)
from hwgen.passes import PIPELINE, freeze, reorder, tidy, verify
from hwgen.passes.chain import chain
from hwgen.passes.requantize import dyadic
from tests.passes.real_graphs import U4, affine, dense, graph, inputs, kinds, same


@pytest.mark.parametrize("requantize", ["auto", "thresholds", "dyadic"])
def test_a_perceptron_freezes_with_every_requantizer(requantize: str) -> None:
    g = graph(Quantize(U4, (0.25,)), dense(5, 6), Relu(), Quantize(U4, (0.5,)), dense(3, 5))
    frozen = same(g, requantize)
    middle = "Thresholds" if requantize == "thresholds" else "Requantize"
    assert kinds(frozen) == ["MatVec", middle, "MatVec"]
    assert [node.name for node in frozen.nodes] == ["dense1", "quantize3", "dense4"]
    assert frozen.inputs[0].name == "t0"
    assert frozen.is_frozen
    assert verify(frozen, "frozen") is frozen


def test_the_pipeline_is_a_plain_tuple_of_functions() -> None:
    assert isinstance(PIPELINE, tuple)
    assert all(callable(step) for step in PIPELINE)


def test_a_power_of_two_becomes_a_shift_with_multiplier_one() -> None:
    frozen = freeze(graph(Quantize(U4, (0.25,)), dense(5, 6, (0.5,)), Quantize(U4, (2.0,))))
    op = frozen.nodes[1].op
    assert isinstance(op, Requantize)
    assert (op.multiplier.tolist(), op.offset.tolist(), op.shift.tolist()) == ([1], [0], [4])


def test_growing_scales_shift_left() -> None:
    op = same(graph(Quantize(U4, (0.25,)), dense(5, 6, (8.0,)), Quantize(Int(8), (0.5,)))).nodes[1].op
    assert isinstance(op, Requantize)
    assert (op.multiplier.tolist(), op.shift.tolist()) == ([4], [0])


def test_a_relu_raises_the_low_bound_of_a_shift() -> None:
    op = same(graph(Quantize(U4, (0.25,)), dense(5, 6), Relu(), Quantize(Int(4), (0.5,), 2))).nodes[1].op
    assert isinstance(op, Requantize)
    assert (op.low, op.high, op.zero_point) == (2, 7, 2)


def test_an_odd_zero_point_with_ties_to_even_needs_thresholds() -> None:
    frozen = same(graph(Quantize(U4, (0.25,)), dense(5, 6), Quantize(Int(4), (0.5,), 1)))
    assert kinds(frozen) == ["MatVec", "Thresholds"]


def test_zero_points_of_inputs_and_weights_fold_into_the_product() -> None:
    g = graph(Quantize(U4, (0.25,), 5), dense(5, 6, fmt=U4, zero=7), Relu(), Quantize(U4, (0.5,), 3), dense(3, 5))
    frozen = same(g)
    op = frozen.nodes[0].op
    assert isinstance(op, MatVec)
    assert op.weight_format == Int.holding(int(op.weight.min()), int(op.weight.max()))
    np.testing.assert_array_equal(op.bias, -5 * op.worth.sum(axis=1))


def test_batch_norm_of_any_sign_is_absorbed() -> None:
    gamma = np.array([1.5, -0.5, 0.0, -2.0, 0.0])
    norm = affine(gamma, np.array([0.25, 1.0, 2.0, -0.5, -9.0]), np.array([2.0, 1.0, 1.0, 4.0, 1.0]))
    g = graph(Quantize(U4, (0.25,)), dense(5, 6), affine(add=np.arange(5.0)), norm, Relu(), Quantize(U4, (0.5,)))
    frozen = same(g)
    assert kinds(frozen) == ["MatVec", "Thresholds"]
    table = frozen.nodes[1].op
    assert isinstance(table, Thresholds)
    # A channel without slope is a constant: each threshold lies at the least sum or above the greatest.
    ends = {int(n) for n in table.thresholds[[2, 4]].ravel()}
    kind = frozen.types[frozen.nodes[0].output].codes_format.code_range
    assert ends <= {kind[0], kind[1] + 1}


def test_negated_weights_widen_only_if_they_must() -> None:
    weight = np.array([[-8, 3], [7, -7]])
    g = graph(Quantize(U4), Dense(weight, Int(4)), affine([-1.0, 1.0]), Quantize(U4, (4.0,)), shape=(2,))
    op = same(g).nodes[0].op
    assert isinstance(op, MatVec)
    assert op.weight_format == Int.holding(int(op.weight.min()), int(op.weight.max()))
    op = same(graph(Quantize(U4), Dense(weight, Int(4)), affine([1.0, -1.0]), Quantize(U4), shape=(2,))).nodes[0].op
    assert isinstance(op, MatVec)
    assert op.weight_format == Int(4)
    assert op.weight.tolist() == [[-8, 3], [-7, 7]]


def test_bipolar_weights_stay_bipolar_when_negated() -> None:
    g = graph(
        Quantize(U4), dense(5, 6, fmt=Bipolar()), affine([-1.0, 1, -1, 1, 1], 0.5), Quantize(Bipolar()), dense(2, 5)
    )
    op = same(g).nodes[0].op
    assert isinstance(op, MatVec)
    assert op.weight_format == Bipolar()


def test_bipolar_activations_read_their_own_format() -> None:
    g = graph(Quantize(Bipolar(), (0.5,)), dense(5, 6), affine(add=0.125), Quantize(Bipolar()), dense(2, 5))
    frozen = same(g)
    assert kinds(frozen) == ["MatVec", "Thresholds", "MatVec"]
    table = frozen.nodes[1].op
    assert isinstance(table, Thresholds)
    assert table.steps == 1


def test_affine_and_relu_may_alternate() -> None:
    g = graph(
        Quantize(U4, (0.25,)),
        dense(5, 6),
        Relu(),
        affine(-0.5, 4.0),
        Relu(),
        affine(2.0, -1.0),
        Quantize(Int(5), (0.25,)),
    )
    assert kinds(same(g)) == ["MatVec", "Thresholds"]


def test_steps_that_no_channel_needs_are_left_out() -> None:
    g = graph(Quantize(U4, (0.25,)), dense(5, 6), affine(add=0.01), Relu(), Quantize(Int(4), (0.5,)))
    op = freeze(g).nodes[1].op
    assert isinstance(op, Thresholds)
    assert (op.first, op.steps) == (0, 7)


def test_equal_rows_of_thresholds_are_said_once() -> None:
    op = freeze(graph(Quantize(U4, (0.25,)), dense(5, 6), affine(div=3.0), Quantize(U4, (0.5,)))).nodes[1].op
    assert isinstance(op, Thresholds)
    assert op.thresholds.shape[0] == 1


def test_a_quantizer_of_codes_becomes_thresholds_and_an_equal_one_goes() -> None:
    again = Quantize(U4, (0.25,))
    g = graph(again, again, dense(5, 6), Quantize(Int(6), (0.5,)), affine(add=0.25), Quantize(U4, (1.0,)), dense(3, 5))
    assert kinds(same(g)) == ["MatVec", "Requantize", "Thresholds", "MatVec"]


def test_bipolar_codes_that_are_quantized_again_are_looked_up() -> None:
    g = graph(Quantize(U4), dense(5, 6), Quantize(Bipolar()), affine(0.75, 0.5), Quantize(Int(3), (0.25,)), dense(2, 5))
    assert kinds(same(g)) == ["MatVec", "Thresholds", "Table", "MatVec"]


FALLS = affine(np.array([-1.0, 1.0, 0.5, -0.25, 1.0, -2.0]), np.linspace(-4, 4, 6))


@pytest.mark.parametrize("how", ["auto", "dyadic"])
def test_a_falling_function_of_codes_is_negated_without_weights(how: str) -> None:
    g = graph(Quantize(U4), affine(-1.0), Quantize(Int(4), (2.0,)), dense(5, 6))
    op = same(g, how).nodes[0].op
    assert isinstance(op, Requantize)
    assert (op.multiplier == -1).all()
    g = graph(Quantize(U4), FALLS, Relu(), Quantize(Int(4), (0.5,), 3), dense(5, 6))
    found = kinds(same(g, how))
    assert found == (["Requantize", "Thresholds", "MatVec"] if how == "auto" else ["Requantize", "MatVec"])


def test_a_falling_activation_function_of_wide_codes_is_negated() -> None:
    g = graph(Quantize(Int(10), (1 / 64,)), FALLS, Activation("sigmoid"), Quantize(U4, (1 / 16,)), dense(5, 6))
    assert kinds(same(g)) == ["Requantize", "Thresholds", "MatVec"]


def test_affine_operations_move_behind_the_product() -> None:
    g = graph(Quantize(Bipolar()), affine(add=1.0), affine(div=2.0), dense(5, 6), affine(add=0.5), Quantize(U4, (0.5,)))
    assert kinds(same(g)) == ["MatVec", "Thresholds"]
    g = graph(Quantize(U4), affine(0.5, np.arange(6.0)), dense(5, 6, (0.5, 0.25, 1.0, 2.0, 0.125)), Quantize(U4))
    assert kinds(same(g)) == ["MatVec", "Thresholds"]


def test_input_factors_per_channel_are_refused() -> None:
    g = graph(Quantize(U4), affine(np.arange(1.0, 7.0)), dense(5, 6), Quantize(U4))
    with pytest.raises(
        UnsupportedError, match=r"'affine1' \(Affine\): it scales the inputs of 'dense2' by a different"
    ):
        freeze(g)


def test_input_scales_per_channel_are_refused() -> None:
    g = graph(Quantize(U4, tuple(np.arange(1.0, 7.0))), dense(5, 6))
    with pytest.raises(UnsupportedError, match=r"'dense1' \(Dense\): its input has a different scale in each channel"):
        freeze(g)
    assert kinds(same(graph(Quantize(U4, (0.5,) * 6), dense(5, 6)))) == ["MatVec"]


def test_products_of_real_numbers_are_refused() -> None:
    with pytest.raises(
        UnsupportedError, match=r"'dense0' \(Dense\): it multiplies real numbers: there is no quantizer"
    ):
        freeze(graph(dense(5, 6), Quantize(U4)))
    with pytest.raises(UnsupportedError, match=r"'dense2' \(Dense\): its input 't1' is real numbers: no quantizer"):
        freeze(graph(Quantize(U4), dense(5, 6), dense(3, 5)))
    with pytest.raises(UnsupportedError, match="it has no quantizer, so nothing of it can be integer hardware"):
        freeze(graph(Relu()))
    with pytest.raises(UnsupportedError, match="no layer is left for the hardware"):
        freeze(graph(Quantize(U4), Relu()))


def test_softmax_ahead_of_a_quantizer_is_refused() -> None:
    g = graph(Quantize(U4), dense(5, 6), Softmax(), Quantize(U4), dense(2, 5))
    with pytest.raises(UnsupportedError, match=r"'softmax2' \(Softmax\): it stands ahead of the quantizer 'quantize3'"):
        freeze(g)


def test_a_relu_behind_a_quantizer_moves_ahead_of_it() -> None:
    g = graph(Quantize(Int(4), (0.25,)), dense(5, 6), Quantize(Int(4), (0.5,), 1), Relu(), dense(3, 5))
    ordered = reorder(tidy(g))
    assert kinds(ordered) == ["Quantize", "Dense", "Relu", "Quantize", "Dense"]
    assert ordered.nodes[3].output == "t3"
    same(g)


def test_a_relu_that_does_not_commute_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"'relu1' \(Relu\): a ReLU behind the bipolar quantizer 'quantize0'"):
        freeze(graph(Quantize(Bipolar()), Relu(), dense(5, 6)))
    with pytest.raises(
        UnsupportedError, match=r"'relu1' \(Relu\): the zero point 20 of 'quantize0' has no code in uint4"
    ):
        freeze(graph(Quantize(U4, (1.0,), 20), Relu(), dense(5, 6)))


def test_identities_disappear() -> None:
    g = graph(affine(), Reshape((6,)), affine(3.0, div=3.0), Quantize(U4), dense(5, 6))
    assert kinds(tidy(g)) == ["Quantize", "Dense"]


def test_wide_outputs_get_a_dyadic_scale_within_its_bound() -> None:
    g = graph(
        Quantize(Int(8), (0.1,)), dense(5, 6, (0.03,), Int(8)), affine(add=0.7), Relu(), Quantize(Int(12), (0.017,))
    )
    frozen = freeze(g)
    op = frozen.nodes[1].op
    assert isinstance(op, Requantize)
    assert 2**30 <= int(op.multiplier[0]) < 2**31
    x = inputs(g, 2000, -13, 13)
    exact, mine = golden.run(freeze(g, "thresholds"), x), golden.run(frozen, x)
    assert len(np.unique(mine)) > 500
    assert (np.abs(exact - mine) <= 1).all()
    assert (exact != mine).mean() < 1e-3


def test_dyadic_is_the_nearest_31_bit_fraction() -> None:
    from fractions import Fraction

    for ratio in (Fraction(1, 3), Fraction(7, 5), Fraction(1, 2**20), Fraction(10**6, 7), Fraction(2**40), Fraction(1)):
        m, shift = dyadic(ratio)
        assert abs(Fraction(m, 2**shift) - ratio) <= ratio / 2**31
        assert 0 <= shift <= 62
    assert dyadic(Fraction(0)) == (0, 0)
    assert dyadic(Fraction(1, 2**62)) == (1, 62)


def test_what_dyadic_cannot_express() -> None:
    base = (Quantize(U4), dense(5, 6, (0.3,)))
    uneven = graph(*base, Relu(), affine(add=np.arange(5.0)), Quantize(U4, (0.7,)))
    with pytest.raises(UnsupportedError, match=r"'quantize4' \(Quantize\): its ReLU clips at a different code in each"):
        freeze(uneven, "dyadic")
    away = graph(*base, Quantize(U4, (0.7,), 3, "away"))
    with pytest.raises(
        UnsupportedError, match="rounding 'away' with zero point 3 cannot be done by a multiply and shift"
    ):
        freeze(away, "dyadic")
    far = graph(*base, affine(add=1e12), Quantize(U4, (0.7,)))
    with pytest.raises(UnsupportedError, match="channel 0 needs more than 63 bits for its product"):
        freeze(far, "dyadic")
    # "auto" takes thresholds there, also for wide outputs.
    wide = graph(*base, Relu(), affine(add=np.arange(5.0)), Quantize(Int(10), (0.7,)))
    assert kinds(freeze(wide)) == ["MatVec", "Thresholds"]
    with pytest.raises(UnsupportedError, match="65535 thresholds for each of 100 channels are too many"):
        freeze(graph(Quantize(U4), dense(100, 6), Quantize(Int(16), (0.3,))), "thresholds")


def test_unknown_requantizer_is_refused() -> None:
    with pytest.raises(HwgenError, match="unknown requantizer 'float': one of auto, thresholds, dyadic"):
        freeze(graph(Quantize(U4), dense(5, 6)), "float")


def test_only_chains_are_taken() -> None:
    g = graph(Quantize(U4), dense(5, 6), Relu())
    first, second, third = g.nodes
    with pytest.raises(UnsupportedError, match=r"'relu2' \(Relu\): reads 't0', not 't1': not a chain"):
        chain(replace(g, nodes=(first, second, replace(third, inputs=("t0",)))))
    with pytest.raises(UnsupportedError, match="the output 't1' is not the last tensor"):
        chain(replace(g, outputs=("t1",)))
    with pytest.raises(UnsupportedError, match=r"'net' has 2 outputs \(t1, t2\), not one"):
        chain(replace(g, outputs=("t1", "t2")))


def test_verify_says_what_breaks_a_stage() -> None:
    g = graph(Quantize(U4), dense(5, 6))
    frozen = freeze(g)
    assert verify(g, "imported") is g
    with pytest.raises(HwgenError, match="unknown stage 'done': one of imported, frozen"):
        verify(g, "done")
    with pytest.raises(UnsupportedError, match="a frozen graph takes codes, not real numbers"):
        verify(g, "frozen")
    with pytest.raises(UnsupportedError, match="an imported graph takes real numbers, not codes"):
        verify(frozen, "imported")
    with pytest.raises(UnsupportedError, match="an imported graph has nothing on the host"):
        verify(replace(g, pre=(Relu(),)), "imported")
    with pytest.raises(UnsupportedError, match="MatVec cannot run on the host"):
        verify(replace(frozen, post=(frozen.nodes[0].op,)), "frozen")
    mixed = replace(frozen, nodes=(*frozen.nodes, Node("r", Relu(), (frozen.outputs[0],), "r")), outputs=("r",))
    with pytest.raises(UnsupportedError, match=r"node 'r' \(Relu\): it does not belong in a frozen graph"):
        verify(mixed, "frozen")
    wide = graph(Quantize(U4), Dense(np.full((2, 6), 9), Int(4)))
    with pytest.raises(UnsupportedError, match=r"'dense1' \(Dense\): weights 9..9 are not codes of int4 \(-8..7\)"):
        verify(wide, "imported")


def test_graphs_survive_json_at_both_stages() -> None:
    g = graph(affine(2.0, div=3.0), Quantize(U4, (0.3,)), dense(5, 6), Relu(), Quantize(Int(12), (0.07,)), dense(2, 5))
    for one in (g, freeze(g), freeze(g, "thresholds")):
        assert graph_from_json(json.loads(json.dumps(one.to_json())), OPS).hash == one.hash
