"""The driver against a scripted board on a pseudo-terminal, and everything that can be wrong before that."""

import contextlib
import os
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hwgen.errors import HwgenError, ToolMissingError
from hwgen.runtime import Device, connect, protocol, read_manifest
from hwgen.runtime.protocol import Packet
from tests.runtime.conftest import GRAPH_ID, INPUT, OUTPUT, write_manifest

FRAME = np.zeros((1, 12), dtype=np.int64)
GOOD_INFO = bytes([1]) + bytes.fromhex(GRAPH_ID) + (8).to_bytes(4, "big") + (12).to_bytes(4, "big")
Answer = Callable[[Packet], bytes]


def good(request: Packet) -> bytes:
    """What a sound board sends: every code plus one."""
    payload = GOOD_INFO if request.kind == protocol.INFO else OUTPUT.pack(INPUT.unpack(request.payload) + 1)
    return protocol.encode(Packet(request.kind | protocol.REPLY, request.sequence, payload))


class ScriptedBoard:
    """Answers every request with the bytes that `answer` returns for it."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.target = f"serial:{os.ttyname(self.slave)}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        splitter = protocol.Splitter()
        while True:
            for piece in splitter.feed(os.read(self.master, 4096)):
                if piece == b"stop":
                    return
                os.write(self.master, self.answer(protocol.decode(piece)))

    def close(self) -> None:
        os.write(self.slave, b"\xc0stop\xc0")
        self.thread.join()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def board() -> Iterator[ScriptedBoard]:
    board = ScriptedBoard(good)
    yield board
    board.close()


@pytest.fixture
def device(board: ScriptedBoard, tmp_path: Path) -> Iterator[Device]:
    with connect(board.target, write_manifest(tmp_path), timeout=0.2) as device:
        yield device


def test_frames_through_a_sound_board(device: Device) -> None:
    codes = np.arange(-16, 8).reshape(2, 12)
    assert (device.run(codes) == codes + 1).all()
    assert (device.run(codes.astype(np.int8)) == codes + 1).all()
    assert device.run(np.zeros((0, 12), dtype=int)).shape == (0, 12)
    assert device.info() == protocol.Info(1, GRAPH_ID, 8, 12)


def test_inputs_of_wrong_shape_type_or_range(device: Device) -> None:
    with pytest.raises(HwgenError, match=r"input must have shape \(frames, 12\), not \(2, 11\)"):
        device.run(np.zeros((2, 11), dtype=int))
    with pytest.raises(HwgenError, match=r"input must have shape \(frames, 12\), not \(12,\)"):
        device.run(np.zeros(12, dtype=int))
    with pytest.raises(HwgenError, match="input must be integer codes, not float64"):
        device.run(np.zeros((1, 12)))
    with pytest.raises(HwgenError, match=r"do not fit a 5-bit lane \(-16\.\.15\)"):
        device.run(FRAME + 16)


def test_damaged_replies_are_asked_for_again(board: ScriptedBoard, device: Device) -> None:
    turns = iter(range(1000))

    def sometimes_damaged(request: Packet) -> bytes:
        reply = bytearray(good(request))
        reply[3] ^= 4 if next(turns) % 3 == 0 else 0
        return bytes(reply)

    board.answer = sometimes_damaged
    codes = np.arange(-16, 8).repeat(6).reshape(12, 12)
    assert (device.run(codes) == codes + 1).all()
    assert device.stats.damaged_replies >= 4
    assert device.stats.timeouts == 0


def test_lost_replies_are_asked_for_again(board: ScriptedBoard, device: Device) -> None:
    turns = iter(range(1000))
    board.answer = lambda request: b"" if next(turns) % 4 == 0 else good(request)
    codes = np.arange(-16, 8).repeat(4).reshape(8, 12)
    assert (device.run(codes) == codes + 1).all()
    assert device.stats.timeouts >= 2


def test_a_busy_board_is_asked_again(board: ScriptedBoard, device: Device) -> None:
    turns = iter(range(1000))
    busy = bytes([protocol.BUSY])
    board.answer = lambda r: (
        protocol.encode(Packet(protocol.ERROR, r.sequence, busy)) if next(turns) % 3 == 0 else good(r)
    )
    codes = np.arange(-16, 8).repeat(4).reshape(8, 12)
    assert (device.run(codes) == codes + 1).all()
    assert device.stats.busy >= 3
    assert device.stats.retries == device.stats.busy


def test_replies_to_nobody_are_left_out(board: ScriptedBoard, device: Device) -> None:
    board.answer = lambda r: protocol.encode(Packet(r.kind | protocol.REPLY, (r.sequence + 99) % 256)) + good(r)
    assert (device.run(FRAME) == FRAME + 1).all()
    assert device.stats.strays == 1
    board.answer = lambda r: protocol.encode(Packet(r.kind | protocol.REPLY, (r.sequence + 99) % 256))
    with pytest.raises(HwgenError, match=r"no answer within 0\.2 s .*; 5 replies belonged to no waiting request"):
        device.run(FRAME)
    board.answer = lambda r: protocol.encode(Packet(protocol.INFO | protocol.REPLY, r.sequence, GOOD_INFO))
    with pytest.raises(HwgenError, match="gave up after 3 retries: no answer"):
        device.run(FRAME)


def test_a_line_that_spoils_everything_is_given_up(board: ScriptedBoard, device: Device) -> None:
    board.answer = lambda request: b"\xc0\x82\x01\x00\x00\xc0"
    with pytest.raises(HwgenError, match="gave up after 3 retries: a damaged packet: CRC 0000, computed"):
        device.run(FRAME)
    assert device.stats.retries == 3
    board.answer = lambda r: protocol.encode(Packet(protocol.ERROR, r.sequence, bytes([protocol.CORRUPT])))
    with pytest.raises(HwgenError, match="gave up after 3 retries: the request arrived damaged"):
        device.run(FRAME)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (protocol.UNKNOWN, "does not know this type of request"),
        (protocol.TIMEOUT, "did not finish the frame in time and was reset"),
        (protocol.OUTPUT, "marked the ends of its output frame wrongly"),
        (99, "refuses with the unknown code 99"),
    ],
)
def test_refusals_that_no_repeat_mends(board: ScriptedBoard, device: Device, code: int, text: str) -> None:
    board.answer = lambda r: protocol.encode(Packet(protocol.ERROR, r.sequence, bytes([code])))
    with pytest.raises(HwgenError, match=text):
        device.run(FRAME)
    assert device.stats.retries == 0


def test_an_output_frame_of_wrong_length(board: ScriptedBoard, device: Device) -> None:
    board.answer = lambda r: protocol.encode(Packet(r.kind | protocol.REPLY, r.sequence, bytes(11)))
    with pytest.raises(HwgenError, match="output frame has 11 bytes, not 12"):
        device.run(FRAME)


def test_another_network_or_other_frames(board: ScriptedBoard, tmp_path: Path) -> None:
    with pytest.raises(HwgenError, match=rf"another network: its id is {GRAPH_ID}, .* says 00000000000000ab"):
        connect(board.target, write_manifest(tmp_path / "a", hash="00000000000000AB77"))
    wide = write_manifest(tmp_path / "b", output={**OUTPUT.to_json(), "beats": 5})
    with pytest.raises(HwgenError, match=r"frames have 8 bytes in and 12 out, .* says 8 and 15"):
        connect(board.target, wide)


def test_a_board_that_is_dead(tmp_path: Path) -> None:
    """A terminal that nobody answers; later one that nobody even reads."""
    master, slave = os.openpty()
    tty.setraw(slave)
    target = f"serial:{os.ttyname(slave)}"
    with pytest.raises(HwgenError, match=r"gave up after 1 retries: no answer within 0\.05 s at 9600 baud"):
        connect(target, write_manifest(tmp_path), timeout=0.05, retries=1, baud=9600)
    os.set_blocking(slave, False)
    for _ in range(10):  # the kernel moves bytes on and takes some more, up to an end
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(slave, bytes(4096))
        time.sleep(0.01)
    with pytest.raises(HwgenError, match="takes no bytes: nothing seems to read the other end"):
        connect(target, write_manifest(tmp_path), timeout=0.05)
    os.close(slave)
    os.close(master)


def test_a_board_that_is_unplugged(tmp_path: Path) -> None:
    board = ScriptedBoard(good)
    with connect(board.target, write_manifest(tmp_path)) as device:
        board.close()
        with pytest.raises(HwgenError, match=r"the serial port /dev/\S+ is gone \(unplugged, or closed\)"):
            device.run(FRAME)
    device.close()
    with pytest.raises(HwgenError, match="is gone"):
        device.info()


def test_targets_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for target in ("usb:0", "serial:", "/dev/ttyUSB0", ""):
        with pytest.raises(HwgenError, match="write serial:<device> or sim:<build folder>"):
            connect(target)
    with pytest.raises(HwgenError, match=r"serial:/dev/ttyUSB0 needs the accelerator's manifest: pass manifest="):
        connect("serial:/dev/ttyUSB0")
    manifest = write_manifest(tmp_path)
    with pytest.raises(HwgenError, match="cannot open the serial port /dev/nowhere at 115200 baud"):
        connect("serial:/dev/nowhere", manifest)
    with pytest.raises(HwgenError, match="names no simulated board"):
        connect(f"sim:{manifest}")
    with pytest.raises(HwgenError, match="missing is not an executable file"):
        connect(f"sim:{write_manifest(tmp_path, board_sim='missing')}")
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(ToolMissingError, match=r"pip install 'hwgen\[runtime\]'"):
        connect("serial:/dev/nowhere", manifest)


def test_manifests_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(HwgenError, match=r"cannot read .*manifest\.json: No such file"):
        connect(f"sim:{tmp_path}")
    path = tmp_path / "manifest.json"
    for text, message in [
        ("{", "is not JSON"),
        ("[]", "it holds no object"),
        ('{"hash": ""}', "no input and no output"),
    ]:
        path.write_text(text)
        with pytest.raises(HwgenError, match=message):
            read_manifest(path)
    for changes, message in [
        ({"hash": "xyz"}, "hash must begin with 16 hex digits, not 'xyz'"),
        ({"hash": 5}, "hash must begin with 16 hex digits, not 5"),
        ({"input": {"lanes": 1}}, "input needs integers lanes"),
        ({"output": {**OUTPUT.to_json(), "bits": 64}}, "at most 63 bits, not 64"),
        ({"output": {**OUTPUT.to_json(), "bits": "4"}}, "output needs integers lanes"),
        ({"baud": -1}, "baud a positive integer"),
        ({"board_sim": 3}, "board_sim must be a path"),
    ]:
        with pytest.raises(HwgenError, match=message):
            read_manifest(write_manifest(tmp_path, **changes))
