"""Steps whose results are kept by the hash of their inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hwgen.tools.files import atomic_dir


@dataclass(frozen=True)
class Step:
    """The folder that a step filled, and whether an earlier run had filled it."""

    path: Path
    reused: bool


def step(root: Path | str, name: str, inputs_digest: str, fn: Callable[[Path], None]) -> Step:
    """Run `fn(folder)` unless `root` already holds the result of the step `name` for these inputs.

    `inputs_digest` (of `hwgen.tools.files.digest`) must cover everything that `fn` reads. The folder appears under
    its name only when `fn` has returned, so a killed or failed step is run again.
    """
    path = Path(root) / f"{name}-{inputs_digest[:16]}"
    if path.is_dir():
        return Step(path, reused=True)
    with atomic_dir(path) as temporary:
        fn(temporary)
    return Step(path, reused=False)
