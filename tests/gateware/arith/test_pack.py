import pytest
from amaranth.hdl import Const, Module, Signal

from hwgen.gateware.arith.pack import Packer, pair_up
from hwgen.gateware.dotproduct.placed import Shifter, levels, plan


def sets(*names):
    return tuple(frozenset(name) for name in names)


def test_two_functions_share_a_cell_where_five_inputs_are_enough():
    assert pair_up(sets("abs", "bcs", "cds", "des")) == ((0, 1), (2, 3))
    assert pair_up(sets("abcdef", "ab", "abcde")) == ((0,), (1, 2))
    # No inputs in common, but few of them.
    assert pair_up(sets("ab", "cde", "fghi")) == ((2,), (1, 0))


def names_of(module):
    return [name for name, *_ in module._named_submodules.items()]


def test_constants_and_inputs_that_make_no_difference_take_no_cell():
    m = Module()
    cells, x, y = Packer(m), Signal(name="x"), Signal(name="y")
    assert cells.lut("g", "none", [x, Const(0, 1)], lambda a, b: a & b).value == 0
    assert cells.lut("g", "same", [x, y], lambda a, _b: a) is x
    cells.lut("g", "both", [x, y], lambda a, b: a ^ b)
    cells.lut("g", "either", [x, y], lambda a, b: a | b)
    cells.place()
    assert names_of(m) == ["lut_both_either_lut"]


def test_without_pairs_each_function_has_its_cell():
    m = Module()
    cells, x, y = Packer(m, pairs=False), Signal(), Signal()
    for name in ("both", "either"):
        cells.lut("g", name, [x, y], lambda a, b: a ^ b)
    cells.place()
    assert names_of(m) == ["lut_both_lut", "lut_either_lut"]


@pytest.mark.parametrize(
    ("shifter", "stages"),
    [
        # E4M3: eight rows in fine steps, then four places eight apart, and the sign.
        (Shifter(8, 30, 2, 36, True), (1, 2, 2)),
        (Shifter(8, 0, 0, 8, True), ()),
    ],
)
def test_shifters_are_planned_in_the_fewest_cells(shifter, stages):
    assert plan(shifter) == stages


def test_a_tree_takes_the_ones_of_negative_numbers_along():
    assert levels(32, 32) == 4
    assert levels(32, 0) == 4
    # Three terms and three ones: one adder has places for two.
    assert levels(3, 3) == 2
    assert levels(1, 1) == 1
    assert levels(1, 0) == 0
