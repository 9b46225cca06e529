"""Trained weights as small files: .npz archives of a module's state."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.errors import HwgenError
from hwgen.tools.files import write_atomic


def save(module: Any, path: Path) -> None:
    """Write the module's state so that `load` gives the same outputs, bit for bit.

    A quantized weight is stored as what its quantizer makes of it, which packs well, unless quantizing that again
    would change it or its scale: then as it is.
    """
    state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    for name, layer in module.named_modules():
        if getattr(getattr(layer, "weight_quant", None), "is_quant_enabled", False):
            state[f"{name}.weight" if name else "weight"] = _settled(layer)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{name: tensor.numpy() for name, tensor in state.items()})
    write_atomic(path, buffer.getvalue())


def _settled(layer: Any) -> Any:
    import torch

    own = layer.weight.detach().clone()
    quant = layer.weight_quant.tensor_quant  # gives (value, scale, ...)
    with torch.no_grad():
        once = [part for part in quant(layer.weight) if part is not None]
        value = once[0].detach().clone()
        if value.shape != own.shape:
            return own
        try:
            layer.weight.copy_(value)
            twice = [part for part in quant(layer.weight) if part is not None]
        finally:
            layer.weight.copy_(own)
    same = all(not isinstance(a, torch.Tensor) or torch.equal(a, b) for a, b in zip(once, twice, strict=True))
    return value if same else own


def load(module: Any, path: Path) -> Any:
    """Give `module` the weights that `save` wrote, and return it in eval mode.

    Raises HwgenError for a file that cannot be read, and for weights of another network.
    """
    import torch

    try:
        with np.load(path, allow_pickle=False) as arrays:
            state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except OSError as error:
        raise HwgenError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise HwgenError(f"{path} is not a file of weights: {error}") from error
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise HwgenError(f"{path} is of another network: {lines[min(1, len(lines) - 1)].strip()}") from error
    return module.eval()
