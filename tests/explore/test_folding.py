"""The chosen folding against all foldings, against a greedy choice, and against what cannot be had."""

from __future__ import annotations

import itertools
import re
import time

import numpy as np
import pytest

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.explore import solve as search
from hwgen.explore.folding import Budget, Choice, budget, choose, given, interval_of, least_cost, least_interval
from hwgen.explore.options import KINDS, Amounts, Tables, tables
from hwgen.flow.boards import load_board
from hwgen.formats import Int
from hwgen.ir import Fold, Graph, TensorType
from hwgen.ops import cost
from tests.conftest import chain, random_mlp
from tests.explore.networks import SMALL, images, resnet18, window
from tests.ops.test_cost import image_network

EVERY: dict[str, list[Choice]] = {}


def every(name: str) -> list[Choice]:
    """All foldings of a small network."""
    if name not in EVERY:
        known = tables(SMALL[name])
        picks = itertools.product(*([option.fold for option in options] for options in known.units))
        EVERY[name] = [given(SMALL[name], dict(zip(known.names, pick, strict=True))) for pick in picks]
    return EVERY[name]


def amounts(choice: Choice) -> list[float]:
    return [getattr(choice.resources, kind) for kind in KINDS]


def within(limits: Amounts) -> Budget:
    return Budget("paper", limits, 1.0)


@pytest.mark.parametrize("name", SMALL)
def test_the_estimate_of_a_choice_is_that_of_the_accelerator(name: str) -> None:
    for choice in every(name)[::5]:
        whole = cost.estimate(SMALL[name], choice.folding)
        assert amounts(choice) == [getattr(whole, kind) for kind in KINDS]


@pytest.mark.parametrize("name", SMALL)
def test_no_folding_is_cheaper_at_any_interval(name: str) -> None:
    intervals = sorted({choice.interval for choice in every(name)})
    for interval in [*intervals[:: max(1, len(intervals) // 6)], intervals[-1]]:
        found = least_cost(SMALL[name], interval)
        assert found.optimal
        assert found.interval <= interval
        assert found.cost == min(one.cost for one in every(name) if one.interval <= interval and one.cost)


@pytest.mark.parametrize("name", SMALL)
def test_no_folding_within_a_budget_is_faster_nor_cheaper_at_that_pace(name: str) -> None:
    known = sorted((amounts(one) for one in every(name)), key=lambda used: used[0])
    for part in (0.0, 0.2, 0.5, 0.9):
        lut, ff, bram, dsp = known[int(part * (len(known) - 1))]
        limits = int(lut), int(ff), int(bram), int(dsp)
        fits = [one for one in every(name) if all(a <= b for a, b in zip(amounts(one), limits, strict=True))]
        fastest = min(one.interval for one in fits)
        found = least_interval(SMALL[name], within(limits))
        assert found.optimal
        assert (found.interval, found.cost) == (fastest, min(o.cost for o in fits if o.interval == fastest and o.cost))
        assert least_cost(SMALL[name], fastest, within(limits)).cost == found.cost


def greedy(graph: Graph, interval: int) -> dict[str, Fold]:
    """Unit by unit the fold that is cheapest with what stands before it."""
    known, folding, behind = tables(graph), {}, 0
    for name, options, stretch in zip(known.names, known.units, known.stretches, strict=False):
        before = {cell.simd: cell for cell in stretch.cells if cell.behind == behind and cell.clocks <= interval}
        fast = [one for one in options if one.cycles <= interval and one.fold.simd in before]
        best = min(fast, key=lambda one: search.weigh(one.used) + search.weigh(before[one.fold.simd].used))
        folding[name], behind = best.fold, best.behind
    return folding


@pytest.mark.parametrize("name", SMALL)
def test_it_is_never_worse_than_a_greedy_choice(name: str) -> None:
    for interval in sorted({choice.interval for choice in every(name)})[1::4]:
        folding = greedy(SMALL[name], interval)
        other = given(SMALL[name], folding)
        found = least_cost(SMALL[name], interval)
        assert other.interval > interval or (found.cost or 0) <= (other.cost or 0)


@pytest.mark.parametrize("interval", [1, 10, 32, 64, 100, 1000, 5000])
def test_a_chosen_folding_keeps_the_interval_and_divides_the_layers(interval: int) -> None:
    graph = random_mlp((64, 32, 32, 10))
    folding = least_cost(graph, interval).folding
    cost.check_folding(graph, folding)
    for node, op in cost.matrix_units(graph):
        assert op.cycles(graph.types[node.inputs[0]], folding[node.name]) <= interval


def test_more_time_never_costs_more() -> None:
    graph = random_mlp((64, 32, 32, 10))
    costs = [least_cost(graph, interval).cost or 0 for interval in (4, 16, 64, 256, 2048)]
    assert costs == sorted(costs, reverse=True)


def test_the_chosen_fold_is_not_needlessly_fast() -> None:
    folding = least_cost(random_mlp((64, 32, 32, 10)), 64).folding
    lanes = {name: fold.pe * fold.simd for name, fold in folding.items()}
    assert lanes == {"fc0": 32, "fc1": 16, "fc2": 5}


def test_the_same_question_has_the_same_answer() -> None:
    graph = SMALL["vectors"]
    assert len({str(least_cost(graph, 12).folding) for _ in range(3)}) == 1


def shortest_path(known: Tables, interval: int) -> int:
    """The least cost within an interval, layer by layer, for one pace after the other; independent of the solver."""
    paces, best = known.paces, []
    for pace, faster in zip(paces, [*paces[1:], interval + 1], strict=True):
        # Cost by lanes behind the last unit, and whether a unit is as slow as the pace: without one it would not be it.
        costs = {(0, pace == 1): 0}
        for number, stretch in enumerate(known.stretches):
            here = max(one for one in stretch.paces if one <= pace)
            after: dict[tuple[int, bool], int] = {}
            for cell in stretch.cells:
                if cell.pace != here or cell.clocks > interval:
                    continue
                ends = [one for one in known.units[number] if one.fold.simd == cell.simd] if cell.simd else [None]
                for slow, end in itertools.product((False, True), ends):
                    if (cell.behind, slow) not in costs or (end and end.cycles >= min(faster, interval + 1)):
                        continue
                    cost = costs[cell.behind, slow] + search.weigh(cell.used) + (search.weigh(end.used) if end else 0)
                    key = (end.behind, slow or end.cycles >= pace) if end else (0, slow)
                    after[key] = min(cost, after.get(key, cost))
            costs = after
        best += [cost for (_, slow), cost in costs.items() if slow]
    return min(best)


@pytest.mark.parametrize("name", SMALL)
def test_it_is_the_shortest_path_through_the_tables(name: str) -> None:
    for interval in sorted({choice.interval for choice in every(name)})[::3]:
        assert 2 * (least_cost(SMALL[name], interval).cost or 0) == shortest_path(tables(SMALL[name]), interval)


@pytest.mark.slow
def test_a_network_as_large_as_resnet18_is_folded_in_seconds() -> None:
    graph = resnet18()
    begun = time.process_time()
    choice = least_cost(graph, 1_000_000)
    assert time.process_time() - begun < 10
    assert choice.optimal
    assert choice.interval <= 1_000_000
    assert len(choice.folding) == 21
    known = tables(graph)
    assert 2 * (choice.cost or 0) == shortest_path(known, 1_000_000)
    lut, ff, bram, dsp = (int(1.2 * amount) for amount in amounts(choice))
    begun = time.process_time()
    fast = search.solve(known, "interval", budget=(lut, ff, bram, dsp))
    assert time.process_time() - begun < 10
    assert fast is not None
    assert fast.optimal
    assert fast.clocks <= choice.interval


ULX3S, ULTRA96 = load_board("ulx3s"), load_board("ultra96")


def test_a_frame_rate_is_an_interval_at_the_boards_clock() -> None:
    graph = SMALL["vectors"]
    assert interval_of(30_000, 200) == 6666
    assert choose(graph, ULTRA96, fps=20e6) == choose(graph, ULTRA96, 10)
    assert choose(graph, ULTRA96.at(100), fps=20e6) == choose(graph, ULTRA96, 5)


def test_a_budget_is_in_the_units_of_estimates() -> None:
    assert budget(ULTRA96, 0.5).limits == (35280, 70560, 216, 180)
    assert budget(load_board("icebreaker"), 1).have[2] == 30 * 4 // 18


def test_without_a_wish_the_boards_default_is_kept_or_the_nearest_that_fits() -> None:
    graph = SMALL["wide weights"]
    assert choose(graph, ULX3S) == least_cost(graph, ULX3S.default_interval)
    whole = choose(graph, ULX3S).resources
    assert whole.lut is not None
    tight = ULX3S.model_copy(update={"default_interval": 1})
    assert choose(graph, tight).interval == 1
    for lut in (int(1.5 * whole.lut), int(2.5 * whole.lut)):
        small = tight.model_copy(update={"resources": ULX3S.resources.model_copy(update={"lut": lut})})
        found = choose(graph, small)
        assert found.resources.lut is not None
        assert found.interval > 1
        limits = budget(small, 1).have
        fits = [one for one in every("wide weights") if all(a <= b for a, b in zip(amounts(one), limits, strict=True))]
        fits = [one for one in fits if (one.resources.lut or 0) <= 0.6 * lut]
        if fits:
            assert found.interval == min(one.interval for one in fits)
        else:
            assert found.cost == min(one.cost for one in every("wide weights") if one.cost)


ONE = chain("one", TensorType((5, 4), Int(4)), ("conv", ops.MatVec(np.ones((2, 4), int), Int(2))))
NO_DSP = ULX3S.model_copy(update={"resources": ULX3S.resources.model_copy(update={"dsp": 0})})
UNKNOWN = chain(
    "unknown", TensorType((4,), Int(4)), ("fc", ops.MatVec(np.ones((2, 4), int), Int(2))), ("r", ops.Relu())
)

# In the messages # is any number: an estimate.
REFUSED = {
    "too fast for a matrix unit": (
        lambda: choose(ONE, ULX3S, 4),
        "node 'conv' takes 5 clocks a frame fully unrolled (PE=2, SIMD=4), so an interval of 4 is out of reach; "
        "the nearest is 5",
    ),
    "a frame rate that is too high for a matrix unit": (
        lambda: choose(ONE, ULTRA96, fps=50e6),
        "so an interval of 4 is out of reach; the nearest is 5 (40,000,000 frames/s)",
    ),
    "too fast for windows": (
        lambda: choose(images((8, 8, 2), (3, window(1, 4))), ULX3S, 29),
        "node 'window0' takes 64 clocks a frame on 2 lanes, so an interval of 29 is out of reach; the nearest is 64",
    ),
    "more frames than clocks": (
        lambda: choose(ONE, ULTRA96, fps=3e8),
        "300,000,000 frames/s are out of reach at 200 MHz, since a frame takes a clock or more; "
        "the nearest is 200,000,000",
    ),
    "no frames": (lambda: choose(ONE, ULTRA96, fps=0), "a frame rate is a number of frames a second above 0, not 0"),
    "no budget": (
        lambda: choose(ONE, ULTRA96, share=-0.5),
        "a budget is a share of the board's resources above 0, such as 0.7, not -0.5",
    ),
    "a frame rate and an interval": (
        lambda: choose(ONE, ULTRA96, 5, fps=10),
        "a frame rate chooses the folding: give no interval and no folds beside it",
    ),
    "folds and a budget": (
        lambda: choose(ONE, ULTRA96, {"conv": (1, 1)}, share=0.5),
        "folds that are given leave nothing to choose within a budget: give one of them",
    ),
    "a budget that is too small": (
        lambda: choose(SMALL["vectors"], ULX3S, share=0.001),
        "no folding is estimated to fit 0.001 of ulx3s: the nearest takes # @, # more than the 83 there are, # of "
        "them in node 'fc.1'; a budget of # would do",
    ),
    "an interval that does not fit": (
        lambda: choose(SMALL["vectors"], ULX3S, 1, share=0.01),
        "no folding within 1 clocks a frame is estimated to fit 0.01 of ulx3s: the nearest takes # FF, # more than "
        "the 836 there are, # of them in node 'act.0'; # clocks a frame or a budget of # would do",
    ),
    "a resource that there is none of": (
        lambda: choose(SMALL["wide weights"], NO_DSP, 2, share=1),
        "no folding within 2 clocks a frame is estimated to fit 1 of ulx3s: the nearest takes 4 DSP, 4 more than the 0 "
        "there are, 4 of them in node 'act.0'",
    ),
    "a cost that is not known": (
        lambda: choose(UNKNOWN, ULX3S),
        "node 'r': no gateware computes Relu, so its cost is not known",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_had_is_refused_with_the_nearest_that_can(name: str) -> None:
    ask, message = REFUSED[name]
    # Numbers, and which of LUTs and flip-flops is scarcer, are the cost model's.
    pattern = re.escape(message).replace(r"\#", "[0-9.,]+").replace("@", "(LUT|FF)")
    with pytest.raises(HwgenError, match=pattern):
        ask()


def test_windows_that_are_too_slow_are_named_with_the_nearest_interval() -> None:
    graph = image_network(1, window(1), 4, window(5), ops.Pool("max", 25))
    message = "node 'n3' takes 400 clocks a frame on 4 lanes, so an interval of 100 is out of reach; the nearest is 400"
    with pytest.raises(HwgenError, match=re.escape(message)):
        least_cost(graph, 100)
    graph = image_network(window(3, 3), 1)
    message = "node 'n0' takes 64 clocks a frame on 6 lanes, so an interval of 50 is out of reach; the nearest is 64"
    with pytest.raises(HwgenError, match=re.escape(message)):
        least_cost(graph, 50)


def test_a_network_without_matrix_units_has_nothing_to_fold() -> None:
    graph = chain("pool", TensorType((4, 4, 2), Int(4)), ("window", window(2, 2)), ("pool", ops.Pool("max", 4)))
    choice = choose(graph, ULX3S)
    assert choice.folding == {}
    assert choice.layers[0].lanes == 2
    assert choose(graph, ULX3S, 16) == choice
    with pytest.raises(HwgenError, match="node 'window' takes 16 clocks a frame on 2 lanes, so an interval of 15 is"):
        choose(graph, ULX3S, 15)


def test_a_search_that_is_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "WORK", 0.0)
    with pytest.raises(
        HwgenError, match="no folding was found within 0 units of work: give another interval or budget"
    ):
        least_interval(SMALL["vectors"], within((800, 1000, 10, 10)))
