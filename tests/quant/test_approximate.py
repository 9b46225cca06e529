"""Layers whose products are L-Mul's, Mitchell's and the like: every sum is that of the format's own products."""

import numpy as np
import pytest
import torch
from torch.nn.functional import unfold

from hwgen.errors import HwgenError
from hwgen.formats import Format, scalar
from hwgen.formats.multiply import product
from hwgen.quant import approximate
from hwgen.quant.approximate import ApproximateConv, ApproximateLinear, Window, tables

MULTIPLIERS = ("lmul", "mitchell", "lmul_formula", "lmul_formula_trunc")
ONE = torch.ones(())
FORMATS = ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "e3m0", "e1m3")


def sums(x: np.ndarray, weight: np.ndarray, fmt: Format, multiplier: str) -> np.ndarray:
    a, b = fmt.encode(x), fmt.encode(weight)
    significand, exponent = product(a[..., :, None, :], b[None, :, :], fmt, fmt, multiplier)
    return np.ldexp(significand.astype(np.float64), exponent.astype(np.int32)).sum(axis=-1)


def draw(fmt: Format, shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> np.ndarray:
    return fmt.decode(fmt.encode(rng.standard_normal(shape) * float(fmt.extremes[1]) * scale)).astype(np.float32)


@pytest.mark.parametrize("cost", [0, 240, 10**9], ids=["classes", "measured", "looked up"])
@pytest.mark.parametrize("name", FORMATS)
def test_linear_layers_sum_the_formats_products(name: str, cost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "CLASS_COST", 10**9 if cost == 0 else 0 if cost == 10**9 else cost)
    fmt, rng = scalar(name), np.random.default_rng(1)
    for multiplier in MULTIPLIERS:
        for scale in (1.0, 0.1, 0.01):
            x, w = draw(fmt, (5, 33), scale, rng), draw(fmt, (7, 33), scale, rng)
            operands = (torch.from_numpy(x), torch.from_numpy(w), ONE, ONE)
            found = ApproximateLinear.apply(*operands, tables(fmt, multiplier, torch.float64))
            assert np.array_equal(found.numpy(), sums(x, w, fmt, multiplier).astype(np.float32)), (multiplier, scale)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", ["e4m3", "e3m2"])
def test_convolutions_sum_the_formats_products(name: str, groups: int) -> None:
    fmt, rng = scalar(name), np.random.default_rng(2)
    window = Window((2, 1), (2, 1), (1, 2), groups)
    for multiplier in ("lmul", "lmul_formula_trunc"):
        x, w = draw(fmt, (2, 4, 7, 8), 0.2, rng), draw(fmt, (6, 4 // groups, 3, 2), 0.05, rng)
        left, right = torch.from_numpy(x), torch.from_numpy(w)
        found = ApproximateConv.apply(left, right, ONE, ONE, tables(fmt, multiplier, torch.float64), window)
        parts = []
        for part, kernel in zip(left.chunk(groups, 1), right.chunk(groups, 0), strict=True):
            columns = unfold(part, (3, 2), window.dilation, window.padding, window.stride).transpose(1, 2)
            parts.append(sums(columns.numpy(), kernel.flatten(1).numpy(), fmt, multiplier))
        want = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1).reshape(found.shape)
        assert np.array_equal(found.numpy(), want.astype(np.float32))


def test_the_gradient_is_that_of_exact_products() -> None:
    fmt, rng = scalar("e4m3"), np.random.default_rng(3)
    x = torch.from_numpy(draw(fmt, (5, 9), 0.02, rng)).requires_grad_()
    w = torch.from_numpy(draw(fmt, (4, 9), 0.02, rng)).requires_grad_()
    grad = torch.from_numpy(rng.standard_normal((5, 4)).astype(np.float32))
    ApproximateLinear.apply(x, w, ONE, ONE, tables(fmt, "lmul")).backward(grad)
    assert torch.equal(x.grad, grad @ w)
    assert torch.equal(w.grad, grad.T @ x)
    x = torch.from_numpy(draw(fmt, (2, 4, 6), 0.02, rng)).requires_grad_()
    w = torch.from_numpy(draw(fmt, (3, 4, 3), 0.02, rng)).requires_grad_()
    window = Window((1,), (1,), (1,), 1)
    grad = torch.ones(2, 3, 6)
    ApproximateConv.apply(x, w, ONE, ONE, tables(fmt, "lmul"), window).backward(grad)
    u, v = x.detach().requires_grad_(), w.detach().requires_grad_()
    torch.conv1d(u, v, padding=1).backward(grad)
    assert torch.equal(x.grad, u.grad)
    assert torch.equal(w.grad, v.grad)


def test_nan_stays_nan() -> None:
    x = torch.tensor([[1.0, torch.nan], [1.0, 2.0]])
    found = ApproximateLinear.apply(x, torch.ones(1, 2), ONE, ONE, tables(scalar("e4m3"), "lmul"))
    assert found.isnan().squeeze(1).tolist() == [True, False]


def test_wide_formats_have_no_tables() -> None:
    with pytest.raises(HwgenError, match=r"lmul is trained by tables of up to 8 bits; bf16 has 16"):
        tables(scalar("bf16"), "lmul")
