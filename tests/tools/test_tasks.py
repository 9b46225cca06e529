"""Calls side by side, here and on a dask cluster."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwgen.errors import HwgenError, ToolFailedError, ToolMissingError
from hwgen.tools import tasks


def double(number: int, on_line: tasks.OnLine) -> int:
    on_line("started")
    return 2 * number


def wait_or_fail(number: int, on_line: tasks.OnLine) -> int:
    if number == 0:
        raise ToolFailedError("yosys failed")
    for _ in range(1000):
        on_line("still here")
        time.sleep(0.01)
    return number


def slow(argument: tuple[int, str], on_line: tasks.OnLine) -> int:
    """Leaves a file for every start of a call."""
    number, folder = argument
    Path(folder, f"{number}-{os.getpid()}").touch()
    time.sleep(0.5)
    return 2 * number


def test_results_come_by_name() -> None:
    arguments = {str(n): n for n in range(7)}
    assert dict(tasks.run_here(double, arguments, 2)) == {str(n): 2 * n for n in range(7)}


def test_a_failure_ends_the_others() -> None:
    start = time.monotonic()
    with pytest.raises(ToolFailedError, match="yosys failed"):
        list(tasks.run_here(wait_or_fail, {"a": 1, "b": 0}, 2))
    assert time.monotonic() - start < 5


def test_no_worker_is_refused() -> None:
    with pytest.raises(HwgenError, match="there is at least one worker, not 0"):
        list(tasks.run_here(double, {"a": 1}, 0))


def test_dask_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ToolMissingError, match=re.escape("install it with: pip install 'hwgen[cluster]'")):
        list(tasks.run_on_cluster(double, {"a": 1}, "tcp://localhost:1"))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self) -> None:
        self.address = f"tcp://127.0.0.1:{free_port()}"
        command = ["scheduler", "--host", self.address, "--no-dashboard", "--no-show"]
        self.processes = [self._start(*command)]

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
        return subprocess.Popen([sys.executable, "-m", "dask", *command], start_new_session=True, **quiet)  # type: ignore[call-overload, no-any-return]

    def add_worker(self) -> subprocess.Popen[bytes]:
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        self.processes.append(self._start("worker", self.address, *options))
        return self.processes[-1]

    def end(self) -> None:
        for one in self.processes:
            one.kill()
            one.wait()


@pytest.mark.slow
def test_a_cluster_loses_no_task_with_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(tasks, "CONNECT_SECONDS", 3)
    with pytest.raises(HwgenError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:\d+"):
        list(tasks.run_on_cluster(double, {"a": 1}, f"tcp://127.0.0.1:{free_port()}"))
    monkeypatch.setattr(tasks, "CONNECT_SECONDS", 30)
    cluster = Cluster()
    try:
        first, _ = cluster.add_worker(), cluster.add_worker()
        arguments = {f"{tmp_path.name}-{n}": (n, str(tmp_path)) for n in range(16)}
        found, killed = {}, False
        for name, result in tasks.run_on_cluster(slow, arguments, cluster.address):
            found[name] = result
            if not killed and any(path.name.endswith(f"-{first.pid}") for path in tmp_path.iterdir()):
                first.send_signal(signal.SIGKILL)
                killed = True
        starts = [path.name.partition("-")[0] for path in tmp_path.iterdir()]
        with pytest.raises(ToolFailedError, match="yosys failed"):
            list(tasks.run_on_cluster(wait_or_fail, {f"{tmp_path.name}-fails": 0}, cluster.address))
    finally:
        cluster.end()
    assert killed
    assert found == {name: 2 * n for name, (n, _) in arguments.items()}
    # What the killed worker had begun was begun again.
    assert len(starts) > len(set(starts)) == len(arguments)
