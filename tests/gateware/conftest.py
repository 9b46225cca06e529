import numpy as np
import pytest


def pytest_itemcollected(item):
    # Components that a test makes only to look at, or that are refused while they are made.
    item.add_marker(pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable"))


@pytest.fixture
def rng():
    return np.random.default_rng(7)
