"""Trained networks through every back end on 1,000 real images each, code for code; and how fast C simulations are.

    python bench/compare.py [NAME ...] [--backends native,hls4ml,finn] [--speed] [--write]

Without names: all of NETWORKS. --speed: the C simulation's and the golden model's samples a second, taken in turns in
one run, so that only their ratio means something. --write: into docs/results/compare.json and compare.md, where what
was measured before stays for the networks that are not named. Needs the data sets (`hwgen data`) and g++.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import hwgen
from hwgen import compare, compare_show, golden, models
from hwgen.backends import hls4ml
from hwgen.ir import Graph
from hwgen.report.plots import bars
from hwgen.tools.files import write_atomic

FRAMES = 1000
ROUNDS = 3
FOLDER = Path("build/bench/compare")
RESULTS = Path("docs/results")
BOARD = "ultra96"

HEAD = """\
Written by `make compare`; the figures are in `compare.json`. 1,000 real images for each
network, every code of every image compared with the golden model's. Native: the emitted Verilog in Verilator. hls4ml:
the C simulation of its Vitis HLS project. FINN: its RTL, stitched, in Verilator. Latency and interval in clock
cycles. LUT, FF, DSP and BRAM by the same Yosys with the same flags (`synth_xilinx -family xcup`), without a vendor's
tool; what only a vendor's tool could tell is not known. The seconds are of all tools on a busy machine, and
indicative only."""


@dataclass(frozen=True)
class Network:
    """graph() and images(), real inputs; interval: clock cycles that a frame may take, which chooses the folding."""

    about: str
    graph: Callable[[], Graph]
    images: Callable[[], np.ndarray]
    interval: int


def digits(shape: tuple[int, ...]) -> np.ndarray:
    from sklearn.datasets import load_digits

    return (load_digits().data / 16).astype(np.float32).reshape(-1, *shape)


def held_out(dataset: str, model: str) -> np.ndarray:
    from hwgen.quant import data

    return np.asarray(data.load(dataset, None).shaped(*models.find(model).shape).x_test)


def from_zoo(name: str) -> Graph:
    import torch

    torch.set_num_threads(1)
    shape = models.find(models.record(name)["config"]["model"]).shape
    return replace(hwgen.from_brevitas(models.load(name), torch.rand(2, *shape)), name=name)


NETWORKS = {
    "digits": Network(
        "64-32-32-10 perceptron, 4 bits; scikit-learn's digits",
        lambda: hwgen.load("examples/digits.onnx"),
        lambda: digits((64,)),
        64,
    ),
    "digits-cnn": Network(
        "two 3x3 convolutions with maximum pooling, 4 bits; scikit-learn's digits",
        lambda: hwgen.load("examples/digits-cnn.onnx"),
        lambda: digits((1, 8, 8)),
        576,
    ),
    "tfc-w2a2": Network(
        "784-64-64-64-10 perceptron, 2 bits; MNIST",
        lambda: from_zoo("tfc-w2a2"),
        lambda: held_out("mnist", "tfc-w2a2"),
        784,
    ),
    "fmnist-int4": Network(
        "four 3x3 convolutions, 4 bits; Fashion-MNIST",
        lambda: from_zoo("fmnist-int4"),
        lambda: held_out("fashion-mnist", "fmnist-cnn"),
        3528,
    ),
}


def run(name: str, backends: list[str]) -> dict[str, Any]:
    """One comparison, as JSON values; its files stand in build/bench/compare/NAME."""
    network = NETWORKS[name]
    made = hwgen.compile(network.graph(), BOARD, network.interval, FOLDER / "build")
    codes = golden.input_codes(made.graph, network.images()[:FRAMES])
    assert len(codes) == FRAMES
    source = f"real images; {network.interval} cycles a frame asked for"
    found = compare.compare(made, codes, backends, FOLDER / name, source, lambda text: print(f"  {text}", flush=True))
    compare_show.write(found, FOLDER / name)
    print("\n".join(compare_show.markdown(found, plotted=False).splitlines()[2:]), flush=True)
    return {"about": network.about, **found.to_json()}


def merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What is new, with the rows of back ends that were not run now as they were, if they are of the same network."""
    rows = {row["backend"]: row for row in before.get("rows", ()) if before["hash"] == now["hash"]}
    rows |= {row["backend"]: row for row in now["rows"]}
    return {**before, **now, "rows": [rows[name] for name in compare.RUNNERS if name in rows]}


def speed(name: str) -> dict[str, float]:
    """Samples a second of the C simulation and of the golden model; the best of rounds that take turns."""
    network = NETWORKS[name]
    graph = network.graph()
    codes = golden.input_codes(graph, network.images()[:FRAMES])
    folder = FOLDER / name / "speed"
    hls4ml.write(graph, folder, folding=hwgen.compile(graph, BOARD, network.interval).folding)
    library = hls4ml.compile_simulation(folder)
    # The C simulation takes one frame at a time, so that fewer of them tell as much.
    few = codes[: FRAMES // 10]
    calls = {
        "golden": (len(codes), lambda: golden.run(graph, codes)),
        "C simulation": (len(few), lambda: hls4ml.simulate(folder, few, library)),
    }
    best = dict.fromkeys(calls, 0.0)
    for _ in range(ROUNDS):
        for label, (samples, call) in calls.items():
            start = time.perf_counter()
            call()
            best[label] = max(best[label], samples / (time.perf_counter() - start))
    print(f"{name}: " + ", ".join(f"{label} {rate:,.0f} samples/s" for label, rate in best.items()), flush=True)
    return best


def page(found: dict[str, Any]) -> str:
    """compare.md, from what compare.json holds."""
    lines = [
        "# Back ends on real images",
        "",
        HEAD,
        "",
    ]
    for name, one in found.items():
        lines += [f"## {name}", "", f"{one['about']}; {one['source']}.", ""]
        lines += [f"| back end | {' | '.join(compare_show.COLUMNS)} |", f"|---|---|{'---:|' * 8}"]
        lines += [f"| {row['backend']} | {' | '.join(cells(row))} |" for row in one["rows"]]
        told = [
            f"- {row['backend']}: {shortened(text)}"
            for row in one["rows"]
            for text in (row["first_difference"], row["error"])
            if text
        ]
        lines += ["", *told, *([""] if told else [])]
    lines += ["![Clock cycles and resources by network and back end](compare.svg)", ""]
    lines += [
        "## Golden model and C simulation",
        "",
        "Samples a second as a multiple of the C simulation's, both in one run, the golden model in batches of 1,000.",
        "",
        "| network | golden model | C simulation |",
        "|---|---:|---:|",
    ]
    for name, one in found.items():
        if rates := one.get("speed"):
            lines.append(f"| {name} | {rates['golden'] / rates['C simulation']:.1f} | 1 |")
    return "\n".join([*lines, ""])


def shortened(text: str) -> str:
    """Of an error with the last lines of a log, what happened and the last of those."""
    lines = text.splitlines()
    return " ... ".join(dict.fromkeys([lines[0], lines[-1].strip()]))


def cells(row: dict[str, Any]) -> list[str]:
    exact = {True: "bit-exact", False: "differs", None: "not run"}[row["bit_exact"]]
    values = [row[key]["value"] for key in ("latency", "interval", "lut", "ff", "dsp", "bram")]
    spent = sum(row["seconds"].values())
    numbers = [*values, row["lines"], round(spent) if spent else None]
    return [exact, *("not known" if n is None else f"{n:,.10g}" for n in numbers)]


def plot(found: dict[str, Any]) -> str:
    rows = [(name, row) for name, one in found.items() for row in one["rows"] if row["interval"]["value"] is not None]
    columns = [
        (label, [row[key]["value"] for _, row in rows])
        for label, key in (
            ("cycles a frame", "interval"),
            ("LUT", "lut"),
            ("FF", "ff"),
            ("DSP", "dsp"),
            ("BRAM", "bram"),
        )
    ]
    names = [f"{name}, {row['backend']}" for name, row in rows]
    return bars(names, [column for column in columns if any(column[1])], "compare", "Back ends on real images")


def main() -> int:
    words = sys.argv[1:]
    backends = ["native", "hls4ml", "finn"]
    if "--backends" in words:
        place = words.index("--backends")
        backends = words.pop(place + 1).split(",")
        words.pop(place)
    names = [word for word in words if not word.startswith("--")] or list(NETWORKS)
    failed = False
    for name in names:
        print(name, flush=True)
        now = run(name, backends)
        failed |= any(row["exit_code"] for row in now["rows"])
        if "--speed" in words:
            now["speed"] = speed(name)
        if "--write" in words:
            write(name, now)
    return 1 if failed else 0


def write(name: str, now: dict[str, Any]) -> None:
    """Put a network's figures into compare.json, and make the page and the plot anew."""
    kept = RESULTS / "compare.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    # Messages of tools name files by their whole paths.
    told = json.loads(json.dumps(now).replace(f"{Path.cwd()}/", ""))
    found[name] = merged(found.get(name, {}), told)
    found = {key: found[key] for key in NETWORKS if key in found}
    write_atomic(kept, json.dumps(found, indent=1) + "\n")
    write_atomic(RESULTS / "compare.svg", plot(found) + "\n")
    write_atomic(RESULTS / "compare.md", page(found))


if __name__ == "__main__":
    sys.exit(main())
