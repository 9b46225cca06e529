"""The quantizers as Brevitas has them: the contract that every one keeps, their scales, and their gradients."""

import copy
import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear, QuantReLU
from brevitas.quant_tensor import FloatQuantTensor, IntQuantTensor

import hwgen.quant as quant
from hwgen.errors import HwgenError
from hwgen.formats import ROUNDING, Block, DynamicFixed, Format, khot
from hwgen.quant.block_cast import from_blocks, to_blocks
from hwgen.quant.fixed import PointQuant, khot_levels
from hwgen.quant.scaled import ScaledQuant, scale_for
from hwgen.quant.ste import power_of_two, scaled_cast

OWN_WEIGHTS = ["e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "e3m0", "e2m2", "fixed<8,3>", "qfx8", "qfx4", "khot1", "khot2b6"]
OWN_ACTS = [name for name in OWN_WEIGHTS if not name.startswith("khot")]
SHARED = ["dfp16", "dfp8", "mxfp8e4m3", "mxfp8e5m2", "mxfp6e3m2", "mxfp6e2m3", "mxfp4", "mxint8"]
SHARED += ["nvfp4", "nvint4", "fp4ue5m3", "int4ue5m3"]


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(math.prod(shape)))


def expected(quantizer: torch.nn.Module, x: torch.Tensor) -> np.ndarray:
    """The contract: what the format itself makes of `x`, as float32."""
    fmt = quantizer.format
    assert quantizer.rounding in ROUNDING
    if isinstance(fmt, Block):
        axis = quantizer.axis_of(x)
        whole = float(quantizer.scale)
        codes = fmt.encode(to_blocks(x, fmt.size, axis).numpy(), quantizer.rounding, quantizer.scale_mode, whole)
        value = torch.from_numpy(fmt.decode(*codes, whole).astype(np.float32))
        return from_blocks(value, x.shape[axis], axis).numpy()
    if isinstance(fmt, DynamicFixed):
        return fmt.decode(*fmt.encode(x.numpy(), quantizer.rounding, int(quantizer.exponent))).astype(np.float32)
    assert isinstance(fmt, Format)
    scale = quantizer.scale.detach()
    scaled = (x / scale).numpy()
    if hasattr(quantizer, "k"):
        scaled = np.clip(khot.nearest(scaled, quantizer.k), -(2 ** (fmt.bits - 1)) + 1, 2 ** (fmt.bits - 1) - 1)
        scaled = np.where(
            np.abs(scaled) > quantizer.levels[-1].item(), np.sign(scaled) * quantizer.levels[-1].item(), scaled
        )
    return (torch.from_numpy(fmt.decode(fmt.encode(scaled, quantizer.rounding)).astype(np.float32)) * scale).numpy()


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.array_equal(np.ascontiguousarray(a).view(np.int32), np.ascontiguousarray(b).view(np.int32)))


@pytest.mark.parametrize("name", OWN_WEIGHTS + SHARED)
def test_weights_are_what_the_format_makes_of_them(name: str) -> None:
    for options in ({}, {"per_channel": True}, {"scaling": "learned", "power_of_two": False}):
        if options and (name in SHARED or "qfx" in name or "fixed" in name):
            continue
        for layer in (
            QuantLinear(50, 6, weight_quant=quant.weight_quantizer(name, **options)),
            QuantConv2d(18, 6, 3, weight_quant=quant.weight_quantizer(name, **options)),
        ):
            layer.weight = torch.nn.Parameter(seeded(*layer.weight.shape))
            layer.eval()
            value = layer.quant_weight().detach()
            assert same_bits(value.numpy(), expected(layer.weight_quant.tensor_quant, layer.weight.detach())), options
    assert torch.equal(layer.weight_quant.scale(), layer.weight_quant.tensor_quant.scale)
    assert float(layer.weight_quant.zero_point()) == 0
    assert float(layer.weight_quant.bit_width()) >= 3


@pytest.mark.parametrize("name", OWN_ACTS + SHARED)
@pytest.mark.parametrize("shape", [(8, 40), (4, 20, 5, 5)], ids=["features", "channels"])
def test_activations_are_what_the_format_makes_of_them(name: str, shape: tuple[int, ...]) -> None:
    act = QuantIdentity(act_quant=quant.activation_quantizer(name))
    for step in range(3):
        act(seeded(*shape) * (1 + step))
    act.eval()
    x = seeded(*shape) * 5
    assert same_bits(act(x).detach().numpy(), expected(act.act_quant.tensor_quant, x))
    assert torch.equal(act.act_quant.scale(), act.act_quant.tensor_quant.scale)


@pytest.mark.parametrize("name", ["e4m3", "qfx8", "dfp16", "nvfp4"])
def test_activations_that_saw_no_data_have_no_scale(name: str) -> None:
    act = QuantIdentity(act_quant=quant.activation_quantizer(name)).eval()
    with pytest.raises(HwgenError, match=r"has seen no data, so that it has no (scale|exponent|tensor scale) yet"):
        act(seeded(2, 3))


def test_a_relu_runs_ahead_of_its_quantizer_and_needs_no_sign_in_fixed_point() -> None:
    relu = QuantReLU(act_quant=quant.activation_quantizer("qfx4", unsigned=True))
    relu(torch.linspace(-1, 1.875, 24))
    relu.eval()
    found = relu(torch.linspace(-1, 1.875, 24)).detach()
    assert found.min() == 0
    assert found.max() == 1.875
    assert relu.act_quant.tensor_quant.format.name == "uint4"
    assert relu.act_quant.tensor_quant.fixed.name == "ufixed<4,1>"


def test_layers_that_return_quantized_tensors_get_brevitas_own() -> None:
    x = seeded(4, 5)
    float_act = QuantIdentity(act_quant=quant.E4M3Act, return_quant_tensor=True)
    found = float_act(x)
    assert isinstance(found, FloatQuantTensor)
    assert found.is_valid
    assert found.nan_values == ("111",)
    fixed = QuantIdentity(act_quant=quant.QFX8Act, return_quant_tensor=True)(x)
    assert isinstance(fixed, IntQuantTensor)
    assert fixed.is_valid
    with pytest.raises(HwgenError, match=r"Brevitas has no quantized tensor for mxfp4"):
        QuantIdentity(act_quant=quant.MXFP4Act, return_quant_tensor=True)(x)


def test_per_channel_powers_of_two_are_the_exponent_biases_of_llm_fp4() -> None:
    layer = QuantLinear(16, 3, weight_quant=quant.E2M1WeightPerChannel)
    layer.weight = torch.nn.Parameter(seeded(3, 16) * torch.tensor([[1.0], [8.0], [0.01]]))
    scale = layer.weight_quant.scale()
    assert scale.shape == (3, 1)
    assert torch.equal(torch.frexp(scale)[0], torch.full((3, 1), 0.5))
    greatest = (layer.weight.detach() / scale).abs().amax(dim=1)
    assert ((greatest > 3) & (greatest <= 6)).all()


def test_statistics_bring_the_greatest_magnitude_to_the_target() -> None:
    greatest = torch.tensor([6.0, 6.0001, 0.0, 3.0])
    assert scale_for(greatest, 6.0, True).tolist() == [1.0, 2.0, 2.0**-100, 0.5]
    assert torch.equal(scale_for(greatest[:2], 6.0, False), greatest[:2] / 6)


def test_powers_of_two_are_exact() -> None:
    exponents = torch.arange(-126, 128, dtype=torch.float32)
    assert power_of_two(exponents).tolist() == [2.0**e for e in range(-126, 128)]


def test_learned_scales_start_from_data_and_then_follow_their_gradient() -> None:
    act = QuantIdentity(act_quant=quant.activation_quantizer("e3m2", power_of_two=False, collect_steps=2))
    inner = act.act_quant.tensor_quant
    for step in (1.0, 1.0):
        act(torch.tensor([28.0 * step, -3.0]))
    assert float(inner.scale.detach()) == pytest.approx(1.0)
    act(torch.tensor([280.0]))
    assert float(inner.scale.detach()) == pytest.approx(1.0)
    act(torch.tensor([280.0, 1.1])).sum().backward()
    # 28 for the number outside, 1 - 1.1 for the one inside; times scale * ln 2.
    assert float(inner.log2_scale.grad) == pytest.approx((28 + 1.0 - 1.1) * math.log(2), rel=1e-5)


def test_statistics_follow_a_running_mean_while_training_alone() -> None:
    act = QuantIdentity(act_quant=quant.activation_quantizer("e3m2", scaling="stats", power_of_two=False))
    act(torch.tensor([28.0]))
    act(torch.tensor([56.0]))
    act.eval()
    act(torch.tensor([280.0]))
    assert float(act.act_quant.scale()) == pytest.approx(1.1)


def test_a_frozen_scale_no_longer_follows() -> None:
    layer = QuantLinear(8, 2, weight_quant=quant.E4M3Weight)
    inner = layer.weight_quant.tensor_quant
    inner.freeze(torch.tensor(0.25))
    layer.weight.data.mul_(100)
    assert float(inner.scale.detach()) == 0.25
    again = copy.deepcopy(layer)
    again.load_state_dict(layer.state_dict())
    assert float(again.weight_quant.tensor_quant.scale) == 0.25


def test_gradients_pass_inside_of_the_range_and_stop_outside() -> None:
    x = torch.tensor([-500.0, -448.0, -1.03, 0.0, 1e-9, 448.0, 448.1], requires_grad=True)
    scale = torch.tensor(1.0, requires_grad=True)
    fmt = quant.E4M3Weight.number_format
    inner = ScaledQuant(fmt, scaling="one")
    y = scaled_cast(x, scale, inner.cast, inner.low, inner.high)
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 1, 0]
    error = (y - x).detach()
    assert float(scale.grad) == pytest.approx(float(error[1:6].sum()) - 448 + 448)


def test_the_gradient_of_a_binary_point_is_that_of_qfx() -> None:
    inner = PointQuant(4)
    inner.point.data.fill_(2.3)
    inner.steps.fill_(inner.collect_steps)
    x = torch.tensor([0.3, -0.6, 5.0, -5.0], requires_grad=True)
    y = inner(x)[0]
    assert y.tolist() == [0.25, -0.5, 1.75, -2.0]
    y.backward(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert x.grad.tolist() == [1, 2, 0, 0]
    s, ln2 = 0.25, math.log(2)
    inside = -s * ln2 * (1.0 * (1 - 1.2) + 2.0 * (-2 - -2.4))
    outside = -ln2 * (3.0 * 1.75 + 4.0 * -2.0)
    assert float(inner.point.grad) == pytest.approx(inside + outside, rel=1e-5)


def test_the_point_of_a_weight_follows_it_in_the_first_steps() -> None:
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 64))
    inner = PointQuant(4, collect_steps=2, tracked_parameter_list=[weight])
    start = float(inner.point)
    points = []
    for factor in (1.0, 8.0, 64.0):
        weight.data = torch.linspace(-factor, factor, 64)
        inner(weight)
        points.append(start - float(inner.point))
    assert points == [0, 3, 3]
    assert int(inner.steps) == 2


def test_the_point_of_activations_starts_at_the_least_squared_error() -> None:
    inner = PointQuant(4, unsigned=True)
    x = torch.cat((torch.full((1000,), 0.9), torch.tensor([4.0])))
    inner(x)
    errors = {p: float((inner.cast(x * 2.0**p) / 2.0**p - x).square().sum()) for p in (1, 2, 3, 4)}
    assert float(inner.point) == min(errors, key=errors.__getitem__) > 1
    inner.observer_only = True
    inner(x)  # calibration searches the scale itself
    assert float(inner.point) == 1


def test_the_gradient_of_a_learned_exponent_agrees_with_finite_differences() -> None:
    # What saturates is smooth in the exponent: greatest * 2**exponent.
    inner = ScaledQuant(quant.E2M1Weight.number_format, scaling="learned", power_of_two=False)
    inner.steps.fill_(inner.collect_steps)
    x = torch.tensor([100.0, -70.0, 50.0])

    def total(exponent: float) -> torch.Tensor:
        inner.log2_scale.data.fill_(exponent)
        return inner(x)[0].sum()

    step = 1e-2
    slope = float((total(0.5 + step) - total(0.5 - step)).detach()) / (2 * step)
    total(0.5).backward()
    assert float(inner.log2_scale.grad) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("name", ["mxfp4", "nvfp4", "dfp16"])
def test_the_gradient_of_shared_scales_is_straight_through(name: str) -> None:
    act = QuantIdentity(act_quant=quant.activation_quantizer(name))
    x = seeded(4, 40).requires_grad_()
    grad = seeded(4, 40)
    act(x).backward(grad)
    assert torch.equal(x.grad, grad)


def test_integer_elements_clip_symmetrically() -> None:
    act = QuantIdentity(act_quant=quant.MXINT8Act).eval()
    x = torch.full((1, 32), -1.9999)
    assert float(act(x).min()) == -127 / 64


def test_stochastic_rounding_keeps_the_mean_while_training_alone() -> None:
    torch.manual_seed(0)
    act = QuantIdentity(act_quant=quant.block_activation("mxfp4", stochastic=True))
    x = torch.full((500, 32), 2.6)
    x[:, 0] = 6.0
    mean = float(act(x)[:, 1:].mean())
    assert mean == pytest.approx(2.6, abs=0.02)
    act.eval()
    assert float(act(x)[:, 1:].mean()) == 3.0


def test_each_frame_has_a_dynamic_exponent_of_its_own() -> None:
    act = QuantIdentity(act_quant=quant.DFP16DynamicAct).eval()
    x = seeded(3, 40) * torch.tensor([[1.0], [1000.0], [1e-3]])
    fmt = act.act_quant.tensor_quant.format
    for frame, found in zip(x, act(x), strict=True):
        assert same_bits(found.numpy(), fmt.decode(*fmt.encode(frame.numpy())).astype(np.float32))
    with pytest.raises(HwgenError, match=r"a dynamic exponent is that of each frame"):
        act.act_quant.scale()


def test_int32_chains_shift_their_operands_as_the_golden_model_does() -> None:
    from hwgen.golden.dynamic import shift_operand

    act = QuantIdentity(act_quant=quant.dynamic_activation(16, accumulator="int32"))
    x = seeded(4, 40)
    act(x)
    act.eval()
    inner = act.act_quant.tensor_quant
    exponent, codes = inner.format.encode(x.numpy(), exponent=int(inner.exponent))
    shifted, _ = shift_operand(codes, inner.format)
    assert np.array_equal(act(x).numpy(), np.ldexp(shifted.astype(np.float64), exponent + 2).astype(np.float32))


def test_khot_levels_are_the_sums_of_few_powers() -> None:
    assert khot_levels(1, 5) == (0, 1, 2, 4, 8)
    assert khot_levels(2, 4) == (0, 1, 2, 3, 4, 5, 6, 7)
    layer = QuantLinear(64, 4, weight_quant=quant.Khot2Weight)
    codes = (layer.quant_weight() / layer.weight_quant.scale()).detach().to(torch.int64).numpy()
    assert khot.hot(codes).max() <= 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: quant.weight_quantizer("uint8"), r"weights have a sign, and uint8 has none"),
        (lambda: quant.activation_quantizer("khot2"), r"khot2 is for weights"),
        (lambda: quant.weight("mxfp4"), r"mxfp4 shares a scale in blocks or in the tensor"),
        (lambda: quant.block_weight("e4m3"), r"e4m3 is no block format"),
        (
            lambda: QuantIdentity(act_quant=quant.activation("e4m3", per_channel=True)),
            r"a scale for each channel is for",
        ),
        (lambda: QuantIdentity(act_quant=quant.activation("e4m3", scaling="best")), r"unknown scaling 'best'"),
        (lambda: QuantIdentity(act_quant=quant.fixed_activation(30)), r"has 2 to 24 bits, not 30"),
        (lambda: khot_levels(0, 8), r"1 power of two or more and 2 to 16 bits, not 0 and 8"),
        (lambda: QuantIdentity(act_quant=quant.dynamic_activation(16, exponent="best")), r"one of static, dynamic"),
        (lambda: QuantIdentity(act_quant=quant.dynamic_activation(16, accumulator="int8")), r"one of exact, int32"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(HwgenError, match=message):
        make()


def test_channels_with_points_of_their_own_have_no_one_fixed_format() -> None:
    inner = PointQuant(8, per_channel=True, tracked_parameter_list=[torch.tensor([[1.0, 1.0], [100.0, 50.0]])])
    with pytest.raises(HwgenError, match=r"2 binary points make no one fixed-point format"):
        _ = inner.fixed


@pytest.mark.slow
def test_torch_is_imported_with_the_first_quantizer_only() -> None:
    code = "import sys, hwgen, hwgen.quant; assert 'torch' not in sys.modules; hwgen.quant.E4M3Act"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match=r"module 'hwgen.quant' has no attribute 'E9M9Act'"):
        _ = quant.E9M9Act


def test_every_public_name_is_there() -> None:
    for name in quant.__all__:
        assert getattr(quant, name) is not None


@pytest.mark.parametrize("name", ["e4m3", "qfx8", "e3m0"])
@pytest.mark.parametrize("wide", [1.0, 100.0], ids=["inside", "saturating"])
def test_scales_learn_the_same_whether_the_input_needs_a_gradient(name: str, wide: float) -> None:
    act = QuantIdentity(act_quant=quant.activation_quantizer(name, collect_steps=1))
    x = seeded(8, 40)
    act(x)
    found = []
    for needs in (False, True):
        act.zero_grad()
        (act((x * wide).requires_grad_(needs)) * seeded(8, 40)).sum().backward()
        found.append(next(act.parameters()).grad.clone())
    assert torch.allclose(found[0], found[1], rtol=1e-4)


def test_a_scale_that_is_nan_shows() -> None:
    assert math.isnan(float(power_of_two(torch.tensor(math.nan))))
    assert math.isnan(float(scale_for(torch.tensor(math.nan), 6.0, True)))
    assert float(scale_for(torch.tensor(math.inf), 6.0, True)) == math.inf
