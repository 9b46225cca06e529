"""Sliding windows and pooling against plain loops, on codes and on real numbers."""

from collections.abc import Callable

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.formats import Bipolar, Format, Int, scalar
from hwgen.ir import TensorType
from hwgen.ops import Pool, Transpose, Window

GEOMETRIES = [
    Window((3, 3)),
    Window((1, 1)),
    Window((2, 3), stride=(2, 1)),
    Window((3, 3), padding=(1, 1, 1, 1), pad=5),
    Window((3, 2), stride=(3, 2), padding=(0, 1, 2, 0), dilation=(2, 1), pad=0),
    Window((1, 5), dilation=(1, 2), padding=(0, 3, 0, 3), pad=-7),
]


def slow(op: Window, x: np.ndarray, pad: float) -> np.ndarray:
    """The definition, number by number."""
    top, left, _, _ = op.padding
    frames, rows, columns, channels = x.shape
    down, across = op.positions(rows, columns)
    out = np.full((frames, down, across, op.kernel[0], op.kernel[1], channels), pad, dtype=x.dtype)
    for y, c, i, j in np.ndindex(down, across, *op.kernel):
        row = y * op.stride[0] + i * op.dilation[0] - top
        column = c * op.stride[1] + j * op.dilation[1] - left
        if 0 <= row < rows and 0 <= column < columns:
            out[:, y, c, i, j] = x[:, row, column]
    return out.reshape(frames, down, across, -1)


@pytest.mark.parametrize("op", GEOMETRIES, ids=str)
def test_windows_are_those_of_the_definition(op: Window) -> None:
    x = np.random.default_rng(0).integers(-8, 8, (2, 9, 7, 3))
    kind = TensorType((9, 7, 3), Int(4), (0.5,))
    want = slow(op, x, op.pad or 0)
    np.testing.assert_array_equal(op.run(x), want)
    assert op.infer(kind).shape == want.shape[1:]
    assert op.infer(kind).scale == (0.5,)
    np.testing.assert_array_equal(op.run(x.astype(float)), slow(op, x.astype(float), 0.0))


def test_what_no_number_is_less_than() -> None:
    op = Window((2, 2), padding=(1, 1, 0, 0), fill="low")
    assert op.run(np.ones((1, 2, 2, 1)))[0, 0, 0].tolist() == [-np.inf, -np.inf, -np.inf, 1]


@pytest.mark.parametrize("fmt", [Int(4), Bipolar(), scalar("e3m2"), scalar("e2m1")], ids=lambda fmt: fmt.name)
def test_the_maximum_is_that_of_what_codes_are_worth(fmt: Format) -> None:
    codes = np.random.default_rng(1).choice(fmt.codes(), (3, 4, 4 * 5))
    minifloat = fmt if fmt.name.startswith("e") else None
    op = Pool("max", 4, minifloat)
    got = op.run(codes)
    assert op.infer(TensorType((4, 20), fmt)).shape == (4, 5)
    worth = fmt.decode(codes).reshape(3, 4, 4, 5).max(axis=2)
    np.testing.assert_array_equal(fmt.decode(got), worth)
    np.testing.assert_array_equal(Pool("max", 4).run(fmt.decode(codes)), worth)


def test_sums_are_exact_and_keep_what_a_zero_point_says() -> None:
    kind = TensorType((2, 2, 9 * 3), Int(4, is_signed=False), (0.25,), 3)
    codes = np.random.default_rng(2).integers(0, 16, (5, 2, 2, 27))
    op = Pool("sum", 9)
    out = op.infer(kind)
    assert (out.codes_format.name, out.shape, out.zero_point) == ("uint8", (2, 2, 3), 27)
    np.testing.assert_allclose(out.decode(op.run(codes)), op.run(kind.decode(codes)))


def test_transposes_move_axes() -> None:
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    op = Transpose((1, 2, 0))
    assert op.infer(TensorType((2, 3, 4))).shape == (3, 4, 2)
    np.testing.assert_array_equal(op.run(x)[0, 1, 2], x[0, :, 1, 2])


def test_what_windows_cannot_be_is_refused() -> None:
    image = TensorType((4, 4, 2), Int(4))
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: Window((0, 3)), r"a window's kernel is two numbers of 1 or more, not \(0, 3\)"),
        (lambda: Window((3, 3), padding=(0, -1, 0, 0)), r"a window's padding is \(top, left, bottom, right\)"),
        (lambda: Window((3, 3), fill="one"), "a window is filled with zero or low, not 'one'"),  # type: ignore[arg-type]
        (lambda: Window((5, 3)).infer(image), "a window of 5x3 pixels does not fit an image of 4x4, padding included"),
        (lambda: Window((1, 1)).infer(TensorType((4,))), r"windows slide over images .*, not over \(4,\)"),
        (lambda: Window((1, 1)).infer(TensorType((4, 4, 2), Int(4), (1.0, 2.0))), "windows take one scale"),
        (lambda: Window((3, 3), padding=(1, 1, 1, 1)).run(np.ones((1, 4, 4, 1), int)), "padding of codes needs the"),
        (lambda: Pool("mean", 4), "pooling takes the max or the sum, not 'mean'"),  # type: ignore[arg-type]
        (lambda: Pool("max", 0), "pooling takes 1 pixel or more, not 0"),
        (lambda: Pool("max", 3).infer(image), "windows of 3 pixels do not make 2 numbers"),
        (lambda: Pool("max", 2).infer(TensorType((2,), Int(4), (1.0, 2.0))), "pooling takes one scale"),
        (lambda: Transpose((0, 0)).infer(TensorType((2, 2))), r"\(0, 0\) is no order of the axes of \(2, 2\)"),
        (
            lambda: Transpose((1, 0)).infer(TensorType((2, 2), Int(4), (1.0, 2.0))),
            "a tensor with one scale per channel keeps its channels",
        ),
    ]
    for make, message in cases:
        with pytest.raises(HwgenError, match=message):
            make()
