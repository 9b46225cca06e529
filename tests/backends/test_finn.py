"""The FINN backend without FINN: what is given to it, how its RTL is put together, and the command line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from hwgen import golden, ops
from hwgen.backends import finn, finn_fold, finn_onnx, finn_patch, finn_stitch
from hwgen.errors import HwgenError, ToolFailedError, UnsupportedError
from hwgen.flow.boards import load_board
from hwgen.flow.simulator import OnProgress
from hwgen.formats import Int
from hwgen.ir import Beats, Fold, Folding, Graph, TensorType
from hwgen.ops import MatVec
from hwgen.tools import yosys
from tests.conftest import chain, random_mlp
from tests.gateware.networks import mlp

BOARD = load_board("ultra96")
SIZES = (12, 8, 6, 4)


def folds(graph: Graph, pe: int = 2, simd: int = 2) -> Folding:
    return {node.name: Fold(pe, simd) for node in graph.nodes if isinstance(node.op, MatVec)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    graph = random_mlp(SIZES)
    return finn.write(graph, folds(graph), tmp_path / "prj", BOARD)


def biased(graph: Graph) -> Graph:
    rng = np.random.default_rng(5)
    nodes = [
        replace(node, op=replace(node.op, bias=rng.integers(-30, 30, len(node.op.weight))))
        if isinstance(node.op, MatVec)
        else node
        for node in graph.nodes
    ]
    wide = [
        replace(node, op=replace(node.op, thresholds=np.clip(node.op.thresholds, -60, 60)))
        if isinstance(node.op, ops.Thresholds)
        else node
        for node in nodes
    ]
    return replace(graph, nodes=tuple(wide))


def run_onnx(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What the ONNX file says, by the definitions of its three operations."""
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    value = x.astype(np.float64)
    for node in model.graph.node:
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "MatMul":
            value = value @ constants[node.input[1]]
        elif node.op_type == "MultiThreshold":
            table = constants[node.input[1]]
            value = (value[..., None] >= table).sum(axis=-1) * given["out_scale"] + given["out_bias"]
        elif node.op_type == "Flatten":
            value = value.reshape(len(value), -1)
        elif node.op_type == "MaxPoolNHWC":
            window = ops.Window(tuple(given["kernel_shape"]), tuple(given["strides"]), tuple(given["pads"]), pad=0)
            value = ops.Pool("max", window.taps).run(window.run(value.astype(np.int64)))
        else:
            assert node.op_type == "Im2Col"
            window = ops.Window(tuple(given["kernel_size"]), tuple(given["stride"]), tuple(given["pad_amount"]), pad=0)
            value = window.run(value.astype(np.int64))
    return value.astype(np.int64)


def signed_images() -> Graph:
    """A window with padding, a biased unit, multiply and shift to few signed codes, their maximum, the image flat."""
    rng = np.random.default_rng(2)
    fmt = Int(4)
    steps = {
        "w": ops.Window((3, 3), padding=(1, 1, 1, 1), pad=0),
        "fc": MatVec(rng.integers(-8, 8, (6, 18)), fmt, rng.integers(-50, 50, 6)),
        "r": ops.Requantize(rng.integers(1, 8, 6), [3], [8], "half_even", -5, 6, fmt),
        "wp": ops.Window((2, 2), (2, 2)),
        "p": ops.Pool("max", 4),
        "w1": ops.Window((1, 1)),
        "flat": ops.Reshape((24,)),
        "fd": MatVec(rng.integers(-8, 8, (3, 24)), fmt, rng.integers(-50, 50, 3)),
    }
    return chain("i", TensorType((4, 4, 2), fmt), *steps.items())


def pooled_images() -> Graph:
    """Images that come flat; a maximum of overlapping windows with padding; then the image flat again."""
    rng = np.random.default_rng(4)
    act = Int(4, is_signed=False)
    pool = ops.Window((3, 3), (2, 2), (1, 1, 1, 1), fill="low", pad=0)
    unit = MatVec(rng.integers(-8, 8, (3, 16)), Int(4), rng.integers(-50, 50, 3))
    steps = [ops.Reshape((4, 4, 4)), pool, ops.Pool("max", 9), ops.Reshape((16,)), unit, ops.Reshape((3, 1))]
    return chain("p", TensorType((64,), act), *((f"n{place}", op) for place, op in enumerate(steps)))


def fixed_point() -> Graph:
    formats = {"weight": "fixed<4,1>", "act": "ufixed<4,3>", "x": "fixed<5,2>"}
    return mlp((8, 6, 5, 4), np.random.default_rng(0), argmax=False, **formats)


NETWORKS = [random_mlp(SIZES), biased(random_mlp(SIZES, seed=1)), signed_images(), pooled_images(), fixed_point()]


@pytest.mark.parametrize("graph", NETWORKS)
def test_what_finn_gets_computes_the_golden_codes(graph: Graph) -> None:
    model = finn_onnx.to_onnx(graph)
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model), check_custom_domain=False)
    low, high = graph.input_type.codes_format.code_range
    x = np.random.default_rng(0).integers(low, high + 1, (200, *graph.input_type.shape))
    first = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    got = run_onnx(model, x.reshape(len(x), *first)) + finn_onnx.last_bias(graph)
    assert np.array_equal(got.reshape(len(x), *graph.output_type.shape), golden.run(graph, x))
    kinds = {a.tensor_name: a.quant_parameter_tensor_names[0].value for a in model.graph.quantization_annotation}
    tensors = {name for node in model.graph.node for name in (*node.input, *node.output)}
    assert set(kinds) == tensors
    for constant in model.graph.initializer:
        values = onnx.numpy_helper.to_array(constant)
        kind = kinds[constant.name]
        fmt = Int(int(re.sub(r"\D", "", kind)), is_signed=kind.startswith("INT"))
        assert fmt.min <= values.min() <= values.max() <= fmt.max


def test_a_project_holds_what_finn_builds_from(project: Path) -> None:
    assert finn.read_graph(project).hash == random_mlp(SIZES).hash
    build = json.loads((project / "build.json").read_text())
    assert (build["board"], build["synth_clk_period_ns"], build["standalone_thresholds"]) == ("Ultra96", 5.0, True)
    folding = json.loads((project / "folding.json").read_text())
    assert {name: (one.get("PE"), one.get("SIMD")) for name, one in folding.items() if name != "Defaults"} == {
        "MVAU_rtl_0": (2, 2),
        "Thresholding_rtl_0": (2, None),
        "MVAU_rtl_1": (2, 2),
        "Thresholding_rtl_1": (2, None),
        "MVAU_rtl_2": (2, 2),
    }
    other = finn.configuration(BOARD.model_copy(update={"part": "xcku5p-ffvb676-2-e"}))
    assert "board" not in other
    assert other["fpga_part"] == "xcku5p-ffvb676-2-e"


def test_windows_keep_up_with_the_unit_behind_them() -> None:
    graph = signed_images()
    for pe, simd in ((1, 1), (6, 18), (2, 9)):
        made = finn_fold.folding(graph, {"fc": Fold(pe, simd), "fd": Fold(3, 6)})
        cycles = 16 * (6 // pe) * (18 // simd)
        lanes = made["ConvolutionInputGenerator_rtl_0"]["SIMD"]
        assert lanes == made["FMPadding_rtl_0"]["SIMD"] == (1 if cycles >= 16 * 9 * 2 else 2)


def test_patches_fit_the_version_that_they_are_for() -> None:
    assert all(patch.cause for patch in finn_patch.PATCHES)
    with pytest.raises(HwgenError, match=r"FINN's mvu\.sv is not the one that hwgen patches: it lacks"):
        finn_patch.apply("mvu.sv", "module mvu; endmodule")
    assert finn_patch.apply("skid.sv", "module skid; endmodule") == "module skid; endmodule"


LATE = """module ConvolutionInputGenerator_rtl_1 (
	input  [IN_WIDTH_PADDED-1:0] x,
	output [OUT_WIDTH_PADDED-1:0] y
);
parameter SIMD = 2;
parameter IN_WIDTH_PADDED = 8;
parameter OUT_WIDTH_PADDED = 16;
assign y = {SIMD{x}};
endmodule
"""


def test_the_widths_of_a_sliding_window_are_declared_before_its_ports(tmp_path: Path) -> None:
    (tmp_path / "late.v").write_text(LATE)
    late = yosys.quote(tmp_path / "late.v")
    with pytest.raises(ToolFailedError, match="'IN_WIDTH_PADDED' used before its declaration"):
        yosys.run_script(f"read_slang {late}")
    text = finn_patch.apply("ConvolutionInputGenerator_rtl_1_wrapper.v", LATE)
    assert text.count("parameter OUT_WIDTH_PADDED = 16") == 1
    (tmp_path / "first.v").write_text(text)
    yosys.run_script(f"read_slang {yosys.quote(tmp_path / 'first.v')}\nselect -assert-count 1 o:y s:16 %i")
    with pytest.raises(HwgenError, match=r"rtl_1_wrapper\.v is not the one that hwgen patches"):
        finn_patch.apply("ConvolutionInputGenerator_rtl_1_wrapper.v", text)


def entry(name: str, kind: str, top: str | None = "top") -> dict[str, object]:
    stream = {"lanes": 2, "bits": 12, "signed": True, "beats": 2}
    return {
        "name": name,
        "kind": kind,
        "top": top,
        "input": stream,
        "output": stream,
        "cycles": 4,
        "weights": 8,
        "taps": 4,
    }


def test_nodes_that_cannot_be_stitched() -> None:
    graph = chain(
        "c", TensorType((4,), Int(4)), ("fc", MatVec(np.eye(4, dtype=np.int64), Int(4), np.array([1, 2, 3, -4])))
    )
    with pytest.raises(UnsupportedError, match=r"no RTL for its node 'MVAU_hls_0' \(MVAU_hls\), only HLS"):
        finn_stitch.parts(graph, [entry("MVAU_hls_0", "MVAU_hls", None)])
    with pytest.raises(HwgenError, match="FINN's graph has no node for node 'fc'"):
        finn_stitch.parts(graph, [entry("StreamingFIFO_rtl_0", "StreamingFIFO_rtl")])
    unit, bias = finn_stitch.parts(graph, [entry("MVAU_rtl_0", "MVAU_rtl")])
    assert unit.node == bias.node == "fc"
    assert bias.output == Beats(2, 12, True, 2)
    assert bias.table == ("2001", "ffc003")


@pytest.mark.parametrize(("version", "models"), [(2, True), (1, False)])
def test_slices_of_ultrascale_are_simulated_with_models(version: int, models: bool, tmp_path: Path) -> None:
    graph = chain("c", TensorType((4,), Int(4)), ("fc", MatVec(np.eye(4, dtype=np.int64) * -3, Int(4))))
    (tmp_path / "rtl" / "mem").mkdir(parents=True)
    (tmp_path / "rtl" / "mem" / "MVAU_rtl_0.dat").write_text("0f\n")
    (tmp_path / "rtl" / "MVAU_rtl_0_wrapper.v").write_text(
        f'parameter VERSION = {version},\nfile = "mem/MVAU_rtl_0.dat"'
    )
    (tmp_path / "rtl" / "mvu_pkg.sv").write_text("package mvu_pkg;")
    (tmp_path / "rtl" / "accel.sv").write_text("module accel;")
    (tmp_path / "nodes.json").write_text(json.dumps([entry("MVAU_rtl_0", "MVAU_rtl")]))
    made = finn_stitch.design(graph, tmp_path)
    assert ("module DSP48E2" in made.verilog) == models
    assert made.verilog.startswith("package mvu_pkg;") == models
    assert made.verilog.startswith(f"`define {finn_patch.BEHAVIORAL}\n") != models
    assert f'"{tmp_path}/rtl/mem/MVAU_rtl_0.dat"' in made.verilog
    (tmp_path / "rtl" / "mem" / "MVAU_rtl_0.dat").write_text("1f\n")
    assert finn_stitch.design(graph, tmp_path).verilog != made.verilog


def test_black_boxes_are_yosys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    text = finn_stitch.blackboxes()
    assert "module DSP48E2(" in text
    assert "assign" not in text
    monkeypatch.setattr(finn_stitch, "CELLS", {"DSP99": "cells_xtra.v"})
    with pytest.raises(HwgenError, match=r"cells_xtra\.v has no module DSP99"):
        finn_stitch.blackboxes()


@pytest.fixture
def network() -> Graph:
    return random_mlp(SIZES)


def test_the_command_line_without_finn_and_vivado(hwgen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("HWGEN_FINN_ENV", "none")
    monkeypatch.setattr(finn.shutil, "which", lambda name: None)
    for words, want, message in (
        (("compile", "-o", "prj"), 5, "make it with: make finn-env; the project in prj is written"),
        (("verify",), 5, "make it with: make finn-env"),
        (("build", "-o", "prj2"), 5, "vivado is not installed or not on the PATH: the FINN project in prj2 is written"),
        (("compile", "-o", "prj3", "--board", "ulx3s"), 1, "the FINN backend makes projects for AMD parts; ulx3s has"),
    ):
        code, _, err = hwgen(words[0], "graph.json", "--backend", "finn", *words[1:])
        assert (code, message in err) == (want, True), err
    assert (tmp_path / "prj" / "model.onnx").is_file()
    assert (tmp_path / "prj2" / "build.json").is_file()
    monkeypatch.setattr(finn, "build", lambda folder: folder / "finn-build")
    assert (
        "built in prj2/finn-build (log: prj2/finn-build.log)"
        in hwgen("build", "graph.json", "--backend", "finn", "-o", "prj2")[1]
    )
    out = hwgen("build", "graph.json", "--backend", "finn", "-o", "prj2", "--json")[1]
    assert json.loads(out)["folder"] == "prj2/finn-build"


def test_the_command_line_tells_what_finn_made(hwgen, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    def generate(folder: Path, on_line: object) -> None:
        assert callable(on_line)
        on_line("finn: 4/11 convert_to_hw")
        on_line("chatter")
        reports = Path(folder) / "finn" / "report"
        reports.mkdir(parents=True)
        speed = {"critical_path_cycles": 20, "max_cycles": 8}
        (reports / "estimate_network_performance.json").write_text(json.dumps(speed))
        total = {"LUT": 7.0, "DSP": 3.0, "BRAM_18K": 1.0}
        (reports / "estimate_layer_resources.json").write_text(json.dumps({"total": total}))
        (Path(folder) / "nodes.json").write_text(json.dumps([{"name": "Pool_hls_0", "kind": "Pool_hls"}]))

    def verify(folder: Path, x: object, simulators: Path, runs: object, on_progress: OnProgress) -> object:
        on_progress(5, 100)
        return SimpleNamespace(latency=21, interval=8.0)

    monkeypatch.setattr(finn, "generate", generate)
    monkeypatch.setattr(finn, "verify", verify)
    code, out, err = hwgen("compile", "graph.json", "--backend", "finn", "-o", "prj")
    assert code == 0, err
    assert "stitched in prj/rtl/accel.sv" in out
    assert "interval 8 cycles" in out
    assert "FINN: step 4/11 convert_to_hw" in err
    assert "chatter" not in err
    facts = json.loads(hwgen("compile", "graph.json", "--backend", "finn", "-o", "prj", "--json")[1])
    assert (facts["estimates"]["lut"]["value"], facts["stand_ins"], facts["mhz"]) == (7, ["Pool_hls_0"], 200)
    code, out, err = hwgen("verify", "graph.json", "--backend", "finn")
    assert "bit-exact: FINN's RTL in build/" in out
    assert "6 runs; latency 21 cycles" in out
    assert "node Pool_hls_0 is HLS in FINN" in out
    assert "simulating: 600 of 600 frames" in err
