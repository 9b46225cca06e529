"""Everything that training goes on from, in one file that is whole or not there."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError
from hwgen.quant.config import TrainConfig
from hwgen.tools.files import write_atomic

LAST = "checkpoint.pt"
BEST = "best.pt"

State = dict[str, Any]


def state_of(model: Any) -> State:
    """Copies of a module's tensors, and the numbers that its parts count in.

    A state_dict leaves out what Brevitas keeps as plain attributes (how many batches a scale has seen) and the
    buffers that it averages them in; without those a resumed run would differ.
    """
    tensors = {name: t.detach().cpu().clone() for name, t in _tensors(model).items()}
    numbers = {
        f"{path}.{name}": value
        for path, part in model.named_modules()
        for name, value in vars(part).items()
        if type(value) in (bool, int, float) and name != "training"
    }
    return {"tensors": tensors, "numbers": numbers}


def _tensors(model: Any) -> dict[str, Any]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def restore(model: Any, state: State, place: str) -> None:
    """Give `model` the state that `state_of` took of another module of the same making.

    Raises HwgenError naming `place` when the modules differ.
    """
    import torch

    here = _tensors(model)
    if here.keys() != state["tensors"].keys():
        (name, *_) = sorted(here.keys() ^ state["tensors"].keys())
        raise HwgenError(f"{place} is of another network: only one of them has {name!r}")
    parts = dict(model.named_modules())
    with torch.no_grad():
        for name, tensor in here.items():
            tensor.data = state["tensors"][name].to(tensor.device, copy=True)
    for name, value in state["numbers"].items():
        path, _, attribute = name.rpartition(".")
        setattr(parts[path], attribute, value)


def save(path: Path, content: State) -> None:
    """Write a checkpoint."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getvalue())


def load(path: Path, config: TrainConfig, made_by: State) -> State | None:
    """The checkpoint of this configuration and these circumstances, or None where there is no file.

    Raises HwgenError for a file that cannot be read, and for one that another configuration wrote, naming each field.
    """
    if not path.is_file():
        return None
    content = read(path)
    wrong = config.differences(content.get("config", {}))
    before = content.get("made_by", {})
    wrong += [f"{name}: {before.get(name)!r}, not {now!r}" for name, now in made_by.items() if before.get(name) != now]
    if wrong:
        raise HwgenError(
            f"{path} is of another configuration ({'; '.join(wrong)}): train into another folder, or begin anew with "
            "--restart"
        )
    return content


def read(path: Path) -> State:
    """The content of a checkpoint file."""
    import torch

    try:
        raw = path.read_bytes()
    except OSError as error:
        raise HwgenError(f"cannot read {path}: {error.strerror or error}") from error
    # torch.save writes a ZIP archive, whose checksums tell whether it is whole.
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if broken := archive.testzip():
                raise zipfile.BadZipFile(f"{broken} is damaged")
        content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise HwgenError(f"{path} is not a whole checkpoint: {reason}; --restart begins anew") from error
    if not isinstance(content, dict):
        raise HwgenError(f"{path} holds a {type(content).__name__}, not a checkpoint")
    return content
