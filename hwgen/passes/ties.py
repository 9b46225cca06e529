"""Explain where a floating-point run of a network and its frozen integer graph give different codes.

The frozen graph rounds the exact number; float32 computes that number with errors. The codes may differ only where
the exact number lies on a rounding boundary, or as close to it as float32 errs: a float tie. This is proven here for
every frame that differs: at the first quantizer where it does, with exact rationals. What differs behind that in the
same frame follows from it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Blocked, Codes, Minifloat, Real
from hwgen.formats.grid import ladder, on_grid
from hwgen.ir import Array, Graph, Node, TensorType
from hwgen.ops import (
    Activation,
    Affine,
    BlockQuantize,
    Decode,
    MatVec,
    Pool,
    Quantize,
    Relu,
    Requantize,
    Reshape,
    Upsample,
    Window,
)
from hwgen.passes.block_ties import block_distance
from hwgen.passes.branches import chains
from hwgen.passes.exact import lines, steps
from hwgen.passes.exactly import exactly
from hwgen.passes.images import order_pools, order_upsamples
from hwgen.passes.requantize import absorb_requantizers

ULPS = 16.0
"""Float32 ulps (2^-23) of the largest magnitude met on the way, that count as the error of the float run."""

STEEPEST = 1.5
"""More than the slope of any activation function: hard_swish has it, at 3 (silu 1.1, gelu 1.13)."""


@dataclass(frozen=True)
class Tie:
    """One code that differs where nothing ahead of it does.

    node: the quantizer. code, oracle_code: of the frozen graph and of the float run. distance: from the exact number
    to the farthest boundary between both codes, in output steps. bound: how far float32 may err there, in the same
    unit. ulps: the distance in float32 ulps of the largest magnitude met.
    """

    frame: int
    node: str
    channel: int
    code: int
    oracle_code: int
    distance: float
    bound: float
    ulps: float

    @property
    def proven(self) -> bool:
        """Whether the exact number is as close to the boundary as the float run errs."""
        return self.distance <= self.bound


@dataclass(frozen=True)
class Comparison:
    """frames: how many were compared; differing: those with any code that differs; ties: the first ones of each."""

    frames: int
    differing: tuple[int, ...]
    ties: tuple[Tie, ...]

    @property
    def unexplained(self) -> tuple[Tie, ...]:
        return tuple(tie for tie in self.ties if not tie.proven)

    def by_node(self) -> dict[str, int]:
        """Ties counted by node."""
        nodes = [tie.node for tie in self.ties]
        return {name: nodes.count(name) for name in dict.fromkeys(nodes)}


def explain(
    imported: Graph,
    frozen: Graph,
    x: npt.ArrayLike,
    codes: Mapping[str, Codes],
    oracle: Mapping[str, npt.ArrayLike],
    ulps: float = ULPS,
) -> Comparison:
    """Compare the codes of every quantizer, in order, and prove the first difference of each frame to be a tie.

    imported, frozen: the graph from a frontend, and `freeze` of it. x: the real inputs (frames, *shape).
    codes: every tensor of the frozen graph (`golden.trace`). oracle: real values of the same tensors in the float
    run (frames, ...), by the names of the imported graph; also the output's, if that is a sum (its codes are then
    value / scale, rounded).
    Raises HwgenError if `oracle` lacks a tensor, and for a graph that adds in FP32: its sums are not the exact ones.
    """
    for node in frozen.nodes:
        if isinstance(node.op, MatVec) and node.op.accumulator != "exact":
            raise HwgenError(
                f"node {node.name!r} adds in FP32: differences from a float run are explained of exact sums"
            )
    lowered = _lowered(imported)
    frames = next(iter(codes.values())).shape[0]
    undecided = np.ones(frames, dtype=bool)
    ties: list[Tie] = []
    start = lowered.inputs[0]
    if start.name == f"{imported.inputs[0].name}.codes":
        # Only an annotation quantizes this input: the float run takes x as it is.
        oracle = {start.name: x, **oracle}
    ties += _input_ties(lowered, x, *_pair(start.name, start.type, codes, oracle), undecided, ulps)
    last = start.name
    for part in chains(lowered):
        if isinstance(part, Node):
            continue
        last, since = part.start, 0
        for index, node in enumerate(part.nodes):
            if isinstance(node.op, Quantize):
                kind = lowered.types[node.output]
                mine, theirs = _pair(node.output, kind, codes, oracle)
                section = _Section(lowered.types[last], part.nodes[since : index + 1], _dyadic_scales(frozen, node))
                ties += section.ties(codes[last], mine, theirs, undecided, ulps)
                last, since = node.output, index + 1
    if frozen.outputs[0] != last and frozen.outputs[0] in oracle and isinstance(frozen.nodes[-1].op, MatVec):
        kind = frozen.output_type
        mine, theirs = _pair(frozen.outputs[0], kind, codes, oracle)
        entering = codes[frozen.nodes[-1].inputs[0]]
        ties += _sum_differences(frozen, entering, mine, theirs, undecided, ulps)
    return Comparison(frames, tuple(int(f) for f in np.flatnonzero(~undecided)), tuple(ties))


def _lowered(imported: Graph) -> Graph:
    """The pipeline up to where requantizers are made: integer products, and the real operations behind them."""
    # Imported here: the package imports this module.
    from hwgen.passes import PIPELINE

    graph = imported
    for step in itertools.takewhile(lambda step: step is not absorb_requantizers, PIPELINE):
        # Quantizers stay behind maxima and repeated pixels, where the float run has them.
        graph = graph if step in (order_pools, order_upsamples) else step(graph)
    return graph


def _pair(
    name: str, kind: TensorType, codes: Mapping[str, Codes], oracle: Mapping[str, npt.ArrayLike]
) -> tuple[Codes, Codes]:
    """The tensor's codes in both runs, each (frames, numbers)."""
    if name not in oracle:
        raise HwgenError(f"the float run gives no tensor {name!r} to compare with")
    mine = codes[name]
    real = np.asarray(oracle[name], dtype=np.float64).reshape(mine.shape)
    theirs = kind.encode(real)
    fmt = kind.codes_format
    if isinstance(fmt, Minifloat):
        # Both zeros are worth the same; only float runs tell them apart.
        mine, theirs = (np.where(fmt.decode(array) == 0, 0, array) for array in (mine, theirs))
    elif isinstance(fmt, Blocked):
        # So are the same numbers under different scales.
        theirs = np.where(kind.decode(mine).astype(np.float32) == real.astype(np.float32), mine, theirs)
    return mine.reshape(len(mine), -1), theirs.reshape(len(mine), -1)


def _first_differences(mine: Codes, theirs: Codes, undecided: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(frame, place) of the codes that differ in frames without an earlier difference; these become decided."""
    differs = (mine != theirs) & undecided[:, None]
    undecided &= ~differs.any(axis=1)
    return [(int(frame), int(place)) for frame, place in np.argwhere(differs)]


def _distance(u: Sequence[Fraction], index: int, op: Quantize, pair: tuple[int, int]) -> float:
    """From u[index], of the exact numbers of a block or a single one, to the farthest boundary between two codes, in
    output steps.
    """
    if isinstance(op.format, Blocked):
        return float(block_distance(u, index, op.format, op.rounding, pair))
    if isinstance(op.format, Bipolar):
        return float(abs(u[index]))
    _, bounds = steps(op.format, op.rounding)
    rungs = ladder(op.format)
    below, above = sorted(int(np.flatnonzero(rungs == code)[0]) for code in pair)
    return float(max(abs(u[index] - Fraction(bounds[k][0]) / 2) for k in range(below, above)))


@dataclass(frozen=True)
class _Section:
    """From codes of type `x` through `nodes`, of which the last is a quantizer."""

    x: TensorType
    nodes: Sequence[Node]
    dyadic: Mapping[int, tuple[Fraction, Fraction, Fraction]]

    def ties(
        self, entering: Codes, mine: Codes, theirs: Codes, undecided: npt.NDArray[np.bool_], ulps: float
    ) -> list[Tie]:
        places = _first_differences(mine, theirs, undecided)
        if not places:
            return []
        quantizer, between = self.nodes[-1], list(self.nodes[:-1])
        op = quantizer.op
        assert isinstance(op, Quantize)
        sums, kind = entering, self.x
        magnitude = np.abs(self.x.decode(entering))
        while between and between[0].op.frozen:
            step = between.pop(0).op
            if isinstance(step, MatVec):
                worth = np.abs(on_grid(kind.codes_format, sums))
                magnitude = step.products(worth, np.abs(step.worth)) + np.abs(step.bias)
                magnitude = magnitude * np.array(step.scale)
            elif isinstance(step, Window):
                magnitude = replace(step, pad=None, fill="zero").run(magnitude)
            elif not isinstance(step, Decode):
                magnitude = step.run(magnitude)
            kind, sums = step.infer(kind), step.run(sums)
        steps = _magnitudes(magnitude, between, op)
        types = [kind]
        for node in between:
            types.append(node.op.infer(types[-1]))
        chain_of, channels = [*between, quantizer], types[-1].channels
        # Numbers far apart in an image are often the same: its background has one sum for each channel.
        alone = all(isinstance(node.op, Activation | Affine | Relu) for node in between)
        known: dict[tuple[int, ...], float] = {}
        found = []
        for frame, place in places:
            channel = place % channels
            span = _block(op, channel, channels)
            base = place - channel
            largest = float(steps[frame].reshape(-1)[base:][span].max()) * 2.0**-23
            bound = ulps * largest + self._dyadic(channel, kind, between, sums[frame])
            pair = int(mine[frame, place]), int(theirs[frame, place])
            given = sums[frame].reshape(-1)[base:][span].tolist() if alone else (frame, place)
            if (key := (channel, *pair, *given)) not in known:
                u = [exactly(chain_of, types, sums[frame], base + c) for c in range(span.start, span.stop)]
                known[key] = _distance(u, channel - span.start, op, pair)
            found.append(_tie(quantizer.name, (frame, place), pair, known[key], bound, largest))
        return found

    def _dyadic(self, channel: int, kind: TensorType, between: Sequence[Node], sums: Codes) -> float:
        """How far a dyadic requantizer may be from the exact number, in output steps."""
        if channel not in self.dyadic:
            return 0.0
        quantizer = self.nodes[-1]
        assert isinstance(quantizer.op, Quantize)
        affine = [node for node in between if isinstance(node.op, Affine | Relu)]
        line = lines(kind, affine, quantizer)[channel]
        multiplier, offset, rounding = self.dyadic[channel]
        # With pools in between it is one of several sums: the greatest is farthest off.
        code = int(np.abs(sums).max())
        off = abs(multiplier - abs(line.slope)) * code + abs(offset - (line.offset - quantizer.op.zero_point))
        return float(off + rounding)


def _block(op: Quantize, channel: int, channels: int) -> slice:
    """The channels that the code of `channel` depends on: those of its block, or itself."""
    size = op.format.block.size if isinstance(op.format, Blocked) else 1
    start = channel // size * size
    return slice(start, min(start + size, channels))


def _tie(name: str, where: tuple[int, int], pair: tuple[int, int], distance: float, bound: float, ulp: float) -> Tie:
    """where: frame, and place in it. pair: its codes in both runs."""
    return Tie(where[0], name, where[1], *pair, distance, bound, distance / ulp if ulp else 0.0)


def _magnitudes(magnitude: Real, between: Sequence[Node], op: Quantize) -> Array:
    """The largest magnitude that a float run meets up to the quantizer, in its steps: errors are relative to it."""
    for node in between:
        if isinstance(node.op, Window):
            magnitude = replace(node.op, pad=None, fill="zero").run(magnitude)
        elif isinstance(node.op, Pool | Reshape | Upsample):
            magnitude = node.op.run(magnitude)
        elif isinstance(node.op, Affine):
            magnitude = magnitude * np.abs(node.op.mul / node.op.div) + np.abs(node.op.add)
        elif isinstance(node.op, Activation):
            # No function here is steeper than STEEPEST, and each is computed from numbers of its input's size.
            magnitude = magnitude * max(STEEPEST, abs(node.op.slope)) + 1.0
    return np.asarray(magnitude / np.array(op.scale) + abs(op.zero_point))


def _input_ties(
    lowered: Graph, x: npt.ArrayLike, mine: Codes, theirs: Codes, undecided: npt.NDArray[np.bool_], ulps: float
) -> list[Tie]:
    kind = lowered.input_type
    real = np.asarray(x, dtype=np.float64).reshape(-1, *lowered.pre_shape)
    magnitude = np.abs(real)
    for op in lowered.pre:
        real, magnitude = op.run(real), op.run(magnitude) if not isinstance(op, Affine) else _grown(magnitude, op)
    quantizer = Quantize(kind.codes_format, kind.scale, kind.zero_point, lowered.input_rounding)
    steps = _magnitudes(magnitude, (), quantizer).reshape(len(mine), -1)
    real, scale = real.reshape(len(mine), -1), np.broadcast_to(np.array(kind.scale), (kind.channels,))
    found = []
    for frame, place in _first_differences(mine, theirs, undecided):
        channel = place % kind.channels
        span = _block(quantizer, channel, kind.channels)
        places = range(place - channel + span.start, place - channel + span.stop)
        u = [Fraction(float(real[frame, p])) / Fraction(float(scale[p % len(scale)])) + kind.zero_point for p in places]
        largest = float(steps[frame, places].max()) * 2.0**-23
        pair = int(mine[frame, place]), int(theirs[frame, place])
        distance = _distance(u, channel - span.start, quantizer, pair)
        found.append(_tie("input", (frame, place), pair, distance, ulps * largest, largest))
    return found


def _grown(magnitude: Real, op: Affine) -> Real:
    return np.asarray(magnitude * np.abs(op.mul / op.div) + np.abs(op.add))


def _dyadic_scales(frozen: Graph, quantizer: Node) -> dict[int, tuple[Fraction, Fraction, Fraction]]:
    """(multiplier, offset, rounding ahead of blocks) of each channel, in output steps, where the frozen graph
    multiplies and shifts."""
    unit, rounding = Fraction(1), Fraction(0)
    for node in reversed(frozen.nodes):
        if node.name == quantizer.name and isinstance(node.op, BlockQuantize):
            unit = Fraction(2) ** node.op.lsb
            rounding = unit / 2
        if node.name in (quantizer.name, f"{quantizer.name}.affine") and isinstance(node.op, Requantize):
            channels = frozen.types[node.output].channels
            arrays = (node.op.multiplier, node.op.offset, node.op.shift)
            rows = zip(*(np.broadcast_to(a, (channels,)).tolist() for a in arrays), strict=True)
            lost = _narrowed(frozen, quantizer)
            found = {}
            for c, (m, b, shift) in enumerate(rows):
                slope = unit * abs(m) / (1 << shift)
                found[c] = slope / (1 << lost), unit * b / (1 << shift), rounding + (slope / 2 if lost else 0)
            return found
    return {}


def _narrowed(frozen: Graph, quantizer: Node) -> int:
    """Low bits that sums lose ahead of a quantizer to blocks."""
    name = f"{quantizer.name}.narrow"
    ops = [node.op for node in frozen.nodes if node.name == name]
    return int(ops[0].shift[0]) if ops and isinstance(ops[0], Requantize) else 0


def _sum_differences(
    frozen: Graph, entering: Codes, mine: Codes, theirs: Codes, undecided: npt.NDArray[np.bool_], ulps: float
) -> list[Tie]:
    """The last sums: float32 holds them exactly below 2^24, so that a difference there is never a tie.

    Beyond that (minifloats on a fine grid) every partial sum is rounded, to ulps of the sum of magnitudes at most.
    """
    node = frozen.nodes[-1]
    assert isinstance(node.op, MatVec)
    low, high = node.op.product_range(frozen.types[node.inputs[0]])
    reach = np.maximum(-low, high).sum(axis=1) + np.abs(node.op.bias)
    exact = bool(reach.max() < 1 << 24)
    if not exact:
        fmt = frozen.types[node.inputs[0]].codes_format
        reach = node.op.products(np.abs(on_grid(fmt, entering)), np.abs(node.op.worth)) + np.abs(node.op.bias)
    found = []
    for frame, place in _first_differences(mine, theirs, undecided):
        code, oracle_code = int(mine[frame, place]), int(theirs[frame, place])
        distance = float(abs(code - oracle_code))
        # The comparison itself decodes and encodes once more, each with half an ulp.
        largest = float(max(abs(code), abs(oracle_code)) if exact else reach[frame, place]) * 2.0**-23
        bound = largest if exact else ulps * largest
        found.append(
            Tie(frame, node.name, place, code, oracle_code, distance, bound, distance / largest if largest else 0.0)
        )
    return found
