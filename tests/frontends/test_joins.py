"""Branches of Brevitas modules, and the means that truncate ahead of the last layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import brevitas.nn as qnn
    import torch
    from brevitas.quant import Int8ActPerTensorFixedPoint, Int32Bias, TruncTo8bit
    from torch import nn

    from hwgen import formats, golden
    from hwgen.errors import UnsupportedError
    from hwgen.frontends.brevitas import from_brevitas
    from hwgen.frontends.brevitas_pools import quantized_scale
    from hwgen.frontends.chain import Chain
    from hwgen.ops import Add, Concat, Quantize, Relu
    from hwgen.passes import freeze

BYTES = Quantize(formats.scalar("uint8"), (1 / 256,))


class Forward(nn.Module):  # type: ignore[misc]
    """Layers by name, and what is done with them."""

    def __init__(self, forward: Callable[[Any, Any], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Any) -> Any:
        return self.run(self, x)


def settled(module: nn.Module, *shape: int) -> nn.Module:
    torch.manual_seed(1)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        module(torch.rand(16, *shape))
    return module.eval()


def agrees(module: nn.Module, *shape: int) -> Any:
    """The frozen graph, which gives what the module does."""
    settled(module, *shape)
    x = torch.randint(0, 256, (20, *shape), generator=torch.Generator().manual_seed(3)) / 256
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        want = module(x)
        graph = from_brevitas(module, x, input_quantizer=BYTES)
    frozen = freeze(graph)
    want = np.asarray(getattr(want, "value", want))
    # Images have their channels last here.
    want = np.moveaxis(want, 1, -1) if want.ndim == 4 else want
    got = golden.predict(frozen, x.numpy()).reshape(want.shape)
    assert np.isclose(got, want, 1e-4, 1e-4).all()
    return frozen


def conv(inner: int, out: int, size: int, **options: Any) -> nn.Module:
    return qnn.QuantConv2d(inner, out, size, padding=size // 2, bias=False, weight_bit_width=4, **options)


def act(bits: int = 4) -> nn.Module:
    return qnn.QuantReLU(bit_width=bits, return_quant_tensor=True)


def residual(self: Any, x: Any) -> Any:
    x = self.act(self.stem(x))
    x += self.act(self.norm(self.main(x)))
    x = self.pool(self.out(x))
    return self.fc(x.view(x.size(0), -1))


def test_a_residual_sum_under_a_shared_quantizer_and_a_truncated_mean() -> None:
    pool = qnn.TruncAvgPool2d(3, trunc_quant=TruncTo8bit, float_to_int_impl_type="FLOOR")
    fc = qnn.QuantLinear(4, 3, bias=True, weight_bit_width=4, bias_quant=Int32Bias)
    module = Forward(
        residual,
        stem=conv(2, 4, 1),
        act=act(),
        main=conv(4, 4, 3),
        norm=nn.BatchNorm2d(4),
        out=act(6),
        pool=pool,
        fc=fc,
    )
    frozen = agrees(module, 2, 3, 3)
    (add,) = (node for node in frozen.nodes if isinstance(node.op, Add))
    assert add.op.factors == (1, 1)
    # Nine numbers of 6 bits come to 10 bits, of which two are cut off.
    assert [node.name for node in frozen.nodes if node.name.startswith("pool")] == [
        "pool.sum.window",
        "pool.sum",
        "pool.trunc",
    ]


def side_by_side(self: Any, x: Any) -> Any:
    x = torch.cat([self.act(self.one(x)), self.act(self.three(x))], dim=1)
    return self.last(x)


def test_images_side_by_side_of_an_input_that_forks() -> None:
    frozen = agrees(
        Forward(side_by_side, one=conv(2, 2, 1), three=conv(2, 3, 3), act=act(), last=conv(5, 2, 1)), 2, 4, 4
    )
    (side,) = (node for node in frozen.nodes if isinstance(node.op, Concat))
    assert frozen.types[side.output].shape == (4, 4, 5)
    assert [node.name for node in frozen.nodes if node.name.startswith("act")] == ["act", "act_"]


def pooled(self: Any, x: Any) -> Any:
    return self.pool(self.act(x))


def trunc(**options: Any) -> nn.Module:
    return qnn.TruncAvgPool2d(2, trunc_quant=TruncTo8bit, **options)


TRUNC_REFUSED = {
    "ceil_mode": (trunc(ceil_mode=True), "ceil_mode, divisor_override and padding are not supported"),
    "rounding": (trunc(float_to_int_impl_type="DPU"), "unknown rounding mode 'DPU': one of ROUND"),
}


@pytest.mark.parametrize("case", TRUNC_REFUSED)
def test_means_that_cannot_be_made_are_refused(case: str) -> None:
    pool, message = TRUNC_REFUSED[case]
    module = settled(Forward(pooled, act=act(), pool=pool), 2, 4, 4)
    with pytest.raises(UnsupportedError, match=rf"node 'pool' .*{message}"):
        from_brevitas(module, torch.rand(2, 2, 4, 4))


def test_the_scale_of_codes_is_that_of_the_quantizer_ahead() -> None:
    chain = Chain.start("x", (4,), None)
    with pytest.raises(UnsupportedError, match="no quantizer with one scale stands ahead of it"):
        quantized_scale(chain, UnsupportedError)
    chain.append("q", Quantize(formats.scalar("uint4"), (0.5,)), "q")
    chain.append("r", Relu(), "r")
    assert quantized_scale(chain, UnsupportedError) == 0.5


def test_means_of_what_is_not_quantized_or_shifted_are_refused() -> None:
    off = qnn.TruncAvgPool2d(2, trunc_quant=None, return_quant_tensor=False)
    for pool, message in (
        (trunc(return_quant_tensor=False), "its input is not quantized, so that there is nothing to truncate"),
        (off, "its quantizer is switched off; use AvgPool2d"),
    ):
        module = settled(Forward(lambda self, x: self.pool(x), pool=pool), 2, 4, 4)
        with pytest.raises(UnsupportedError, match=message):
            from_brevitas(module, torch.rand(2, 2, 4, 4))
    from brevitas.quant import ShiftedUint8ActPerTensorFloat

    shifted = qnn.QuantIdentity(act_quant=ShiftedUint8ActPerTensorFloat, return_quant_tensor=True)
    module = Forward(pooled, act=shifted, pool=trunc())
    with torch.no_grad():
        module(torch.rand(4, 2, 4, 4) - 0.5)
    with pytest.raises(UnsupportedError, match=r"a zero point of \d+ is not supported; 0 is"):
        from_brevitas(module.eval(), torch.rand(2, 2, 4, 4) - 0.5)


def arithmetic(self: Any, x: Any) -> Any:
    x = self.act(self.stem(x))
    main = self.act(self.main(x))
    main -= torch.sub(x, main, alpha=0.5)
    main *= -0.25
    main = torch.neg(self.act(1.5 - main)) + self.offset
    main += 0.5
    return self.last(self.act(torch.add(main, x, alpha=-2) / self.factor))


def test_differences_factors_and_constants() -> None:
    module = Forward(
        arithmetic,
        stem=conv(2, 4, 1),
        act=qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint),
        main=conv(4, 4, 1),
        last=conv(4, 3, 1),
    )
    module.offset = torch.tensor([0.5, -1.0, 0.25, 2.0]).reshape(1, 4, 1, 1)
    module.factor = torch.tensor([1.0, -2.0, 0.5, 4.0]).reshape(4, 1, 1)
    frozen = agrees(module, 2, 2, 2)
    found = [node.op.factors for node in frozen.nodes if isinstance(node.op, Add)]
    assert len(found) == 3
    assert all(any(factor < 0 for factor in factors) for factors in found)


def excited(self: Any, x: Any) -> Any:
    """Channels weighed by what the mean of the whole image says, and shifted by the mean of that."""
    x = self.act(self.stem(x))
    mean = self.act(self.pool(x))
    gate = self.gate(self.fc(mean.flatten(1)))
    x = self.wide(x * gate.view(gate.shape[0], -1, 1, 1))
    return self.last(self.act(x + self.wide(self.pool(x))))


def test_one_pixel_meets_whole_images() -> None:
    gate = qnn.QuantSigmoid(bit_width=4, return_quant_tensor=True)
    layers = {"stem": conv(2, 4, 1), "pool": nn.AdaptiveAvgPool2d(1), "gate": gate, "last": conv(4, 3, 1)}
    module = Forward(
        excited,
        act=act(),
        wide=act(6),
        fc=qnn.QuantLinear(4, 4, bias=False, weight_bit_width=4),
        **layers,
    )
    frozen = agrees(module, 2, 3, 4)
    assert [node.op.kind for node in frozen.nodes].count("Upsample") == 2
