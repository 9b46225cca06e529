"""Brevitas' own example networks (bnn_pynq: TFC, SFC, LFC, CNV), imported as they are."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from brevitas_examples.bnn_pynq.models import model_with_cfg
    from torch import nn

    from hwgen import golden
    from hwgen.frontends.brevitas import from_brevitas
    from hwgen.ops import MatVec
    from hwgen.passes import freeze

QUICK = ("tfc_1w1a", "tfc_2w2a", "cnv_1w1a")
# Brevitas has no LFC with weights of two bits.
NAMES = [f"{net}_{bits}" for net in ("tfc", "sfc", "lfc", "cnv") for bits in ("1w1a", "1w2a", "2w2a")]
NETWORKS = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES if name != "lfc_2w2a"]


@pytest.mark.parametrize("name", NETWORKS)
def test_bnn_pynq_networks_equal_the_forward_pass(name: str) -> None:
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, _ = model_with_cfg(name, pretrained=False)
        shape = (3, 32, 32) if name.startswith("cnv") else (1, 28, 28)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) and part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.bias, -0.3, 0.3)
        module.train()
        module(torch.rand(16, *shape))
        module.eval()
        x = torch.rand(8, *shape)
        frozen = freeze(from_brevitas(module, x))
        with torch.no_grad():
            want = module(x)
    want = np.asarray(getattr(want, "value", want))
    got = golden.predict(frozen, x.numpy()).reshape(want.shape)
    # A float tie somewhere inside may turn a sign; then a whole frame follows.
    same = np.isclose(got, want, 1e-4, 1e-4).all(axis=1)
    assert same.all(), same
    assert sum(isinstance(node.op, MatVec) for node in frozen.nodes) == (9 if name.startswith("cnv") else 4)
