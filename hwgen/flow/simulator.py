"""The simulator of one design: its harness, its executable (built once per content), and runs of it under cocotb."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from hwgen.errors import ToolFailedError, ToolMissingError
from hwgen.ir import Beats
from hwgen.tools import child, verilator
from hwgen.tools.cache import step
from hwgen.tools.files import digest, share, write_atomic

if TYPE_CHECKING:
    from hwgen.gateware import Design

DRAIN = 32
"""Cycles that a run goes on after the last frame, to catch beats that nobody asked for."""

BENCH = ("bench_source.sv", "bench_sink.sv", "bench_monitor.sv")

# `fast` gives an X the value that costs least; the emitted Verilog has no X, and registers without a reset still
# start from random values (see `launch`).
ARGUMENTS = ("--vpi", "--timing", "--prefix", "Vtop", "-O3", "--x-assign", "fast", "-Wno-fatal")

# -O1 gives the speed of -O3 (within 5 % on folded matrix units) for two thirds of the compile time.
MAKE_VARIABLES = {**verilator.MAKE_VARIABLES, "OPT_FAST": "-O1"}

OnProgress = Callable[[int, int], None]
"""Called with (number of the run, frames that have come out)."""


@dataclass(frozen=True)
class Stream:
    """A stream that the harness watches: `name` for messages, `path` of its ports in the harness, its beats."""

    name: str
    path: str
    beats: Beats


def watched(design: Design) -> tuple[Stream, ...]:
    """The streams that are compared: the input first, then the output of every graph node, the design's output last."""
    last = {stage.node: stage for stage in design.stages if stage.node is not None}
    end = design.stages[-1]
    return (
        Stream("input", "i", design.input),
        *(
            Stream(node, f"dut.{_identifier(stage.name)}.o", stage.output)
            for node, stage in last.items()
            if stage is not end
        ),
        Stream(end.node or "output", "o", design.output),
    )


def _identifier(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else f"\\{name} "


def harness(design: Design) -> str:
    """SystemVerilog of the module `harness`: clock, source, sink, the design `accel` and a monitor for every stream."""
    template = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    text = share("sim", "harness.sv.j2").read_text()
    return template.from_string(text).render(
        input=design.input, output=design.output, monitors=watched(design), drain=DRAIN
    )


def build(design: Design, folder: Path, on_line: child.OnLine | None = None) -> Path:
    """The executable that simulates `design`, kept in `folder` by the content of all that it is made of.

    The number of frames, the stalls and the vectors are no part of it. Raises ToolMissingError without cocotb or
    Verilator, ToolFailedError with the log when it cannot be compiled.
    """
    folder = folder.resolve()  # the tools work in folders of their own
    bench = [share("sim", name) for name in BENCH]
    texts = {"harness.sv": harness(design), "accel.v": design.verilog}
    key = digest(_versions(), ARGUMENTS, MAKE_VARIABLES, texts, bench)
    log = folder / f"harness-{key[:16]}.log"

    def make(path: Path) -> None:
        runtime = _runtime(folder, on_line)
        for name, text in texts.items():
            (path / name).write_text(text)
        _compile([*bench, *(path / name for name in texts)], path, log, on_line, runtime)
        (path / "obj" / "harness").rename(path / "harness")
        shutil.rmtree(path / "obj")

    return step(folder, "simulator", key, make).path / "harness"


def _runtime(folder: Path, on_line: child.OnLine | None) -> Path:
    """Verilator's own runtime, compiled: most of the time that a small design takes, and the same for all."""

    def make(path: Path) -> None:
        (path / "empty.sv").write_text("module harness; initial #1 $finish; endmodule\n")
        _compile([path / "empty.sv"], path, folder / "runtime.log", on_line)
        for compiled in path.joinpath("obj").glob("verilated*.o"):
            compiled.rename(path / compiled.name)
        shutil.rmtree(path / "obj")
        (path / "empty.sv").unlink()

    return step(folder, "runtime", digest(_versions(), ARGUMENTS, MAKE_VARIABLES), make).path


def _compile(
    sources: Sequence[Path], path: Path, log: Path, on_line: child.OnLine | None, runtime: Path | None = None
) -> None:
    """Compile `sources` with the top `harness` to path/obj/harness, with the objects in the folder `runtime`."""
    libraries, main = _cocotb()
    # fmt: off
    command = [
        "verilator", "--cc", "--exe", "--top-module", "harness", *ARGUMENTS, "--Mdir", "obj", "-o", "harness",
        "-LDFLAGS", f"-L{libraries} -lcocotbvpi_verilator",
        str(share("sim", "harness.vlt")), *map(str, sources), str(main),
    ]
    # fmt: on
    make = " ".join(f"{name}={value}" for name, value in MAKE_VARIABLES.items())
    environment = {**verilator.environment(), "MAKEFLAGS": make}
    child.run(command, log=log, cwd=path, env=environment, timeout=3600, on_line=on_line)
    if runtime:
        # make does not compile again what is younger than the files that Verilator has just written.
        for compiled in runtime.iterdir():
            shutil.copyfile(compiled, path / "obj" / compiled.name)
    jobs = str(min(4, os.cpu_count() or 1))
    child.run(
        ["make", "-j", jobs, "-C", "obj", "-f", "Vtop.mk"],
        log=log,
        cwd=path,
        env=environment,
        timeout=3600,
        on_line=on_line,
    )


def _versions() -> list[str | Path]:
    """What stands for the versions of the tools, in a hash."""
    libraries, main = _cocotb()
    return [version("cocotb"), str(libraries), main, verilator.root() / "include" / "verilated_config.h"]


def _cocotb() -> tuple[Path, Path]:
    """cocotb's folder of libraries and its main program for Verilator."""
    if importlib.util.find_spec("cocotb_tools") is None:
        raise ToolMissingError("cocotb is not installed; install it with: pip install 'hwgen[sim]'")
    from cocotb_tools import config

    return Path(config.libs_dir), Path(config.share_dir) / "lib" / "verilator" / "verilator.cpp"


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder in `folder` for one run; it goes away, unless a tool failed and its log is in here."""
    path = Path(tempfile.mkdtemp(prefix=".run-", dir=folder)).resolve()
    try:
        yield path
    except ToolFailedError:
        raise  # its message names a log in here
    except BaseException:  # an interrupt too must leave nothing behind; it goes on
        shutil.rmtree(path, ignore_errors=True)
        raise
    else:
        shutil.rmtree(path, ignore_errors=True)


def launch(
    executable: Path,
    plan: Mapping[str, Any],
    folder: Path,
    *,
    arguments: Sequence[str] = (),
    timeout: float | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Run `executable` under cocotb in `folder`, which holds the vectors, and return what results.json says.

    `plan` becomes run.json (see sim/stream_bench.py). `arguments`: +arguments for the design. Raises ToolFailedError
    with the path and the end of the log when the simulator crashes, cocotb fails, or there are no results.
    """
    write_atomic(folder / "run.json", json.dumps(plan))
    for name in ("results.json", "results.xml"):
        (folder / name).unlink(missing_ok=True)
    log = folder / "simulation.log"
    last: list[str] = []

    def on_line(line: str) -> None:
        words = line.split()
        if len(words) == 3 and words[0] == "progress":
            if on_progress:
                on_progress(int(words[1]), int(words[2]))
        elif line.strip():
            last[:] = [*last[-14:], line]

    # Registers without a reset value start from random bits, the same in every run.
    random = ["+verilator+rand+reset+2", "+verilator+seed+1"]
    child.run(
        [executable, *random, *arguments], log=log, cwd=folder, env=_environment(), timeout=timeout, on_line=on_line
    )
    fault = _cocotb_fault(folder / "results.xml")
    results = folder / "results.json"
    if fault is None and not results.is_file():
        fault = "left no results.json"
    if fault:
        raise ToolFailedError("\n  ".join([f"the simulation {fault} (log: {log})", *last]))
    data: dict[str, Any] = json.loads(results.read_text())
    return data


def _environment() -> dict[str, str]:
    from cocotb_tools import config
    from find_libpython import find_libpython

    library = find_libpython()
    if library is None:
        raise ToolMissingError(f"no shared library of the Python at {sys.executable}: cocotb needs libpython")
    paths = [str(share("sim", "stream_bench.py").parent), os.environ.get("PYTHONPATH", "")]
    libraries = [str(config.libs_dir), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYGPI_PYTHON_BIN": sys.executable,
        "GPI_USERS": f"{library};{config.pygpi_entry_point()}",
        "COCOTB_TOPLEVEL": "harness",
        "COCOTB_TEST_MODULES": "stream_bench",
        "TOPLEVEL_LANG": "verilog",
        "COCOTB_RESULTS_FILE": "results.xml",
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "COCOTB_LOG_LEVEL": "WARNING",
        "COCOTB_ANSI_OUTPUT": "0",
        "COCOTB_RANDOM_SEED": "1",
        # Without this cocotb imports pytest, only to make assertions verbose.
        "COCOTB_REWRITE_ASSERTION_FILES": "",
    }


def _cocotb_fault(path: Path) -> str | None:
    """What cocotb's result file says against a run, or None."""
    if not path.is_file():
        return "left no results.xml of cocotb"
    try:
        cases = list(ET.parse(path).getroot().iter("testcase"))
    except ET.ParseError:
        return "left a results.xml that cannot be read"
    if not cases:
        return "ran no cocotb test"
    for case in cases:
        for kind in ("failure", "error", "skipped"):
            found = case.find(kind)
            if found is not None:
                return f"failed in cocotb's test {case.get('name')}: {found.get('error_msg') or found.get('message')}"
    return None
