"""Whole files or none, kept content hashes, and the package's own data."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwgen.errors import HwgenError
from hwgen.tools import files
from hwgen.tools.files import atomic_dir, digest, share, write_atomic


def test_write_atomic_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_atomic(path, "eins")
    write_atomic(path, b"zwei")
    assert path.read_bytes() == b"zwei"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_write_atomic_names_the_path_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HwgenError, match=r"cannot write .*file/x\.v: "):
        write_atomic(tmp_path / "file" / "x.v", "")


def test_a_full_disk_is_one_message_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    path.write_bytes(b"good")
    # A limit on the size of files stands in for a full disk: the write fails part of the way.
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from hwgen.tools.files import write_atomic\n"
        "from hwgen.errors import HwgenError\n"
        "try: write_atomic(sys.argv[1], bytes(5000))\n"
        "except HwgenError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {path}: File too large\n"
    assert path.read_bytes() == b"good"
    assert [p.name for p in tmp_path.iterdir()] == ["out.bin"]


def test_atomic_dir_replaces_only_on_success(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with atomic_dir(path) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(FileNotFoundError), atomic_dir(path) as folder:
        (folder / "a").write_text((folder / "none").read_text())
    assert (path / "a").read_text() == "1"
    with atomic_dir(path) as folder:
        (folder / "b").write_text("3")
    assert [p.name for p in path.iterdir()] == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_atomic_dir_leaves_what_somebody_else_wrote(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    for wanted in ("a", "b"):  # an empty folder is free, and one with the mark is of the same kind
        with atomic_dir(path, "mark") as folder:
            (folder / "mark").write_text("")
            (folder / wanted).write_text("")
    (path / "mark").unlink()
    message = r"out holds other files, which would be lost: it is not one that hwgen wrote \(no mark\)"
    with pytest.raises(HwgenError, match=message), atomic_dir(path, "mark"):
        pass
    assert [p.name for p in path.iterdir()] == ["b"]


def test_atomic_dir_reports_a_full_disk_and_a_bad_place(tmp_path: Path) -> None:
    with pytest.raises(HwgenError, match=r"cannot write .*out: No space left"), atomic_dir(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    (tmp_path / "file").write_text("")
    with pytest.raises(HwgenError, match=r"cannot write .*file/out: "), atomic_dir(tmp_path / "file" / "out"):
        pass
    with pytest.raises(HwgenError, match="file is a file; a folder is to be written"), atomic_dir(tmp_path / "file"):
        pass
    assert (tmp_path / "file").is_file()
    with pytest.raises(FileNotFoundError), atomic_dir(tmp_path / "out"):
        (tmp_path / "none").read_text()
    assert not (tmp_path / "out").exists()


def test_atomic_dir_gives_the_old_folder_back_when_it_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "good").write_text("")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if target == path and ".tmp-" in self.name and not self.name.endswith("-old"):
            raise OSError(errno.EACCES, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(HwgenError, match=r"cannot write .*out: Permission denied"), atomic_dir(path):
        pass
    assert (path / "good").exists()


def test_a_killed_build_leaves_the_last_good_output_and_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with atomic_dir(path) as folder:
        (folder / "good").write_text("")
    code = (
        "import sys, time\nfrom hwgen.tools.files import atomic_dir\n"
        "with atomic_dir(sys.argv[1]) as folder:\n    (folder / 'half').write_text('')\n    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)])
    while not list(tmp_path.glob(".out.tmp-*/half")):
        time.sleep(0.01)
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert [p.name for p in path.iterdir()] == ["good"]
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_dir(path) as folder:
        (folder / "new").write_text("")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_build_killed_between_its_two_renames_is_given_back(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    old = tmp_path / f".out.tmp-{dead.pid}-xyz-old"
    old.mkdir()
    (old / "good").write_text("")
    with pytest.raises(ValueError, match="broken"), atomic_dir(tmp_path / "out"):
        raise ValueError("broken")
    assert (tmp_path / "out" / "good").exists()


def test_temporaries_of_living_builds_are_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / f".out.tmp-{os.getpid()}-xyz"
    other = tmp_path / ".out.tmp-1-xyz"  # process 1 belongs to another user, or to this one, and lives
    mine.mkdir()
    other.mkdir()
    with atomic_dir(tmp_path / "out"):
        pass
    assert mine.exists()
    assert other.exists()


def test_share_finds_what_ships_and_names_what_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert share("rtl", "uart_shell.sv").is_file()
    with pytest.raises(HwgenError, match=r"hwgen's own file rtl/none\.sv is missing \(looked in "):
        share("rtl", "none.sv")
    # In an installed wheel the files stand inside the package.
    package = tmp_path / "hwgen"
    (package / "_share" / "rtl").mkdir(parents=True)
    (package / "_share" / "rtl" / "x.sv").write_text("")
    monkeypatch.setattr(files, "__file__", str(package / "tools" / "files.py"))
    assert share("rtl", "x.sv") == package / "_share" / "rtl" / "x.sv"


def test_digest_tells_types_grouping_and_contents_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    values = ["1", b"1", 1, 1.0, True, None, ["1"], [["1"]], ["1", "1"], {"1": "1"}, ["a", "bc"], ["ab", "c"]]
    assert len({digest(value) for value in values}) == len(values)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    before = digest(tmp_path)
    (tmp_path / "b").rename(tmp_path / "c")
    assert digest(tmp_path) != before
    with pytest.raises(HwgenError, match=r"cannot read .*none: No such file"):
        digest(tmp_path / "none")
    with pytest.raises(TypeError, match="cannot hash a object"):
        digest(object())  # type: ignore[arg-type]
