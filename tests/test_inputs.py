"""Files of users: what is read, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hwgen import inputs
from hwgen.errors import HwgenError
from hwgen.formats import Int
from hwgen.ir import Fold, Graph, Node, TensorType, Value
from hwgen.ops import Dense, Quantize
from hwgen.tools.files import write_atomic


def test_a_graph_comes_back_from_its_json(mlp: Graph, tmp_path: Path) -> None:
    write_atomic(tmp_path / "graph.json", json.dumps(mlp.to_json()))
    assert inputs.read_model(tmp_path).hash == mlp.hash
    assert inputs.read_model(tmp_path / "graph.json").hash == mlp.hash


def test_graphs_that_are_not_frozen_yet(tmp_path: Path) -> None:
    dense = Node("fc", Dense(np.ones((2, 3), int), Int(2)), ("q",), "y")
    graph = Graph("g", (Value("x", TensorType((3,))),), (Node("q", Quantize(Int(4)), ("x",), "q"), dense), ("y",))
    path = tmp_path / "g.graph.json"
    inputs.write_graph(path, graph)
    imported = inputs.read_imported(path)
    assert imported is not None
    assert imported.hash == graph.hash
    frozen = inputs.read_model(path)
    assert frozen.is_frozen
    inputs.write_graph(tmp_path / "graph.json", frozen)
    assert inputs.read_imported(tmp_path) is None
    assert inputs.read_model(tmp_path).hash == frozen.hash
    np.savez(tmp_path / "g.npz", x=np.ones((4, 3)))
    data = inputs.read_data(None, path)
    assert data is not None
    assert len(data.x) == 4


def test_data_beside_the_model(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    assert inputs.read_data(None, model) is None
    np.savez(tmp_path / "m.npz", x=np.ones((3, 2)), y=np.zeros(3))
    data = inputs.read_data(None, model)
    assert data is not None
    assert data.x.shape == (3, 2)
    assert data.logits is None
    np.save(tmp_path / "x.npy", np.ones((4, 2)))
    other = inputs.read_data(tmp_path / "x.npy", model)
    assert other is not None
    assert other.x.shape == (4, 2)
    assert other.y is None


def test_folds_in_both_spellings(tmp_path: Path) -> None:
    path = tmp_path / "fold.json"
    path.write_text('{"a": [2, 4], "b": {"pe": 1, "simd": 8}}')
    assert inputs.read_fold(path) == {"a": Fold(2, 4), "b": Fold(1, 8)}


def test_arrays_are_written_whole(tmp_path: Path) -> None:
    inputs.write_array(tmp_path / "y.npy", np.arange(5))
    assert inputs.read_array(tmp_path / "y.npy").tolist() == [0, 1, 2, 3, 4]


def files(folder: Path) -> None:
    (folder / "broken.json").write_text("{")
    (folder / "list.json").write_text("[]")
    (folder / "fold.json").write_text('{"a": [2]}')
    (folder / "odd.json").write_text('{"a": [2, 4, 3]}')
    (folder / "foreign.json").write_text('{"version": 1}')
    (folder / "text.npy").write_text("no array")
    (folder / "empty.npy").write_text("")
    np.savez(folder / "noname.npz", z=np.zeros(1))
    np.savez(folder / "uneven.npz", x=np.zeros((3, 2)), y=np.zeros(2))
    (folder / "cut.npz").write_bytes((folder / "uneven.npz").read_bytes()[:60])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: inputs.read_model(d), r"cannot read .*graph.json: No such file"),
        (lambda d: inputs.read_model(d / "broken.json"), r"broken.json is not JSON"),
        (lambda d: inputs.read_model(d / "list.json"), r"list.json holds a list, not an object"),
        (lambda d: inputs.read_model(d / "foreign.json"), r"foreign.json is not a graph that hwgen wrote: KeyError"),
        (lambda d: inputs.read_fold(d / "fold.json"), r"the fold of 'a' is \[PE, SIMD\], two integers, not \[2\]"),
        (lambda d: inputs.read_fold(d / "odd.json"), r"behind PE and SIMD of 'a' there may be \"dsp\", not \[3\]"),
        (lambda d: inputs.read_array(d / "none.npy"), r"cannot read .*none.npy: No such file"),
        (lambda d: inputs.read_array(d / "text.npy"), r"text.npy is not a NumPy file"),
        (lambda d: inputs.read_array(d / "empty.npy"), r"empty.npy is not a NumPy file"),
        (lambda d: inputs.read_array(d / "uneven.npz"), r"uneven.npz holds several arrays"),
        (lambda d: inputs.read_data(d / "noname.npz", d), r"noname.npz has no array called x; it has z"),
        (lambda d: inputs.read_data(d / "uneven.npz", d), r"uneven.npz: x has 3 frames and y has 2"),
        (lambda d: inputs.read_data(d / "cut.npz", d), r"cut.npz is not a NumPy file"),
    ],
)
def test_errors(call, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    files(tmp_path)
    with pytest.raises(HwgenError, match=message):
        call(tmp_path)
