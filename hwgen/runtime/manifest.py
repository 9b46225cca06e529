"""What the host must know of an accelerator: its network's hash and the shape of its two streams."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError
from hwgen.ir.beats import Beats


@dataclass(frozen=True)
class Manifest:
    """`graph_id`: the first 16 hex digits of the network's hash. `board_sim`: the simulated board, where there is one.

    `baud`: the bit rate of the board's UART, where the manifest names one.
    """

    path: Path
    graph_id: str
    input: Beats
    output: Beats
    board_sim: Path | None
    baud: int | None


def read_manifest(path: Path | str) -> Manifest:
    """Read `manifest.json`, named itself or by its folder; raises HwgenError that names the file and what is wrong.

    Keys: `hash` (at least 16 hex digits), `input` and `output` (Beats as JSON); optional `board_sim` (the simulated
    board's executable, relative to the manifest) and `baud`.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "manifest.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HwgenError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise HwgenError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise HwgenError(f"{path} is not a manifest: it holds no object")
    missing = [key for key in ("hash", "input", "output") if key not in data]
    if missing:
        raise HwgenError(f"{path} is not a manifest: it has no {' and no '.join(missing)}")
    sim, baud = data.get("board_sim"), data.get("baud")
    if not (sim is None or isinstance(sim, str)) or not (baud is None or (isinstance(baud, int) and baud > 0)):
        raise HwgenError(f"{path}: board_sim must be a path and baud a positive integer, not {sim!r} and {baud!r}")
    return Manifest(
        path=path,
        graph_id=_graph_id(path, data["hash"]),
        input=_beats(path, "input", data["input"]),
        output=_beats(path, "output", data["output"]),
        board_sim=None if sim is None else path.parent / sim,
        baud=baud,
    )


def _graph_id(path: Path, value: Any) -> str:
    digits = value[:16].lower() if isinstance(value, str) else ""
    if len(digits) != 16 or not set(digits) <= set("0123456789abcdef"):
        raise HwgenError(f"{path}: hash must begin with 16 hex digits, not {value!r}")
    return digits


def _beats(path: Path, key: str, value: Any) -> Beats:
    fields = ("lanes", "bits", "signed", "beats", "shared")
    if not isinstance(value, dict) or not all(type(value.get(name)) in (int, bool) for name in fields):
        raise HwgenError(f"{path}: {key} needs integers {', '.join(fields)} (signed a boolean), not {value!r}")
    return Beats(value["lanes"], value["bits"], bool(value["signed"]), value["beats"], value["shared"])
