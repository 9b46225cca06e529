"""From a network to an accelerator: load, freeze, fold, build; then simulate, verify, report, make a bitstream."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hwgen import golden, passes
from hwgen.errors import HwgenError, MismatchError
from hwgen.explore.folding import choose
from hwgen.flow.boards import Board, load_board
from hwgen.formats import Blocked, Codes
from hwgen.inputs import DataSet
from hwgen.ir import Fold, Folding, Graph
from hwgen.ops import Quantize
from hwgen.tools.files import atomic_dir, digest, write_atomic
from hwgen.version import __version__

if TYPE_CHECKING:
    from hwgen.flow.components import Sizes
    from hwgen.flow.progress import OnProgress
    from hwgen.flow.result import FlowResult
    from hwgen.gateware import Design
    from hwgen.report import Report

BUILD = Path("build")
"""Where generated files go, a folder for each network, folding and board."""

RANDOM_FRAMES = 100
"""Frames that `verify` makes up where no data belong to the network."""

OnText = Callable[[str, float | None], None]
"""Progress: what is being done, and the fraction that is done or None."""


def load(
    path: Path | str, requantize: str = "auto", multiplier: str | None = None, accumulator: str = "exact"
) -> Graph:
    """The frozen graph of a QONNX file; `requantize`, `multiplier`, `accumulator` as in `hwgen.passes.freeze`.

    Raises HwgenError for a file that cannot be read, UnsupportedError naming the node for a network that cannot
    become hardware.
    """
    from hwgen.frontends import qonnx

    return passes.freeze(qonnx.load(path), requantize, multiplier, accumulator)


def from_brevitas(
    module: Any,
    example_input: Any,
    requantize: str = "auto",
    multiplier: str | None = None,
    accumulator: str = "exact",
    input_quantizer: Quantize | None = None,
) -> Graph:
    """The frozen graph of a Brevitas module (in eval mode), read from the module itself; as `load` otherwise.

    input_quantizer: what the numbers that enter are, for a network that does not quantize them itself.
    """
    from hwgen.frontends import brevitas

    graph = brevitas.from_brevitas(module, example_input, input_quantizer=input_quantizer)
    return passes.freeze(graph, requantize, multiplier, accumulator)


def compile(  # noqa: A001  (the name of the interface)
    graph: Graph,
    board: Board | str = "ulx3s",
    fold: Mapping[str, Fold | Sequence[int]] | int | None = None,
    root: Path | str = BUILD,
    *,
    fps: float | None = None,
    budget: float | None = None,
) -> Accelerator:
    """An accelerator for `board`.

    fold: (PE, SIMD) of every matrix unit by node name; or a number, the clock cycles that a frame may take. fps:
    instead, frames a second at the board's clock. budget: the share of the board that may be taken; alone it asks for
    the fewest clock cycles a frame. Without any of them: the board's default interval, or as near to it as the board's
    resources are estimated to allow. root: where generated files go. Raises as `hwgen.explore.folding.choose`.
    """
    if not graph.is_frozen:
        graph = passes.freeze(graph)
    chosen = load_board(board) if isinstance(board, str) else board
    return Accelerator(graph, chosen, choose(graph, chosen, fold, fps, budget).folding, Path(root))


@dataclass(frozen=True)
class Accelerator:
    """A frozen graph, folded for a board. Everything that it makes stands in `folder`."""

    graph: Graph
    board: Board
    folding: Folding
    root: Path = BUILD

    @cached_property
    def folder(self) -> Path:
        """root/<hash>, of the network, its folding and the board."""
        fold = {name: one.to_json() for name, one in self.folding.items()}
        return self.root / digest(self.graph.hash, fold, self.board.model_dump_json())[:16]

    @cached_property
    def design(self) -> Design:
        """Verilog, streams, stages and timing."""
        from hwgen import gateware

        return gateware.build(self.graph, self.folding, self.board.family)

    def verilog(self) -> str:
        """The accelerator as one Verilog file; its top is the module `accel`."""
        return self.design.verilog

    def manifest(self) -> dict[str, Any]:
        """What a host or a script needs to know, as JSON values."""
        design = self.design
        return {
            "hwgen": __version__,
            "name": self.graph.name,
            "hash": self.graph.hash,
            "board": self.board.name,
            "top": "accel",
            "input": design.input.to_json(),
            "output": design.output.to_json(),
            "input_type": self.graph.input_type.to_json(),
            "output_type": self.graph.output_type.to_json(),
            "folding": {name: {"pe": one.pe, "simd": one.simd} for name, one in self.folding.items()},
            "latency": design.latency,
            "interval": design.interval,
            "stages": [
                {"name": s.name, "kind": s.kind, "node": s.node, "latency": s.latency, "interval": s.interval}
                for s in design.stages
            ],
            "host": {"pre": [op.kind for op in self.graph.pre], "post": [op.kind for op in self.graph.post]},
            "baud": self.board.baud,
        }

    def write(self, folder: Path | str, x: npt.ArrayLike | None = None, frames: int = 16, seed: int = 0) -> Path:
        """Write Verilog, graph, manifest and, in bench/, a test bench that stands alone; `folder` appears whole.

        x: inputs of the vectors, as in `golden.run`; without them `frames` random ones. Raises HwgenError for a folder
        that holds anything else than what this wrote before.
        """
        from hwgen.flow.bench_folder import emit_bench

        codes = self.inputs(x, frames, seed)
        with atomic_dir(folder, "graph.json") as out:
            (out / "accel.v").write_text(self.verilog())
            (out / "graph.json").write_text(json.dumps(self.graph.to_json()))
            (out / "manifest.json").write_text(json.dumps(self.manifest(), indent=2) + "\n")
            emit_bench(self.graph, self.design, codes, out / "bench")
        return Path(folder)

    def inputs(self, x: npt.ArrayLike | None = None, frames: int | None = None, seed: int = 0) -> Codes:
        """Input codes: those of `x`, at most `frames` of them; or random ones over the input's whole range."""
        if x is not None:
            return golden.input_codes(self.graph, x)[:frames]
        fmt = self.graph.input_type.codes_format
        low, high = fmt.code_range
        shape = (16 if frames is None else frames, *self.graph.input_type.shape)
        codes = np.random.default_rng(seed).integers(low, high, shape, endpoint=True)
        codes = np.where(fmt.is_number(codes), codes, 0)
        if isinstance(fmt, Blocked):
            # The numbers of a block have the scale of its first one.
            first = np.arange(shape[-1]) // fmt.block.size * fmt.block.size
            return fmt.join(fmt.scales(codes)[..., first], fmt.elements(codes))
        return codes

    def simulate(self, x: npt.ArrayLike) -> Codes:
        """Output codes (frames, *shape) of the emitted Verilog in Verilator; `x` as in `golden.run`."""
        from hwgen.flow import simulate

        codes = golden.input_codes(self.graph, x)
        (result,) = simulate.simulate(self.design, codes, self.root / "simulators")
        return simulate.check(result).codes.reshape(len(codes), *self.graph.output_type.shape)

    def verify(
        self,
        data: DataSet | None = None,
        frames: int | None = None,
        seed: int = 1,
        uart: int = 0,
        imported: Graph | None = None,
        progress: OnText | None = None,
        stalled: int | None = None,
    ) -> dict[str, Any]:
        """Prove the emitted Verilog equal to the golden model on `data` (random codes without it); see `verify.json`.

        frames: at most so many. uart: frames to send through the simulated whole board, driver included. imported: the
        graph before it was frozen; with it, codes that differ from the float run in `data` are counted and explained.
        stalled: at most so many in the runs with stalls. Raises MismatchError naming node, frame, beat, lane and both
        codes.
        """
        from hwgen.flow import verify

        if uart and self.board.shell != "uart":
            raise HwgenError(f"{self.board.name} has no UART: only boards with one are simulated whole")
        tell = progress or (lambda message, fraction: None)
        codes = self.inputs(data.x if data else None, frames or (None if data else RANDOM_FRAMES), seed)
        result = verify.verify(
            self.graph,
            self.design,
            codes,
            self.root / "simulators",
            runs=[replace(run, most=stalled) if run.stall_in or run.stall_out else run for run in verify.RUNS],
            on_line=lambda line: tell("compiling the simulator", None),
            on_progress=lambda done, total: tell(f"simulating: {done} of {total} frames", done / total),
        )
        tell("comparing classes and codes with those of the float network", None)
        checked = {
            "source": data.source if data else f"random codes, seed {seed}",
            "verify": result.to_json(),
            "board": self._verify_board(codes[:uart], tell) if uart else None,
            **self._evaluate(data, codes, result.codes, imported),
        }
        write_atomic(self.folder / "verify.json", json.dumps(checked, indent=2) + "\n")
        return checked

    def _evaluate(self, data: DataSet | None, codes: Codes, simulated: Codes, imported: Graph | None) -> dict[str, Any]:
        from hwgen.report import evaluate

        if data is None:
            return {"accuracy": [], "confusion": None, "differences": []}
        found = evaluate.evaluate(self.graph, codes, simulated, data.y, data.logits, data.source)
        rows = []
        if imported is not None and data.quantized and data.logits is not None:
            part = slice(len(codes))
            quantized = [array[part] for array in data.quantized]
            rows = evaluate.differences(imported, self.graph, data.x[part], quantized, data.logits[part])
        return {**found, "differences": rows}

    def _verify_board(self, codes: Codes, tell: OnText) -> dict[str, Any]:
        from hwgen import runtime

        tell("compiling the simulated board", None)
        self.board_simulation()
        tell("sending frames through the simulated board", None)
        with runtime.connect(f"sim:{self.folder}") as device:
            got = device.run(codes.reshape(len(codes), -1))
        want = golden.run(self.graph, codes).reshape(got.shape)
        if not np.array_equal(got, want):
            frame, lane = np.argwhere(got != want)[0]
            raise MismatchError(
                f"simulated board, frame {frame}, code {lane}: the board answers {got[frame, lane]}, "
                f"the golden model has {want[frame, lane]}"
            )
        return {"frames": len(codes), "shell": self.board.shell}

    def board_simulation(self) -> Path:
        """Build the simulated whole board, for `hwgen.runtime.connect("sim:<folder>")`; returns `folder`."""
        from hwgen.tools.board_sim import build_uart_board_sim

        design = self.design
        write_atomic(self.folder / "accel.v", design.verilog)
        executable = build_uart_board_sim(
            [self.folder / "accel.v"],
            self.folder / "board_sim",
            input_beat=(design.input.data_bits, design.input.beats),
            output_beat=(design.output.data_bits, design.output.beats),
            graph_id=self.graph.hash[:16],
        )
        manifest = {**self.manifest(), "board_sim": os.path.relpath(executable, self.folder)}
        write_atomic(self.folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")
        return self.folder

    def build(
        self, progress: OnProgress | None = None, seeds: int = 1, allow_timing_failure: bool = False
    ) -> FlowResult:
        """Synthesise, place and route, and pack; steps whose inputs have not changed are not run again.

        seeds: placements to try; Fmax is their median, the bitstream that of the first. One seed may err by a tenth.
        Raises DoesNotFitError, HwgenError where the clock is missed, ToolMissingError where a vendor's tool is needed.
        """
        from hwgen.flow import build, plan, shell
        from hwgen.flow.result import VendorToolMissingError

        design = self.design
        sources = {
            **shell.shell_sources(self.board, design.input, design.output, self.graph.hash[:16]),
            "accel.v": design.verilog,
        }
        keep = ["accel", *(f"accel.{stage.name}" for stage in design.stages)]
        made, folder = plan.plan(self.board, sources, keep=keep), self.folder / "flow"
        try:
            result = build.execute(made, folder, progress, allow_timing_failure=allow_timing_failure)
        except VendorToolMissingError as missing:
            self._record(missing.result, {})
            raise
        tried = (
            build.fmax_over_seeds(self.board, sources, folder, range(1, seeds + 1), progress, keep=keep)
            if seeds > 1
            else {}
        )
        self._record(result, tried)
        return result

    def _record(self, result: FlowResult, tried: Mapping[int, float]) -> None:
        """Leave the figures of a build for the report."""
        fmax = list(tried.values()) or [one.value for one in result.fmax.values() if one.value is not None][:1]
        write_atomic(self.folder / "flow.json", json.dumps({**result.to_json(), "fmax_seeds": fmax}, indent=2) + "\n")

    def bitstream(self, progress: OnProgress | None = None) -> Path:
        """The bitstream's path; built first where that has not been done. Raises as `build`."""
        result = self.build(progress)
        assert result.bitstream is not None, "a build without a bitstream raises ToolMissingError"
        return result.bitstream

    def bitstream_file(self) -> Path:
        """The bitstream that `build` left in `folder`; raises HwgenError, saying how to make it, if there is none."""
        for path in (self.folder / "flow" / "board.bit", self.folder / "flow" / "board.bin"):
            if path.exists():
                return path
        raise HwgenError(f"{self.folder} holds no bitstream for {self.board.name}: run hwgen bitstream first")

    def synthesise(
        self, scheduler: str | None = None, workers: int | None = None, progress: OnText | None = None
    ) -> Sizes:
        """Resources of every component on its own, and their sum; see `hwgen.flow.components.synthesise`.

        What has been synthesised before, for any network, is kept in root/components. Leaves `components.json`.
        """
        from hwgen.flow import components
        from hwgen.flow.result import COMPONENTS

        tell = progress or (lambda message, fraction: None)
        tell("building the components", None)
        found = components.synthesise(
            components.split(self.graph, self.folding, self.board.family),
            self.board.family,
            self.root / "components",
            scheduler=scheduler,
            workers=workers,
            progress=lambda name, done, count: tell(f"{done} of {count} components: {name}", done / count),
        )
        write_atomic(self.folder / COMPONENTS, json.dumps(found.to_json(), indent=2) + "\n")
        return found

    def report(self) -> Report:
        """What is known: the compiled design's estimates, and what `verify` and `build` found before."""
        from hwgen.report import assemble

        return assemble.assemble(self.graph, self.board, self.folding, self.design, self.folder)
