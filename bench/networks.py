"""Networks that others have put on FPGAs, folded for a board: clocks a frame by simulation, size by synthesis.

    python bench/networks.py [NAME ...] [--write] [--json]

Each network is folded for its frame rate, simulated in Verilator from the emitted Verilog, every beat of every node
compared with the golden model, and synthesised component by component by Yosys for the board's family. Frames a second
are the board's design clock over the measured clocks a frame: nothing was placed, routed or run on a board. Synthesis
is kept by content in build/components. A network keeps the folding that it has in docs/results/networks.json, whatever
the cost model would choose today. With --write the figures of the networks that are named, or of all, are put into
docs/results, beside those of the others that are there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import golden_networks
import numpy as np
from measure.networks import trained

from hwgen import compiler
from hwgen.compiler import Accelerator
from hwgen.errors import HwgenError
from hwgen.explore.folding import interval_of
from hwgen.flow.simulate import Codes, Run
from hwgen.flow.verify import verify
from hwgen.ir import Graph
from hwgen.ops import MatVec, cost
from hwgen.ops.cost_layers import converter, estimate_node
from hwgen.tools.files import write_atomic
from hwgen.tools.resources import BLOCK_KBIT, Resources

OUT = Path("docs/results/networks")
ROOT = Path("build")
KINDS = {"lut": "LUT", "ff": "FF", "bram": "BRAM36", "dsp": "DSP"}
"""What is counted, and what it is called on UltraScale+."""
BETWEEN = "queues, converters, forks"
"""What stands between nodes and belongs to none."""
STALLS = (Run(), Run(0.3, 0.3, seed=3))
"""Of a simulation: without stalls, which is what is measured, and with stalls at both ends."""


@dataclass(frozen=True)
class Network:
    """One row: the frozen graph that `make` gives, folded to `fps` frames a second of `board`.

    frames: through the simulation, in each of STALLS. data: the data set whose test images they are, None for random
    codes. weights: where the weights are from. peer: frames a second that FINN publishes on the same die.
    """

    name: str
    make: Callable[[], Graph]
    fps: float
    frames: int
    weights: str
    data: str | None = None
    board: str = "ultra96"
    peer: float | None = None


def bnn_pynq(name: str) -> Graph:
    """A network of Brevitas' bnn_pynq on CIFAR-10 with random weights, by its QONNX file."""
    path = ROOT / "bench" / f"{name}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        golden_networks.exported(golden_networks.network(name), path)
    return compiler.load(path)


NETWORKS = (
    Network("tfc-w2a2", lambda: trained("tfc-w2a2"), 1.2e6, 1000, "trained on MNIST", "mnist", peer=1.2e6),
    Network("cnv-w2a2", lambda: bnn_pynq("cnv_2w2a"), 6062, 100, "random", peer=3031),
)


def frames_of(network: Network, made: Accelerator) -> Codes:
    """Input codes (frames, *shape)."""
    if network.data is None:
        return made.inputs(None, network.frames, seed=1)
    from hwgen.quant import data

    images = data.load(network.data).x_test[: network.frames]
    return made.inputs(np.asarray(images).reshape(len(images), *made.graph.input_type.shape))


def simulated(network: Network, made: Accelerator) -> dict[str, Any]:
    """Frames, clocks a frame and latency that the simulation has, each equal to its formula."""
    found = verify(made.graph, made.design, frames_of(network, made), ROOT / "simulators", runs=STALLS)
    speed = f"{found.cycles} cycles, {found.cpu_seconds:.0f} s of a processor (indicative)"
    print(f"  {network.name}: simulated {speed}", file=sys.stderr, flush=True)
    return {
        "frames": found.frames,
        "runs": [str(run) for run in found.runs],
        "beats": sum(found.beats.values()),
        "interval": found.interval,
        "latency": found.latency,
    }


def sizes(made: Accelerator) -> dict[str, Any]:
    """Resources by formula and by synthesis, whole and by the kind of component."""
    found = made.synthesise(progress=lambda text, done: print(" ", text, file=sys.stderr, flush=True))
    kind_of = {part.node: part.kind for part in found.parts if part.node}
    kinds: dict[str, dict[str, Any]] = {}

    def add(kind: str, source: str, used: Resources, scale: float = 1) -> None:
        row = kinds.setdefault(kind, {"estimate": dict.fromkeys(KINDS, 0), "synthesis": dict.fromkeys(KINDS, 0)})
        for name in KINDS:
            row[source][name] += (getattr(used, name) or 0) * (scale if name == "bram" else 1)

    for part in found.parts:
        add(part.kind if part.node else BETWEEN, "synthesis", part.resources)
    family = made.board.family
    # Estimates count blocks of 18 kbit.
    scale = 18 / BLOCK_KBIT[family]
    for step in cost.parts(made.graph, made.folding, family):
        link, fold, own = step.link, step.fold, step.own
        if fold:
            # A matrix unit's own estimate has the converter of its sums, which is a component of its own.
            assert isinstance(link.node.op, MatVec)
            own = estimate_node(link.node, link.x, fold.simd, fold, family)
            add(BETWEEN, "estimate", converter(link.y, link.node.op.output_lanes(fold), step.behind, family), scale)
        add(kind_of[link.node.name], "estimate", own, scale)
        add(BETWEEN, "estimate", step.before, scale)
    if None in (total := found.total.to_json()).values():
        raise HwgenError(f"{made.graph.name}: synthesis left cells of unknown cost")
    return {
        "estimate": {name: sum(row["estimate"][name] for row in kinds.values()) for name in KINDS},
        "synthesis": {name: total[name] for name in KINDS},
        "available": {name: getattr(made.board.resources, name) for name in KINDS},
        "kinds": kinds,
    }


def accelerator(network: Network, before: dict[str, Any]) -> Accelerator:
    """Folded as in the figures `before`, if they are of the same board and rate; otherwise as hwgen chooses."""
    same = before and (before["board"], before["asked"]["fps"]) == (network.board, network.fps)
    if same:
        return compiler.compile(network.make(), network.board, before["folding"], ROOT)
    return compiler.compile(network.make(), network.board, root=ROOT, fps=network.fps)


def measure(network: Network, before: dict[str, Any]) -> dict[str, Any]:
    """All figures of a network; `before`: those that are there, or nothing."""
    made = accelerator(network, before)
    used, ran = sizes(made), simulated(network, made)
    mhz = made.board.clock.design_mhz
    return {
        "board": network.board,
        "mhz": mhz,
        "weights": network.weights,
        "data": network.data or "random codes",
        "asked": {"fps": network.fps, "interval": interval_of(network.fps, mhz)},
        "formula": {"interval": made.design.interval, "latency": made.design.latency},
        "simulation": ran,
        "fps": mhz * 1e6 / ran["interval"],
        "peer": network.peer,
        "folding": {name: fold.to_json() for name, fold in made.folding.items()},
        **used,
    }


def page(found: dict[str, dict[str, Any]]) -> str:
    """The figures in Markdown."""
    title, _, text = __doc__.split("\n\n")
    about = f"{title}\n\n{text.split(' With --write ')[0].strip()}\n\nWritten by `bench/networks.py --write`."
    return (
        "\n".join([f"# Whole networks\n\n{about}\n", *_speeds(found), *_sizes(found), *_by_kind(found)]).rstrip() + "\n"
    )


def _speeds(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "## Speed\n"
    yield "The last two columns: what FINN publishes for the same die, measured on a board, which ours is not.\n"
    clocks, rates = ["clocks a frame: formula", "simulation", "latency"], ["frames/s", "FINN's frames/s", "ratio"]
    yield from _head(["network", "board", "MHz", "frames/s asked", *clocks, *rates])
    for name, row in found.items():
        ran, peer = row["simulation"], row["peer"]
        cells = [row["asked"]["fps"], row["formula"]["interval"], ran["interval"], ran["latency"], row["fps"]]
        compared = [f"{peer:,.0f}", f"{row['fps'] / peer:.2f}"] if peer else ["", ""]
        yield _line([name, row["board"], f"{row['mhz']:g}", *(f"{cell:,.0f}" for cell in cells), *compared])
    yield "\nWhat was simulated:\n"
    for name, row in found.items():
        ran = row["simulation"]
        yield (
            f"- {name}: {ran['frames']:,} frames ({row['data']}; weights: {row['weights']}), {'; '.join(ran['runs'])}. "
            f"All {ran['beats']:,} beats of all nodes equal the golden model's."
        )


def _sizes(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "\n## Size\n"
    yield from _head(["network", "", *KINDS.values()])
    for name, row in found.items():
        for source in ("estimate", "synthesis"):
            yield _line([name, source, *(f"{row[source][kind]:,g}" for kind in KINDS)])
        shares = (f"{row['synthesis'][kind] / row['available'][kind]:.1%}" for kind in KINDS)
        yield _line([name, f"synthesis, of {row['board']}", *shares])


def _by_kind(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "\n## Estimate / synthesis by kind of component\n"
    yield from _head(["network", "components", *KINDS.values()])
    for name, row in found.items():
        for kind, used in row["kinds"].items():
            yield _line([name, kind, *(f"{used['estimate'][one]:,g} / {used['synthesis'][one]:,g}" for one in KINDS)])


def _head(names: list[str]) -> list[str]:
    return [_line(names), "|---|---|" + "---:|" * (len(names) - 2)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    names = [word for word in sys.argv[1:] if not word.startswith("-")] or [one.name for one in NETWORKS]
    known = {network.name: network for network in NETWORKS}
    if unknown := set(names) - set(known):
        raise HwgenError(f"there is no network {min(unknown)!r}; known: {', '.join(known)}")
    file = OUT.with_suffix(".json")
    kept = json.loads(file.read_text()) if file.exists() else {}
    found = {}
    for name in names:
        found[name] = measure(known[name], kept.get(name, {}))
        if "--write" in sys.argv:
            kept = {one: {**kept, **found}[one] for one in known if one in kept or one in found}
            write_atomic(file, json.dumps(kept, indent=1) + "\n")
            write_atomic(OUT.with_suffix(".md"), page(kept))
    print(json.dumps(found, indent=1) if "--json" in sys.argv else page(found))


if __name__ == "__main__":
    main()
