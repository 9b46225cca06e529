"""Matrix units that add blocks in FP32, and fixed point made of FP32, against the layers' definitions."""

from dataclasses import replace

import numpy as np
import pytest

from hwgen import ops
from hwgen.formats import Int
from hwgen.gateware.fix import Fix
from hwgen.gateware.matvec import MatVec
from hwgen.ir import Fold, TensorType
from hwgen.ops.block_sums import FP32
from tests.gateware.bench import check
from tests.passes.test_fp32 import inputs, matvec

STALLS = ((1.0, 1.0), (0.6, 0.5))


CASES = [
    ("mxfp4", "mxfp4", Fold(1, 2)),
    ("mxint8", "int4", Fold(2, 8)),
    ("mxfp8e4m3", "mxfp6e3m2", Fold(2, 1)),
    ("mxfp8e4m3", "mxfp8e4m3", Fold(1, 4)),
    ("nvfp4", "nvint4", Fold(1, 2)),
]


@pytest.mark.parametrize(("name", "weight", "fold"), CASES)
def test_matrix_units_add_blocks_in_fp32(name, weight, fold):
    whole = matvec(name, weight, 3.0)
    op = replace(whole, weight=whole.weight[:2], bias=0)
    kind = TensorType((40,), op.input_format)
    codes = kind.encode(inputs(3))
    codes[2] = kind.encode(np.zeros((1, 40)))
    check(MatVec(op, kind, fold), op.run(codes), codes, stalls=STALLS)


def test_one_block_at_once_and_images():
    whole = matvec("mxfp4", "mxfp4")
    op = replace(whole, weight=whole.weight[:2, :8], bias=0)
    kind = TensorType((2, 3, 8), op.input_format)
    codes = kind.encode(inputs(4).reshape(-1, 8)[:18].reshape(3, 2, 3, 8))
    check(MatVec(op, kind, Fold(1, 8)), op.run(codes).reshape(3, -1), codes.reshape(3, -1), stalls=STALLS)


@pytest.mark.parametrize(("lsb", "width", "lanes"), [(-10, 38, 4), (0, 3, 1), (4, 24, 2), (-140, 62, 1), (100, 30, 1)])
def test_fixed_point_is_rounded_to_odd(lsb, width, lanes, rng):
    op, x = ops.Fix(lsb, Int(width, narrow=True)), TensorType((8,), FP32)
    top = min(max(lsb + width + 2, 1 - 127), 120)
    real = (rng.normal(size=(12, 8)) * 2.0 ** rng.integers(max(lsb - 4, -148), top, (12, 8))).astype(np.float32)
    real[0] = 0.0, -0.0, 2.0**-149, -(2.0**-149), 2.0**-126, 3e38, -3e38, 1.0
    real[1] = np.ldexp(np.array([1, -1, 2, 3, -2, 0.5, 1.5, -2.5]), lsb)
    real[2] = np.ldexp(np.array([1, -1, 0.99, -0.99, 1.01, 0.5, 1, 1]), min(lsb + width - 1, 120))
    codes = real.view(np.uint32).astype(np.int64)
    check(Fix(op, x, lanes), op.run(codes), codes, stalls=STALLS)
