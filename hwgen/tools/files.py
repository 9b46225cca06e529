"""Files that are whole or not there, the data files that ship with the package, and content hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from hwgen.errors import HwgenError

Part: TypeAlias = "str | bytes | int | float | bool | Path | Mapping[str, Part] | Sequence[Part] | None"

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def _cannot_write(path: Path, error: OSError) -> HwgenError:
    return HwgenError(f"cannot write {path}: {error.strerror or error}")


def _temporary(path: Path) -> str:
    """A prefix for temporaries of `path`; the writer's process number tells later runs whether it still lives."""
    return f".{path.name}.tmp-{os.getpid()}-"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    """Remove what killed builds left beside `path`, and give back an output that was being replaced when they died."""
    for leftover in path.parent.glob(f".{path.name}.tmp-*-*"):
        pid = leftover.name.removeprefix(f".{path.name}.tmp-").partition("-")[0]
        if not pid.isdecimal() or _alive(int(pid)):
            continue
        if leftover.name.endswith("-old") and not path.exists():
            leftover.rename(path)
        else:
            _remove(leftover)


def write_atomic(path: Path | str, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to a temporary beside `path` and rename it; folders are made.

    Raises HwgenError that names the path when it cannot be written; the old file is intact then.
    """
    path = Path(path)
    raw = data.encode() if isinstance(data, str) else data
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        handle, name = tempfile.mkstemp(prefix=_temporary(path), dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error


@contextmanager
def atomic_dir(path: Path | str, mark: str | None = None) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends without an exception.

    mark: a file of every folder that may be replaced; one that holds other files belongs to somebody else.
    On an exception the temporary is removed and an existing `path` is left as it was. Temporaries of builds that
    were killed are removed. Raises HwgenError that names `path` when it is not to be replaced, when the disk is full or
    the place cannot be written.
    """
    path = Path(path)
    _check_replaceable(path, mark)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        temporary = Path(tempfile.mkdtemp(prefix=_temporary(path), dir=path.parent))
        temporary.chmod(0o755)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        yield temporary
        _replace_dir(temporary, path)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise _cannot_write(path, error) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_replaceable(path: Path, mark: str | None) -> None:
    if path.exists() and not path.is_dir():
        raise HwgenError(f"{path} is a file; a folder is to be written there")
    if mark and path.is_dir() and not (path / mark).is_file() and any(path.iterdir()):
        raise HwgenError(f"{path} holds other files, which would be lost: it is not one that hwgen wrote (no {mark})")


def _replace_dir(temporary: Path, path: Path) -> None:
    # A folder cannot be renamed over a filled one: the old one steps aside under a name that `_remove_stale` gives
    # back if this program is killed between the two renames.
    old = temporary.with_name(temporary.name + "-old")
    try:
        if path.exists():
            path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    except OSError as error:
        raise _cannot_write(path, error) from error
    _remove(old)


def share(*parts: str) -> Path:
    """The path of a file or folder of rtl/, sim/ or boards/, in a source checkout or in an installed package.

    `share("rtl", "uart_shell.sv")`. Raises HwgenError when there is none.
    """
    package = Path(__file__).resolve().parent.parent
    places = [package / "_share", package.parent]
    for place in places:
        found = place.joinpath(*parts)
        if found.exists():
            return found
    raise HwgenError(f"hwgen's own file {'/'.join(parts)} is missing (looked in {', '.join(map(str, places))})")


def digest(*parts: Part) -> str:
    """A hash (32 hex digits of SHA-256) of values and of the contents of files and folders.

    A `Path` stands for its contents; a folder for its files' relative names and contents. Values of different types
    or grouping give different hashes. Raises HwgenError when a file cannot be read, TypeError for other types.
    """
    state = hashlib.sha256()
    _feed(state, parts)
    return state.hexdigest()[:32]


def _feed(state: hashlib._Hash, part: Part) -> None:
    if isinstance(part, Path):
        try:
            if part.is_dir():
                names = sorted(p for p in part.rglob("*") if p.is_file())
                _feed(state, {str(name.relative_to(part)): name.read_bytes() for name in names})
            else:
                _feed(state, part.read_bytes())
        except OSError as error:
            raise HwgenError(f"cannot read {part}: {error.strerror or error}") from error
    elif isinstance(part, (str, bytes)):
        raw = part.encode() if isinstance(part, str) else part
        state.update(f"{type(part).__name__}{len(raw)}:".encode() + raw)
    elif part is None or isinstance(part, (bool, int, float)):
        state.update(f"{type(part).__name__}{part!r}:".encode())
    elif isinstance(part, Mapping):
        state.update(f"map{len(part)}:".encode())
        for key in sorted(part):
            _feed(state, key)
            _feed(state, part[key])
    elif isinstance(part, Sequence):
        state.update(f"seq{len(part)}:".encode())
        for item in part:
            _feed(state, item)
    else:
        raise TypeError(f"cannot hash a {type(part).__name__}")
