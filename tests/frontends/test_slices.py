"""Splits and slices of Brevitas modules and of QONNX files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hwgen.errors import UnsupportedError
from hwgen.frontends.chain import Chain
from hwgen.frontends.slices import split_function, take_part
from hwgen.ir import Graph
from hwgen.ops import Slice
from tests.frontends.test_joins import BYTES, Forward, act, agrees, conv, from_brevitas, nn, qnn, settled, torch
from tests.frontends.test_qonnx import saved, start
from tests.oracles.networks import Builder


def taken(graph: Graph) -> list[tuple[int, int]]:
    return [(node.op.start, node.op.stop) for node in graph.nodes if isinstance(node.op, Slice)]


def plain() -> Any:
    return qnn.QuantReLU(bit_width=4)


def halves(self: Any, x: Any) -> Any:
    left, right = torch.split(self.act(self.stem(x)), [2, 4], dim=1)
    return self.last(torch.cat([self.act(self.main(right)), left], dim=1))


def chunks(self: Any, x: Any) -> Any:
    # What is split is real numbers here, which each part quantizes for itself. Nothing reads the second part.
    parts = self.norm(self.stem(x)).chunk(3, 1)
    return self.last(torch.cat([self.act(self.main(self.act(parts[-1]))), self.act(parts[0])], dim=1))


def sliced(self: Any, x: Any) -> Any:
    x = self.act(self.stem(x))
    return self.last(torch.cat([self.act(self.main(x[:, 1:3])), x[:, -2:, ...], x[...]], dim=1))


NETWORKS: dict[str, tuple[Callable[[Any, Any], Any], int, int, list[tuple[int, int]]]] = {
    "split": (halves, 4, 6, [(0, 2), (2, 6)]),
    "chunk": (chunks, 2, 6, [(4, 6), (0, 2)]),
    "slices": (sliced, 2, 12, [(1, 3), (4, 6)]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_parts_of_channels(name: str) -> None:
    forward, inner, behind, slices = NETWORKS[name]
    layers = {"stem": conv(2, 6, 1), "norm": nn.BatchNorm2d(6), "main": conv(inner, 4, 3), "last": conv(behind, 3, 1)}
    if name == "chunk":
        layers["last"] = conv(6, 3, 1)
    # A QuantTensor has no slices.
    frozen = agrees(Forward(forward, act=plain() if name == "slices" else act(), **layers), 2, 3, 3)
    assert sorted(taken(frozen)) == sorted(slices)


REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "rows": (lambda self, x: torch.split(self.act(x), 2, 2)[0], "axis 2 is not that of the channels"),
    "steps": (lambda self, x: self.act(x)[:, ::2], "slices along one axis, the channels', with step 1"),
    "two axes": (lambda self, x: self.act(x)[:, :2, 1:], "slices along one axis, the channels', with step 1"),
    "none": (lambda self, x: self.act(x)[:, 3:1], "it takes no channel of 4: 3 to 1"),
    "index": (lambda self, x: self.act(x)[:, 0], "it takes part .* of a tensor; of topk, 0 and 1 are supported"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_parts_that_cannot_be_taken_are_refused(case: str) -> None:
    forward, message = REFUSED[case]
    module = settled(Forward(forward, act=plain()), 4, 4, 4)
    with pytest.raises(UnsupportedError, match=message):
        from_brevitas(module, torch.rand(2, 4, 4, 4), input_quantizer=BYTES)


def test_a_part_that_a_split_has_not_is_refused() -> None:
    chain = Chain.start("x", (4,), None)
    split_function(chain, "split", ["x", 2, 1], {}, UnsupportedError)
    node = SimpleNamespace(name="split")
    with pytest.raises(UnsupportedError, match="it takes part 2 of 2"):
        take_part(chain, "part", [node, 2], {}, UnsupportedError)


def split(b: Builder, x: str, parts: int, **options: Any) -> list[str]:
    """The outputs of a Split; `sizes` as an input."""
    sizes = options.pop("sizes", None)
    inputs = [x] if sizes is None else [x, b.const(sizes, np.int64)]
    first = b.op("Split", *inputs, name="split", **options)
    outputs = [first, *(f"{first}.{n}" for n in range(1, parts))]
    del b.nodes[-1].output[:]
    b.nodes[-1].output.extend(outputs)
    return outputs


SPLITS: dict[str, tuple[Callable[[Builder, str], list[str]], list[tuple[int, int]]]] = {
    "sizes": (lambda b, x: split(b, x, 2, axis=1, sizes=[2, 4]), [(0, 2), (2, 6)]),
    "attribute": (lambda b, x: split(b, x, 2, axis=-1, split=[5, 1]), [(0, 5), (5, 6)]),
    "equal": (lambda b, x: split(b, x, 3, axis=1), [(0, 2), (2, 4), (4, 6)]),
    "slices": (
        lambda b, x: [
            b.op("Slice", x, b.const([start], np.int64), b.const([stop], np.int64), b.const([1], np.int64))
            for start, stop in ((0, 3), (-3, 1 << 40))
        ],
        [(0, 3), (3, 6)],
    ),
    "old slices": (
        lambda b, x: [b.op("Slice", x, starts=[n], ends=[n + 3], axes=[1]) for n in (0, 3)],
        [(0, 3), (3, 6)],
    ),
}


@pytest.mark.parametrize("name", SPLITS)
def test_parts_of_files(name: str, tmp_path: Path) -> None:
    build, slices = SPLITS[name]
    b = Builder()
    parts = build(b, start(b))
    # Slices had attributes before opset 10.
    joined = b.op("Concat", *parts[::-1], axis=1)
    graph = saved(b.model(joined, (1, 6), (1, 6), opset=9 if name == "old slices" else 13), tmp_path)
    assert taken(graph) == slices
    x = np.arange(6.0)[None] / 4
    values = {"x": x}
    for node in graph.nodes:
        values[node.output] = node.op.run(*(values[name] for name in node.inputs))
    want = np.concatenate([values[graph.nodes[0].output][:, slice(*one)] for one in slices[::-1]], axis=1)
    np.testing.assert_array_equal(values[graph.outputs[0]], want)


FILES_REFUSED: dict[str, tuple[Callable[[Builder, str], str], str]] = {
    "sizes": (lambda b, x: split(b, x, 2, axis=1, sizes=[2, 3])[0], r"parts of \[2, 3\] channels do not make 6"),
    "outputs": (lambda b, x: split(b, x, 2, axis=1, sizes=[2, 2, 2])[0], "3 parts for 2 outputs"),
    "batch": (lambda b, x: split(b, x, 2, axis=0)[0], "axis 0 is not that of the channels"),
    "axes": (
        lambda b, x: b.op("Slice", x, *(b.const(two, np.int64) for two in ([0, 0], [1, 3], [0, 1])), name="split"),
        "slices along one axis, the channels', with step 1 are supported",
    ),
}


@pytest.mark.parametrize("case", FILES_REFUSED)
def test_parts_of_files_that_cannot_be_taken_are_refused(case: str, tmp_path: Path) -> None:
    build, message = FILES_REFUSED[case]
    b = Builder()
    tensor = build(b, start(b))
    with pytest.raises(UnsupportedError, match=f"node 'split' .*{message}"):
        saved(b.model(tensor, (1, 6), (1, 6)), tmp_path)
