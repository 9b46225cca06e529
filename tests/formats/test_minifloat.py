"""Properties of minifloats, and what they refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwgen import formats
from hwgen.errors import HwgenError
from hwgen.formats import ENCODE_ROUNDING, Fixed, Minifloat, Stochastic, scalar

SHAPES = st.builds(
    Minifloat,
    st.integers(2, 8),
    st.integers(0, 7),
    st.integers(-20, 140),
    st.sampled_from(["none", "nan", "ieee"]),
    st.booleans(),
    st.booleans(),
)
REALS = st.floats(allow_nan=False)
NAMED = st.sampled_from([name for name in ENCODE_ROUNDING if name != "stochastic"])


@given(SHAPES)
def test_numbers_survive_the_round_trip(fmt: Minifloat) -> None:
    numbers = fmt.codes()[fmt.is_number(fmt.codes())]
    assert np.array_equal(fmt.encode(fmt.decode(numbers)), numbers)
    assert formats.get(fmt.name) == fmt


@given(SHAPES, st.lists(REALS, min_size=2, max_size=9), NAMED)
def test_encoding_is_monotonic(fmt: Minifloat, x: list[float], rounding: str) -> None:
    worth = fmt.decode(fmt.encode(sorted(x), rounding))
    assert (np.diff(worth) >= 0).all()


@given(SHAPES, REALS, st.sampled_from(["half_even", "half_away", "half_zero", "zero", "away", "odd"]))
def test_magnitude_roundings_are_symmetric(fmt: Minifloat, x: float, rounding: str) -> None:
    if fmt.has_sign:
        assert int(fmt.encode(x, rounding)) ^ int(fmt.encode(-x, rounding)) == 1 << fmt.magnitude_bits


@given(SHAPES, REALS, st.tuples(*[st.sampled_from(["down", "half_up"])]))
def test_directed_roundings_mirror(fmt: Minifloat, x: float, rounding: tuple[str]) -> None:
    mirror = {"down": "up", "half_up": "half_down"}[rounding[0]]
    if fmt.has_sign:
        assert fmt.decode(fmt.encode(x, rounding[0])) == -fmt.decode(fmt.encode(-x, mirror))


@given(SHAPES, REALS)
def test_the_nearest_number_is_chosen(fmt: Minifloat, x: float) -> None:
    numbers = fmt.decode(fmt.codes()[fmt.is_number(fmt.codes())])
    chosen = float(fmt.decode(fmt.encode(x)))
    clipped = float(np.clip(x, numbers.min(), numbers.max()))
    assert np.abs(numbers - clipped).min() == abs(chosen - clipped)
    if fmt.has_subnormals:
        assert fmt.decode(fmt.encode(x, "down")) <= max(clipped, numbers.min())
        assert fmt.decode(fmt.encode(x, "up")) >= min(clipped, numbers.max())


@given(SHAPES, st.floats(min_value=1.0, exclude_min=True, allow_infinity=True))
def test_what_is_too_large_saturates(fmt: Minifloat, factor: float) -> None:
    top = float(fmt.extremes[1])
    assert fmt.encode(top * factor) == fmt.max_magnitude
    if fmt.has_sign:
        assert fmt.encode(-top * factor) == fmt.max_magnitude | 1 << fmt.magnitude_bits


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "bf16", "ue5m3"])
def test_ties_go_to_even_codes(name: str) -> None:
    fmt = scalar(name)
    assert isinstance(fmt, Minifloat)
    codes = np.arange(fmt.max_magnitude)
    numbers = fmt.decode(codes), fmt.decode(codes + 1)
    chosen = fmt.encode((numbers[0] + numbers[1]) / 2)
    assert np.array_equal(chosen, codes + codes % 2)
    assert np.array_equal(fmt.encode((numbers[0] + numbers[1]) / 2, "odd"), codes + (codes + 1) % 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_keep_their_sign_and_shapes_are_kept(dtype: type) -> None:
    e4m3, ue5m3 = scalar("e4m3"), scalar("ue5m3")
    assert e4m3.encode(np.array([[0.0, -0.0]], dtype=dtype)).tolist() == [[0, 0x80]]
    assert ue5m3.encode(np.array([0.0, -0.0, -5.0], dtype=dtype)).tolist() == [0, 0, 0]
    assert e4m3.encode(dtype(1.0)).shape == ()
    assert e4m3.encode(np.zeros((0, 3), dtype=dtype)).shape == (0, 3)
    assert np.signbit(e4m3.decode([0x80])).all()
    many = np.zeros((200, 300), dtype=dtype).T
    many[3, 4] = -2.0
    assert np.array_equal(np.argwhere(e4m3.encode(many) == 0xC0), [[3, 4]])


@pytest.mark.parametrize("count", [1, 50_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_specials(dtype: type, count: int) -> None:
    """OCP OFP8 v1.0 table 3, without and with saturation; alone, and among many."""
    x = np.resize(np.array([np.inf, -np.inf, np.nan, -np.nan, 1e9, -1e9], dtype=dtype), 6 * count)
    wanted = {
        ("e4m3", "saturate"): [0x7E, 0xFE, 0x7F, 0x7F, 0x7E, 0xFE],
        ("e4m3", "ieee"): [0x7F, 0xFF, 0x7F, 0x7F, 0x7F, 0xFF],
        ("e5m2", "saturate"): [0x7B, 0xFB, 0x7E, 0x7E, 0x7B, 0xFB],
        ("e5m2", "ieee"): [0x7C, 0xFC, 0x7E, 0x7E, 0x7C, 0xFC],
        ("ue5m3", "ieee"): [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
    }
    for (name, overflow), codes in wanted.items():
        assert scalar(name).encode(x, overflow=overflow)[:6].tolist() == codes


def test_signalling_nans_are_nans() -> None:
    x = np.full(50_000, 0x7F800001, dtype=np.uint32).view(np.float32)
    assert (scalar("e4m3").encode(x) == 0x7F).all()
    assert (scalar("e4m3").encode(x[:5]) == 0x7F).all()


def register(start: int) -> int:
    """One step of the register, as hardware takes it."""
    bit = (start >> 31) ^ (start >> 21) ^ (start >> 1) ^ start
    return (start << 1 | bit & 1) & 0xFFFFFFFF


@pytest.mark.parametrize(("bits", "lanes"), [(1, 1), (8, 1), (8, 3), (24, 2), (5, 32)])
def test_random_numbers_are_those_of_the_registers(bits: int, lanes: int) -> None:
    kind = Stochastic(bits, seed=12345, lanes=lanes)
    wanted = []
    states = [kind.start(lane) for lane in range(lanes)]
    for _ in range(40):
        for lane in range(lanes):
            for _ in range(bits):
                states[lane] = register(states[lane])
            wanted.append(states[lane] & ((1 << bits) - 1))
    for count in (1, lanes, 40 * lanes - 1, 40 * lanes):
        assert kind.numbers(count).tolist() == wanted[:count]


def test_the_registers_do_not_start_at_zero() -> None:
    assert Stochastic(seed=0).start(0) == 1
    assert len({Stochastic(lanes=64).start(lane) for lane in range(64)}) == 64


def test_random_numbers_are_uniform() -> None:
    counts = np.bincount(Stochastic(8).numbers(256 * 400), minlength=256)
    assert counts.min() > 300
    assert counts.max() < 500


def test_stochastic_rounding_is_right_on_average() -> None:
    for x in (1.03, -1.03, 0.0005, 333.3):
        worth = scalar("e4m3").decode(scalar("e4m3").encode(np.full(100_000, x), "stochastic"))
        assert abs(worth.mean() - x) < abs(x) * 0.01
        assert np.unique(worth).size == 2
    worth = scalar("int8").encode(np.full(100_000, -3.25), Stochastic(16))
    assert abs(worth.mean() + 3.25) < 0.01


@pytest.mark.parametrize("name", ["int8", "fixed<8,8>"])
def test_odd_and_half_down_of_integers(name: str) -> None:
    fmt = scalar(name)
    x = np.array([2.0, 2.1, 2.5, 2.9, 3.0, 3.5, -2.5, -3.5, -2.1])
    assert fmt.encode(x, "odd").tolist() == [2, 3, 3, 3, 3, 3, -3, -3, -3]
    assert fmt.encode(x, "half_down").tolist() == [2, 2, 2, 3, 3, 3, -3, -4, -2]


def test_names_of_minifloats() -> None:
    wanted = {
        Minifloat(4, 3, 7, "nan"): "e4m3",
        Minifloat(4, 3, 7): "e4m3full",
        Minifloat(4, 3, 8): "e4m3b8",
        Minifloat(3, 4, 3): "e3m4",
        Minifloat(3, 4, 3, "ieee"): "e3m4_ieee",
        Minifloat(2, 2, -5, "nan", has_sign=False, has_subnormals=False): "ue2m2b-5_nan_nosub",
    }
    assert {fmt: fmt.name for fmt in wanted} == wanted
    for fmt, name in wanted.items():
        assert formats.get(name) == fmt


E2M1, UE2M1 = scalar("e2m1"), scalar("ue2m1")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Minifloat(0, 3, 7), "a minifloat has 1 to 8 exponent and 0 to 23 mantissa bits, not E0M3"),
        (lambda: formats.get("e9m3"), "a minifloat has 1 to 8 exponent and 0 to 23 mantissa bits, not E9M3"),
        (lambda: formats.get("e4m24"), "not E4M24"),
        (lambda: formats.get("e4m3b999"), "a bias lies in -300..300, not 999"),
        (lambda: Minifloat(1, 0, 0, "ieee"), "e1m0_ieee has no numbers but zero"),
        (lambda: E2M1.encode([1, np.nan]), "NaN has no code in e2m1"),
        (lambda: E2M1.encode(np.full(50_000, np.nan, dtype=np.float32)), "NaN has no code in e2m1"),
        (lambda: E2M1.encode([1, 7.5], overflow="ieee"), "7.5 lies outside of e2m1, which has no code for that"),
        (lambda: E2M1.encode(np.full(50_000, 9, np.float32), overflow="ieee"), "9 lies outside of e2m1"),
        (lambda: UE2M1.encode([-1], overflow="ieee"), "-1 lies outside of ue2m1"),
        (lambda: E2M1.encode([1], overflow="wrap"), "unknown overflow 'wrap' for e2m1: one of saturate, ieee"),
        (lambda: E2M1.encode([1], "nearest"), "unknown rounding 'nearest': one of half_even, .*odd, stochastic"),
        (lambda: E2M1.encode_scaled([1], 401), r"a scale's exponent lies in -400..400"),
        (lambda: scalar("int8").encode([1], "nearest"), "unknown rounding 'nearest'"),
        (lambda: Stochastic(0), "stochastic rounding takes 1 to 24 random bits, not 0"),
        (lambda: Stochastic(seed=-1), "the seed of stochastic rounding has 32 bits, which -1 has not"),
        (lambda: Stochastic(lanes=0), "stochastic rounding has 1 lane or more, not 0"),
        (lambda: Fixed(54, 3), "fixed point has up to 53 bits and -128..128 integer bits, not <54,3>"),
        (lambda: Fixed(8, 129), "not <8,129>"),
        (lambda: Fixed(8, 3, is_signed=False, narrow=True), "unsigned fixed point has none"),
        (lambda: Fixed(1, 1), "a signed integer has 2 to 63 bits, not 1"),
        (lambda: scalar("fixed<8,3>").encode([np.nan]), r"NaN has no code in fixed<8,3>"),
        (lambda: scalar("fixed<8,3>").encode([1], overflow="clip"), "unknown overflow 'clip': one of saturate"),
        (lambda: scalar("fixed<8,3>").encode([1e300], overflow="wrap"), r"fixed<8,3> wraps numbers below 2\^62 steps"),
        (lambda: scalar("fixed<8,3>n").encode([1], overflow="wrap"), "fixed<8,3>n cannot wrap"),
        (lambda: scalar("ufixed<8,3>").encode([1], overflow="wrap_sign_magnitude"), "ufixed<8,3> has no sign"),
    ],
)
def test_errors(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(HwgenError, match=message):
        call()


def test_every_small_minifloat_by_pattern() -> None:
    """3 to 8 bits, any split: a name, ordered numbers, a round trip."""
    for bits in range(3, 9):
        for exponent in range(1, bits):
            fmt = scalar(f"e{exponent}m{bits - 1 - exponent}")
            assert isinstance(fmt, Minifloat)
            numbers = fmt.decode(np.arange(fmt.max_magnitude + 1))
            assert all(a < b for a, b in itertools.pairwise(numbers.tolist()))
