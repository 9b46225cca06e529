"""A compiler launcher for `make` that keeps the objects of Verilator's run-time library.

`python3 object_cache.py <folder> <compiler> <arguments>` runs the compiler, but takes the object from `folder` where
the same compiler has made it before from the same library file with the same arguments. They are the same for most
simulators, and take longer to compile than a small design. Everything else is compiled as it comes. The program
imports nothing of hwgen, for it is started once per file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def library_file(arguments: list[str]) -> Path | None:
    """The one source file of a compilation, if it belongs to Verilator's library."""
    include = Path(os.environ.get("VERILATOR_ROOT", "")) / "include"
    sources = [Path(word) for word in arguments if word.endswith(".cpp")]
    compiles = "-c" in arguments and "-o" in arguments and len(sources) == 1
    return sources[0] if compiles and sources[0].parent == include else None


def relevant(arguments: list[str], library: bytes) -> list[str]:
    """The arguments without those that cannot change an object of the library.

    Those are the name of the object, folders of headers that the library does not know, and macros whose names do not
    occur in it; both are there for a design's own files.
    """
    words = list(arguments)
    at = words.index("-o")
    del words[at : at + 2]
    return [
        word
        for word in words
        if not word.startswith("-I")
        and not (word.startswith("-D") and word[2:].partition("=")[0].encode() not in library)
    ]


def key(compiler: str, arguments: list[str], source: Path) -> str:
    """Hash of all that the object depends on: compiler, arguments, and the library's source and headers."""
    program = Path(shutil.which(compiler) or compiler).resolve()
    about = program.stat()
    headers = sorted(source.parent.glob("*.h"))
    library = b"".join(file.read_bytes() for file in (source, *headers))
    words = [str(program), str(about.st_size), str(about.st_mtime_ns), *relevant(arguments, library)]
    return hashlib.sha256("\0".join(words).encode() + library).hexdigest()[:32]


def main() -> int:
    folder, compiler, *arguments = sys.argv[1:]
    source = library_file(arguments)
    if source is None:
        return subprocess.run([compiler, *arguments], check=False).returncode
    target = Path(arguments[arguments.index("-o") + 1])
    kept = Path(folder, f"{source.stem}-{key(compiler, arguments, source)}.o")
    if kept.exists():
        shutil.copyfile(kept, target)
        return 0
    code = subprocess.run([compiler, *arguments], check=False).returncode
    if code == 0:
        _keep(target, kept)
    return code


def _keep(target: Path, kept: Path) -> None:
    # A folder that cannot be written costs time only.
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=kept.parent)
    except OSError:
        return
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(target.read_bytes())
        temporary.replace(kept)
    except OSError:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
