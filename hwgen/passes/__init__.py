"""From an imported graph of real numbers to the frozen integer graph, in a few pure steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwgen.ir import Graph
from hwgen.passes.argmax import absorb_argmax, split_argmax
from hwgen.passes.decode import decode_codes
from hwgen.passes.host import split_input, split_output
from hwgen.passes.images import order_pools, order_upsamples, pad_codes
from hwgen.passes.joins import affine_behind_joins
from hwgen.passes.lower import absorb_bias, affine_behind_dense, lower_dense
from hwgen.passes.reorder import copy_over_forks, order_slices, reorder
from hwgen.passes.requantize import absorb_requantizers
from hwgen.passes.tidy import merge_quantizers, tidy
from hwgen.passes.ties import Comparison, Tie, explain
from hwgen.passes.transposes import absorb_transposes
from hwgen.passes.verify import verify

PIPELINE: tuple[Callable[..., Graph], ...] = (
    tidy,
    merge_quantizers,
    order_upsamples,
    order_pools,
    absorb_transposes,
    reorder,
    tidy,
    split_input,
    split_argmax,
    copy_over_forks,
    order_slices,
    affine_behind_dense,
    affine_behind_joins,
    decode_codes,
    lower_dense,
    pad_codes,
    absorb_bias,
    absorb_requantizers,
    split_output,
    absorb_argmax,
)
"""Every step, in order. Each takes a graph and gives a new one that computes the same."""


def freeze(graph: Graph, requantize: str = "auto", multiplier: str | None = None, accumulator: str = "exact") -> Graph:
    """The frozen integer graph of an imported one.

    requantize: "auto", "thresholds" or "dyadic", see `absorb_requantizers`.
    multiplier: of every matrix unit; None: what the network was trained with. "exact", or "lmul", "mitchell" or
    "lmul_formula_trunc" for networks whose weights and activations are of one minifloat format; with another than
    its own the network is no longer the one that was trained.
    accumulator: "exact", or "fp32": of the matrix units that read blocks, each block's sum is rounded to FP32 and added
    to those before it in FP32, in order; the others stay exact.
    Every parameter counts as the exact number that its float is; a batch-norm's square root as its float64 value.
    A node keeps its name, and a tensor of quantized codes the name that it was imported with.
    Raises UnsupportedError naming the node that cannot become integer hardware, and why.
    """
    verify(graph, "imported")
    options: dict[object, dict[str, Any]] = {
        absorb_requantizers: {"requantize": requantize},
        lower_dense: {"multiplier": multiplier, "accumulator": accumulator},
    }
    for step in PIPELINE:
        graph = step(graph, **options.get(step, {}))
    return verify(graph, "frozen")


__all__ = [
    "PIPELINE",
    "Comparison",
    "Tie",
    "absorb_argmax",
    "absorb_bias",
    "absorb_requantizers",
    "absorb_transposes",
    "affine_behind_dense",
    "affine_behind_joins",
    "copy_over_forks",
    "decode_codes",
    "explain",
    "freeze",
    "lower_dense",
    "merge_quantizers",
    "order_pools",
    "order_slices",
    "order_upsamples",
    "pad_codes",
    "reorder",
    "split_argmax",
    "split_input",
    "split_output",
    "tidy",
    "verify",
]
