"""Steps that run once per content."""

from pathlib import Path

import pytest

from hwgen.tools.cache import step


def test_a_step_runs_once_per_inputs(tmp_path: Path) -> None:
    runs: list[Path] = []

    def fill(folder: Path) -> None:
        runs.append(folder)
        (folder / "out").write_text(str(len(runs)))

    first = step(tmp_path, "route", "a" * 32, fill)
    again = step(tmp_path, "route", "a" * 32, fill)
    other = step(tmp_path, "route", "b" * 32, fill)
    assert (first.reused, again.reused, other.reused) == (False, True, False)
    assert first.path == again.path != other.path
    assert first.path.name == "route-" + "a" * 16
    assert (again.path / "out").read_text() == "1"
    assert len(runs) == 2


def test_a_failed_step_runs_again(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        step(tmp_path, "route", "a" * 32, fail)
    assert list(tmp_path.iterdir()) == []
    done = step(tmp_path, "route", "a" * 32, lambda folder: (folder / "out").touch())
    assert not done.reused
    assert [path.name for path in done.path.iterdir()] == ["out"]
