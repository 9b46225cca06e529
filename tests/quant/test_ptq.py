"""Quantization after training, on the handwritten digits that scikit-learn has."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from hwgen import golden, passes
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.frontends.brevitas import from_brevitas
from hwgen.quant.equalize import PRODUCTS, equalize_weights, merge_batch_norm, smooth_activations
from hwgen.quant.ptq import METHODS, best_scale, factors, products, ptq
from hwgen.quant.scaled import ScaledQuant


@functools.cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    found = load_digits()
    order = torch.randperm(len(found.data), generator=torch.Generator().manual_seed(0))
    return torch.tensor(found.data / 16, dtype=torch.float32)[order], torch.tensor(found.target)[order]


@functools.cache
def trained() -> nn.Sequential:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = [
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 6, 3),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, groups=2),
        nn.BatchNorm2d(8),
    ]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(128, 10, bias=False))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = (part[:1400] for part in digits())
    for _ in range(5):
        for rows in torch.arange(1400).split(50):
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model.eval()


def error(model: nn.Module) -> float:
    """The root of the mean squared error of the logits of held-out images, in units of their spread."""
    x = digits()[0][1400:]
    with torch.no_grad():
        wanted = trained()(x)
        return float((model(x) - wanted).square().mean().sqrt() / wanted.std())


def accuracy(model: nn.Module) -> float:
    x, y = (part[1400:] for part in digits())
    return float((model(x).argmax(dim=1) == y).float().mean())


@pytest.mark.parametrize("name", ["int8", "e4m3", "qfx8", "dfp16", "mxfp8e4m3", "mxint8"])
def test_eight_bits_keep_the_accuracy(name: str) -> None:
    model = ptq(trained(), digits()[0][:128], name, name)
    assert not model.training
    assert accuracy(model) > accuracy(trained()) - 0.02
    # OCP's scale lets a block's greatest number saturate by up to an eighth.
    assert error(model) < (0.12 if name == "mxfp8e4m3" else 0.08)


@pytest.mark.parametrize("method", ["gptq", "gpfq", "learned"])
@pytest.mark.parametrize("name", ["e2m1", "qfx4"])
def test_rounding_with_data_beats_rounding_to_the_nearest(name: str, method: str) -> None:
    nearest = ptq(trained(), digits()[0][:256], name, None, correct_bias=False)
    better = ptq(trained(), digits()[0][:256], name, None, method, correct_bias=False)  # type: ignore[arg-type]
    assert error(better) < 0.9 * error(nearest)
    assert not any(key.endswith("weight_orig") for key in better.state_dict())


@pytest.mark.parametrize("method", ["round", "gptq", "gpfq"])
@pytest.mark.parametrize("name", ["int4", "khot2", "mxfp4", "nvfp4", "e3m0"])
def test_methods_work_on_every_kind_of_format(name: str, method: str) -> None:
    activation = "qfx8" if name == "khot2" else name
    model = ptq(trained(), digits()[0][:128], name, activation, method)  # type: ignore[arg-type]
    assert accuracy(model) > 0.8


def test_correcting_biases_takes_the_mean_error_away() -> None:
    calib = digits()[0][:256]
    plain, corrected = (ptq(trained(), calib, "e2m1", "e2m1", correct_bias=wanted) for wanted in (False, True))
    assert error(corrected) < error(plain)
    assert plain[7].bias is None
    assert corrected[7].bias is not None


def test_equalizing_keeps_the_function_and_evens_ranges_out() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)).eval()
    with torch.no_grad():
        model[0].weight[0] *= 1000
        model[0].bias[0] *= 1000
        model[2].weight[:, 0] /= 1000
    x = torch.rand(200, 8)
    plain, even = (ptq(model, x, "int4", None, correct_bias=False, equalize=wanted) for wanted in (False, True))
    wanted = model(x)
    losses = [float((m(x) - wanted).square().mean().detach()) for m in (plain, even)]
    assert losses[1] < 0.1 * losses[0]


def test_scales_are_searched_for_the_least_error_and_fixed() -> None:
    weight = torch.cat((torch.linspace(-1, 1, 200), torch.tensor([9.0])))
    fmt = ptq(trained(), digits()[0][:64], "int8", "e2m1")[2].act_quant.tensor_quant.format
    inner = ScaledQuant(fmt, tracked_parameter_list=[weight])
    assert factors(inner) == [1.0, 0.5, 0.25, 0.125]
    errors = [
        float((inner.cast(weight / s) * s - weight).square().sum()) for s in (inner.scale * f for f in factors(inner))
    ]
    assert float(best_scale(inner, weight)) == float(inner.scale) * factors(inner)[int(np.argmin(errors))]
    model = ptq(
        trained(), digits()[0][:64], "e2m1", "e2m1", weight_options={"power_of_two": False, "per_channel": True}
    )
    for _, layer in products(model):
        assert bool(layer.weight_quant.tensor_quant.frozen)
    before = model[2].act_quant.scale().clone()
    model.train()(digits()[0][:64] * 100)
    assert torch.equal(model[2].act_quant.scale(), before)


def test_what_is_wrong_is_named() -> None:
    x = digits()[0][:64]
    with pytest.raises(HwgenError, match=r"unknown method 'best': one of round, gptq, gpfq, learned"):
        ptq(trained(), x, method="best")  # type: ignore[arg-type]
    with pytest.raises(HwgenError, match=r"calibration needs at least one frame of data"):
        ptq(trained(), x[:0])
    with pytest.raises(UnsupportedError, match=r"layer '1': rounding is learned of scalar formats, not of BlockQuant"):
        ptq(trained(), x, "mxfp4", "mxfp4", "learned")
    with pytest.raises(HwgenError, match=r"the share that is moved from activations to weights is 0 to 1, not 2"):
        ptq(trained(), x, smooth=2)
    assert METHODS == ("round", "gptq", "gpfq", "learned")


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_a_network_that_cannot_be_traced_is_not_equalized() -> None:
    with pytest.raises(UnsupportedError, match=r"Branching cannot be traced by torch.fx"):
        ptq(Branching(), torch.ones(1, 2), equalize=True)


@functools.cache
def perceptron() -> nn.Sequential:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    first, second = [nn.Linear(64, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU()], [nn.Linear(32, 16), nn.ReLU()]
    model = nn.Sequential(*first, *second, nn.Linear(16, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = (part[:1400] for part in digits())
    for _ in range(5):
        for rows in torch.arange(1400).split(50):
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    # Of each hidden layer some channels are a hundred times as wide as the others, which changes nothing in float.
    with torch.no_grad():
        for channel in (1, 4, 7):
            for part in (model[1].weight, model[1].bias, model[3].weight, model[3].bias):
                part[channel] *= 100
            model[3].weight[:, channel] /= 100
            model[5].weight[:, channel] /= 100
    return model.eval()


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    ahead = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *ahead, nn.Conv2d(4, 3, 2), nn.BatchNorm2d(3), nn.Flatten())
    model(torch.rand(50, 64))
    return model.eval()


@pytest.mark.parametrize(("make", "merged"), [(perceptron, ["1"]), (convolutions, ["2"])])
def test_equalizing_and_smoothing_change_nothing_in_float(make: Callable[[], nn.Sequential], merged: list[str]) -> None:
    x, model = digits()[0][:200], make()
    wanted = model(x)
    for change in (equalize_weights, lambda found: smooth_activations(found, [x], 0.5)):
        changed = copy.deepcopy(model)
        change(changed)
        assert torch.allclose(changed(x), wanted, atol=1e-3)
        products = [(old, new) for old, new in zip(model, changed, strict=True) if isinstance(new, PRODUCTS)]
        assert not torch.equal(products[1][0].weight, products[1][1].weight)
    changed = copy.deepcopy(model)
    # What only a Flatten follows is left as it is.
    assert merge_batch_norm(changed) == merged
    assert torch.allclose(changed(x), wanted, atol=1e-3)


@pytest.mark.parametrize("layers", ["shared", "elsewhere", "untracked"])
def test_a_batch_norm_that_cannot_be_merged_stays(layers: str) -> None:
    linear, norm = nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=layers != "untracked")
    tail = {"shared": [linear], "elsewhere": [nn.Sigmoid(), nn.Linear(4, 4)], "untracked": [nn.Linear(4, 4)]}[layers]
    model = nn.Sequential(linear, norm, *tail).eval()
    assert merge_batch_norm(model) == []
    assert model[1] is norm


@pytest.mark.parametrize("name", ["int8", "int4", "qfx8", "e2m1"])
def test_smoothing_and_equalizing_help_where_channels_differ(name: str) -> None:
    model, (x, y) = perceptron(), digits()

    def share(**options: Any) -> float:
        found = ptq(model, x[:256], name, name, **options)
        return float((found(x[1400:]).argmax(1) == y[1400:]).float().mean())

    best = float((model(x[1400:]).argmax(1) == y[1400:]).float().mean())
    plain = share()
    for options in ({"smooth": 0.5}, {"equalize": True}, {"equalize": True, "smooth": 0.5}):
        assert share(**options) >= max(plain, best - 0.03), options
    assert plain < best - 0.03


def test_what_is_equalized_runs_as_the_graph_says() -> None:
    calib = digits()[0][:128]
    model = ptq(perceptron(), calib, "int8", "int8", equalize=True, smooth=0.5)
    graph = passes.freeze(from_brevitas(model, calib))
    with torch.no_grad():
        found = model(calib)
    assert np.allclose(golden.predict(graph, calib.numpy()), found.numpy(), atol=1e-3)
