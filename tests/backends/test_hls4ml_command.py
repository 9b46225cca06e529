"""The hls4ml backend from the command line: projects, failures, reports of Vitis HLS."""

from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path

import pytest

from hwgen import ops
from hwgen.backends import hls4ml
from hwgen.formats import Int
from hwgen.ir import Graph, TensorType
from hwgen.report import Report
from hwgen.tools.files import write_atomic
from tests.backends.test_hls4ml import REPORT, program
from tests.conftest import chain, random_mlp


@pytest.fixture
def network() -> Graph:
    return random_mlp((8, 6, 4))


def test_the_command_line_writes_projects(hwgen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    code, out, err = hwgen("compile", "graph.json", "--backend", "hls4ml", "-o", "prj", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert (facts["project"], facts["part"], facts["mhz"]) == ("hwgen_mlp0", "xczu3eg-sbva484-1-e", 200)
    assert "firmware/hwgen_mlp0.cpp" in facts["files"]
    assert all((tmp_path / "prj" / name).is_file() for name in facts["files"])
    code, out, err = hwgen("compile", "graph.json", "--backend", "hls4ml", "-o", "prj")
    assert "Vitis HLS project hwgen_mlp0 for xczu3eg-sbva484-1-e at 200 MHz" in out
    monkeypatch.setattr(hls4ml, "VITIS", ("none of these", "is installed"))
    for words, code, message in (
        (("compile", "--backend", "hls"), 1, "unknown backend 'hls': one of native, hls4ml"),
        (("compile", "--backend", "hls4ml", "--board", "ulx3s"), 1, "makes projects for AMD parts, not for LFE5U"),
        (("build", "--backend", "native"), 1, "the native backend's are run by hwgen bitstream"),
        (("build",), 5, "neither vitis-run nor vitis_hls is installed"),
    ):
        got, _, err = hwgen(words[0], "graph.json", "-o", "prj2", *words[1:])
        assert got == code
        assert message in err
    assert (tmp_path / "prj2" / "build_prj.tcl").is_file()


def test_every_failure_has_its_message_and_exit_code(hwgen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    add = chain("adds", TensorType((4,), Int(4)), ("k", ops.TopK(2)))
    write_atomic(tmp_path / "topk.json", json.dumps(add.to_json()))
    verify, build = ("verify", "--backend", "hls4ml"), ("build", "-o", "prj")
    compile_ = ("compile", "--backend", "hls4ml", "-o", "prj")
    tools = tmp_path / "tools"
    tools.mkdir()
    program(tools, "g++", 'echo "ap_int.h: no such file"; exit 1')
    program(tools, "vitis_hls", 'echo "ERROR: [HLS 200-70] out of memory"; exit 1')
    nothing, broken = str(tmp_path), f"{tools}{os.pathsep}/usr/bin{os.pathsep}/bin"
    for words, model, path, code, message in (
        (verify, "graph.json", nothing, 5, "g++ is not installed, which compiles the C simulation; the project stands"),
        (verify, "graph.json", broken, 6, "ap_int.h: no such file"),
        (
            build,
            "graph.json",
            nothing,
            5,
            "neither vitis-run nor vitis_hls is installed or on the PATH: the project in",
        ),
        (build, "graph.json", broken, 6, "vitis.log) ERROR: [HLS 200-70] out of memory"),
        (compile_, "topk.json", broken, 3, "node 'k' (TopK): the hls4ml backend has no template for this operation"),
    ):
        monkeypatch.setenv("PATH", path)
        got, _, err = hwgen(words[0], model, *words[1:])
        assert got == code, err
        assert message in err
    assert (tmp_path / "prj" / "build_prj.tcl").is_file()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.4.0")
    got, _, err = hwgen(compile_[0], "graph.json", *compile_[1:])
    assert (got, "the hls4ml backend needs hls4ml 1.3.0, and 1.4.0 is installed" in err) == (1, True)


def test_what_vitis_reports_becomes_a_report(hwgen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "prj/hwgen_mlp0_prj/solution1/syn/report"
    reports = {
        "csynth": (140, 1234),
        # The first node has two functions, the second was inlined.
        "dense_latency_ap_uint_ap_int_config2_s_csynth": (9, 500),
        "dense_ap_uint_ap_int_12_config2_s_csynth": (10, 520),
        "dense_ap_uint_ap_int_9_config4_s_csynth": (8, "~0"),
    }
    (tmp_path / "made").mkdir()
    for name, (latency, lut) in reports.items():
        (tmp_path / "made" / f"{name}.xml").write_text(REPORT.format(latency=latency, lut=lut))
    program(tmp_path, "vitis-run", f"mkdir -p {folder} && cp {tmp_path}/made/*.xml {folder}/")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    code, out, err = hwgen("build", "graph.json", "-o", "prj")
    assert code == 0, err
    assert "1,234" in out
    found = Report.read(tmp_path / "prj")
    assert found.tools["Vitis HLS"] == "2024.1"
    assert (found.timing.target, found.timing.latency.value, found.timing.interval.value) == (200, 140, 64)
    assert found.timing.fmax.value == pytest.approx(1000 / 3.5)
    assert found.timing.fmax.source == "estimate"
    assert {row.name: (row.used.value, row.available) for row in found.resources} == {
        "LUT": (1234, 70560),
        "FF": (900, 141120),
        "BRAM": (1.5, 216),
        "DSP": (0, 360),
    }
    assert [layer.lut.value for layer in found.layers] == [520, None, None]
    assert [layer.bram.value for layer in found.layers] == [1.5, None, 1.5]
    code, out, _ = hwgen("build", "graph.json", "-o", "prj", "--json")
    assert json.loads(out)["network"] == "mlp0"
