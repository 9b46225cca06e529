"""Brevitas' integers and signs in fewer operations: the values and gradients of Brevitas' own."""

import copy

import pytest
import torch
from brevitas.core.quant import ClampedBinaryQuant, RescalingIntQuant
from brevitas.nn import QuantIdentity, QuantLinear

import hwgen.quant as quant
from hwgen.quant import integer
from hwgen.quant.fused import FusedBinaryQuant, FusedIntQuant


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_have_brevitas_values_and_gradients(bits: int, per_channel: bool) -> None:
    own = QuantLinear(40, 6, weight_quant=quant.integer_weight(bits, per_channel))
    plain = quant.integer_weight(bits, per_channel, tensor_quant=RescalingIntQuant)
    theirs = QuantLinear(40, 6, weight_quant=plain)
    # A row of zeros, and the greatest magnitude twice.
    weight = seeded(6, 40)
    weight[2], weight[0, 3], weight[1, 5] = 0.0, 4.0, -4.0
    grad = seeded(6, 40, seed=1)
    for layer in (own, theirs):
        layer.weight.data.copy_(weight)
        found = layer.quant_weight()
        (found.value * grad).sum().add(found.scale.sum()).backward()
    assert type(own.weight_quant.tensor_quant) is FusedIntQuant
    assert torch.equal(own.quant_weight().value, theirs.quant_weight().value)
    for part in ("scale", "zero_point", "bit_width"):
        assert torch.equal(getattr(own.quant_weight(), part), getattr(theirs.quant_weight(), part))
    rows = [0, 1, 3, 4, 5]
    assert torch.allclose(own.weight.grad[rows], theirs.weight.grad[rows], atol=1e-5)
    assert torch.equal(own.eval().quant_weight().value, theirs.eval().quant_weight().value)


@pytest.mark.parametrize("bits", [8, 3])
@pytest.mark.parametrize("unsigned", [False, True])
def test_activations_have_brevitas_values_and_gradients(bits: int, unsigned: bool) -> None:
    made = {"collect_stats_steps": 2, "unsigned": unsigned}
    own = QuantIdentity(act_quant=integer.integer_activation(bits, **made))
    theirs = QuantIdentity(act_quant=integer.integer_activation(bits, **made, tensor_quant=RescalingIntQuant))
    for step in range(5):
        # Some beyond the range, once the scale is learned; some on its ends and between its last two integers.
        x, grad = seeded(30, 20, seed=step) * (1 + step), seeded(30, 20, seed=9)
        if step == 4:
            with torch.no_grad():
                scale = theirs.eval().act_quant.scale()
                ends = torch.tensor([2.0**bits - 0.5, 2.0**bits - 1, 2.0 ** (bits - 1) - 0.5, -(2.0 ** (bits - 1))])
                x[0, :4] = ends * scale
                theirs.train()
        found = []
        for act in (own, theirs):
            act.zero_grad()
            given = x.clone().requires_grad_()
            value = act(given)
            value.backward(grad)
            inner = act.act_quant.fused_activation_quant_proxy.tensor_quant
            found.append((value, given.grad, inner.scaling_impl.value.grad))
        assert torch.equal(found[0][0], found[1][0])
        assert torch.allclose(found[0][1], found[1][1], atol=1e-5)
        assert torch.allclose(found[0][2], found[1][2], rtol=1e-3, atol=1e-4)
    assert own.state_dict().keys() == theirs.state_dict().keys()
    assert torch.equal(own.eval()(x), theirs.eval()(x))


def test_signs_have_brevitas_values_and_gradients() -> None:
    options = {"scaling_const": 0.1, "tensor_quant": ClampedBinaryQuant}
    own = QuantLinear(8, 6, weight_quant=integer.binary_weight(), input_quant=integer.binary_activation())
    theirs = QuantLinear(
        8,
        6,
        weight_quant=quant.SignedBinaryWeightPerTensorConst.let(**options),
        input_quant=quant.SignedBinaryActPerTensorConst.let(min_val=-1.0, max_val=1.0),
    )
    theirs.load_state_dict(own.state_dict())
    values = torch.tensor([-2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0])
    grad = seeded(3, 6)
    found = []
    for layer in (own, theirs):
        x = values.repeat(3, 1).requires_grad_()
        y = layer(x)
        y.backward(grad)
        found.append((y, x.grad, layer.weight.grad, layer.weight))
    assert isinstance(own.weight_quant.tensor_quant, FusedBinaryQuant)
    assert torch.equal(own.input_quant(values), theirs.input_quant(values))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    assert float(own.weight.abs().max()) <= 0.1 + 1e-7


def test_other_parts_than_the_usual_ones_run_brevitas_own_code() -> None:
    from brevitas.core.function_wrapper import FloorSte

    floors = QuantLinear(8, 2, weight_quant=quant.integer_weight(4, float_to_int_impl=FloorSte))
    inner = floors.weight_quant.tensor_quant
    assert not inner._plain()
    assert torch.equal(inner(floors.weight)[0], RescalingIntQuant.forward(inner, floors.weight)[0])


def test_copies_keep_their_scales() -> None:
    act = QuantIdentity(act_quant=quant.activation_quantizer("int8", collect_stats_steps=1))
    for _ in range(3):
        act(seeded(4, 5))
    again = copy.deepcopy(act)
    again.load_state_dict(act.state_dict())
    assert torch.equal(again.eval()(seeded(4, 5)), act.eval()(seeded(4, 5)))
