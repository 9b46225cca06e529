"""The documentation's page of formats is what its generator writes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).parents[2] / "docs"
STALE = "run python docs/formats_page.py"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("formats_page", DOCS / "formats_page.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(generator: ModuleType) -> None:
    assert (DOCS / "formats.md").read_text() == generator.page(), STALE


def test_the_number_lines_are_current(generator: ModuleType) -> None:
    pictures = {generator.file_name(fmt): generator.picture(fmt) for fmt in generator.shown()}
    assert {path.name: path.read_text() for path in generator.PICTURES.iterdir()} == pictures, STALE
    for text in pictures.values():
        ElementTree.fromstring(text)
