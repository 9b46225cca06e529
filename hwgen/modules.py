"""Modules in users' hands, and their networks as files: what `hwgen import` reads and writes.

torch is imported by everything here.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hwgen import inputs, models, passes
from hwgen.errors import HwgenError
from hwgen.frontends.brevitas import from_brevitas
from hwgen.quant import data
from hwgen.quant.qonnx import write_qonnx
from hwgen.quant.train import load_python, recorded, write_arrays
from hwgen.quant.trainer import forward

Array = npt.NDArray[Any]

CALIBRATION = 512
"""Frames that a module is run on to be read, or to be quantized: the first ones."""

EXAMPLE = 1 << 18
"""Numbers in the frames that a module of unknown size is run on at once; large images are fewer than CALIBRATION."""


@dataclass(frozen=True)
class Source:
    """A module in eval mode, real frames x (frames, *shape) to verify it on, and their labels y where they are known.

    example: frames that it is run on to be read.
    """

    name: str
    module: nn.Module
    x: Array
    y: Array | None
    example: Array


@dataclass(frozen=True)
class Written:
    """Where a network was written, what the module gives for its frames, and why there is no QONNX file, or None."""

    graph: Path
    logits: Array
    qonnx: str | None


def import_module(place: str, frames: Path | None = None, count: int | None = None, out: Path | None = None) -> Written:
    """Write the network of a Brevitas module as <out>/NAME.graph.json and .npz, and .onnx where QONNX can say it.

    place: FILE.py:FUNCTION, see `read_source`; a .pt file, a folder that `hwgen train` filled, or a name of
    hwgen.models.TRAINED. frames: .npy or .npz of real frames, instead of the source's own. count: at most so many.
    out: build/NAME by default. Raises HwgenError for what cannot be read, UnsupportedError naming the layer that
    hardware cannot carry; nothing is written then.
    """
    source = read_source(place, frames)
    return write_network(out or Path("build") / source.name, source, count)


def read_source(place: str, frames: Path | None = None) -> Source:
    """The module that `place` names, in eval mode, with frames for it.

    FILE.py:FUNCTION is a function without parameters in a Python file, which gives (module, x) or (module, x, y).
    Networks of hwgen.models bring the held-out images of their data set; a .pt file needs `frames`.
    """
    given = None if frames is None else inputs.read_data(frames, frames)
    if given is not None:
        check_frames(str(frames), given.x)
    path, _, function = place.partition(".py:")
    if function:
        source = _from_function(Path(f"{path}.py"), function)
    elif place in models.TRAINED:
        network = models.find(models.record(place)["config"]["model"])
        held = data.load(network.dataset).shaped(*network.shape)
        source = Source(place, read_module(place), held.x_test, held.y_test, held.x_train[:CALIBRATION])
    elif path.endswith(".py"):
        raise HwgenError(f"{place}: name the function that gives the module, as in {place}:FUNCTION")
    elif given is None:
        raise HwgenError(f"{place} brings no frames of its own: give real ones with --input")
    else:
        source = Source(Path(place).stem, read_module(place), given.x, given.y, _example(given.x))
    return source if given is None else replace(source, x=given.x, y=given.y)


def _from_function(path: Path, name: str) -> Source:
    function = getattr(load_python(path), name, None)
    if not callable(function):
        raise HwgenError(f"{path} has no function {name!r}")
    found = function()
    if not (isinstance(found, tuple) and len(found) in (2, 3) and isinstance(found[0], nn.Module)):
        raise HwgenError(f"{name}() of {path} gives (module, x) or (module, x, y), not {_what(found)}")
    module, x, *rest = found
    x, y = np.asarray(x), np.asarray(rest[0]) if rest else None
    check_frames(f"{name}() of {path}", x)
    if y is not None and len(y) != len(x):
        raise HwgenError(f"{name}() of {path}: x has {len(x)} frames and y has {len(y)}")
    return Source(name, module.eval(), x, y, _example(x))


def _example(x: Array) -> Array:
    return x[: max(1, min(CALIBRATION, EXAMPLE // x[0].size))]


def _what(found: Any) -> str:
    kinds = [type(one).__name__ for one in found] if isinstance(found, tuple) else []
    return f"({', '.join(kinds)})" if kinds else type(found).__name__


def check_frames(place: str, x: Array) -> None:
    """Raise HwgenError, naming the place, for x that is no array of real frames."""
    if x.ndim < 2 or not x.size or not np.issubdtype(x.dtype, np.floating):
        raise HwgenError(f"{place}: frames are real numbers of shape (frames, *shape), not {x.dtype} of {x.shape}")
    if not np.isfinite(x).all():
        frame = int(np.argwhere(~np.isfinite(x))[0][0])
        raise HwgenError(f"frame {frame} of {place} holds NaN or infinity")


def read_module(place: str) -> nn.Module:
    """A trained module in eval mode from a .pt file, a folder of `hwgen train`, or a name of the zoo.

    A .pt file is unpickled, which runs code that is in it. Raises HwgenError for anything else.
    """
    path = Path(place)
    if path.suffix != ".pt":
        module: nn.Module = models.load(place)
        return module
    try:
        found = torch.load(path, map_location="cpu", weights_only=False)
    except OSError as error:
        raise HwgenError(f"cannot read {path}: {error.strerror or error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, ImportError) as error:
        raise HwgenError(f"{path} holds no module that can be read here: {error}") from error
    if not isinstance(found, nn.Module):
        raise HwgenError(f"{path} holds a {type(found).__name__}; a whole module is needed: torch.save(model, path)")
    return found.eval()


def outputs(module: nn.Module, x: Array, about: str) -> Array:
    """What a module gives for all frames x (frames, *shape); raises HwgenError, with `about`, if it does not run."""
    try:
        return np.asarray(forward(module, torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))))
    except (RuntimeError, ValueError, TypeError) as error:
        raise HwgenError(f"{about} does not run on frames of shape {x.shape[1:]}: {error}") from error


def write_network(folder: Path, source: Source, count: int | None = None) -> Written:
    """Write a module as <folder>/NAME.graph.json and .npz, and .onnx where QONNX can say it.

    The .npz holds x, y, the module's outputs on at most `count` frames and those of its activation quantizers, which
    `hwgen verify` compares with. Raises UnsupportedError, and nothing is written, if hardware cannot carry it.
    """
    x, name = source.x[:count], source.name
    with recorded(source.module) as quantized:
        logits = np.asarray(outputs(source.module, x, name), dtype=np.float32)
    graph = from_brevitas(source.module, source.example, name)
    passes.freeze(graph)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"x": x, "logits": logits} | ({} if source.y is None else {"y": source.y[:count]})
    arrays |= {f"quantized_{k}": array for k, array in enumerate(quantized.arrays())}
    write_arrays(folder / f"{name}.npz", arrays)
    inputs.write_graph(folder / f"{name}{inputs.GRAPH}", graph)
    one = torch.from_numpy(np.ascontiguousarray(x[:1], dtype=np.float32))
    refused = write_qonnx(folder / f"{name}.onnx", source.module, one)
    return Written(folder / f"{name}{inputs.GRAPH}", logits, refused)
