"""Boards: what ships, what is refused, and pins that agree with an independent source."""

from pathlib import Path
from typing import Any

import pytest

from hwgen.errors import HwgenError
from hwgen.flow.boards import Board, list_boards, load_board
from hwgen.tools.files import share

AMARANTH = {"ulx3s": ("ulx3s", "ULX3S_85F_Platform"), "icebreaker": ("icebreaker", "ICEBreakerPlatform")}


def test_all_boards_load_under_their_file_name() -> None:
    assert list_boards() == ("icebreaker", "ultra96", "ulx3s")
    for name in list_boards():
        assert load_board(name).name == name


def test_figures_of_the_boards() -> None:
    ultra96 = load_board("ultra96")
    assert ultra96.part == "xczu3eg-sbva484-1-e"
    assert ultra96.resources.model_dump() == {"lut": 70560, "ff": 141120, "bram": 216, "dsp": 360}
    assert load_board("ulx3s").resources.model_dump() == {"lut": 83640, "ff": 83640, "bram": 208, "dsp": 156}
    assert load_board("icebreaker").resources.model_dump() == {"lut": 5280, "ff": 5280, "bram": 30, "dsp": 8}
    assert load_board("icebreaker").divisor() == 12


def _amaranth_pins(board: str) -> dict[str, tuple[list[str], bool]]:
    """Names of the pins, and whether they are inverted, by resource and signal."""
    modules = pytest.importorskip("amaranth_boards")
    module, name = AMARANTH[board]
    platform: Any = getattr(__import__(f"{modules.__name__}.{module}", fromlist=[name]), name)
    found = {}

    def walk(path: str, ios: list[Any]) -> None:
        for io in ios:
            if hasattr(io, "names"):
                found[path] = (list(io.names), io.invert)
            elif hasattr(io, "ios"):
                walk(f"{path}.{io.name}", io.ios)

    for resource in platform.resources:
        walk(f"{resource.name}{resource.number}", resource.ios)
    return found


@pytest.mark.parametrize("board", AMARANTH)
def test_pins_agree_with_amaranth_boards(board: str) -> None:
    theirs = _amaranth_pins(board)
    pins = load_board(board).pins
    clock = {"ulx3s": "clk250", "icebreaker": "clk120"}[board]
    assert list(pins["clk"].sites) == theirs[clock][0]
    assert list(pins["uart_rx"].sites) == theirs["uart0.rx"][0]
    assert list(pins["uart_tx"].sites) == theirs["uart0.tx"][0]
    assert (list(pins["button"].sites), pins["button"].inverted) == theirs["button0"]
    if board == "ulx3s":
        for index, site in enumerate(pins["leds"].sites):
            assert ([site], pins["leds"].inverted) == theirs[f"led{index}"]
        assert list(pins["wifi_gpio0"].sites) == theirs["esp320.gpio0"][0]
    else:
        green, red = theirs["led_g0"], theirs["led_r0"]
        assert (list(pins["leds"].sites), pins["leds"].inverted) == (green[0] + red[0], green[1])
        assert red[1]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("ulx3", "did you mean ulx3s? "), ("Ultra69", "did you mean ultra96? "), ("qqq", "")],
)
def test_an_unknown_board_is_told_the_known_ones(name: str, hint: str) -> None:
    with pytest.raises(HwgenError) as caught:
        load_board(name)
    join = "; " if hint else ". "
    known = "Known boards: icebreaker, ultra96, ulx3s, or a path to a .toml file"
    assert str(caught.value) == f"unknown board {name!r}{join}{hint}{known}"


def _changed(tmp_path: Path, old: str, new: str, base: str = "ulx3s") -> Path:
    text = share("boards", f"{base}.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new))
    return path


def test_a_board_of_the_users_own(tmp_path: Path) -> None:
    board = load_board(_changed(tmp_path, 'name = "ulx3s"', 'name = "mine"'))
    assert isinstance(board, Board)
    assert board.name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('family = "ecp5"', 'family = "gowin"', "family: Input should be 'ecp5', 'ice40' or 'xcup'"),
        ("baud = 1000000", "bauds = 1000000", "bauds: Extra inputs are not permitted"),
        ("baud = 1000000", "", "the shell uart needs a baud rate"),
        ("baud = 1000000", "baud = 30000000", "50 MHz cannot make 30000000 baud within one percent"),
        ('clk = { sites = ["G2"] }', "", "the shell uart needs pins for clk"),
        ("lut = 83640", "lut = -1", "resources.lut: Input should be greater than or equal to 0"),
        ('"B2", "C2", "C1", "D2"', '"B2", "C2", "C1"', "shows its state on 1, 2 or 4 leds, not 3"),
        (", constant = 1 }", " }", "wifi_gpio0 needs a constant"),
        ('shell = "uart"', 'shell = "axis"', "a board with the shell axis has no pins of its own"),
        ("mhz = 25", "mhz = [", "is not TOML"),
    ],
)
def test_a_wrong_board_file_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(HwgenError, match=r"mine\.toml is (wrong|not TOML): ") as caught:
        load_board(_changed(tmp_path, old, new))
    assert message in str(caught.value)


def test_a_missing_board_file(tmp_path: Path) -> None:
    with pytest.raises(HwgenError, match=r"cannot read the board file .*none\.toml: No such file"):
        load_board(tmp_path / "none.toml")


def test_a_board_without_a_uart_has_no_divisor() -> None:
    with pytest.raises(ValueError, match="the board ultra96 has no UART"):
        load_board("ultra96").divisor()


def test_a_board_at_another_clock() -> None:
    board = load_board("ulx3s").at(80)
    assert (board.clock.mhz, board.clock.design_mhz, board.divisor()) == (25, 80, 80)
    with pytest.raises(
        HwgenError, match=r"ulx3s cannot run at 2 MHz: board: .*cannot make 1000000 baud within one percent"
    ):
        load_board("ulx3s").at(2)
    with pytest.raises(
        HwgenError, match=r"ulx3s cannot run at -1 MHz: clock\.design_mhz: Input should be greater than 0"
    ):
        load_board("ulx3s").at(-1)
