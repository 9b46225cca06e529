"""Files that users hand over: networks, data sets, arrays, foldings. Each error names the file and what is wrong."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import passes
from hwgen.errors import HwgenError
from hwgen.ir import Fold, Graph, graph_from_json
from hwgen.ops import OPS, MatVec
from hwgen.tools.files import write_atomic

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class DataSet:
    """Inputs (frames, *shape), real or codes, and where they are from; labels y where they are known.

    logits: the float network's outputs. quantized: what each of its activation quantizers gave, in order.
    """

    x: Array
    source: str
    y: Array | None = None
    logits: Array | None = None
    quantized: tuple[Array, ...] = ()


GRAPH = ".graph.json"
"""How the name of a network ends that QONNX cannot express, written as the graph that was imported."""


def write_graph(path: Path, graph: Graph) -> None:
    """Write a graph of either stage as JSON, which `read_model` reads."""
    write_atomic(path, json.dumps(graph.to_json()) + "\n")


def read_imported(path: Path) -> Graph | None:
    """The graph of real-valued operations that a QONNX file or NAME.graph.json holds; None for one that is frozen."""
    graph = _read_graph(path)
    return None if graph.is_frozen else graph


def read_model(
    path: Path, requantize: str = "auto", multiplier: str | None = None, accumulator: str = "exact"
) -> Graph:
    """The frozen graph of a QONNX file, of NAME.graph.json, or of the graph.json that `hwgen compile` wrote.

    A folder stands for the graph.json in it. What is frozen already stays as it is; raises HwgenError if that adds
    otherwise than `accumulator` says.
    """
    graph = _read_graph(path)
    if not graph.is_frozen:
        return passes.freeze(graph, requantize, multiplier, accumulator)
    units = [node.op for node in graph.nodes if isinstance(node.op, MatVec)]
    if accumulator != "exact" and all(op.accumulator != accumulator for op in units):
        raise HwgenError(
            f"{path} is frozen already, with exact sums: accumulator {accumulator!r} comes too late for it"
        )
    return graph


def _read_graph(path: Path) -> Graph:
    if path.is_dir():
        path = path / "graph.json"
    if path.suffix == ".json":
        try:
            return graph_from_json(_read_json(path), OPS)
        except (KeyError, TypeError, ValueError) as error:
            raise HwgenError(f"{path} is not a graph that hwgen wrote: {type(error).__name__} {error}") from error
    from hwgen.frontends import qonnx

    return qonnx.load(path)


def read_data(path: Path | None, model: Path) -> DataSet | None:
    """The data of `path`, else those that stand beside the model as NAME.npz, else None."""
    if path is None:
        stem = model.name.removesuffix(GRAPH).removesuffix(".onnx")
        beside = model.with_name(f"{stem}.npz")
        if stem == model.name or not beside.is_file():
            return None
        path = beside
    if path.suffix == ".npy":
        return DataSet(read_array(path), str(path))
    arrays = _load(path)
    if isinstance(arrays, np.ndarray):
        return DataSet(arrays, str(path))
    if "x" not in arrays:
        raise HwgenError(f"{path} has no array called x; it has {', '.join(arrays) or 'none'}")
    for name, array in arrays.items():
        if len(array) != len(arrays["x"]):
            raise HwgenError(f"{path}: x has {len(arrays['x'])} frames and {name} has {len(array)}")
    quantized = tuple(arrays[f"quantized_{k}"] for k in range(sum(name.startswith("quantized_") for name in arrays)))
    return DataSet(arrays["x"], str(path), arrays.get("y"), arrays.get("logits"), quantized)


def read_array(path: Path) -> Array:
    """The array of a .npy file."""
    array = _load(path)
    if not isinstance(array, np.ndarray):
        raise HwgenError(f"{path} holds several arrays; a .npy file with one is needed")
    return array


def write_array(path: Path, array: Array) -> None:
    """Write a .npy file whole."""
    import io

    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomic(path, buffer.getvalue())


def read_fold(path: Path) -> dict[str, Fold]:
    """Folds by layer from JSON: {"fc0": [PE, SIMD], "fc1": [PE, SIMD, "dsp"], "fc2": {"pe": PE, "simd": SIMD}}."""
    folding = {}
    for name, value in _read_json(path).items():
        fold = [value.get("pe"), value.get("simd")] if isinstance(value, dict) else value
        pair, rest = (fold[:2], fold[2:]) if isinstance(fold, list) else ([], [])
        if len(pair) != 2 or any(type(n) is not int for n in pair):
            raise HwgenError(f"{path}: the fold of {name!r} is [PE, SIMD], two integers, not {json.dumps(value)}")
        if rest not in ([], ["dsp"]):
            raise HwgenError(f'{path}: behind PE and SIMD of {name!r} there may be "dsp", not {json.dumps(rest)}')
        try:
            folding[name] = Fold(pair[0], pair[1], bool(rest))
        except HwgenError as error:
            raise HwgenError(f"{path}: the fold of {name!r}: {error}") from error
    return folding


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HwgenError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise HwgenError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise HwgenError(f"{path} holds a {type(data).__name__}, not an object")
    return data


def _load(path: Path) -> Array | dict[str, Array]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise HwgenError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise HwgenError(f"{path} is not a NumPy file: {error}") from error
