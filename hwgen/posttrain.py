"""Quantization of a trained network in a file, and what comes of it: `hwgen quantize`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwgen import inputs
from hwgen.errors import HwgenError
from hwgen.modules import CALIBRATION, Source, check_frames, outputs, read_module, write_network
from hwgen.quant.ptq import METHODS, ptq


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
    check_frames(str(calib), data.x)
    module = read_module(model)
    name = f"{Path(model).stem}-{weight}"
    before = outputs(module, data.x, f"{model}, on {calib},")
    example = data.x[:CALIBRATION]
    chosen: Any = {"method": method, **options}
    with torch.no_grad():
        calibration = torch.from_numpy(np.ascontiguousarray(example, dtype=np.float32))
        found = ptq(copy.deepcopy(module), calibration, weight, activation, **chosen)
    written = write_network(out or Path("build") / name, Source(name, found, data.x, data.y, example))
    return {
        "graph": str(written.graph),
        "weight": weight,
        "activation": activation,
        "method": method,
        "qonnx": written.qonnx,
        "frames": len(data.x),
        "float_accuracy": _accuracy(before, data.y),
        "quantized_accuracy": _accuracy(written.logits, data.y),
    }


def _accuracy(outputs: np.ndarray[Any, Any], labels: Any) -> float | None:
    if labels is None:
        return None
    return float((outputs.reshape(len(outputs), -1).argmax(axis=1) == np.asarray(labels)).mean())
