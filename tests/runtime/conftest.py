"""The board that these tests talk to: the real UART shell around a stand-in accelerator, built once."""

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwgen.ir.beats import Beats
from hwgen.tools.board_sim import BoardSim, board_sim, build_uart_board_sim

INPUT = Beats(lanes=3, bits=5, signed=True, beats=4)
OUTPUT = Beats(lanes=3, bits=6, signed=True, beats=4)
# Both SLIP specials are in it, so that every INFO needs escapes.
GRAPH_ID = "c0db0123456789ab"
BUILD = Path(__file__).parents[2] / "build" / "tests"


def write_manifest(folder: Path, **changes: object) -> Path:
    """A manifest of the test board with some keys changed; returns its folder."""
    data = {"hash": GRAPH_ID + "0" * 48, "input": INPUT.to_json(), "output": OUTPUT.to_json(), **changes}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(data))
    return folder


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Parallel test workers build one after the other, so that all but the first find what they need."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def board_executable() -> Path:
    with one_at_a_time(BUILD):
        return build_uart_board_sim(
            [Path(__file__).with_name("accel.sv")],
            BUILD,
            input_beat=(INPUT.data_bits, INPUT.beats),
            output_beat=(OUTPUT.data_bits, OUTPUT.beats),
            graph_id=GRAPH_ID,
            watchdog=2000,
        )


@pytest.fixture
def board(board_executable: Path) -> Iterator[BoardSim]:
    with board_sim(board_executable) as running:
        yield running
