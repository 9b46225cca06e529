"""Options that commands share, and the accelerator that they ask for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from hwgen import console
from hwgen.errors import HwgenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hwgen.compiler import Accelerator
    from hwgen.flow.boards import Board
    from hwgen.ir import Fold, Graph

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


@dataclass(frozen=True)
class Design:
    """What is to be built from a network: the options that most commands share."""

    board: BoardName = "ulx3s"
    fold: FoldFile = None
    interval: Interval = None
    fps: Fps = None
    budget: Budget = None
    clock: Clock = None
    requantize: Requantize = "auto"
    multiplier: Multiplier = None
    accumulator: Accumulator = "exact"

    @property
    def as_trained(self) -> bool:
        """Whether products and sums are those of training, so that the float run has something to match."""
        return self.multiplier is None and self.accumulator == "exact"

    def board_at(self) -> Board:
        """The board, with another design clock if one is given."""
        from hwgen.flow.boards import load_board

        return load_board(self.board).at(self.clock) if self.clock else load_board(self.board)

    def graph(self, model: Path) -> Graph:
        """The frozen network of a file."""
        from hwgen import inputs

        return inputs.read_model(model, self.requantize, self.multiplier, self.accumulator)

    def wanted(self) -> Mapping[str, Fold] | int | None:
        """What --fold or --interval say; raises HwgenError for options that contradict each other."""
        from hwgen import inputs

        choices = (("--fold", self.fold), ("--interval", self.interval), ("--fps", self.fps))
        given = [name for name, value in choices if value is not None]
        if self.fold is not None and self.budget is not None:
            given = ["--fold", "--budget"]
        if len(given) > 1:
            raise HwgenError(f"{given[0]} and {given[1]} both choose the folding: give one of them")
        return inputs.read_fold(self.fold) if self.fold is not None else self.interval

    def accelerator(self, model: Path, root: Path) -> Accelerator:
        """The accelerator of a network, with its generated files below `root`."""
        from hwgen import compiler

        wish = self.wanted()
        with console.progress(f"reading and folding {model}"):
            return compiler.compile(self.graph(model), self.board_at(), wish, root, fps=self.fps, budget=self.budget)


def design_options(board: str = "ulx3s") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command that has a parameter `design: Design`: typer sees one option for each field of Design.

    board: the default of --board.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def keyword(name: str, kind: Any, default: Any) -> inspect.Parameter:
            return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)

        kinds = get_type_hints(Design, include_extras=True)
        shared = [keyword(f.name, kinds[f.name], board if f.name == "board" else f.default) for f in fields(Design)]
        shown: list[inspect.Parameter] = []
        for own in inspect.signature(command, eval_str=True).parameters.values():
            shown += shared if own.name == "design" else [keyword(own.name, own.annotation, own.default)]

        @wraps(command)
        def call(**given: Any) -> None:
            command(design=Design(**{one.name: given.pop(one.name) for one in shared}), **given)

        call.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in shown}
        return call

    return decorate
