"""Batch normalization as torch has it, and as `hwgen.quant.fixed_layers` has it in fixed point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hwgen.frontends import images
from hwgen.frontends.chain import Chain, Refuse, append_affine, append_batch_norm
from hwgen.ir import Array


def array(tensor: Any) -> Array:
    """A torch tensor as a NumPy array."""
    return np.asarray(tensor.detach().cpu().numpy())


def batch_norm(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    if layer.running_mean is None:
        raise refuse("it has no running statistics")
    mean, var = array(layer.running_mean), array(layer.running_var)
    gamma, beta = (np.ones(1), np.zeros(1)) if layer.weight is None else (array(layer.weight), array(layer.bias))
    if len(chain.shape) > 1:
        images.channels_last(chain, refuse)
    # As ONNX has it, in float32: both importers give the same graph.
    append_batch_norm(chain, name, name, (gamma, beta, mean, var), float(np.float32(layer.eps)), refuse)


def fixed_batch_norm(chain: Chain, name: str, layer: Any, seen: Mapping[int, Array], refuse: Refuse) -> None:
    """`hwgen.quant.fixed_layers.FixedBatchNorm`: factors and offsets in fixed point."""
    behind = (1,) * (len(chain.framed) - 1)
    if len(chain.shape) > 1:
        images.channels_last(chain, refuse)
    factors, offsets = (chain.per_channel(array(part).reshape(-1, *behind), refuse) for part in layer.constants())
    append_affine(chain, name, name, mul=factors, add=offsets)
