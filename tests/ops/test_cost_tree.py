"""Trees of adders of three: what is added when."""

from hwgen.ops import cost_tree


def test_leftovers_are_narrow():
    assert cost_tree.groups([(31, 0)] * 4 + [(31, 2)] * 3) == [[0, 1, 2], [4, 5, 6]]
    assert cost_tree.groups([(31, 0), (210, 2), (7, 4)]) == [[0, 2, 1]]
    assert cost_tree.groups([(31, 0), (31, 2)]) == []


def test_levels_end_where_two_terms_are_left():
    terms = cost_tree.row_terms(4, False, 4) * 8
    assert (len(terms), cost_tree.tree_levels(terms)) == (16, 3)
    luts, flops, left = cost_tree.tree(terms, 3)
    assert (luts, flops, left) == (42, 91, [(372, 0), (217, 2)])


def test_columns_of_one_bit_are_wires():
    assert cost_tree.adder_luts([1, 2, 2, 1]) == 2
    assert cost_tree.adder_luts([3, 3, 1, 0]) == 3
