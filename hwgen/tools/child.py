"""Running another program: log file, time limit, progress, and nothing left running when the user interrupts."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from hwgen.errors import HwgenError, ToolFailedError, ToolMissingError

OnLine = Callable[[str], None]

# On Linux a child is told to end when this program is killed and cannot do it itself (prctl(2), PR_SET_PDEATHSIG).
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def run(
    command: Sequence[str | Path],
    *,
    log: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    on_line: OnLine | None = None,
    check: bool = True,
    tail: int = 15,
) -> int:
    """Run `command`, its output and errors going to the file `log`, and return its exit code.

    `env` is added to this program's environment; `timeout` is in seconds; `on_line` sees every line without its end.
    The command has a process group of its own, which is killed on a timeout and on any exception here (an interrupt);
    the command also ends when this program is killed.
    Raises ToolMissingError when there is no such program, and ToolFailedError, with the last lines and the log's
    path, when it runs out of time or (with `check`) ends with another exit code than 0. `tail` lines are quoted.
    """
    words = [str(word) for word in command]
    last: deque[str] = deque(maxlen=tail)
    expired = threading.Event()
    with _open_log(log) as file:
        child = _start(words, cwd, env)

        def expire() -> None:
            expired.set()
            kill_group(child)

        timer = threading.Timer(timeout, expire) if timeout is not None else None
        try:
            if timer:
                timer.start()
            assert child.stdout is not None
            for line in child.stdout:
                _write_log(file, log, line)
                text = line.rstrip("\r\n")
                last.append(text)
                if on_line:
                    on_line(text)
            code = child.wait()
        finally:
            if timer:
                timer.cancel()
            kill_group(child)
            if child.stdout:
                child.stdout.close()
    if expired.is_set():
        raise ToolFailedError(_message(words[0], f"ran longer than {timeout:g} s", last, log))
    if check and code:
        raise ToolFailedError(_message(words[0], _how_it_ended(code), last, log))
    return code


def _how_it_ended(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"


def _message(program: str, event: str, last: Iterable[str], log: Path | None) -> str:
    where = f" (log: {log})" if log else ""
    lines = "".join(f"\n  {line}" for line in last if line.strip())
    return f"{Path(program).name} {event}{where}{lines}"


def _open_log(log: Path | None) -> IO[bytes]:
    path = log or Path(os.devnull)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb", buffering=0)  # a full disk is noticed at the line, not at the end
    except OSError as error:
        raise HwgenError(f"cannot write {path}: {error.strerror or error}") from error


def _write_log(file: IO[bytes], log: Path | None, line: str) -> None:
    try:
        file.write(line.encode())
    except OSError as error:
        raise HwgenError(f"cannot write {log}: {error.strerror or error}") from error


def _end_with_parent() -> None:
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def _start(words: list[str], cwd: Path | None, env: Mapping[str, str] | None) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **env} if env else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise HwgenError(f"cannot run {words[0]} in {cwd}: there is no such folder") from error
        raise ToolMissingError(f"{words[0]} is not installed or not on the PATH") from error


def kill_group(child: subprocess.Popen[str], grace: float = 2.0) -> None:
    """End a child that was started in a session of its own, and all of its process group: politely, then not."""
    try:
        os.killpg(child.pid, signal.SIGTERM)
    except ProcessLookupError:
        child.poll()
        return
    end = time.monotonic() + grace
    while time.monotonic() < end:
        child.poll()
        try:
            os.killpg(child.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    child.wait()
