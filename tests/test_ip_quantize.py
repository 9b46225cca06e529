import gc

import numpy as np
import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator
from typer.testing import CliRunner

from hwgen.cli import app
from hwgen.errors import HwgenError
from hwgen.formats import get
from hwgen.ip_quantize import numbers, quantize_core
from hwgen.ir import Beats
from tests.test_ip import make

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


@pytest.fixture(autouse=True)
def _drop_refused_components():
    # A component that is refused while it is made lives as long as the exception: let it go while its test runs.
    yield
    gc.collect(0)


def drive(core, stall, seed):
    """Send the vectors of a core through it in Amaranth's simulator, with random stalls on both sides."""
    rng = np.random.default_rng(seed)
    i, o = core.component.i, core.component.o
    sent, wanted = core.vectors["inputs"]["i"], core.vectors["outputs"]["o"]

    async def run(ctx):
        put = got = 0
        offered = False
        while got < len(wanted):
            offered = put < len(sent) and (offered or rng.random() >= stall)
            ctx.set(i.valid, offered)
            ctx.set(Value.cast(i.payload), int(sent[min(put, len(sent) - 1)]))
            ctx.set(o.ready, rng.random() >= stall)
            sampled = ctx.tick().sample(i.ready, o.valid, o.ready, Value.cast(o.payload))
            _, _, can, has, takes, beat = await sampled
            put += bool(offered and can)
            offered = offered and not can
            if has and takes:
                value, mask = map(int, wanted[got])
                assert beat & mask == value, f"beat {got}"
                got += 1

    simulator = Simulator(core.component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()


SMALL = [
    ("block<e2m1,e8m0,4>", 9, 2, {"scale_mode": "even"}),
    ("block<int4n,e8m0,4>", 12, 4, {"scale_mode": "ceil", "rounding": "zero"}),
    ("block<e3m2,e8m0,4>", 16, 1, {"lsb": -135}),
    ("block<e2m1,e4m3,4,fp32>", 16, 4, {"lsb": -8}),
    ("block<int4n,ue5m3,4>", 40, 4, {"lsb": -30, "rounding": "half_zero"}),
    ("dfp8", 32, 2, {"frame": 4}),
    ("e4m3", 12, 2, {"lsb": -3, "rounding": "half_up"}),
    ("e5m2", 20, 1, {"lsb": 2, "overflow": "ieee", "frame": 3}),
    ("int5", 9, 3, {"lsb": -2}),
    ("uint4", 7, 2, {}),
    ("fixed<6,2>", 9, 1, {"lsb": -6}),
]


@pytest.mark.parametrize(("name", "bits", "lanes", "options"), SMALL)
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_vectors_come_out_of_the_component_with_and_without_stalls(name, bits, lanes, options, stall):
    drive(quantize_core(get(name), bits, lanes, **options), stall, 3)


def test_vectors_hold_zeros_extremes_outliers_ties_and_carries():
    x = numbers(Beats(8, 16, True, 4), 4, np.random.default_rng(1))
    assert x.shape == (240, 32)
    assert (x[0] == 0).all()
    assert (x[1] == 32767).all()
    assert (x[2] == -32768).all()
    size = np.sort(np.abs(x), axis=1)
    assert ((size[:, -1] > 8 * size[:, -2]) & (size[:, -2] > 0)).sum() > 10
    # Greatest magnitudes of four ones and a fifth, which rounding to four bits carries over.
    ones = [bin(int(top))[2:] for top in size[:, -1]]
    assert sum(text.startswith("11111") for text in ones[6:]) > 10


def test_a_core_states_scale_rounding_and_frame_on_top():
    header = quantize_core(get("mxfp4"), 16, 8, lsb=-9, scale_mode="even").header()
    assert "Signed numbers of 16 bits in units of 2^-9 to mxfp4, blocks of 32." in header
    assert "Scale: 2^(floor(log2(max|x| rounded half up to the element's mantissa)) - 2), mode 'even'" in header
    assert "{last, first, scale (e8m0), 8 codes of e2m1}" in header
    header = quantize_core(get("nvfp4"), 16, 8, lsb=-4).header()
    assert "Scale: max|x| / 6 rounded half to even; it saturates." in header
    assert "{last, first, scale (ue4m3_nan), 8 codes of e2m1}" in header
    assert "The shared exponent grows by `shift`." in quantize_core(get("dfp16"), 32, 4, frame=8).header()
    assert "what is too great becomes infinity or NaN." in quantize_core(get("e5m2"), 16, 4, overflow="ieee").header()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--to nvfp4 --scale-mode even", "scales of nvfp4 have a mantissa: their mode is nearest, not even"),
        ("--to int4ue5m3 --rounding up", "one of half_even, half_away, half_zero, not up"),
        ("--to nvfp4 --frame 32", "a frame of nvfp4 is one block, 16 numbers, not 32"),
        ("--to mxint8 --lanes 5", "blocks of 32 need lanes that divide them"),
        ("--to mxint8 --lanes 0", "a quantizer has 1 lane or more, not 0"),
        ("--to mxint8 --frame 64", "a frame of mxint8 is one block, 32 numbers, not 64"),
        ("--to mxint8 --scale-mode nearest", "unknown scale mode 'nearest': one of floor, even, ceil"),
        ("--to e4m3 --scale-mode even", "a scale mode is for block formats; e4m3 has no scale"),
        ("--to e4m3 --frame 12", "a frame is a multiple of the 8 lanes, not 12 numbers"),
        ("--to e4m3 --bits 64", "a quantizer has --bits of 2 to 48, not 64"),
        ("--to e4m3 --lsb 300", "a quantizer has --lsb of -256 to 256, not 300"),
        ("--to mxint8 --lsb 200", "numbers of 16 bits in units of 2**200 need scales beyond those of mxint8"),
        ("--to e4m3 --rounding up_down", "unknown rounding 'up_down'"),
        ("--to mxfp4 --rounding stochastic", "this gateware has no random bits for stochastic rounding"),
        ("--to e2m1 --overflow ieee", "e2m1 has neither infinity nor NaN for an overflow: it saturates"),
        ("--to dfp16", "dfp16 has one exponent for a tensor: say with --frame how many numbers it has"),
        ("--to dfp16 --bits 16 --frame 8", "converted down from signed sums of 32 bits, not of 16"),
        ("--to bipolar", "no gateware encodes to bipolar"),
    ],
)
def test_bad_input_has_one_clear_error(arguments, message, tmp_path):
    result = CliRunner().invoke(app, ["ip", "quantize", *arguments.split(), "-o", str(tmp_path / "core")])
    assert isinstance(result.exception, HwgenError), result.output
    assert message in str(result.exception)
    assert not (tmp_path / "core").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        "quantize --to mxfp6e3m2 --bits 14 --lanes 16 --scale-mode even",
        "mac-array --a e2m1 --b int4 --rows 2 --cols 2 --lanes 4 --depth 4",
    ],
)
def test_a_core_written_from_the_command_line_passes_its_own_bench(arguments, tmp_path):
    result = CliRunner().invoke(app, ["ip", *arguments.split(), "-o", str(tmp_path / "ip")])
    assert result.exit_code == 0, result.output
    assert {"ecp5", "xcup"} <= set((tmp_path / "ip" / "resources.txt").read_text().split())
    code, text = make(tmp_path / "ip")
    assert code == 0, text[-4000:]
    assert "with and without stalls: every output as expected" in text
