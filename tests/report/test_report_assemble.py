"""Gathering a report from what verification and the build flow left, and judging how right a network is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hwgen import gateware, golden
from hwgen.errors import HwgenError
from hwgen.flow.boards import load_board
from hwgen.formats import Int
from hwgen.ir import Fold, Graph, TensorType, Value
from hwgen.ops import Affine, ArgMax, MatVec, Softmax
from hwgen.report import assemble, evaluate, write
from tests.conftest import chain, random_mlp

FOLDING = {"fc0": Fold(2, 4), "fc1": Fold(1, 4), "fc2": Fold(2, 3)}


@pytest.fixture(scope="module")
def made() -> tuple[Graph, gateware.Design]:
    graph = random_mlp((12, 8, 6, 4))
    return graph, gateware.build(graph, FOLDING)


def gathered(made, folder):
    graph, design = made
    return assemble.assemble(graph, load_board("ulx3s"), FOLDING, design, folder)


def test_nothing_but_the_design_is_known(made, tmp_path):
    report = gathered(made, tmp_path)
    assert report.bit_exactness is None
    assert report.confusion is None
    assert not report.timing.fmax.known
    assert (report.timing.latency.value, report.timing.latency.source) == (made[1].latency, "estimate")
    assert (report.timing.interval.value, report.timing.interval.source) == (made[1].interval, "estimate")
    assert {row.used.source for row in report.resources} == {"estimate"}
    assert all(not layer.lut.known for layer in report.layers)
    fc0 = report.layers[0]
    assert (fc0.name, fc0.pe, fc0.simd, fc0.weight_format, fc0.input_format) == ("fc0", 2, 4, "int4n", "uint4")
    assert fc0.accumulator_bits == made[0].types["fc0_out"].codes_format.bits
    act0 = next(layer for layer in report.layers if layer.name == "act0")
    op, sums = made[0].nodes[1].op, made[0].types["fc0_out"].codes_format
    assert (act0.entries, act0.entry_bits) == (op.thresholds.size, sums.bits)
    assert act0.kind_text == f"thresholds ({op.thresholds.size:,} x {sums.bits} bits)"
    assert max(layer.end.value or 0 for layer in report.layers) == made[1].latency
    write(report, tmp_path)


def test_verification_and_build_are_taken_up(made, tmp_path):
    runs = [
        {"frames": 9, "stall_in": 0.0, "stall_out": 0.0, "seed": 1},
        {"frames": 4, "stall_in": 0.5, "stall_out": 0.0, "seed": 7},
    ]
    proof = {"frames": 9, "beats": {"fc0": 36}, "runs": runs, "latency": 70, "interval": 12}
    row = {"name": "golden", "correct": 8, "total": 9, "source": "data.npz"}
    checked = {"verify": proof, "accuracy": [row], "confusion": None, "differences": [], "board": {"frames": 3}}
    (tmp_path / "verify.json").write_text(json.dumps(checked))
    used = {"value": 321, "source": "route", "unit": "LUT", "how": "", "available": 83640}
    built = {
        "fmax_seeds": [80.0, 90.0, 85.0],
        "resources": {"lut": used},
        "modules": {"accel.matvec0": {"lut": 100, "ff": 50, "bram": 0, "dsp": None}},
        "note": "a note",
    }
    (tmp_path / "flow.json").write_text(json.dumps(built))
    report = gathered(made, tmp_path)
    assert report.accuracy[0].correct == 8
    assert report.bit_exactness is not None
    assert report.bit_exactness.frames == 9
    assert [run.frames for run in report.bit_exactness.runs] == [9, 4]
    assert "3 frames also through the simulated whole board" in report.bit_exactness.simulator
    assert (report.bit_exactness.runs[0].latency, report.bit_exactness.runs[1].seed) == (70, 7)
    assert (report.timing.latency.value, report.timing.latency.source) == (70, "simulation")
    assert (report.timing.fmax.value, report.timing.fmax.source) == (85.0, "route")
    assert report.timing.frames_per_second.value == pytest.approx(85e6 / 12)
    lut = report.resources[0]
    assert (lut.name, lut.used.value, lut.used.source, lut.available) == ("LUT", 321, "route", 83640)
    assert (report.layers[0].lut.value, report.layers[0].dsp.value) == (100, None)
    assert report.warnings == ("a note",)
    write(report, tmp_path)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_result_is_named(made, tmp_path, text):
    (tmp_path / "flow.json").write_text(text)
    with pytest.raises(HwgenError, match=r"cannot read .*flow\.json|flow\.json holds a list, not an object"):
        gathered(made, tmp_path)


def classifier(*ops: tuple[str, object]) -> Graph:
    kind = TensorType((3,), Int(4, is_signed=False))
    return chain("c", kind, ("fc", MatVec(np.eye(3, dtype=int), Int(4))), *ops)


@pytest.mark.parametrize("graph", [classifier(), classifier(("argmax", ArgMax()))], ids=["sums", "argmax"])
def test_accuracy_and_confusion(graph):
    codes = np.array([[9, 1, 2], [1, 9, 2], [1, 2, 9], [9, 1, 2]])
    labels = np.array([0, 1, 2, 1])
    logits = np.array([[1.0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]])
    found = evaluate.evaluate(graph, codes, golden.run(graph, codes), labels, logits, "data")
    counts = {row["name"]: (row["correct"], row["total"]) for row in found["accuracy"]}
    assert counts == {"float (Brevitas forward)": (3, 4), "golden": (3, 4), "simulated RTL": (3, 4)}
    assert found["confusion"]["counts"] == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_nothing_is_right_or_wrong_without_labels():
    graph = classifier()
    codes = np.zeros((2, 3), dtype=int)
    assert evaluate.evaluate(graph, codes, golden.run(graph, codes), None, None, "data") == {
        "accuracy": [],
        "confusion": None,
    }


def test_host_text_names_what_stays_there():
    graph = classifier()
    graph = Graph(
        graph.name,
        (Value("x", graph.input_type),),
        graph.nodes,
        graph.outputs,
        pre=(Affine(np.ones(1), np.zeros(1)),),
        post=(Softmax(),),
    )
    assert evaluate.host_text(graph) == {"pre": ("Affine",), "post": ("Softmax",)}


def test_another_number_of_quantizers_is_refused():
    graph = classifier()
    with pytest.raises(HwgenError, match="the float run has 1 activation quantizers, the network has 0"):
        evaluate.differences(graph, graph, np.zeros((1, 3)), [np.zeros((1, 3))], np.zeros((1, 3)))
