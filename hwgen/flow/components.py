"""Synthesis component by component: each is a task of its own, kept by its content; the results are summed.

What is synthesised apart cannot share logic across its borders, so that the sum is a little more than the whole; but
the same component is synthesised only once, wherever it stands, and a large network takes minutes instead of hours.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError
from hwgen.gateware import verilog
from hwgen.gateware.top import staged
from hwgen.ir import Folding, Graph
from hwgen.tools import tasks, yosys
from hwgen.tools.cache import step
from hwgen.tools.files import digest, write_atomic
from hwgen.tools.resources import Family, Resources, parse_stat

SOURCE = "synthesis (per component)"
"""Where the figures are from."""

TOP = "unit"
"""The name of every component's module, so that equal components have equal texts."""

OnProgress = Callable[[str, int, int], None]
"""(what is done, components that are done, all components)."""


@dataclass(frozen=True)
class Component:
    """One instance of the accelerator: its name there, what it is, the node it computes (or None), its RTLIL."""

    name: str
    kind: str
    node: str | None
    rtlil: str

    def key(self, family: Family) -> str:
        """The hash of all that its size depends on."""
        return digest(self.rtlil, family, yosys.synthesis_script(["unit.v"], TOP, family), _version())


@dataclass(frozen=True)
class Size:
    """What one component takes. reused: whether an earlier run, or an equal component, had found it."""

    name: str
    kind: str
    node: str | None
    resources: Resources
    reused: bool


@dataclass(frozen=True)
class Sizes:
    """The components of an accelerator in the order of the stream, and their sum; None where one is not known."""

    family: Family
    parts: tuple[Size, ...]

    @property
    def total(self) -> Resources:
        every = [part.resources.to_json() for part in self.parts]
        sums: dict[str, float | None] = {}
        for kind in every[0]:
            values = [one[kind] for one in every]
            known = [value for value in values if value is not None]
            sums[kind] = sum(known) if len(known) == len(values) else None
        return Resources(**sums)

    def to_json(self) -> dict[str, Any]:
        return {
            "family": self.family,
            "source": SOURCE,
            "total": self.total.to_json(),
            "parts": {
                part.name: {"kind": part.kind, "node": part.node, **part.resources.to_json()} for part in self.parts
            },
            "note": yosys.NOTES[self.family],
        }


def split(graph: Graph, folding: Folding, family: Family | None = None) -> list[Component]:
    """The components of the accelerator of a frozen graph; `family` and errors as for `hwgen.gateware.build`."""
    return [
        Component(stage.name, stage.kind, stage.node, verilog.to_rtlil(component, TOP))
        for stage, component in staged(graph, folding, family)
    ]


def synthesise(
    components: Sequence[Component],
    family: Family,
    root: Path | str,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: OnProgress | None = None,
) -> Sizes:
    """Resources of each of `components` on `family`, by Yosys.

    Results are kept in `root` by content, each as soon as it is there. The rest run side by side on this machine, at
    most `workers` at a time (None: one for each processor), or on the dask cluster at `scheduler`.
    Raises ToolFailedError where Yosys fails, HwgenError where `root` holds something else or the workers have another
    Yosys than this machine, and as `hwgen.tools.tasks` for a cluster.
    """
    tell = progress or (lambda message, done, count: None)
    names: dict[str, list[str]] = {}
    packed: dict[str, bytes] = {}
    keys = [component.key(family) for component in components]
    for key, component in zip(keys, components, strict=True):
        names.setdefault(key, []).append(component.name)
        if not _kept(root, key):
            packed[key] = zlib.compress(component.rtlil.encode())
    done = len(names) - len(packed)
    tell("kept from before" if done else "started", done, len(names))
    call = partial(_synthesise, family=family)
    # The largest first, so that it does not run alone at the end.
    ordered = {key: packed[key] for key in sorted(packed, key=lambda key: -len(packed[key]))}
    results: Iterable[tuple[str, tuple[str, str]]] = ()
    if ordered:
        run = partial(tasks.run_here, workers=workers)
        results = tasks.run_on_cluster(call, ordered, scheduler) if scheduler else run(call, ordered)
    for key, (stat, version) in results:
        if version != _version():
            raise HwgenError(f"a worker of {scheduler} has pyosys {version}, this machine has {_version()}")
        _keep(root, key, stat)
        done += 1
        tell(", ".join(names[key]), done, len(names))
    return _sizes(components, keys, set(packed), family, root)


def _sizes(
    components: Sequence[Component], keys: Sequence[str], new: set[str], family: Family, root: Path | str
) -> Sizes:
    found, parts = dict[str, Resources](), []
    for key, component in zip(keys, components, strict=True):
        reused = key not in new or key in found
        if key not in found:
            found[key] = _read(root, key, family)
        parts.append(Size(component.name, component.kind, component.node, found[key], reused))
    return Sizes(family, tuple(parts))


def _synthesise(packed: bytes, on_line: tasks.OnLine, family: Family) -> tuple[str, str]:
    """(what `yosys stat -json` wrote, the version of Yosys) for compressed RTLIL; runs where the task runs."""
    text = verilog.from_rtlil(zlib.decompress(packed).decode())
    with tempfile.TemporaryDirectory(prefix="hwgen-component-") as name:
        folder = Path(name)
        (folder / "unit.v").write_text(text, encoding="utf-8")
        script = yosys.synthesis_script(["unit.v"], TOP, family, contents=False)
        yosys.run_script(script, cwd=folder, on_line=on_line)
        return (folder / "stat.json").read_text(encoding="utf-8"), _version()


def _version() -> str:
    return importlib.metadata.version("pyosys")


def _kept(root: Path | str, key: str) -> bool:
    return (Path(root) / f"component-{key[:16]}").is_dir()


def _keep(root: Path | str, key: str, stat: str) -> None:
    step(root, "component", key, lambda folder: write_atomic(folder / "stat.json", stat))


def _read(root: Path | str, key: str, family: Family) -> Resources:
    path = Path(root) / f"component-{key[:16]}" / "stat.json"
    try:
        return parse_stat(path.read_text(encoding="utf-8"), family, TOP).total
    except OSError as error:
        raise HwgenError(f"cannot read {path}: {error.strerror or error}") from error
