"""Foldings of networks with branches: none is cheaper or faster than the chosen one, of all that there are."""

from __future__ import annotations

import itertools
import re
from functools import cache

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.explore.folding import Choice, given, least_cost
from hwgen.explore.options import tables
from hwgen.ir import Graph
from tests.gateware.test_branches import NETWORKS

NAMES = ("residual", pytest.param("residual, halved", marks=pytest.mark.slow), "inception")


@cache
def graph_of(name: str) -> Graph:
    made = NETWORKS[name](np.random.default_rng(5))  # type: ignore[no-untyped-call]
    assert isinstance(made, Graph)
    return made


@cache
def every(name: str) -> list[Choice]:
    graph = graph_of(name)
    known = tables(graph)
    units = known.matrix_units
    picks = itertools.product(*([option.fold for option in known.units[unit]] for unit in units))
    return [given(graph, dict(zip((known.names[unit] for unit in units), pick, strict=True))) for pick in picks]


@pytest.mark.parametrize("name", NAMES)
def test_no_folding_is_cheaper_at_any_interval(name: str) -> None:
    intervals = sorted({choice.interval for choice in every(name)})
    assert len(intervals) > 2
    for interval in (*intervals[:: max(1, len(intervals) // 3)], intervals[-1]):
        found = least_cost(graph_of(name), interval)
        assert found.optimal
        assert found.interval <= interval
        assert found.cost == min(one.cost for one in every(name) if one.interval <= interval and one.cost)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_out_of_reach_is_told(name: str) -> None:
    nearest = min(choice.interval for choice in every(name))
    with pytest.raises(
        HwgenError, match=re.escape(f"an interval of {nearest - 1} is out of reach; the nearest is {nearest}")
    ):
        least_cost(graph_of(name), nearest - 1)


def test_stations_are_units_forks_and_joins() -> None:
    known = tables(graph_of("inception"))
    kinds = dict(zip(known.names, known.kinds, strict=True))
    assert kinds == {
        "x": "fork",
        "one": "unit",
        "three": "unit",
        "three.act.out": "fork",
        "add": "join",
        "cat": "join",
        "fc": "unit",
    }
    ends = [(stretch.source, stretch.target) for stretch in known.stretches]
    assert (None, known.names.index("x")) in ends
    assert (known.names.index("fc"), None) in ends
