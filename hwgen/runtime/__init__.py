"""The host's view of an accelerator: the same API for a simulated board and for one behind a serial port."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hwgen.errors import HwgenError
from hwgen.runtime.device import Device, Stats
from hwgen.runtime.link import Link
from hwgen.runtime.manifest import Manifest, read_manifest
from hwgen.runtime.protocol import Info
from hwgen.tools.board_sim import board_sim

__all__ = ["Device", "Info", "Manifest", "Stats", "connect", "read_manifest"]

DEFAULT_BAUD = 115200


def connect(
    target: str,
    manifest: Path | str | None = None,
    *,
    baud: int | None = None,
    timeout: float | None = None,
    retries: int = 3,
) -> Device:
    """Connect to an accelerator and make sure that it holds the network of the manifest.

    `target`: `serial:<device>` for a board, `sim:<folder>` for the simulated board of a build folder. `manifest`:
    a manifest.json or its folder; a simulated board brings its own. `baud`: bits per second, by default the
    manifest's, else 115200. `timeout`: seconds without a reply after which a request is repeated, by default 2 on
    a serial port (and the time that its frames take on the line) and 30 in simulation; `retries`: how often.
    Raises HwgenError for a target of another kind, a manifest that is missing or broken, a port that cannot be
    opened, a board that does not answer, and a board that holds another network.
    """
    kind, _, place = target.partition(":")
    if kind not in ("serial", "sim") or not place:
        raise HwgenError(f"cannot connect to {target!r}: write serial:<device> or sim:<build folder>")
    if kind == "serial" and manifest is None:
        raise HwgenError(f"{target} needs the accelerator's manifest: pass manifest=<build folder or manifest.json>")
    about = read_manifest(place if manifest is None else manifest)
    rate = baud or about.baud or DEFAULT_BAUD
    with contextlib.ExitStack() as stack:
        if kind == "sim":
            if about.board_sim is None:
                raise HwgenError(f"{target}: {about.path} names no simulated board (key board_sim)")
            place = str(stack.enter_context(board_sim(about.board_sim)).pty)
        patience = _patience(kind, about, rate) if timeout is None else timeout
        link = stack.enter_context(Link(place, rate, patience))
        link.discard()
        device = Device(target, link, about, stack.pop_all(), patience, retries)
    try:
        device.check()
    except BaseException:  # an interrupt too must end the simulated board; it goes on
        device.close()
        raise
    return device


def _patience(kind: str, manifest: Manifest, baud: int) -> float:
    """Seconds to wait for a reply: twice two frames each way at ten bits a byte, plus a margin."""
    frames = manifest.input.bytes_per_frame + manifest.output.bytes_per_frame
    return (30.0 if kind == "sim" else 2.0) + 4 * 10 * frames / baud
