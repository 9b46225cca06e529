"""Attributes that no operation has, or that contradict each other: named with their node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from hwgen.errors import UnsupportedError
from hwgen.frontends.onnx_attributes import check_attributes
from hwgen.frontends.onnx_file import OnnxNode
from hwgen.frontends.qonnx import load
from tests.oracles.networks import Builder

QONNX = "qonnx.custom_op.general"
REFUSED = (
    ("Conv", "", {"colour": "red"}, r"it has an attribute 'colour', which is not known; known: auto_pad, dilations, "),
    ("MatMul", "ai.onnx", {"axis": 1}, r"it has an attribute 'axis', which is not known; known: none"),
    ("Quant", QONNX, {"zero_point": 1}, r"'zero_point', which is not known; known: signed, narrow, rounding_mode"),
    ("Quant", "onnx.brevitas", {"signed": 2}, r"signed is 0 or 1, not 2"),
    ("FloatQuant", QONNX, {"has_nan": -1}, r"has_nan is 0 or 1, not -1"),
    ("Conv", "", {"kernel_shape": [3, 3], "pads": [1, 1, 1]}, r"same number of axes: kernel_shape=\[3, 3\], pads=\["),
    ("MaxPool", "", {"kernel_shape": [2, 2], "strides": [2]}, r"not for the same number of axes: .*strides=\[2\]"),
    ("AveragePool", "", {"pads": [1]}, r"not for the same number of axes: pads=\[1\]"),
    ("Transpose", "", {"perm": [0, 0, 1]}, r"perm must name every axis once, not \[0, 0, 1\]"),
)
TAKEN = (
    ("Conv", "", {"kernel_shape": [3, 3], "strides": [1, 2], "pads": [1, 1, 1, 1], "dilations": [1, 1]}),
    ("Dropout", "", {"ratio": 0.5}),
    ("Quant", QONNX, {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}),
    ("MaxPoolNHWC", "qonnx.custom_op.channels_last", {"kernel_shape": [2, 2], "strides": [2, 2], "anything": 1}),
    ("Strange", "", {"anything": 1}),
)


@pytest.mark.parametrize(("op", "domain", "attributes", "message"), REFUSED)
def test_attributes_without_a_meaning_are_refused(
    op: str, domain: str, attributes: dict[str, object], message: str
) -> None:
    with pytest.raises(UnsupportedError, match=rf"node 'bad' \({op}\): .*{message}"):
        check_attributes(OnnxNode("bad", op, domain, ("x",), ("y",), attributes))


@pytest.mark.parametrize(("op", "domain", "attributes"), TAKEN)
def test_attributes_that_are_known_are_not(op: str, domain: str, attributes: dict[str, object]) -> None:
    check_attributes(OnnxNode("good", op, domain, ("x",), ("y",), attributes))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"strides": [0, 1]}, r"a window's stride is two numbers of 1 or more, not \(0, 1\)"),
        ({"dilations": [1, -1]}, r"a window's dilation is two numbers of 1 or more, not \(1, -1\)"),
        ({"pads": [-1, 0, 0, 0]}, r"a window's padding is \(top, left, bottom, right\), 0 or more, not \(-1, "),
        ({"kernel_shape": [5, 5]}, r"kernel_shape=\[5, 5\], and its weights are \[3, 3\]"),
        ({"pads": [1, 1]}, r"windows over 2 axes do not fit a tensor of shape \(batch, 2, 8, 8\)"),
        ({"colour": "red"}, r"it has an attribute 'colour'"),
    ],
)
def test_values_that_no_operation_takes_are_refused_with_the_node(
    attributes: dict[str, object], message: str, tmp_path: Path
) -> None:
    b = Builder()
    weights = b.quant(b.const(np.ones((4, 2, 3, 3))), 0.25, 4.0)
    tensor = b.op("Conv", b.quant("x", 0.5, 4.0), weights, name="bad", **attributes)
    onnx.save(b.model(tensor, (1, 2, 8, 8), (1, 4, 6, 6)), tmp_path / "net.onnx")
    with pytest.raises(UnsupportedError, match=rf"node 'bad' \(Conv\): {message}"):
        load(tmp_path / "net.onnx")


@pytest.mark.parametrize("pads", [[2, 0, 0, 0], [0, 0, 0, 3]])
def test_maxima_of_padding_alone_are_refused(pads: list[int], tmp_path: Path) -> None:
    b = Builder()
    tensor = b.op("MaxPool", b.quant("x", 0.5, 4.0), name="bad", kernel_shape=[2, 2], pads=pads)
    onnx.save(b.model(tensor, (1, 2, 8, 8), (1, 2, 9, 9)), tmp_path / "net.onnx")
    message = r"padding \(.*\) \(top, left, bottom, right\) makes windows of 2x2 that hold no pixel of the image"
    with pytest.raises(UnsupportedError, match=rf"node 'bad' \(MaxPool\): {message}"):
        load(tmp_path / "net.onnx")


def test_maxima_of_some_padding_are_taken(tmp_path: Path) -> None:
    b = Builder()
    tensor = b.op("MaxPool", b.quant("x", 0.5, 4.0), kernel_shape=[2, 2], pads=[1, 1, 1, 1], strides=[2, 2])
    onnx.save(b.model(tensor, (1, 2, 8, 8), (1, 2, 5, 5)), tmp_path / "net.onnx")
    assert load(tmp_path / "net.onnx").output_type.shape == (5, 5, 2)
