"""Brevitas' bnn_pynq networks, with random weights, through hwgen by both ways: do all who compute them agree?

    python bench/imports.py [NAME ...] [--no-verilog] [--write] [--json]

Each network of examples/bnn_pynq.py is imported from the module and from the QONNX file that Brevitas exports. On real
images the golden model of the module is compared with Brevitas' forward pass, with the golden model of the file and
with the QONNX executor on the file (outputs within 1e-4, relatively and absolutely, since both add in float32), and the
emitted Verilog with the golden model, every beat of every node. Compiling is `hwgen compile` from the imported graph to
Verilog, vectors and bench: processor seconds and the most memory of that process. With --write the figures of the
networks that are named, or of all, are put into docs/results, beside those of the others that are there; with
--no-verilog everything is measured but the Verilog, whose figures stay as they are there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import golden_networks
import numpy as np

from hwgen import compiler, golden, inputs
from hwgen.errors import HwgenError
from hwgen.flow.simulate import Run
from hwgen.flow.verify import RUNS, verify
from hwgen.ir import Graph
from hwgen.report.evaluate import differences
from hwgen.tools.files import write_atomic

OUT = Path("docs/results/imports")
ROOT = Path("build")
EXAMPLES = Path(__file__).parent.parent / "examples" / "bnn_pynq.py"
BOARD = "ultra96"
FRAMES = 100
"""Compared with Brevitas."""
NO_VERILOG = "--no-verilog"
LEGEND = """\
Frames that are equal, of those compared. Of a frame that differs, the first code that does is looked into: whether its
number lies on the border of two codes and float32 falls to the other side, a tie. Of networks whose codes in so many
frames are too many to keep, Brevitas gets the frames that differ once more, each alone: PyTorch adds in another order
in batches of another size.
"""


@dataclass(frozen=True)
class Network:
    """One row. interval: clocks a frame that it is folded to. executed, simulated: frames through the QONNX executor
    and through the Verilog, in each of `runs`.
    """

    name: str
    interval: int
    executed: int = 10
    simulated: int = 100
    runs: tuple[Run, ...] = RUNS


def _networks() -> tuple[Network, ...]:
    bits = ("1w1a", "1w2a", "2w2a")
    few = (Run(), Run(0.3, 0.3, seed=3, most=3))
    return (
        *(Network(f"tfc_{one}", 512) for one in bits),
        *(Network(f"sfc_{one}", 1024) for one in bits),
        *(Network(f"lfc_{one}", 4096) for one in bits[:2]),  # Brevitas has none with weights of two bits
        *(Network(f"cnv_{one}", 66_000, simulated=10, runs=few) for one in bits),
        Network("resnet18_4w4a", 600_000, executed=2, simulated=4, runs=(Run(), Run(0.3, 0.3, seed=3, most=1))),
    )


NETWORKS = _networks()


def imported(name: str, folder: Path) -> tuple[Path, str]:
    """Write the network by `hwgen import` and return the graph's file, and how Brevitas came to export it."""
    from hwgen import modules

    source = modules.read_source(f"{EXAMPLES}:{name}")
    written = modules.write_network(folder, source, FRAMES)
    if written.qonnx is None:
        return written.graph, "as it is"
    # An assertion in the network itself, that what it adds are quantized tensors, does not hold while it is exported.
    # Nor are scales known then: the truncated mean is written with its own scale for that of what it is given.
    command = [sys.executable, "-O", __file__, "--export", name, str(folder / f"{name}.onnx")]
    subprocess.run(command, check=True, capture_output=True)
    return written.graph, "without its assertions (python -O), scale of the truncated mean put right"


def export_here(name: str, path: str) -> None:
    """Write the QONNX file of a network, the scale that truncated means come with put right.

    Raises HwgenError with the reason where Brevitas does not export it.
    """
    import onnx
    import torch

    from hwgen import modules
    from hwgen.quant.qonnx import write_qonnx

    source = modules.read_source(f"{EXAMPLES}:{name}")
    if refused := write_qonnx(Path(path), source.module, torch.from_numpy(source.x[:1])):
        raise HwgenError(refused)
    model = onnx.load(path)
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    writers = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type == "Trunc":
            mean = writers[node.input[0]]
            taps = next(np.prod(one.ints) for one in mean.attribute if one.name == "kernel_shape")
            came = np.asarray(stored[node.input[4]] / taps, dtype=np.float32)
            node.input[1] = f"{node.name}.scale"
            model.graph.initializer.append(onnx.numpy_helper.from_array(came, node.input[1]))
    onnx.save(model, path)


def compiled(path: Path, network: Network) -> dict[str, float]:
    """Processor seconds, and MiB at most, of `hwgen compile` in a process of its own."""
    words = ["compile", path, "--board", BOARD, "--interval", network.interval, "-o", path.parent / "out"]
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cost: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return cost


def compile_here() -> None:
    """Run the command line, and print what it cost."""
    from hwgen import cli

    try:
        cli.main()
    except SystemExit as ended:
        if ended.code:
            raise
    # What getrusage says is at least what the process that started this one held.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    print(json.dumps({"seconds": sum(os.times()[:4]), "mib": int(peak[1]) / 1024}))


def equal(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """In which frames all outputs are the same but for float32's rounding."""
    got, want = (np.asarray(one, dtype=np.float64).reshape(len(want), -1) for one in (got, want))
    found: np.ndarray = np.isclose(got, want, 1e-4, 1e-4).all(axis=1)
    return found


def same(got: np.ndarray, want: np.ndarray) -> int:
    """In how many frames that is so."""
    return int(equal(got, want).sum())


def alone(name: str, data: inputs.DataSet, real: np.ndarray) -> int:
    """How many of the frames that differ from Brevitas' do not, where Brevitas gets each of them in a batch alone."""
    from hwgen import modules

    assert data.logits is not None
    module = modules.read_source(f"{EXAMPLES}:{name}").module
    places = np.flatnonzero(~equal(real, data.logits))
    one_by_one = [same(real[k : k + 1], modules.outputs(module, data.x[k : k + 1], name)) for k in places]
    return sum(one_by_one)


def from_file(path: Path) -> Graph | str:
    """The frozen graph of a QONNX file, or why it is refused."""
    try:
        return compiler.load(path)
    except HwgenError as error:
        return str(error)


def agreement(network: Network, path: Path, graph: Graph, data: inputs.DataSet) -> dict[str, Any]:
    """How many frames of the golden model are those of Brevitas, of the file's golden model, and of the executor."""
    assert data.logits is not None
    codes = golden.input_codes(graph, data.x)
    real = golden.finish(graph, golden.run(graph, codes))
    read = inputs.read_imported(path)
    assert read is not None
    rows = differences(read, graph, data.x, data.quantized, data.logits) if data.quantized else []
    file = path.with_name(f"{network.name}.onnx")
    other, run = from_file(file), golden_networks.executor(file)
    few = data.x[: network.executed].astype(np.float32)
    answers: list[Any] = [run(frame[None]) for frame in few]
    executed = np.concatenate([next(iter(answer.values())) for answer in answers])
    return {
        "frames": len(codes),
        "brevitas": same(real, data.logits),
        "differences": sum(row["different"] for row in rows) if rows else None,
        "ties": sum(row["ties"] for row in rows) if rows else None,
        "alone": None if rows else alone(network.name, data, real),
        "file": other if isinstance(other, str) else same(golden.predict(other, data.x), real),
        "executed": len(few),
        "executor": same(real[: len(few)], executed),
    }


def simulated(network: Network, graph: Graph, x: np.ndarray) -> dict[str, Any]:
    """The Verilog against the golden model; raises MismatchError where they differ."""
    made = compiler.compile(graph, BOARD, network.interval, ROOT)
    codes = made.inputs(x, network.simulated)
    found = verify(made.graph, made.design, codes, ROOT / "simulators", runs=network.runs)
    return {
        "frames": found.frames,
        "runs": [f"{run.frames(found.frames)} {run}" for run in found.runs],
        "beats": sum(found.beats.values()),
        "interval": found.interval,
        "latency": found.latency,
    }


def measure(network: Network, verilog: bool) -> dict[str, Any]:
    """All figures of a network, those of the Verilog if asked for."""
    path, exported = imported(network.name, ROOT / "bench" / network.name)
    data = inputs.read_data(None, path)
    assert data is not None
    compiling = compiled(path, network)
    graph = inputs.read_model(path)
    return {
        "exported": exported,
        "agreement": agreement(network, path, graph, data),
        "simulation": simulated(network, graph, data.x) if verilog else None,
        "compile": compiling,
    }


def page(found: dict[str, dict[str, Any]]) -> str:
    """The figures in Markdown."""
    text = __doc__.split("\n\n")[2].split(" With --write ")[0].strip()
    rows = ["# Brevitas' own networks\n", f"{text}\n", "Written by `bench/imports.py --write`.\n"]
    head = ["", "= Brevitas", "= QONNX file", "= QONNX executor", "= Verilog", "beats compared", "clocks a frame"]
    rows += [_line(head), "|---|" + "---:|" * (len(head) - 1)]
    for name, row in found.items():
        one, ran = row["agreement"], row["simulation"]
        file = "refused" if isinstance(one["file"], str) else f"{one['file']}/{one['frames']}"
        cells = [f"{one['brevitas']}/{one['frames']}", file, f"{one['executor']}/{one['executed']}"]
        hardware = [f"{ran['frames']}/{ran['frames']}", f"{ran['beats']:,}", f"{ran['interval']:,}"] if ran else []
        cells += hardware or ["not run", "", ""]
        rows.append(_line([name, *cells]))
    rows += ["", LEGEND]
    rows += [f"- {name}: {_ties(row['agreement'])}." for name, row in found.items()]
    rows += ["", "## Runs through the Verilog\n"]
    runs = {name: row["simulation"]["runs"] for name, row in found.items() if row["simulation"]}
    rows += [f"- {name}: {'; '.join(one)}." for name, one in runs.items()]
    rows += ["", "## Compiling\n", "Processor seconds are indicative.\n"]
    rows += [_line(["", "processor seconds", "MiB", "exported by Brevitas"]), "|---|---:|---:|---|"]
    for name, row in found.items():
        cost = row["compile"]
        rows.append(_line([name, f"{cost['seconds']:.1f}", f"{cost['mib']:,.0f}", row["exported"]]))
    refused = {name: row["agreement"]["file"] for name, row in found.items()}
    rows += [""] + [f"{name}'s file is refused: {why}" for name, why in refused.items() if isinstance(why, str)]
    return "\n".join(rows).rstrip() + "\n"


def _ties(one: dict[str, Any]) -> str:
    if one["differences"] is None:
        apart = one["frames"] - one["brevitas"]
        return (
            f"{apart} of {one['frames']} frames differ; of these {one['alone']} do not, where Brevitas gets them alone"
        )
    return f"{one['differences']} first differences in {one['frames']} frames, {one['ties']} of them ties"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def run(names: Iterable[str], options: Sequence[str], keep: Callable[[str, dict[str, Any]], None]) -> None:
    """Measure each network in a process of its own, so that none holds memory for the next."""
    for name in names:
        done = subprocess.run([sys.executable, __file__, "--one", name, *options], capture_output=True, text=True)
        if done.returncode:
            raise HwgenError(f"{name}: {(done.stderr.splitlines() or [''])[-1]}")
        keep(name, json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    known = {network.name: network for network in NETWORKS}
    if sys.argv[1:2] == ["--export"]:
        export_here(*sys.argv[2:])
        return
    if sys.argv[1:2] == ["compile"]:
        compile_here()
        return
    warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(known[sys.argv[2]], NO_VERILOG not in sys.argv)))
        return
    names = [word for word in sys.argv[1:] if not word.startswith("-")] or list(known)
    if unknown := set(names) - set(known):
        raise HwgenError(f"there is no network {min(unknown)!r}; known: {', '.join(known)}")
    file = OUT.with_suffix(".json")
    kept = json.loads(file.read_text()) if file.exists() else {}
    found: dict[str, dict[str, Any]] = {}

    options = [NO_VERILOG] if NO_VERILOG in sys.argv else []

    def keep(name: str, row: dict[str, Any]) -> None:
        row["simulation"] = row["simulation"] or kept.get(name, row)["simulation"]
        found[name] = kept[name] = row
        if "--write" in sys.argv:
            ordered = {one: kept[one] for one in known if one in kept}
            write_atomic(file, json.dumps(ordered, indent=1) + "\n")
            write_atomic(OUT.with_suffix(".md"), page(ordered))

    run(names, options, keep)
    print(json.dumps(found, indent=1) if "--json" in sys.argv else page(found))


if __name__ == "__main__":
    main()
