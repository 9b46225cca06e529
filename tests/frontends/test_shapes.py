"""Pooling by functions, and axes that come, go and change places, in Brevitas modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hwgen.errors import UnsupportedError
from tests.frontends.test_joins import BYTES, Forward, agrees, conv, from_brevitas, nn, qnn, settled, torch


def reshaped(self: Any, x: Any) -> Any:
    pool = nn.functional
    x = pool.max_pool2d(self.act(self.stem(x)), 2, stride=(1, 2), padding=1)
    x = self.act(pool.avg_pool2d(x, (3, 1), 1))
    one = self.act(pool.adaptive_avg_pool2d(x, 1)).squeeze(3).squeeze(-1)
    other = self.act(x.mean((2, 3)).unsqueeze(1).transpose(1, 2)).permute(0, 2, 1).squeeze(1)
    return self.fc(self.act(x.mean([-1, -2], keepdim=True)).flatten(1) + one * 1.0 + other)


def test_functions_of_shapes_and_pools() -> None:
    fc = qnn.QuantLinear(4, 3, bias=False, weight_bit_width=4)
    agrees(Forward(reshaped, act=plain(), stem=conv(2, 4, 1), fc=fc), 2, 4, 4)


def plain() -> Any:
    return qnn.QuantReLU(bit_width=4)


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "ceil_mode": (lambda x: nn.functional.max_pool2d(x, 2, ceil_mode=True), "ceil_mode is not supported"),
    "divisor": (lambda x: nn.functional.avg_pool2d(x, 2, divisor_override=3), "divisor_override is not supported"),
    "output": (lambda x: nn.functional.adaptive_avg_pool2d(x, 2), "an output of 2 is not supported; 1 is"),
    "mean": (lambda x: x.mean(1), r"it takes the mean over the axes \[1\]; only over all rows and columns"),
    "permute": (lambda x: x.permute(0, 3, 2, 1), r"it permutes the axes of a tensor \[0, 3, 2, 1\]; only"),
    "squeeze": (lambda x: x.squeeze(), r"axes \[\] must name axes behind the batch"),
    "unsqueeze": (lambda x: x.unsqueeze(0), r"axes \[0\] must name axes behind the batch"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case: str) -> None:
    function, message = REFUSED[case]
    module = settled(Forward(lambda self, x: function(self.act(x)), act=plain()), 2, 4, 4)
    with pytest.raises(UnsupportedError, match=message):
        from_brevitas(module, torch.rand(2, 2, 4, 4), input_quantizer=BYTES)
