"""Every test draws the same numbers, whichever tests ran before it."""

from __future__ import annotations

import pytest

from tests.passes import real_graphs


@pytest.fixture(autouse=True)
def _seeded() -> None:
    real_graphs.seed()
