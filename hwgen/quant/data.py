"""Real images and their labels: scikit-learn's digits, MNIST and Fashion-MNIST from their original IDX files.

Files are looked for as <folder>/<data set>/<file>, or <file>.gz, in these folders, in this order:
the folder that the caller names; $HWGEN_DATA; ~/.cache/hwgen/data, which `hwgen data` fills; and /usr/share/datasets,
where Debian's package dataset-fashion-mnist puts its own. Every file's SHA-256 is compared with the original's.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError, ToolMissingError

Array = npt.NDArray[Any]

DATASETS = ("digits", "mnist", "fashion-mnist")
CACHE = Path("~/.cache/hwgen/data")
SYSTEM = Path("/usr/share/datasets")
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CHECKSUMS = {
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion-mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
"""SHA-256 of the uncompressed content of FILES, in their order."""


@dataclass(frozen=True)
class Data:
    """Real inputs (frames, *shape) as float32 and their labels, split once into a training and a held-out part."""

    x_train: npt.NDArray[np.float32]
    y_train: npt.NDArray[np.int64]
    x_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[np.int64]

    def shaped(self, *shape: int) -> Data:
        """The same frames as (frames, *shape)."""
        x_train, x_test = (x.reshape(len(x), *shape) for x in (self.x_train, self.x_test))
        return Data(x_train, self.y_train, x_test, self.y_test)


def load(name: str, folder: Path | None = None) -> Data:
    """A data set of DATASETS, pixels scaled to 0..1: digits (frames, 1, 8, 8), the others (frames, 1, 28, 28).

    folder: where to look first. Raises HwgenError for another name, and for a file that is missing or is not the
    original, saying which and how to get it.
    """
    if name == "digits":
        return digits()
    if name not in CHECKSUMS:
        raise HwgenError(f"there is no data set {name!r}; known: {', '.join(DATASETS)}")
    arrays = [read_idx(find(name, file, folder), sha) for file, sha in zip(FILES, CHECKSUMS[name], strict=True)]
    x_train, x_test = (np.divide(x[:, None], np.float32(255), dtype=np.float32) for x in arrays[::2])
    y_train, y_test = (y.astype(np.int64) for y in arrays[1::2])
    return Data(x_train, y_train, x_test, y_test)


def digits() -> Data:
    """scikit-learn's 1,797 images of 8x8 pixels, a fifth held out; one fixed, stratified split for every seed."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ToolMissingError(f"the digits data set: {error}; it needs the extra hwgen[train]") from error

    bunch = load_digits()
    x = (bunch.images[:, None] / 16).astype(np.float32)
    y = bunch.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    return Data(x_train, y_train, x_test, y_test)


def search_path(folder: Path | None = None) -> tuple[Path, ...]:
    """The folders that are looked in, first things first."""
    chosen = os.environ.get("HWGEN_DATA")
    first = [place for place in (folder, Path(chosen) if chosen else None) if place is not None]
    return (*first, CACHE.expanduser(), SYSTEM)


def find(name: str, file: str, folder: Path | None = None) -> Path:
    """The path of one file of a data set, plain or with .gz."""
    places = search_path(folder)
    for place in places:
        for candidate in (place / name / file, place / name / f"{file}.gz"):
            if candidate.is_file():
                return candidate
    looked = ", ".join(str(place / name) for place in places)
    raise HwgenError(f"{file} of {name} is missing (looked in {looked}); {_how(name)}")


def _how(name: str) -> str:
    return f"`hwgen data {name}` gets it"


def read_idx(path: Path, sha256: str | None = None) -> Array:
    """The array of an IDX file of bytes, gzip or not; `sha256` of its uncompressed content is compared when given.

    The format: two zero bytes, the element type (8: unsigned byte), the number of axes, each axis as a big-endian
    32-bit number, then the elements, last axis fastest. Raises HwgenError naming the file and what is wrong with it.
    """
    try:
        raw = path.read_bytes()
        data = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise HwgenError(f"{path} is corrupt: {error}; delete it, then {_how(path.parent.name)}") from error
    except OSError as error:
        raise HwgenError(f"cannot read {path}: {error.strerror or error}") from error
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        found = hashlib.sha256(data).hexdigest()[:16]
        raise HwgenError(
            f"{path} is not the original file: its SHA-256 is {found}..., not {sha256[:16]}...; "
            f"delete it, then {_how(path.parent.name)}"
        )
    axes = data[3] if len(data) > 3 else 0
    start = 4 + 4 * axes
    if data[:3] != b"\x00\x00\x08" or not axes or len(data) < start:
        raise HwgenError(f"{path} is not an IDX file of bytes: it begins with {data[:4].hex() or 'nothing'}")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", axes, 4))
    size = int(np.prod(shape, dtype=object))
    if len(data) - start != size:
        raise HwgenError(f"{path} has {len(data) - start} bytes of data, not the {size} of its shape {shape}")
    return np.frombuffer(data, np.uint8, size, start).reshape(shape)
