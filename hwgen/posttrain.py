"""Quantization of a trained network in a file, and what comes of it: `hwgen quantize`."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hwgen import inputs, models, passes
from hwgen.errors import HwgenError
from hwgen.frontends.brevitas import from_brevitas
from hwgen.quant.ptq import METHODS, ptq
from hwgen.quant.qonnx import write_qonnx
from hwgen.quant.train import recorded, write_arrays
from hwgen.quant.trainer import forward

CALIBRATION = 512
"""Frames that scales and roundings are found on."""


def quantize_file(
    model: str,
    weight: str,
    activation: str,
    calib: Path,
    out: Path | None = None,
    method: str = "round",
    **options: Any,
) -> dict[str, Any]:
    """Quantize the float network `model` and write <out>/NAME-<weight>.graph.json and .npz; the figures, for JSON.

    model: a .pt file of a whole module, a folder that `hwgen train` filled, or a name of hwgen.models.TRAINED.
    calib: an .npz with x (frames, *shape) and, if they are known, labels y. out: build/NAME-<weight> by default.
    method and options (equalize, smooth, correct_bias): as `hwgen.quant.ptq.ptq`. The .npz holds x, y, the quantized
    module's outputs and those of its activation quantizers, which `hwgen verify` compares with. Where QONNX can say
    the network, it is in NAME-<weight>.onnx too; "qonnx" of the figures is None then, or else the reason.
    Raises HwgenError for files that hold something else, and for networks that hardware cannot carry (then nothing
    is written).
    """
    if method not in METHODS:
        raise HwgenError(f"unknown method {method!r}: one of {', '.join(METHODS)}")
    data = inputs.read_data(calib, calib)
    assert data is not None
    if not np.isfinite(data.x).all():
        frame = int(np.argwhere(~np.isfinite(data.x))[0][0])
        raise HwgenError(f"frame {frame} of {calib} holds NaN or infinity")
    x = torch.from_numpy(np.ascontiguousarray(data.x, dtype=np.float32))
    module = read_module(model)
    name = f"{Path(model).stem}-{weight}"
    folder = out or Path("build") / name
    with torch.no_grad():
        before = _run(module, x, model, calib)
        chosen: Any = {"method": method, **options}
        found = ptq(copy.deepcopy(module), x[:CALIBRATION], weight, activation, **chosen)
        with recorded(found) as quantized:
            logits = np.asarray(forward(found, x), dtype=np.float32)
    graph = from_brevitas(found, x[:CALIBRATION].numpy(), name)
    passes.freeze(graph)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"x": data.x, "logits": logits} | ({} if data.y is None else {"y": data.y})
    arrays |= {f"quantized_{k}": array for k, array in enumerate(quantized.arrays())}
    write_arrays(folder / f"{name}.npz", arrays)
    inputs.write_graph(folder / f"{name}{inputs.GRAPH}", graph)
    refused = write_qonnx(folder / f"{name}.onnx", found, x[:1])
    return {
        "graph": str(folder / f"{name}{inputs.GRAPH}"),
        "weight": weight,
        "activation": activation,
        "method": method,
        "qonnx": refused,
        "frames": len(x),
        "float_accuracy": _accuracy(before, data.y),
        "quantized_accuracy": _accuracy(logits, data.y),
    }


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


def _run(module: nn.Module, x: torch.Tensor, model: str, calib: Path) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(forward(module, x))
    except (RuntimeError, ValueError, TypeError) as error:
        raise HwgenError(f"{model} does not run on the frames {tuple(x.shape)} of {calib}: {error}") from error


def _accuracy(outputs: np.ndarray[Any, Any], labels: Any) -> float | None:
    if labels is None:
        return None
    return float((outputs.reshape(len(outputs), -1).argmax(axis=1) == np.asarray(labels)).mean())
