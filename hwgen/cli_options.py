"""Options that commands share, and the accelerator that they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwgen.errors import HwgenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hwgen.compiler import Accelerator
    from hwgen.flow.boards import Board
    from hwgen.ir import Fold

Model = Annotated[Path, typer.Argument(help="A QONNX file, or a folder or graph.json that hwgen compile wrote.")]
BoardName = Annotated[str, typer.Option("--board", "-b", help="A board's name (see hwgen boards) or a .toml file.")]
FoldFile = Annotated[
    Path | None, typer.Option("--fold", help='JSON file with PE and SIMD by layer: {"fc0": [4, 8], ...}.')
]
Interval = Annotated[
    int | None, typer.Option("--interval", min=1, help="Clock cycles a frame may take; chooses PE and SIMD.")
]
Fps = Annotated[float | None, typer.Option("--fps", help="Frames a second at the design clock; chooses PE and SIMD.")]
Budget = Annotated[
    float | None,
    typer.Option("--budget", help="Share of the board to take at most, such as 0.7; alone: as fast as that allows."),
]
Clock = Annotated[
    float | None, typer.Option("--clock", min=1, help="Design clock in MHz, instead of the board's default.")
]
Requantize = Annotated[
    str, typer.Option("--requantize", help="How layers round: auto, thresholds (exact) or dyadic (multiply-shift).")
]
Multiplier = Annotated[
    str | None,
    typer.Option(
        "--multiplier",
        help="exact; or lmul, mitchell, lmul_formula_trunc for networks of minifloats. Default: as it was trained.",
    ),
]
Accumulator = Annotated[
    str,
    typer.Option("--accumulator", help="exact; or fp32: layers that read MX blocks add block after block in FP32."),
]
BuildRoot = Annotated[Path, typer.Option("--build", help="Where generated files go.")]
Json = Annotated[bool, typer.Option("--json", help="Print figures as JSON.")]
Input = Annotated[
    Path | None,
    typer.Option("--input", "-i", help="Inputs: .npy of codes (integers) or real numbers, or .npz with x (and y)."),
]
Frames = Annotated[int | None, typer.Option("--frames", "-n", min=1, help="At most so many frames.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]


def board_at(name: str, clock: float | None) -> Board:
    """A board, with another design clock in MHz if one is given."""
    from hwgen.flow.boards import load_board

    return load_board(name).at(clock) if clock else load_board(name)


def wanted(
    fold: Path | None, interval: int | None, fps: float | None, budget: float | None
) -> Mapping[str, Fold] | int | None:
    """What --fold or --interval say; raises HwgenError for options that contradict each other."""
    from hwgen import inputs

    given = [name for name, value in (("--fold", fold), ("--interval", interval), ("--fps", fps)) if value is not None]
    if fold is not None and budget is not None:
        given = ["--fold", "--budget"]
    if len(given) > 1:
        raise HwgenError(f"{given[0]} and {given[1]} both choose the folding: give one of them")
    return inputs.read_fold(fold) if fold is not None else interval


def accelerator(
    model: Path,
    board: str,
    fold: Path | None,
    interval: int | None,
    fps: float | None,
    budget: float | None,
    clock: float | None,
    requantize: str,
    multiplier: str | None,
    accumulator: str,
    root: Path,
) -> Accelerator:
    """The accelerator that a command's options describe."""
    from hwgen import compiler, inputs

    wish = wanted(fold, interval, fps, budget)
    graph = inputs.read_model(model, requantize, multiplier, accumulator)
    return compiler.compile(graph, board_at(board, clock), wish, root, fps=fps, budget=budget)
