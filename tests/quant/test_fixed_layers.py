"""Batch normalization, sums and averages in fixed point."""

import numpy as np
import pytest
import torch
from torch import nn

from hwgen.errors import HwgenError
from hwgen.formats import scalar
from hwgen.quant import quantize
from hwgen.quant.cast import cast
from hwgen.quant.fixed_layers import FixedAdd, FixedAverage, FixedBatchNorm


def numbers(*shape: int) -> torch.Tensor:
    """Fixed point of 8 bits, 5 of them behind the point."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    return cast(x, scalar("fixed<8,3>"))


@pytest.mark.parametrize(("make", "shape"), [(nn.BatchNorm1d, (64, 6)), (nn.BatchNorm2d, (16, 6, 4, 4))])
def test_batch_normalization_follows_pytorchs_and_is_fixed_point_in_eval_mode(make: type, shape: tuple) -> None:
    torch.manual_seed(0)
    plain, inner = make(6), make(6)
    with torch.no_grad():
        for norm in (plain, inner):
            norm.weight.copy_(torch.linspace(0.5, 2, 6))
            norm.bias.copy_(torch.linspace(-1, 1, 6))
    norm = FixedBatchNorm(inner, bits=16)
    x = numbers(*shape)
    for _ in range(5):
        assert torch.allclose(norm(x), plain(x), atol=2e-3)
    assert torch.allclose(inner.running_var, plain.running_var)
    assert torch.allclose(inner.running_mean, plain.running_mean)
    norm.eval()
    factor, offset = norm.constants()
    for quantizer, values in ((norm.factor_quant, factor), (norm.offset_quant, offset)):
        fmt = quantizer.fixed
        assert fmt.bits == 16
        assert np.array_equal(fmt.decode(fmt.encode(values.numpy())).astype(np.float32), values.numpy())
    whole = (1, -1, *([1] * (x.ndim - 2)))
    exact = x.double() * factor.double().view(whole) + offset.double().view(whole)
    assert torch.equal(norm(x), exact.float())


def test_batch_normalization_learns_its_points() -> None:
    norm = FixedBatchNorm(nn.BatchNorm1d(6), bits=8)
    norm(numbers(32, 6)).square().sum().backward()
    assert norm.norm.weight.grad is not None
    assert norm.factor_quant.point.grad is not None
    assert norm.offset_quant.point.grad is not None


def test_batch_normalization_without_parameters_is_refused() -> None:
    with pytest.raises(HwgenError, match=r"batch normalization in fixed point needs parameters and running statistics"):
        FixedBatchNorm(nn.BatchNorm1d(6, affine=False))


def test_sums_are_exact_or_brought_to_bits() -> None:
    x, y = numbers(4, 6), numbers(4, 6) / 4
    assert torch.equal(FixedAdd()(x, y), x + y)
    add = FixedAdd(bits=8)
    add(x, y)
    add.eval()
    fmt = add.sum_quant.fixed
    assert np.array_equal(add(x, y).detach().numpy(), fmt.decode(fmt.encode((x + y).numpy())).astype(np.float32))


@pytest.mark.parametrize("size", [2, 3, 4, 7])
def test_averages_multiply_by_a_fixed_point_reciprocal(size: int) -> None:
    average = FixedAverage(size, bits=12)
    x = numbers(2, 3, 14, 14)
    total = x.unfold(2, size, size).unfold(3, size, size).sum(dim=(-1, -2))
    assert torch.equal(average(x), total * average.reciprocal)
    assert average.format.decode(average.format.encode(average.reciprocal)) == average.reciprocal
    assert abs(average.reciprocal * size * size - 1) <= 2.0**-11


def test_networks_take_batch_normalization_in_fixed_point() -> None:
    model = quantize(nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU()), "qfx6", "qfx6", batch_norm_bits=12)
    assert isinstance(model[1], FixedBatchNorm)
    model(torch.rand(16, 8)).sum().backward()
    assert torch.isfinite(model[0].weight.grad).all()
