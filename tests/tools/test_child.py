"""Children: logs, limits, progress, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwgen.errors import HwgenError, ToolFailedError, ToolMissingError
from hwgen.tools import child


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A dead child of a dead parent may stand in the table until it is collected.
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def _gone(pid: int) -> bool:
    end = time.monotonic() + 10
    while _alive(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_output_goes_to_the_log_and_to_the_callback(tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "logs" / "x.log"
    command = ["sh", "-c", "echo $WORD; pwd; echo err >&2"]
    code = child.run(command, log=log, cwd=tmp_path, env={"WORD": "wörd"}, on_line=lines.append)
    assert code == 0
    assert lines == ["wörd", str(tmp_path), "err"]
    assert log.read_text() == f"wörd\n{tmp_path}\nerr\n"


def test_a_failure_quotes_the_last_lines_and_names_the_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with pytest.raises(ToolFailedError, match=r"sh failed with exit code 3 \(log: .*x\.log\)") as caught:
        child.run(["sh", "-c", "seq 100; exit 3"], log=log)
    assert str(caught.value).splitlines()[1:] == [f"  {n}" for n in range(86, 101)]
    assert child.run(["sh", "-c", "exit 3"], check=False) == 3
    with pytest.raises(ToolFailedError, match="sh was killed by SIGKILL"):
        child.run(["sh", "-c", "kill -9 $$"])


def test_a_missing_program_and_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="no-such-tool is not installed or not on the PATH"):
        child.run(["no-such-tool"])
    with pytest.raises(HwgenError, match=r"cannot run true in .*none: there is no such folder"):
        child.run(["true"], cwd=tmp_path / "none")


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HwgenError, match=r"cannot write .*file/x\.log: "):
        child.run(["true"], log=tmp_path / "file" / "x.log")
    with pytest.raises(HwgenError, match="cannot write /dev/full: No space left on device"):
        child.run(["echo", "text"], log=Path("/dev/full"))


def test_a_timeout_kills_the_whole_group(tmp_path: Path) -> None:
    pids: list[int] = []
    script = "sleep 50 & echo $!; sleep 50"
    with pytest.raises(ToolFailedError, match=r"sh ran longer than 0\.3 s"):
        child.run(["sh", "-c", script], timeout=0.3, on_line=lambda line: pids.append(int(line)))
    assert _gone(pids[0])


def test_children_that_ignore_a_polite_signal_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    child.kill_group(started, grace=0.1)
    assert started.returncode == -signal.SIGKILL
    started.stdout.close()


def test_an_exception_of_the_callback_ends_the_child() -> None:
    def fail(line: str) -> None:
        raise ValueError(line)

    before = time.monotonic()
    with pytest.raises(ValueError, match="hello"):
        child.run(["sh", "-c", "echo hello; sleep 50"], on_line=fail)
    assert time.monotonic() - before < 20


@pytest.mark.parametrize(
    ("how", "script"), [(signal.SIGINT, "sleep 50 & echo $!; sleep 50"), (signal.SIGKILL, "echo $$; exec sleep 50")]
)
def test_an_interrupted_or_killed_program_leaves_nothing_running(how: int, script: str) -> None:
    code = (
        "import sys\nfrom hwgen.tools import child\n"
        "child.run(['sh', '-c', sys.argv[1]], on_line=lambda line: print(line, flush=True))\n"
    )
    command = [sys.executable, "-c", code, script]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert program.stdout is not None
    pid = int(program.stdout.readline())
    program.send_signal(how)
    assert program.wait(20) != 0
    assert _gone(pid)
    program.stdout.close()
