"""Weights that change their sign: exact in every format, or refused."""

import numpy as np
import pytest

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.formats import Format, Int, scalar
from hwgen.ir import Op
from hwgen.ops import Affine, Dense, Quantize
from hwgen.passes.opposite import opposites
from tests.passes.test_images import MAX, U4, blocks, equal, graph

ROWS = np.array([True, False, True])
ASYMMETRIC = "blocked<block<int4,ue2m0b3_nosub,2>>"


@pytest.mark.parametrize("name", ["e2m1", "ue5m3", "bipolar", "int4", "uint4", "int8n", "blocked<mxfp4>", ASYMMETRIC])
def test_rows_are_negated_exactly(name: str) -> None:
    fmt: Format = scalar(name)
    codes = np.resize(fmt.codes()[fmt.is_number(fmt.codes())][-6:], (3, 2))
    made, wide = opposites(codes, fmt, ROWS)
    np.testing.assert_array_equal(wide.decode(made), fmt.decode(codes) * np.where(ROWS, -1, 1)[:, None])


def test_blocks_without_the_opposite_are_refused() -> None:
    fmt = scalar(ASYMMETRIC)
    with pytest.raises(HwgenError, match=r"block<int4,ue2m0b3_nosub,2> has not the opposite of its element -8"):
        opposites(np.full((3, 2), 8), fmt, ROWS)
    opposites(np.full((3, 2), 8), fmt, ~ROWS & False)


@pytest.mark.parametrize("name", ["ue5m3", "ue3m2"])
@pytest.mark.parametrize("ahead", [(), MAX], ids=["sums", "maxima"])
def test_networks_of_weights_without_a_sign(name: str, ahead: tuple[Op, ...]) -> None:
    fmt = scalar(name)
    weight = Dense(fmt.encode(np.array([[0.5, 1.0], [2.0, 1.5]])), fmt)
    equal(graph(Quantize(U4), weight, Affine(-np.ones(1), np.ones(1)), *ahead, blocks() if ahead else Quantize(Int(4))))


@pytest.mark.parametrize("ahead", [(), MAX], ids=["sums", "maxima"])
def test_networks_whose_weights_have_no_opposite_are_refused(ahead: tuple[Op, ...]) -> None:
    weight = Dense(np.array([[8, 8], [1, 2]]), scalar(ASYMMETRIC))
    made = graph(blocks(), weight, Affine(-np.ones(1), np.ones(1)), *ahead, blocks())
    with pytest.raises(UnsupportedError, match=r"node 'n1' .*has not the opposite of its element -8"):
        equal(made)
