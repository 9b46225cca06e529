"""Brevitas' own example networks (bnn_pynq: TFC, SFC, LFC, CNV), imported as they are, from examples/bnn_pynq.py."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from hwgen import golden, modules
    from hwgen.frontends.brevitas import from_brevitas
    from hwgen.ops import MatVec
    from hwgen.passes import freeze

EXAMPLES = Path(__file__).parents[2] / "examples" / "bnn_pynq.py"
QUICK = ("tfc_1w1a", "tfc_2w2a")
# Brevitas has no LFC with weights of two bits.
NAMES = [f"{net}_{bits}" for net in ("tfc", "sfc", "lfc", "cnv") for bits in ("1w1a", "1w2a", "2w2a")]
NETWORKS = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES if name != "lfc_2w2a"]


@pytest.mark.parametrize("name", NETWORKS)
def test_bnn_pynq_networks_equal_the_forward_pass(name: str) -> None:
    source = modules.read_source(f"{EXAMPLES}:{name}")
    x = source.x[:8]
    frozen = freeze(from_brevitas(source.module, x))
    want = modules.outputs(source.module, x, name)
    got = golden.predict(frozen, x).reshape(want.shape)
    # A float tie somewhere inside may turn a sign; then a whole frame follows.
    same = np.isclose(got, want, 1e-4, 1e-4).all(axis=1)
    assert same.all(), same
    assert sum(isinstance(node.op, MatVec) for node in frozen.nodes) == (9 if name.startswith("cnv") else 4)
