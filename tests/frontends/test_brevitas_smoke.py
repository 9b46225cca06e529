"""The one Brevitas test of the fast suite: import, freeze, equal the forward pass."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen import golden
from hwgen.frontends.brevitas import from_brevitas
from hwgen.passes import freeze

torch = pytest.importorskip("torch")


def test_two_layers_equal_the_forward_pass() -> None:
    qnn = pytest.importorskip("brevitas.nn")
    torch.manual_seed(0)
    act = {"bit_width": 4, "return_quant_tensor": True}
    module = torch.nn.Sequential(
        qnn.QuantIdentity(**act),
        qnn.QuantLinear(6, 5, bias=True),
        qnn.QuantReLU(**act),
        qnn.QuantLinear(5, 3, bias=False),
    )
    module(torch.rand(64, 6))
    frozen = freeze(from_brevitas(module.eval(), torch.rand(1, 6)))
    x = torch.rand(50, 6)
    with torch.no_grad():
        expected = module(x).numpy()
    assert [node.name for node in frozen.nodes] == ["1", "2", "3"]
    np.testing.assert_allclose(golden.predict(frozen, x.numpy()), expected, rtol=1e-5, atol=1e-6)
