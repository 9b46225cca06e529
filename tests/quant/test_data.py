"""Data sets: IDX files found, checked and read; each fault named with the remedy."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.quant import data


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim])
    return head + np.asarray(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set called mnist of six and four frames, which are not the originals; nothing else is found."""
    rng = np.random.default_rng(1)
    sums = []
    (tmp_path / "mnist").mkdir()
    for name in data.FILES:
        count = 6 if "train" in name else 4
        array = rng.integers(0, 256, (count, 28, 28)) if "images" in name else np.arange(count)
        sums.append(hashlib.sha256(idx(array)).hexdigest())
        (tmp_path / "mnist" / name).write_bytes(idx(array))
    monkeypatch.setattr(data, "CHECKSUMS", {"mnist": tuple(sums)})
    monkeypatch.setattr(data, "CACHE", tmp_path / "none")
    monkeypatch.setattr(data, "SYSTEM", tmp_path / "nothing")
    monkeypatch.delenv("HWGEN_DATA", raising=False)
    return tmp_path


def test_frames_are_pixels_from_0_to_1(folder: Path) -> None:
    found = data.load("mnist", folder)
    assert found.x_train.shape == (6, 1, 28, 28)
    assert found.x_test.dtype == np.float32
    raw = data.read_idx(folder / "mnist" / data.FILES[0])
    assert np.array_equal(np.rint(found.x_train[:, 0] * 255), raw)
    assert found.y_test.tolist() == [0, 1, 2, 3]
    assert found.shaped(784).x_train.shape == (6, 784)


def test_gzip_and_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want = data.load("mnist", folder)
    file = folder / "mnist" / data.FILES[0]
    file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    monkeypatch.setenv("HWGEN_DATA", str(folder))
    assert np.array_equal(data.load("mnist").x_train, want.x_train)


def test_the_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWGEN_DATA", "/there")
    assert data.search_path(tmp_path) == (tmp_path, Path("/there"), data.CACHE.expanduser(), data.SYSTEM)
    monkeypatch.delenv("HWGEN_DATA")
    assert data.search_path() == (data.CACHE.expanduser(), data.SYSTEM)


def test_a_missing_file_says_how_to_get_it(folder: Path) -> None:
    (folder / "mnist" / data.FILES[3]).unlink()
    with pytest.raises(HwgenError, match=r"t10k-labels-idx1-ubyte of mnist is missing \(looked in .*hwgen data mnist"):
        data.load("mnist", folder)


def test_another_file_is_refused(folder: Path) -> None:
    file = folder / "mnist" / data.FILES[2]
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(HwgenError, match=r"t10k-images.* is not the original file: its SHA-256 .*`hwgen data mnist`"):
        data.load("mnist", folder)


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-9], lambda raw: raw[:40] + b"xx" + raw[42:], lambda raw: b"no gzip"]
)
def test_a_corrupt_gzip_file(folder: Path, damage) -> None:  # type: ignore[no-untyped-def]
    file = folder / "mnist" / data.FILES[0]
    file.with_name(f"{file.name}.gz").write_bytes(damage(gzip.compress(file.read_bytes())))
    file.unlink()
    with pytest.raises(HwgenError, match=r"ubyte.gz is corrupt: .*delete it, then `hwgen data mnist`"):
        data.load("mnist", folder)


def test_files_that_are_not_idx(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\x00\x00\x0d\x01")
    with pytest.raises(HwgenError, match="x is not an IDX file of bytes: it begins with 00000d01"):
        data.read_idx(path)
    path.write_bytes(b"")
    with pytest.raises(HwgenError, match="it begins with nothing"):
        data.read_idx(path)
    path.write_bytes(idx(np.zeros((2, 3)))[:-1])
    with pytest.raises(HwgenError, match=r"has 5 bytes of data, not the 6 of its shape \(2, 3\)"):
        data.read_idx(path)
    with pytest.raises(HwgenError, match=r"cannot read .*: Is a directory"):
        data.read_idx(tmp_path)


def test_digits_are_split_once() -> None:
    found = data.load("digits")
    assert found.x_train.shape == (1437, 1, 8, 8)
    assert found.x_test.shape == (360, 1, 8, 8)
    assert found.x_train.max() == 1
    assert np.array_equal(found.x_test, data.digits().x_test)


def test_unknown_names() -> None:
    with pytest.raises(HwgenError, match="there is no data set 'cifar'; known: digits, mnist, fashion-mnist"):
        data.load("cifar")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_originals(name: str) -> None:
    """Where they are on this machine."""
    try:
        data.find(name, data.FILES[0])
    except HwgenError as error:
        pytest.skip(str(error))
    found = data.load(name)
    assert (len(found.x_train), len(found.x_test)) == (60000, 10000)
    assert np.bincount(found.y_test).min() >= 892
