"""FINN's folding file from hwgen's own folding: each matrix unit's PE and SIMD, and its neighbours' in step with it."""

from __future__ import annotations

from typing import Any

from hwgen.backends.finn_onnx import is_skipped, pool_behind
from hwgen.errors import HwgenError
from hwgen.ir import Folding, Graph, Node
from hwgen.ops import MatVec, Requantize, Thresholds, Window

_MATRIX = {"resType": "dsp", "mem_mode": "internal_decoupled", "ram_style": "auto"}

KINDS = ("MVAU", "Thresholding", "FMPadding", "ConvolutionInputGenerator")

SPECIALIZE: dict[str, Any] = {"Defaults": {"preferred_impl_style": ["rtl", list(KINDS)]}}
"""FINN's choice of RTL or HLS: RTL for all, where its own rule makes HLS of few bits."""


def folding(graph: Graph, chosen: Folding) -> dict[str, dict[str, Any]]:
    """Attributes of FINN's nodes by their names, which count from 0 for each kind.

    Matrix units have the PE and SIMD of `chosen`. Thresholds take as many channels at once as the unit before them
    gives; windows as few as keep up with the unit behind them.
    Raises HwgenError for a unit without a fold, or one that its fold does not divide.
    """
    found: dict[str, dict[str, Any]] = {"Defaults": {}}
    counts = dict.fromkeys((*KINDS, "Pool"), 0)

    def add(kind: str, **attributes: Any) -> None:
        found[f"{kind}_rtl_{counts[kind]}"] = attributes
        counts[kind] += 1

    lanes = 1
    for place, node in enumerate(graph.nodes):
        x = graph.types[node.inputs[0]]
        if isinstance(node.op, MatVec):
            fold = _fold(node, graph, chosen)
            lanes = fold[0]
            # A vector waits here while the one before it is worked on.
            waiting = max(2, x.channels // fold[1])
            add("MVAU", PE=fold[0], SIMD=fold[1], inFIFODepths=[waiting], **_MATRIX)
        elif isinstance(node.op, Thresholds | Requantize):
            lanes = lanes if x.channels % lanes == 0 else 1
            add("Thresholding", PE=lanes)
        elif isinstance(node.op, Window) and not is_skipped(node.op):
            simd = _window_simd(graph, place, node.op, chosen)
            if any(node.op.padding):
                add("FMPadding", SIMD=simd)
            add("ConvolutionInputGenerator", SIMD=simd, parallel_window=0, ram_style="auto")
            lanes = simd
            if pool_behind(graph, node):
                # FINN's pool takes as many channels at once as the windows have.
                found[f"Pool_hls_{counts['Pool']}"] = {"PE": simd}
                counts["Pool"] += 1
    return found


def _fold(node: Node, graph: Graph, chosen: Folding) -> tuple[int, int]:
    assert isinstance(node.op, MatVec)
    if node.name not in chosen:
        raise HwgenError(f"matrix unit {node.name!r} has no fold")
    fold = chosen[node.name]
    try:
        node.op.cycles(graph.types[node.inputs[0]], fold)
    except HwgenError as error:
        raise HwgenError(f"node {node.name!r}: {error}") from error
    return fold.pe, fold.simd


def _window_simd(graph: Graph, place: int, op: Window, chosen: Folding) -> int:
    """The least divisor of the channels at which windows come as fast as the next matrix unit takes them."""
    rows, columns, channels = graph.types[graph.nodes[place].inputs[0]].shape
    following = next((node for node in graph.nodes[place + 1 :] if isinstance(node.op, MatVec)), None)
    if following is None:
        return 1
    assert isinstance(following.op, MatVec)
    wanted = following.op.cycles(graph.types[following.inputs[0]], chosen[following.name])
    down, across = op.positions(rows, columns)
    top, left, bottom, right = op.padding
    # A window is sent a pixel at a time, and the image has to come in beside it.
    pixels = max(down * across * op.taps, (rows + top + bottom) * (columns + left + right))
    return next(
        (simd for simd in range(1, channels) if channels % simd == 0 and pixels * (channels // simd) <= wanted),
        channels,
    )
