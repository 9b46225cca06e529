import gc
import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hwgen import ip
from hwgen.cli import app
from hwgen.errors import HwgenError
from hwgen.formats import get

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


@pytest.fixture(autouse=True)
def _drop_refused_components():
    # A component that is refused while it is made lives as long as the exception: let it go while its test runs.
    yield
    gc.collect(0)


DOTS = [
    ("mxfp8e4m3", "mxfp4", 32, {"pipeline": 2, "placed": True}),
    ("nvfp4", "nvint4", 16, {"pipeline": 0}),
    ("mxint8", "mxint8", 32, {"multiplier": "dsp"}),
]


def make(folder):
    command = ["make", "-C", str(folder), f"PYTHON={sys.executable}"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""}, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_core_states_interface_latency_and_arithmetic_on_top():
    core = ip.dot_core(get("mxfp8e4m3"), get("mxfp4"), 32, pipeline=3)
    header = core.header()
    assert "Dot product of 32 lanes of mxfp8e4m3 and mxfp4: exact." in header
    assert "Latency: 3 clocks with `enable` high" in header
    assert "a                      256 bits  32 codes of e4m3" in header
    assert all(line.startswith("//") for line in header.splitlines())


def test_a_core_of_one_familys_cells_says_so_and_brings_their_models(tmp_path):
    report = ip.emit(ip.dot_core(get("e2m1"), get("e2m1"), 2, multiplier="dsp"), tmp_path / "ip", families=("ecp5",))
    assert report == {}
    verilog = (tmp_path / "ip" / "dot.v").read_text()
    assert "instantiates cells of xcup; a simulator needs models of them: cells_xcup.sv, dsp_xcup.sv." in verilog
    assert json.loads((tmp_path / "ip" / "ip.json").read_text())["models"] == ["cells_xcup.sv", "dsp_xcup.sv"]
    assert (tmp_path / "ip" / "dsp_xcup.sv").is_file()
    assert ip.models_of("module MULT18X18D (a);\n  DSP48E3 x (\n") == ()
    assert ip.models_of("  MULT18X18D #(\n") == ("dsp_ecp5.sv",)


def test_vectors_hold_zeros_ends_and_specials():
    core = ip.dot_core(get("mxfp8e4m3"), get("mxfp8e4m3"), 32, pipeline=1)
    special = sum(vector["outputs"]["nan"] == "1" for vector in core.vectors)
    assert 10 < special < len(core.vectors) / 2
    assert core.vectors[2]["outputs"]["sum"] == "0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dot", "--a", "mxfp4", "--b", "mxfp4", "--lanes", "16"], "mxfp4 has blocks of 32: a dot product of it has"),
        (["dot", "--a", "mxfp4", "--b", "nvfp4"], "nvfp4 has blocks of 16: a dot product of it has as many lanes"),
        (["dot", "--a", "e9m9", "--b", "e4m3"], "a minifloat has 1 to 8 exponent and 0 to 23 mantissa bits, not E9M9"),
        (["dot", "--a", "dfp16", "--b", "e4m3"], "a dot product of dfp16 is one of its integers: give int16"),
        (["dot", "--a", "e4m3", "--b", "e4m3", "--lanes", "0"], "a dot product has 1 lane or more, not 0"),
        (["dot", "--a", "e4m3", "--b", "e4m3", "--pipeline", "99"], "pipeline has 0 to 9 registers here"),
        (["dot", "--a", "e4m3", "--b", "e4m3", "--multiplier", "log"], "unknown multiplier 'log'"),
        (["dot", "--a", "e4m3", "--b", "e4m3", "--family", "max10"], "no delays are known for the FPGA family 'max10'"),
        (["dot", "--a", "e4m3", "--b", "e4m3", "--multiplier", "dsp", "--placed"], "has its cells placed already"),
        (["dot", "--a", "int8", "--b", "int8", "--placed"], "one must be a minifloat"),
        (["dot", "--a", "bf16", "--b", "bf16"], "at most 128 are summed exactly"),
        (["mac-array", "--a", "dfp16", "--b", "int4"], "an array of dfp16 and int4 is one of integers: give int16"),
        (["mac-array", "--a", "mxfp4", "--b", "mxfp4"], "power-of-two scales need a window"),
        (["lmul", "--format", "int8"], "lmul gateware takes minifloat codes, not those of int8"),
        (["lmul", "--format", "mxfp4"], "mxfp4 is a format of blocks or tensors"),
        (["lmul", "--format", "e4m3", "--variant", "exact"], "no gateware multiplies by 'exact'"),
    ],
)
def test_bad_input_has_one_clear_error(arguments, message, tmp_path):
    result = CliRunner().invoke(app, ["ip", *arguments, "-o", str(tmp_path / "core")])
    assert isinstance(result.exception, HwgenError), result.output
    assert message in str(result.exception)
    assert not (tmp_path / "core").exists()


def test_a_folder_with_other_files_is_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    core = ip.dot_core(get("e2m1"), get("e2m1"), 2, pipeline=0)
    with pytest.raises(HwgenError, match=r"holds other files, which would be lost: .*no ip.json"):
        ip.emit(core, tmp_path, families=())
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_resources_of_unknown_cells_are_unknown_not_zero():
    row = {"lut": None, "ff": 1, "carry": 0, "dsp": 0, "bram": 0.5, "note": ""}
    assert ip.resource_text("dot", {"ecp5": row}).splitlines()[3].split() == ["ecp5", "?", "1", "0", "0", "0.5"]


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b", "lanes", "options"), DOTS)
def test_a_written_dot_product_passes_its_own_bench_and_no_other(a, b, lanes, options, tmp_path):
    report = ip.emit(ip.dot_core(get(a), get(b), lanes, **options), tmp_path / "ip", families=("xcup",))
    assert report["xcup"]["lut"] > 0
    assert "multiplier" not in options or report["xcup"]["dsp"] == 16
    code, text = make(tmp_path / "ip")
    assert code == 0, text
    assert "600 vectors, with and without stalls: every output as expected" in text
    # And it fails where the core does not do what a vector says.
    vectors = json.loads((tmp_path / "ip" / "vectors.json").read_text())
    wrong = next(n for n, vector in enumerate(vectors) if vector["outputs"]["nan"] == "0")
    vectors[wrong]["outputs"]["sum"] = str(int(vectors[wrong]["outputs"]["sum"]) ^ 1)
    (tmp_path / "ip" / "vectors.json").write_text(json.dumps(vectors))
    code, text = make(tmp_path / "ip")
    assert code != 0
    assert f"vector {wrong}, sum:" in text


@pytest.mark.slow
def test_a_written_lmul_passes_its_own_bench(tmp_path):
    ip.emit(ip.lmul_core(get("e4m3")), tmp_path / "ip", families=())
    code, text = make(tmp_path / "ip")
    assert code == 0, text
