import gc

import pytest

from hwgen import ip, ip_array
from hwgen.errors import HwgenError
from hwgen.formats import get
from hwgen.gateware.dotproduct.array import MacArray
from tests.test_ip import make

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


@pytest.fixture(autouse=True)
def _drop_refused_components():
    # A component that is refused while it is made lives as long as the exception: let it go while its test runs.
    yield
    gc.collect(0)


SHAPES = ((2, 3, 1), (5, 7, 4), (1, 1, 2), (4, 6, 11), (3, 9, 3), (8, 2, 8), (2, 3, 4))
SMALL = [
    ("block<e2m1,e8m0,4>", "block<int4n,e8m0,4>", {"window": (-6, 6), "pipeline": 2}),
    ("block<e2m3,e8m0,4>", "block<e2m3,e8m0,4>", {"accumulator": "fp32", "pipeline": 1}),
    ("block<e2m1,e4m3,4>", "e3m2", {"pipeline": 0}),
    ("int5", "e2m1", {"lanes": 3, "pipeline": 1}),
    ("block<int4n,e8m0,4>", "block<int4n,e8m0,4>", {"window": (-6, 6), "multiplier": "dsp"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b", "options"), SMALL)
def test_products_of_all_sizes_come_out_right_with_and_without_stalls(a, b, options, tmp_path):
    array = MacArray(2, 3, get(a), get(b), depth=4, blocks=16, **options)
    core = ip_array.mac_core(array, options.get("window"), SHAPES)
    ip.emit(core, tmp_path / "ip", families=())
    code, text = make(tmp_path / "ip")
    assert code == 0, text[-4000:]


@pytest.mark.slow
def test_a_million_lanes_of_mx_blocks(tmp_path):
    array = MacArray(2, 2, get("mxint8"), get("mxfp4"), depth=16, blocks=64, window=(-8, 8), pipeline=3)
    # 32 lanes * 16 blocks * 2048 sums.
    core = ip_array.mac_core(array, (-8, 8), ((32, 64, 16),))
    ip.emit(core, tmp_path / "ip", families=())
    code, text = make(tmp_path / "ip")
    assert code == 0, text[-4000:]


def test_a_tile_of_a_stays_for_all_columns():
    order = list(ip_array.schedule(1, 3, 1))
    assert [fresh for *_, fresh, _ in order] == [True, False, False]
    assert [release for *_, release in order] == [False, False, True]
    assert all(fresh and release for *_, fresh, release in ip_array.schedule(2, 2, 3))


@pytest.mark.parametrize(
    ("sizes", "formats", "options", "message"),
    [
        ((0, 2), ("mxfp4", "mxfp4"), {}, r"an array has 1 row and 1 column or more, not 0 and 2"),
        ((2, 2), ("mxfp4", "mxfp4"), {"depth": 6}, r"the depth of a tile is a power of two, 2 or more, not 6"),
        ((2, 2), ("mxfp4", "mxfp4"), {"accumulator": "bf16"}, r"unknown accumulator 'bf16': one of fixed, fp32"),
        ((2, 2), ("mxfp4", "mxfp4"), {}, r"power-of-two scales need a window for the accumulator 'fixed'"),
        ((2, 2), ("mxfp4", "mxfp4"), {"window": (4, 1)}, r"a window is \(least, greatest\) exponent, not \(4, 1\)"),
        ((2, 2), ("mxfp4", "mxfp4"), {"lanes": 8}, r"units of mxfp4 and mxfp4 have 32 lanes, the block size, not 8"),
        ((2, 2), ("e4m3", "e4m3"), {}, r"which have no blocks, need a number of lanes"),
        ((2, 2), ("e4m3", "e4m3"), {"lanes": 4, "window": (0, 1)}, r"a window is for block formats"),
        ((2, 2), ("nvfp4", "nvfp4"), {"window": (0, 1)}, r"a window is for power-of-two scales; those with a mantissa"),
        ((2, 2), ("mxfp4", "mxfp4"), {"accumulator": "fp32", "window": (0, 1)}, r"not for 'fp32'"),
    ],
)
def test_sizes_and_windows_that_do_not_fit_are_refused(sizes, formats, options, message):
    with pytest.raises(HwgenError, match=message):
        MacArray(*sizes, *(get(name) for name in formats), **options)


def test_fp32_sums_of_plain_formats_and_rows_without_zero_are_refused():
    array = MacArray(1, 1, get("int4"), get("int4"), lanes=2, accumulator="fp32")
    with pytest.raises(HwgenError, match=r"FP32 sums are of blocks; sums of plain formats are exact"):
        ip_array.mac_core(array, None, ((1, 1, 1),))
    array = MacArray(2, 1, get("bipolar"), get("int4"), lanes=2)
    with pytest.raises(HwgenError, match=r"3 rows of bipolar do not fill tiles of 2: it has no zero"):
        ip_array.mac_core(array, None, ((3, 1, 1),))
