"""Quantizers that carry a format, read from modules: minifloats, fixed point, dynamic fixed point, MX blocks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from brevitas import nn as qnn
    from brevitas.quant.mx_quant_ocp import MXFloat8e4m3Act, MXFloat8e4m3Weight
    from torch import nn

    from hwgen import golden, quant
    from hwgen.errors import HwgenError
    from hwgen.formats import Blocked
    from hwgen.frontends.brevitas import from_brevitas
    from hwgen.ops import Dense, Quantize
    from hwgen.passes import explain, freeze

FAMILIES = ["MXFP4", "MXINT8", "NVFP4", "NVINT4", "FP4UE5M3", "E3M2", "E4M3", "QFX6", "DFP16"]


def network(weight: Any, act: Any, norm: bool = True, **options: Any) -> nn.Sequential:
    torch.manual_seed(2)
    norms = [nn.BatchNorm1d(32)] if norm else []
    module = nn.Sequential(
        qnn.QuantIdentity(act_quant=act, **options),
        qnn.QuantLinear(64, 32, bias=not norm, weight_quant=weight),
        *norms,
        qnn.QuantReLU(act_quant=act, **options),
        qnn.QuantLinear(32, 5, bias=False, weight_quant=weight),
    )
    module.train()
    for _ in range(3):
        module(torch.randn(64, 64))
    return module.eval()


def values(module: nn.Module, x: Any) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def keep(name: str) -> Any:
        def hook(layer: Any, inputs: Any, output: Any) -> None:
            seen[name] = np.asarray(getattr(output, "value", output).detach())

        return hook

    hooks = [layer.register_forward_hook(keep(name)) for name, layer in module.named_children()]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("norm", [True, False], ids=["norm", "bias"])
@pytest.mark.parametrize("family", FAMILIES)
def test_own_quantizers_equal_the_forward_pass(family: str, norm: bool) -> None:
    module = network(getattr(quant, f"{family}Weight"), getattr(quant, f"{family}Act"), norm)
    x = torch.randn(200, 64)
    imported = from_brevitas(module, torch.cat([x, 1.5 * x]))
    frozen = freeze(imported)
    seen = values(module, x)
    oracle = {node.output: seen[node.name] for node in imported.nodes if isinstance(node.op, Quantize)}
    codes = golden.trace(frozen, golden.encode(frozen, x.numpy()))
    found = explain(imported, frozen, x.numpy(), codes, oracle)
    assert not found.unexplained
    assert len(found.differing) < 20
    same = np.setdiff1d(np.arange(200), found.differing)
    last = list(seen)[-1]
    np.testing.assert_allclose(golden.predict(frozen, x.numpy())[same], seen[last][same], 1e-4, 1e-5)


def test_brevitas_own_mx_minifloats() -> None:
    module = network(MXFloat8e4m3Weight, MXFloat8e4m3Act, norm=False, group_dim=1)
    imported = from_brevitas(module, torch.randn(200, 64))
    formats = [node.op.format for node in imported.nodes if isinstance(node.op, Quantize | Dense)]
    assert all(isinstance(fmt, Blocked) for fmt in formats)
    x = torch.randn(100, 64).numpy()
    value: Any = x.astype(np.float64)
    for node in imported.nodes:
        value = node.op.run(value)
    seen = values(module, torch.from_numpy(x))
    np.testing.assert_allclose(value, seen[list(seen)[-1]], 1e-4, 1e-5)


def test_scales_of_blocks_that_are_not_ocps_are_refused() -> None:
    from brevitas.core.function_wrapper import CeilSte
    from brevitas.core.scaling import ConstScaling

    module = network(MXFloat8e4m3Weight, MXFloat8e4m3Act, norm=False, group_dim=1)
    scaling = module[0].act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl
    scaling.restrict_clamp_scaling.restrict_value_impl.float_to_int_impl = CeilSte()
    refused(module, r"only power-of-two scales found by OCP MX's rule \(floor\) are supported for each block")
    plain = qnn.QuantLinear(64, 5, weight_quant=MXFloat8e4m3Weight, input_quant=quant.MXFP4Act)
    plain.weight_quant.tensor_quant.scaling_impl = ConstScaling(torch.ones(5, 2, 1))
    refused(plain, "its blocks' scales are found by ConstScaling, which is not known; known: StatsFromParameterScaling")


@pytest.mark.parametrize("images", [False, True], ids=["features", "channels"])
def test_batch_normalization_in_fixed_point(images: bool) -> None:
    torch.manual_seed(4)
    product = nn.Conv2d(1, 4, 3) if images else nn.Linear(36, 4)
    norm = nn.BatchNorm2d(4) if images else nn.BatchNorm1d(4)
    tail = [nn.Flatten(), nn.Linear(64, 3)] if images else [nn.Linear(4, 3)]
    module = quant.quantize(nn.Sequential(product, norm, nn.ReLU(), *tail), "qfx8", "qfx8", batch_norm_bits=12)
    x = torch.randn(80, 1, 6, 6) if images else torch.randn(80, 36)
    for _ in range(3):
        module(x)
    imported = from_brevitas(module.eval(), x)
    factors, offsets = module[1].constants()
    node = next(node for node in imported.nodes if node.name == "1")
    assert np.array_equal(np.ravel(node.op.mul), factors.numpy())
    assert np.array_equal(np.ravel(node.op.add), offsets.numpy())
    with torch.no_grad():
        assert np.allclose(golden.predict(freeze(imported), x.numpy()), module(x).numpy(), atol=1e-5)


def test_learned_scales_that_are_no_powers_of_two() -> None:
    options: dict[str, Any] = {"power_of_two": False, "scaling": "learned"}
    weight, act = quant.weight("e3m2", per_channel=True, **options), quant.activation("e3m2", **options)
    module = network(weight, act, norm=False)
    x = torch.randn(50, 64)
    with torch.no_grad():
        found = module(x).numpy()
    assert np.allclose(golden.predict(freeze(from_brevitas(module, x)), x.numpy()), found, atol=1e-4)


def test_windows_hold_what_the_example_met() -> None:
    module = network(quant.MXFP4Weight, quant.MXFP4Act)
    x = torch.randn(100, 64)
    fmt = next(node.op.format for node in from_brevitas(module, x).nodes if isinstance(node.op, Quantize))
    assert isinstance(fmt, Blocked)
    scale = fmt.block.scale
    exponents = np.floor(np.log2(np.abs(x.numpy().reshape(-1, 32)).max(axis=1))) - 2
    assert scale.max_magnitude - scale.bias == exponents.max() + 1
    assert -scale.bias <= min(exponents.min(), exponents.max() - 6)


def test_nvfp4_takes_its_scales_from_the_tensor() -> None:
    module = network(quant.NVFP4Weight, quant.NVFP4Act)
    # Weights far below the greatest: their blocks have subnormal scales, of which not every one comes back by itself.
    with torch.no_grad():
        module[1].weight[3:9] *= torch.logspace(-5.4, -4.4, 6)[:, None]
        module[1].weight[9, :16] = 0
    imported = from_brevitas(module, torch.randn(4, 64))
    quantizer, dense = (
        next(node.op for node in imported.nodes if isinstance(node.op, kind)) for kind in (Quantize, Dense)
    )
    assert quantizer.format.name == dense.format.name == "blocked<block<e2m1,ue4m3_nan,16>>"
    assert quantizer.scale == (float(module[0].act_quant.fused_activation_quant_proxy.tensor_quant.tensor_scale),)
    weight = module[1].quant_weight().detach().numpy()
    assert dense.scale == (float(module[1].weight_quant.tensor_quant.tensor_scale),)
    worth = dense.format.decode(dense.weight) * dense.scale[0]
    np.testing.assert_array_equal(worth.astype(np.float32), weight)
    assert {1, 2} <= set(dense.format.scales(dense.weight[3:9]).ravel())


def refused(module: Any, message: str, example: Any = None) -> None:
    with pytest.raises(HwgenError, match=message):
        from_brevitas(module.eval(), torch.randn(4, 64) if example is None else example)


def test_what_carried_formats_cannot_be_is_refused() -> None:
    from hwgen.quant import block_activation, dynamic_activation

    refused(qnn.QuantIdentity(act_quant=quant.MXFP4Act), "nothing but zeros here", torch.zeros(4, 64))
    refused(qnn.QuantIdentity(act_quant=quant.FP4UE5M3Act), "nothing but zeros here", torch.zeros(4, 64))
    refused(
        qnn.QuantIdentity(act_quant=quant.NVFP4Act), "to nvfp4 has seen no data, so that it has no tensor scale yet"
    )
    up = qnn.QuantIdentity(act_quant=block_activation("fp4ue5m3", rounding="up"))
    refused(up, "elements of fp4ue5m3 are rounded to the nearest: one of half_even, half_away, half_zero, not up")
    even = qnn.QuantIdentity(act_quant=block_activation("mxfp4", scale_mode="even"))
    refused(even, "the scale mode 'even' is not supported; known: floor")
    dynamic = qnn.QuantIdentity(act_quant=dynamic_activation(16, exponent="dynamic"))
    refused(dynamic, r"its exponent depends on the input \(dynamic\)")
    chained = qnn.QuantIdentity(act_quant=dynamic_activation(16, accumulator="int32"))
    chained(torch.randn(9, 64))
    refused(chained, "its accumulator 'int32' is not supported; known: exact")
