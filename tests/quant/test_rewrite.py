"""`quantize`: float networks as Brevitas layers; gradients in number formats; L-Mul layers in whole networks."""

import copy

import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from torch import nn
from torch.nn.functional import cross_entropy

import hwgen.quant as quant
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Minifloat
from hwgen.formats.multiply import product
from hwgen.quant.gradient import hadamard

COMBINATIONS = [
    ("e4m3", "e4m3", {}),
    ("e2m1", "e2m1", {"weight_options": {"per_channel": True, "scaling": "learned"}}),
    ("int4", "int4", {}),
    ("bipolar", "bipolar", {}),
    ("qfx6", "qfx6", {}),
    ("khot2", "qfx8", {}),
    ("dfp16", "dfp16", {"gradient": "dfp16"}),
    ("mxfp4", "mxfp4", {"gradient": "mxfp4"}),
    ("mxint8", "mxint8", {}),
    ("nvfp4", "nvfp4", {}),
    ("e4m3", "e4m3", {"multiplier": "lmul"}),
    ("e3m2", "e3m2", {"multiplier": "mitchell"}),
    ("fixed<8,3>", "fixed<8,4>", {}),
    (None, "e4m3", {}),
    ("e4m3", None, {}),
]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.Hardtanh(-2.0, 2.0),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(54, 10, bias=False),
    )


@pytest.mark.parametrize(("weight", "activation", "options"), COMBINATIONS)
def test_networks_train_in_every_format(weight: str, activation: str, options: dict[str, object]) -> None:
    model = quant.quantize(network(), weight, activation, **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = torch.rand(16, 1, 10, 10), torch.arange(16) % 10
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all()
    assert min(losses[6:]) < losses[0]
    model.eval()
    again = copy.deepcopy(model)
    again.load_state_dict(model.state_dict())
    assert torch.equal(model(x), again.eval()(x))


def test_every_product_gets_its_input_quantized_once() -> None:
    model = quant.quantize(network(), "e4m3", "e4m3", first="int8")
    assert isinstance(model[0], qnn.QuantConv2d)
    assert "Int" in type(model[0].input_quant.fused_activation_quant_proxy.tensor_quant).__name__
    assert isinstance(model[2], qnn.QuantReLU)
    assert not model[4].input_quant.is_quant_enabled
    assert isinstance(model[5][1], qnn.QuantIdentity)
    assert not model[8].input_quant.is_quant_enabled
    assert model[8].bias is None
    assert torch.equal(model[8].weight, network()[8].weight)


def test_what_no_activation_quantizes_is_quantized_at_the_layer() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    found = quant.quantize(model, "e4m3", "e3m2", first="e5m2")
    formats = [found[k].input_quant.tensor_quant.format.name for k in (0, 2)]
    assert formats == ["e5m2", "e3m2"]
    alone = quant.quantize(nn.Linear(4, 2), "e4m3", "e4m3")
    assert isinstance(alone, qnn.QuantLinear)
    assert alone.input_quant.is_quant_enabled


def test_the_original_stays_as_it_is() -> None:
    model = network().eval()
    before = copy.deepcopy(model.state_dict())
    found = quant.quantize(model)
    assert type(model[0]) is nn.Conv2d
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    assert not found.training


def test_an_lmul_layer_sums_the_products_of_codes() -> None:
    torch.manual_seed(1)
    model = quant.quantize(nn.Sequential(nn.ReLU(), nn.Linear(40, 5)), "e4m3", "e4m3", multiplier="lmul")
    model(torch.randn(20, 40) * 10)
    model.eval()
    x = torch.randn(6, 40) * 10
    act, layer = model[0].act_quant.tensor_quant, model[1]
    fmt = act.format
    assert isinstance(fmt, Minifloat)
    codes = fmt.encode((model[0](x) / act.scale).detach().numpy())
    scale = layer.weight_quant.scale()
    weights = fmt.encode((layer.quant_weight() / scale).detach().numpy())
    significand, exponent = product(codes[:, None, :], weights[None], fmt, fmt, "lmul")
    total = np.ldexp(significand.astype(np.float64), exponent.astype(np.int32)).sum(axis=-1).astype(np.float32)
    want = torch.from_numpy(total) * (act.scale.detach() * scale) + layer.bias.detach()
    assert torch.equal(model(x).detach(), want)


def test_lmul_weights_and_activations_share_the_range() -> None:
    model = quant.quantize(nn.Sequential(nn.ReLU(), nn.Linear(40, 5)), "e4m3", "e4m3", multiplier="lmul")
    assert model[1].weight_quant.tensor_quant.target == 1.0
    assert model[0].act_quant.tensor_quant.target == 448.0
    model = quant.quantize(nn.Sequential(nn.ReLU(), nn.Linear(40, 5)), "e3m2", "e3m2", multiplier="lmul")
    assert model[1].weight_quant.tensor_quant.target * model[0].act_quant.tensor_quant.target == 28.0


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_quantized_is_named() -> None:
    with pytest.raises(UnsupportedError, match=r"layer '0': a convolution that pads by 'reflect' is not quantized"):
        quant.quantize(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")))
    with pytest.raises(UnsupportedError, match=r"Branching cannot be traced by torch.fx"):
        quant.quantize(Branching())
    with pytest.raises(HwgenError, match=r"lmul takes one minifloat format, not e4m3 and e5m2"):
        quant.quantize(network(), "e4m3", "e5m2", multiplier="lmul")
    with pytest.raises(HwgenError, match=r"lmul multiplies minifloats, not int8"):
        quant.quantize(network(), "int8", "int8", multiplier="lmul")
    with pytest.raises(HwgenError, match=r"unknown multiplier 'fast'"):
        quant.quantize(network(), multiplier="fast")


def test_lmul_layers_say_what_they_lack() -> None:
    x = torch.rand(2, 4)
    bare = quant.Linear(4, 2, weight_quant=quant.E4M3Weight, multiplier="lmul")
    with pytest.raises(HwgenError, match=r"Linear with the multiplier lmul needs its activations' scale"):
        bare(x)
    mixed = quant.Linear(4, 2, weight_quant=quant.E4M3Weight, input_quant=quant.E5M2Act, multiplier="lmul")
    with pytest.raises(HwgenError, match=r"takes one format, not e5m2 and e4m3"):
        mixed(x)
    plain = quant.Linear(
        4, 2, weight_quant=quant.Int8WeightPerTensorFloat, input_quant=quant.E4M3Act, multiplier="lmul"
    )
    with pytest.raises(HwgenError, match=r"needs weights in a minifloat format of hwgen.quant"):
        plain(x)
    same = quant.Conv2d(
        1, 1, 3, padding="same", weight_quant=quant.E4M3Weight, input_quant=quant.E4M3Act, multiplier="lmul"
    )
    with pytest.raises(HwgenError, match=r"pads with zeros, by numbers; not by 'same' with zeros"):
        same(torch.rand(1, 1, 5, 5))


@pytest.mark.parametrize("name", ["e5m2", "dfp16", "mxfp4", "nvfp4"])
@pytest.mark.parametrize("turned", [False, True])
def test_gradients_are_quantized_without_bias(name: str, turned: bool) -> None:
    torch.manual_seed(0)
    grad = torch.randn(8, 40)
    cast = quant.GradientQuant(name, stochastic=True, hadamard=turned)
    mean = torch.stack([cast(grad) for _ in range(400)]).mean(dim=0)
    # In OCP's scale a block's greatest number may saturate, which no random number mends.
    allowed = 0.35 if name == "mxfp4" else 0.1
    assert float((mean - grad).abs().mean()) < allowed * float(grad.abs().mean())
    nearest = quant.GradientQuant(name, stochastic=False)
    assert torch.equal(nearest(nearest(grad)), nearest(grad))


def test_a_layers_gradient_is_quantized_on_its_way_back() -> None:
    cast = quant.GradientQuant("e2m1", stochastic=False)
    layer = quant.Linear(4, 3, weight_quant=None, gradient=cast)
    x = torch.randn(5, 4, requires_grad=True)
    grad = torch.randn(5, 3)
    layer(x).backward(grad)
    assert torch.allclose(x.grad, cast(grad) @ layer.weight)
    assert not torch.equal(cast(grad), grad)


def test_the_hadamard_matrix_is_its_own_inverse() -> None:
    x = torch.randn(3, 2, 16)
    assert torch.allclose(hadamard(hadamard(x)), x, atol=1e-6)
    matrix = hadamard(torch.eye(16)) * 4
    assert torch.equal(matrix.abs(), torch.ones(16, 16))
    assert torch.equal(matrix @ matrix.T, 16 * torch.eye(16))
    with pytest.raises(HwgenError, match=r"the Hadamard matrix has 16 rows, not 8"):
        hadamard(torch.ones(8))


@pytest.mark.parametrize("fmt", ["e4m3", "mxfp4", "int8"])
def test_the_short_way_of_training_gives_what_brevitas_way_gives(fmt: str) -> None:
    torch.manual_seed(0)
    options = {"activation_options": {"collect_stats_steps": 2}} if fmt == "int8" else {}
    short = quant.quantize(nn.Sequential(nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 4)), fmt, fmt, **options).train()
    x = torch.randn(16, 32)
    for _ in range(40):
        short(x)
    long = copy.deepcopy(short)
    called = []
    for module in long.modules():
        if hasattr(module, "tracked_module_list"):
            module.register_forward_hook(lambda *_: called.append(1))
    one, other = short(x), long(x)
    assert len(called) >= 4
    assert torch.equal(one, other)
    one.square().sum().backward()
    other.square().sum().backward()
    for (name, a), b in zip(short.named_parameters(), long.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
