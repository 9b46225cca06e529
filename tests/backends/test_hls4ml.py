"""The hls4ml backend: projects, their C simulation against the golden model, and what is refused."""

from __future__ import annotations

import importlib.metadata
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hwgen import golden, ops
from hwgen.backends import hls4ml, hls4ml_layers, hls4ml_units
from hwgen.backends.hls4ml_cpp import cpp, identifiers, plain
from hwgen.errors import HwgenError, MismatchError, ToolFailedError, ToolMissingError, UnsupportedError
from hwgen.formats import Int, scalar
from hwgen.formats.grid import ladder
from hwgen.ir import Fold, Graph, Node, Op, TensorType, Value
from hwgen.ops import MatVec, Thresholds
from tests.backends.test_templates import blocked, in_blocks
from tests.conftest import chain, random_mlp
from tests.gateware.networks import cnn
from tests.ops.test_minifloats import numbers


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hls4ml.write(random_mlp((12, 8, 6, 4)), tmp_path_factory.mktemp("hls") / "prj", mhz=250.0)


def test_a_project_states_every_type(project: Path) -> None:
    graph = hls4ml.read_graph(project)
    assert graph.hash == random_mlp((12, 8, 6, 4)).hash
    defines = (project / "firmware" / "defines.h").read_text()
    named = {alias: kind for kind, alias in re.findall(r"typedef (\S+) (\w+);", defines)}
    assert not any("fixed" in kind for kind in named.values())
    assert named["input_t"] == "ap_uint<4>"
    for node, index in (("fc0", 2), ("fc1", 4)):
        accumulator = cpp(plain(graph.types[f"{node}_out"].codes_format))
        assert named[f"{node}_accum_t"] == named[f"layer{index}_t"] == accumulator
        assert named[f"{node}_weight_t"] == "ap_int<4>"
    assert named["result_t"] == f"ap_int<{graph.output_type.codes_format.bits}>"
    assert "set clock_period 4.0" in (project / "project.tcl").read_text()
    assert str(project) in (project / "hls4ml_config.yml").read_text()
    assert ".tmp-" not in (project / "hls4ml_config.yml").read_text()


def test_folding_becomes_reuse(tmp_path: Path) -> None:
    made = hls4ml_layers.layers(random_mlp((12, 8, 6, 4)), {"fc0": Fold(2, 4), "fc1": Fold(6, 8)})
    assert [layer.reuse for layer in made if layer.function == "dense"] == [3 * 4, 1, 4]


def test_two_bit_weights_of_minus_two_are_not_taken_for_ternary() -> None:
    kind = TensorType((3,), Int(4))
    op = MatVec(np.array([[-2, 1, 0]]), Int(2))
    (layer,) = hls4ml_layers.layers(chain("w", kind, ("fc", op)))
    assert layer.tables[0].format.width == 3
    (layer,) = hls4ml_layers.layers(chain("w", kind, ("fc", replace(op, weight=np.array([[-1, 1, 0]])))))
    assert layer.tables[0].format.width == 2


def test_even_thresholds_become_multiply_and_shift() -> None:
    even = np.arange(1, 32)[None] * 7 + np.array([[0], [3]])
    x = TensorType((2,), Int(10))
    (layer,) = hls4ml_layers.layers(chain("t", x, ("t", Thresholds(even, 0, Int(5, is_signed=False)))))
    assert layer.function == "requantize"
    assert layer.constants["mode"] == "hwgen::down"
    uneven = np.sort(np.random.default_rng(0).integers(-400, 400, (2, 31)), axis=1)
    (layer,) = hls4ml_layers.layers(chain("t", x, ("t", Thresholds(uneven, 0, Int(5, is_signed=False)))))
    assert layer.function == "thresholds"


def test_reshapes_are_told_to_dense_layers_and_become_no_code(tmp_path: Path) -> None:
    kind = TensorType((2, 2, 3), Int(4))
    fc = MatVec(np.ones((5, 12), dtype=np.int64), Int(4))
    folder = hls4ml.write(chain("r", kind, ("flat", ops.Reshape((12,))), ("fc", fc)), tmp_path / "prj")
    source = (folder / "firmware" / "hwgen_r.cpp").read_text()
    assert re.findall(r"(\w+::\w+)<.*>\(", source)[-1:] == ["nnet::dense"]
    assert "static const unsigned n_in = 12;" in (folder / "firmware" / "parameters.h").read_text()


def test_names_become_identifiers() -> None:
    assert identifiers(["/x.1", "x_1", "x/1", "input", "7", ""]) == [
        "x_1",
        "x_1_2",
        "x_1_3",
        "n_input",
        "n_7",
        "n_",
    ]
    assert hls4ml.project_name(replace(random_mlp((4, 2)), name="a b/c")) == "hwgen_a_b_c"


@dataclass(frozen=True, eq=False)
class Strange(Op):
    frozen = True

    def infer(self, *inputs: TensorType) -> TensorType:
        return inputs[0]

    def run(self, *values: np.ndarray) -> np.ndarray:
        return values[0]


def refused(*ops_: tuple[str, Op], kind: TensorType | None = None) -> Graph:
    return chain("bad", kind or TensorType((4,), Int(4)), *ops_)


def test_what_has_no_template_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"node 'odd' \(Strange\): the hls4ml backend has no template"):
        hls4ml_layers.layers(refused(("odd", Strange())))
    real = Graph("real", (Value("x", TensorType((4,))),), (Node("r", ops.Relu(), ("x",), "y"),), ("y",))
    with pytest.raises(HwgenError, match="graph 'real' is not frozen"):
        hls4ml_layers.layers(real)
    two = Graph(
        "two",
        (Value("x", TensorType((4,), Int(4))),),
        (Node("a", ops.ArgMax(), ("x",), "y"), Node("b", ops.ArgMax(), ("x",), "z")),
        ("y", "z"),
    )
    with pytest.raises(HwgenError, match="graph 'two' has 2 outputs, not one"):
        hls4ml_layers.layers(two)
    kind, fmt = TensorType((4,), Int(4)), Int(4)
    three = Graph("three", (Value("x", kind),), (Node("s", ops.Add((1,) * 3, (fmt,) * 3), ("x",) * 3, "y"),), ("y",))
    with pytest.raises(UnsupportedError, match=r"node 's' \(Add\): .* no template for this operation of 3 inputs"):
        hls4ml_layers.layers(three)
    unsigned = scalar("ue5m3")
    op = MatVec(np.array([[1, 2]]), unsigned, input_format=unsigned, multiplier="mitchell")
    with pytest.raises(UnsupportedError, match=r"node 'fc'.*L-Mul templates take formats with a sign; ue5m3 has none"):
        hls4ml_layers.layers(refused(("fc", op), kind=TensorType((2,), unsigned)))
    to = blocked("mxfp4")
    with pytest.raises(UnsupportedError, match=r"node 'q'.*blocks are made of signed integers, not of uint4"):
        hls4ml_layers.layers(refused(("q", ops.BlockQuantize(to, 0)), kind=TensorType((8,), Int(4, is_signed=False))))
    odd = ops.BlockQuantize(blocked("block<e2m1b1_nosub,e8m0,8>"), 0)
    with pytest.raises(UnsupportedError, match=r"node 'q'.*have a sign and subnormals; e2m1_nosub has not"):
        hls4ml_layers.layers(refused(("q", odd), kind=TensorType((8,), Int(4))))
    with pytest.raises(HwgenError, match="the hls4ml backend has no template for odd"):
        hls4ml_units.trait(SimpleNamespace(name="odd"))  # type: ignore[arg-type]
    greatest = ops.ArgMax()
    with pytest.raises(UnsupportedError, match=r"node 'g'.*finds the greatest of integers, not of e2m1"):
        hls4ml_layers.layers(refused(("g", greatest), kind=TensorType((8,), scalar("e2m1"))))
    window = ops.Window((2, 2), padding=(1, 0, 0, 0))
    with pytest.raises(UnsupportedError, match=r"node 'w'.*padding of codes needs the code that it is made of"):
        hls4ml_layers.layers(refused(("w", window), kind=TensorType((4, 4, 1), Int(4))))
    with pytest.raises(HwgenError, match="graph 'none' has no layers to make a project of"):
        hls4ml.write(Graph("none", (Value("x", TensorType((4,), Int(4))),), (), ("x",)), "none")


def test_folds_stay_within_the_blocks_of_weights() -> None:
    fmt = blocked("mxfp4", size=4)
    rng = np.random.default_rng(0)
    kind = TensorType((8,), Int(4))
    graph = chain("b", kind, ("fc", MatVec(in_blocks(fmt, (2, 8), rng), fmt)))
    with pytest.raises(UnsupportedError, match=r"node 'fc'.*SIMD must divide the blocks: SIMD=8, blocks of 4"):
        hls4ml_layers.layers(graph, {"fc": Fold(1, 8)})


def test_versions_of_hls4ml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.2.0")
    with pytest.raises(HwgenError, match=r"the hls4ml backend needs hls4ml 1\.3\.0, and 1\.2\.0 is installed"):
        hls4ml.write(random_mlp((4, 2)), tmp_path / "prj")

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ToolMissingError, match=r"hls4ml is not installed: pip install hls4ml==1\.3\.0"):
        hls4ml.write(random_mlp((4, 2)), tmp_path / "prj")
    assert not (tmp_path / "prj").exists()


REPORT = """<?xml version="1.0" encoding="UTF-8"?>
<profile>
<section name="Vitis HLS Report for 'hwgen_mlp0'" level="0"/>
<ReportVersion><Version>2024.1</Version></ReportVersion>
<UserAssignments>
  <unit>ns</unit>
  <ProductFamily>zynquplus</ProductFamily>
  <Part>xczu3eg-sbva484-1-e</Part>
  <TopModelName>hwgen_mlp0</TopModelName>
  <TargetClockPeriod>5.00</TargetClockPeriod>
  <ClockUncertainty>1.35</ClockUncertainty>
  <FlowTarget>vivado</FlowTarget>
</UserAssignments>
<PerformanceEstimates>
  <PipelineType>dataflow</PipelineType>
  <SummaryOfTimingAnalysis><unit>ns</unit><EstimatedClockPeriod>3.500</EstimatedClockPeriod></SummaryOfTimingAnalysis>
  <SummaryOfOverallLatency>
    <unit>clock cycles</unit>
    <Best-caseLatency>{latency}</Best-caseLatency>
    <Average-caseLatency>{latency}</Average-caseLatency>
    <Worst-caseLatency>{latency}</Worst-caseLatency>
    <Best-caseRealTimeLatency>0.700 us</Best-caseRealTimeLatency>
    <DataflowPipelineThroughput>64</DataflowPipelineThroughput>
    <Interval-min>64</Interval-min>
    <Interval-max>64</Interval-max>
  </SummaryOfOverallLatency>
</PerformanceEstimates>
<AreaEstimates>
  <Resources><BRAM_18K>3</BRAM_18K><DSP>0</DSP><FF>900</FF><LUT>{lut}</LUT><URAM>0</URAM></Resources>
  <AvailableResources>
    <BRAM_18K>432</BRAM_18K><DSP>360</DSP><FF>141120</FF><LUT>70560</LUT><URAM>0</URAM>
  </AvailableResources>
</AreaEstimates>
</profile>
"""


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_missing_and_failing_tools(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HwgenError, match="is no HLS project that hwgen wrote"):
        hls4ml.build(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    with pytest.raises(ToolMissingError, match=r"g\+\+ is not installed.*the project stands in"):
        hls4ml.compile_simulation(project)
    with pytest.raises(ToolMissingError, match=r"neither vitis-run nor vitis_hls is installed.*project in .* is whole"):
        hls4ml.build(project)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    program(tmp_path, "vitis_hls", 'echo "script $*"')
    with pytest.raises(HwgenError, match=r"Vitis HLS left no report that can be read: .*csynth\.xml"):
        hls4ml.build(project)
    assert (project / "vitis.log").read_text() == "script build_prj.tcl\n"
    report = project / "hwgen_mlp0_prj/solution1/syn/report/csynth.xml"
    (tmp_path / "csynth.xml").write_text(REPORT.format(latency="undef", lut=1234))
    program(tmp_path, "vitis_hls", f"mkdir -p {report.parent} && cp {tmp_path}/csynth.xml {report}")
    figures = hls4ml.build(project)
    assert figures["interval"].text() == "64 cycles"
    assert (figures["lut"].value, figures["clock"].value, figures["latency"].value) == (1234, 3.5, None)
    assert {figure.source for figure in figures.values()} == {"estimate"}
    program(tmp_path, "vitis-run", 'echo "no licence"; exit 3')
    with pytest.raises(ToolFailedError, match=r"vitis-run failed with exit code 3 \(log: .*vitis.log\)\n  no licence"):
        hls4ml.build(project)
    program(tmp_path, "g++", 'echo "out of memory"; exit 1')
    with pytest.raises(ToolFailedError, match=r"csim\.log\)"):
        hls4ml.compile_simulation(project)
    program(tmp_path, "g++", "exit 0")
    with pytest.raises(ToolFailedError, match=r"build_lib\.sh left no library in"):
        hls4ml.compile_simulation(project)


def test_a_difference_is_reported_with_its_place(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = hls4ml.read_graph(project)
    x = np.random.default_rng(0).integers(0, 16, (9, 12))
    wrong = golden.run(graph, x)
    value = int(wrong[5, 2])
    wrong[5, 2] += 1
    monkeypatch.setattr(hls4ml, "_simulate", lambda *_: (wrong, {}))
    message = rf"frame 5, code \[2\]: it gives {value + 1}, the golden model {value} \(1 of 9 frames differ\)"
    with pytest.raises(MismatchError, match=message):
        hls4ml.verify(project, x)
    middle = golden.trace(graph, x)["act0_out"]
    middle[3, 1] ^= 1
    monkeypatch.setattr(hls4ml, "_simulate", lambda *_: (wrong, {"act0_out": middle}))
    with pytest.raises(MismatchError, match=r"node 'act0', frame 3, code \[1\]: it gives"):
        hls4ml.verify(project, x)


def test_codes_that_float64_does_not_hold_are_not_simulated(tmp_path: Path) -> None:
    op = MatVec(np.array([[1 << 50, -1]]), Int(52))
    folder = hls4ml.write(chain("wide", TensorType((2,), Int(6)), ("fc", op)), tmp_path / "prj")
    with pytest.raises(HwgenError, match="codes of 57 bits, and a C simulation carries 53"):
        hls4ml.simulate(folder, [[1, 2]])


def images(rng: np.random.Generator) -> tuple[Graph, np.ndarray]:
    padded = ops.Window((3, 3), padding=(1, 1, 1, 1), pad=0)
    layers = [(4, padded), ops.Window((2, 2), (2, 2)), (3, ops.Window((2, 3)))]
    return cnn(TensorType((5, 6, 2), Int(4)), layers, rng), rng.integers(-8, 8, (50, 5, 6, 2))


def branches(rng: np.random.Generator) -> tuple[Graph, np.ndarray]:
    """A residual block, of a difference, and its input, of another scale, beside it."""
    kind, act = TensorType((4, 4, 3), Int(4)), Int(4)
    window = ops.Window((3, 3), padding=(1, 1, 1, 1), pad=0)
    conv = MatVec(rng.integers(-3, 4, (3, 27)), Int(3))
    table = np.sort(rng.integers(-60, 60, (3, 15)), axis=1)
    nodes = [
        Node("w", window, ("x",), "windows"),
        Node("c", conv, ("windows",), "sums"),
        Node("t", Thresholds(table, -8, act, (3.0,)), ("sums",), "acts"),
        Node("add", ops.Add((-3, 1), (act, act), (-1.0, 1.0)), ("acts", "x"), "both"),
        Node("steps", Thresholds(np.sort(rng.integers(-20, 20, (3, 15)), axis=1), -8, act, (2.0,)), ("both",), "small"),
        Node("beside", ops.Concat(Int(5), (2, 1), (0, 0)), ("small", "x"), "y"),
    ]
    return Graph("residual", (Value("x", kind),), tuple(nodes), ("y",)), rng.integers(-8, 8, (50, 4, 4, 3))


def floats_and_blocks(rng: np.random.Generator) -> tuple[Graph, np.ndarray]:
    """L-Mul on e4m3, thresholds to e2m1, exact products, blocks, products of blocks, the greatest."""
    e4m3, e2m1, block = scalar("e4m3"), scalar("e2m1"), blocked("mxfp4", -2, 9)
    first = MatVec(numbers(e4m3, (6, 8)), e4m3, np.arange(6), input_format=e4m3, multiplier="lmul")
    kind = TensorType((8,), e4m3)
    end = first.infer(kind).codes_format.code_range[1] // 16
    rungs = ladder(e2m1)
    table = np.sort(rng.integers(-end, end, (6, len(rungs) - 1)), axis=1)
    steps = Thresholds(table, int(rungs[0]), e2m1)
    second = MatVec(numbers(e2m1, (16, 6)), e2m1, input_format=e2m1)
    last = MatVec(in_blocks(block, (5, 16), rng), block, input_format=block)
    chained = chain(
        "f", kind, ("a", first), ("t", steps), ("b", second), ("q", ops.BlockQuantize(block, -2)), ("c", last)
    )
    return chained, numbers(e4m3, (50, 8), 5)


def test_images_travel_as_streams_of_pixels_and_vectors_at_once(project: Path, tmp_path: Path) -> None:
    graph, _ = images(np.random.default_rng(3))
    source = (hls4ml.write(graph, tmp_path / "prj") / "firmware" / f"{hls4ml.project_name(graph)}.cpp").read_text()
    assert "hwgen::streamed<config2_on_arrays, input_t, layer2_t, config2>" in source
    assert "hls::stream<layer3_t> layer3_out" in source
    assert "ARRAY_PARTITION" not in source
    assert "hls::stream" not in (project / "firmware" / "hwgen_mlp0.cpp").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("make", [images, floats_and_blocks, branches])
def test_projects_give_the_golden_codes(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    graph, x = make(np.random.default_rng(3))
    folder = hls4ml.write(graph, tmp_path / "prj", trace=True)
    library = hls4ml.compile_simulation(folder)
    assert len(np.unique(hls4ml.verify(folder, x, library), axis=0)) > 10
    kept = hls4ml._simulate(folder, x, library)[1]
    assert list(kept) == [node.output for node in graph.nodes]
